"""Who may pass whom while something is held back. Why: docs/decisions/0008.

Plain bytes and a barrier without a stream overtake nothing, and nothing overtakes them: that is all HTTP/1 needs. Of
HTTP/2 only what belongs to the barrier's stream waits, and what must not overtake that.
"""

from __future__ import annotations

from collections.abc import Callable

from leasehold.sidecar.observe.frames import FENCE, OPENS, READS, WRITES, Frame


class Barrier:
    """Lifted once. ``stream``: whose frames it holds; 0 holds everything.

    ``needs_more``: only bytes that are still to come can lift it (the rest of a body), at most ``room`` of them.
    """

    __slots__ = ("lifted", "needs_more", "room", "stream")

    def __init__(self, stream: int = 0, *, needs_more: bool = False, room: int = 0) -> None:
        self.stream = stream
        self.needs_more = needs_more
        self.room = room
        self.lifted = False


Item = bytes | Frame | Barrier | Callable[[], None]


class Waiting:
    """What those that wait have in common: one look says whether a newcomer may pass them all."""

    __slots__ = ("_order", "_streams")

    def __init__(self) -> None:
        self._order = 0
        self._streams: set[int] = set()

    def add(self, item: Item) -> None:
        if isinstance(item, Frame):
            self._order |= item.order
            self._streams.add(item.stream)
        elif isinstance(item, Barrier) and item.stream:
            self._streams.add(item.stream)
        else:
            self._order |= FENCE

    def stops(self, item: Item) -> bool:
        """Whether ``item`` has to wait behind them, or, as a barrier, for itself."""
        if isinstance(item, Barrier):
            return not item.lifted
        ahead = self._order
        if not ahead and not self._streams:
            return False
        if not isinstance(item, Frame) or (item.order | ahead) & FENCE:
            return True
        order = item.order
        return bool(
            (item.stream and item.stream in self._streams)
            or order & ahead & OPENS
            or (order & WRITES and ahead & (READS | WRITES))
            or (order & READS and ahead & WRITES)
        )
