"""Bytes on their way to one transport; a barrier holds back what is behind it. No I/O of its own choice.

Bytes keep their order; ``Frame``s of HTTP/2 may overtake what is held back where ``overtaking`` allows it. Two frames
never mix: while one that went out in part is not complete, nothing else goes out.

A gate without barriers is *open*: writers may (and on the hot path do) use the transport directly. What is held is
bounded by the relay, which stops reading when the gate is ``congested``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from leasehold.sidecar.capture.budget import Budget
from leasehold.sidecar.capture.overtaking import Barrier, Item, Refused, Waiting
from leasehold.sidecar.observe.frames import Frame

MAX_HELD: Final = 64 * 1024
"""Bytes behind barriers beyond which no more is read, besides the room for what must be read to lift one."""


class Gate:
    """One direction of one connection."""

    __slots__ = (
        "_budget",
        "_held",
        "_interjected",
        "_items",
        "_left",
        "_waiting",
        "closed",
        "open",
        "refused",
        "transport",
    )

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.transport: asyncio.WriteTransport | None = None
        self.open = False
        self.closed = False
        self._items: deque[Item] = deque()
        self._waiting = Waiting()
        self._held = 0
        self._left = 0
        """Bytes still to come of the frame that is going out. Kept only while this is not open."""
        self._interjected: list[bytes] = []
        self.refused = Refused()

    @property
    def congested(self) -> bool:
        if self._held <= MAX_HELD:
            return False
        room = sum(item.room for item in self._items if isinstance(item, Barrier) and item.needs_more)
        return self._held > MAX_HELD + room

    @property
    def drained(self) -> bool:
        """Nothing waits here."""
        return not self._items and not self._interjected

    def connect(self, transport: asyncio.WriteTransport | None) -> None:
        """From now on bytes go there; to ``None`` they wait."""
        self.transport = transport
        self.open = False
        self.flush()

    def write(self, data: bytes) -> None:
        """Bytes that nobody has cut: in order with all the others."""
        if self.closed or not data:
            return
        if self.open and self.transport is not None:
            self.transport.write(data)
        elif left := self._cut_short or self._left:
            self.write_frame(Frame(data[:left], 0, max(left - len(data), 0), 0))
            self.write(data[left:])
        else:
            self._append(data)
            self._hold(len(data))

    def write_frame(self, frame: Frame) -> None:
        """At once, or behind what it must not overtake."""
        if self.closed or self.refused.drops(frame):
            return
        if self._cut_short:  # this is how the last one goes on
            first = cast("Frame", self._items.pop())
            self._items.append(Frame(first.data + frame.data, first.stream, frame.left, first.order))
            self._hold(len(frame.data))
        elif self.transport is not None and (self._left or not self._waiting.stops(frame)):
            self.transport.write(frame.data)
            self._left = frame.left
            if not frame.left and not self.drained:
                self.flush()
        else:
            self._append(frame)
            self._hold(len(frame.data))

    def raise_barrier(self, barrier: Barrier) -> None:
        """Hold back what is written from now on: of the barrier's stream, or all of it."""
        if not self.closed:
            self._append(barrier)
            self.open = False

    def lift(self, barrier: Barrier) -> None:
        barrier.lifted = True
        self.flush()

    def then(self, act: Callable[[], None]) -> None:
        """Once everything before has gone on its way; the direction ends with it. Where it ends in the middle of a
        frame, nothing that still waits can follow."""
        if self._left and not self.open:
            self._items.clear()
            self._interjected.clear()
            self._hold(-self._held)
            self._left = 0
        self._append(act)
        self.flush()

    def cut_from(self, barrier: Barrier) -> None:
        """Forget ``barrier`` and all behind it, now and later."""
        at = self._items.index(barrier)
        while len(self._items) > at:
            item = self._items.pop()
            if isinstance(item, bytes):
                self._hold(-len(item))
        self.open = False
        self.closed = True

    def refuse(self, stream: int, *, asked: bool) -> None:
        """Forget this stream; unless all of it was ``asked`` already, later, too. And those behind it, if need be."""
        refused = self.refused
        refused.add(stream)
        kept = deque[Item]()
        came = False
        for item in self._items:
            if isinstance(item, Frame) and refused.drops(item):
                came = came or item.stream == stream
                self._hold(-len(item.data))
            elif not isinstance(item, Barrier) or not refused.covers(item.stream):
                kept.append(item)
        if asked and came:
            refused.forget(stream)
        self._items = kept
        self.flush()

    def interject(self, data: bytes, left: int) -> None:
        """Frames of ours, as soon as no other is going out: of one that is, so many bytes are still to come."""
        if self.open:
            self._left = left
        self._interjected.append(data)
        self.flush()

    def close(self) -> None:
        """Nobody is there any more."""
        self._items.clear()
        self._interjected.clear()
        self._hold(-self._held)
        self.open = False
        self.closed = True

    def flush(self) -> None:
        items = self._items
        kept: list[Item] = []
        waiting = Waiting()
        while self._interjected and self.transport is not None and not self._left:
            self.transport.write(self._interjected.pop(0))
        while items and self.transport is not None and not self._left:
            item = items.popleft()
            if waiting.stops(item):
                kept.append(item)
                waiting.add(item)
            else:
                self._pass(item, self.transport)
        for item in items:
            waiting.add(item)
        items.extendleft(reversed(kept))
        self._waiting = waiting
        self.open = not self.closed and self.drained and not self.refused.any and self.transport is not None

    @property
    def _cut_short(self) -> int:
        """Bytes still to come of the frame that waits last."""
        last = self._items[-1] if self._items else None
        return last.left if isinstance(last, Frame) else 0

    def _append(self, item: Item) -> None:
        if self.open:
            self._left = 0  # not kept while all went straight to the transport; what ends or waits begins a frame
        self._items.append(item)
        self._waiting.add(item)

    def _pass(self, item: Item, transport: asyncio.WriteTransport) -> None:
        if isinstance(item, Frame):
            self._hold(-len(item.data))
            self._left = item.left
            transport.write(item.data)
        elif isinstance(item, bytes):
            self._hold(-len(item))
            transport.write(item)
        elif not isinstance(item, Barrier):
            item()

    def _hold(self, size: int) -> None:
        self._held += size
        self._budget.held += size
