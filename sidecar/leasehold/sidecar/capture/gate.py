"""Bytes on their way to one transport, in order; a barrier holds back everything behind it. No I/O of its own choice.

A gate without barriers is *open*: writers may (and on the hot path do) use the transport directly. What is held is
bounded by the relay, which stops reading when the gate is ``congested``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

MAX_HELD: Final = 64 * 1024
"""Bytes behind barriers beyond which no more is read, unless more must be read to lift the first barrier."""


class Barrier:
    """Lifted once. ``needs_more``: only bytes that are still to come can lift it (the rest of a body)."""

    __slots__ = ("lifted", "needs_more")

    def __init__(self, *, needs_more: bool = False) -> None:
        self.needs_more = needs_more
        self.lifted = False


class Gate:
    """One direction of one connection."""

    __slots__ = ("_held", "_items", "closed", "open", "transport")

    def __init__(self) -> None:
        self.transport: asyncio.WriteTransport | None = None
        self.open = False
        self.closed = False
        self._items: deque[bytes | Barrier | Callable[[], None]] = deque()
        self._held = 0

    @property
    def congested(self) -> bool:
        if self._held <= MAX_HELD:
            return False
        first = self._items[0]
        return not (isinstance(first, Barrier) and first.needs_more)

    @property
    def drained(self) -> bool:
        """Nothing waits here."""
        return not self._items

    def connect(self, transport: asyncio.WriteTransport | None) -> None:
        """From now on bytes go there; to ``None`` they wait."""
        self.transport = transport
        self.open = False
        self.flush()

    def write(self, data: bytes) -> None:
        if self.closed or not data:
            return
        if self.open and self.transport is not None:
            self.transport.write(data)
        else:
            self._items.append(data)
            self._held += len(data)

    def raise_barrier(self, barrier: Barrier) -> None:
        """Hold back what is written from now on."""
        if not self.closed:
            self._items.append(barrier)
            self.open = False

    def lift(self, barrier: Barrier) -> None:
        barrier.lifted = True
        self.flush()

    def then(self, act: Callable[[], None]) -> None:
        """Once everything before has gone on its way."""
        self._items.append(act)
        self.flush()

    def cut_from(self, barrier: Barrier) -> None:
        """Forget ``barrier`` and all behind it, now and later."""
        at = self._items.index(barrier)
        while len(self._items) > at:
            item = self._items.pop()
            if isinstance(item, bytes):
                self._held -= len(item)
        self.open = False
        self.closed = True

    def close(self) -> None:
        """Nobody is there any more."""
        self._items.clear()
        self._held = 0
        self.open = False
        self.closed = True

    def flush(self) -> None:
        items = self._items
        while items and self.transport is not None:
            item = items[0]
            if isinstance(item, bytes):
                items.popleft()
                self._held -= len(item)
                self.transport.write(item)
            elif isinstance(item, Barrier):
                if not item.lifted:
                    return
                items.popleft()
            else:
                items.popleft()
                item()
        self.open = not self.closed and not items and self.transport is not None
