"""Who may pass whom while something is held back. Why: docs/decisions/0008.

Plain bytes and a barrier without a stream overtake nothing, and nothing overtakes them: that is all HTTP/1 needs. Of
HTTP/2 only what belongs to the barrier's stream waits, and what must not overtake that.
"""

from __future__ import annotations

from collections.abc import Callable

from leasehold.sidecar.observe.frames import DATA, FENCE, OPENS, READS, WRITES, Frame


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


class Refused:
    """Streams whose client was told that they are not served: what it still says on them goes nowhere.

    ``since``: from this stream on all of them, because a header block was dropped that changed the dynamic table, and
    the owner could not decode those behind it. ``credit``: bytes dropped that the client counts against the window of
    the connection, and that the owner will never give back.
    """

    __slots__ = ("_counts", "_left", "_streams", "credit", "since")

    def __init__(self) -> None:
        self.since = 0
        self.credit = 0
        self._streams: set[int] = set()
        self._left = 0
        self._counts = False

    @property
    def any(self) -> bool:
        """Whether anything that comes may have to be dropped."""
        return bool(self._streams or self.since)

    def add(self, stream: int) -> None:
        self._streams.add(stream)

    def forget(self, stream: int) -> None:
        """No more of it can come."""
        self._streams.discard(stream)

    def covers(self, stream: int) -> bool:
        return stream in self._streams or (0 < self.since <= stream)

    def drops(self, frame: Frame) -> bool:
        if not self.covers(frame.stream):
            return False
        if frame.order & WRITES and not self.since:
            self.since = frame.stream
        begins = not self._left
        if begins:
            self._counts = frame.data[3] == DATA
        self._left = frame.left
        if self._counts:
            self.credit += len(frame.data) - (9 if begins else 0)
        return True

    def garbles(self, frame: Frame) -> bool:
        """Whether this frame, of an older stream, cannot be understood any more."""
        return bool(self.since and frame.stream < self.since and frame.order & READS)
