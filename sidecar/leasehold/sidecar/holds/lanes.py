"""What may go next: order per resource, distinct keys per batch. Pure.

An operation stands in a lane for its resource and, if its call was intended, in a lane for the call. It is ready when
it is the first in all of its lanes, and keeps its place until it ends, however often it is tried: so two operations on
one resource never travel together and never overtake each other.

Ready operations queue per holder, because those of a holder without a beacon have to wait without holding up others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable

from leasehold.protocol.names import Holder, Resource, Revision
from leasehold.protocol.records import ResourceRecord
from leasehold.sidecar.holds.entries import Intend, Operation, Register, Retract, guard_of, speaker_of
from leasehold.sidecar.ports import Outcome


class Item:
    """An operation on its way, and what was learnt about it. Mutable: the hot path."""

    __slots__ = ("as_acquire", "began", "blocked", "dropped", "future", "guard", "heard", "late", "operation", "record",
                 "references", "seen", "tries")  # fmt: skip

    def __init__(self, operation: Operation, future: asyncio.Future[Outcome], began: float) -> None:
        self.operation = operation
        self.future = future
        self.began = began
        self.guard = guard_of(operation)
        self.blocked = 0
        self.late = False
        self.tries = 0
        self.heard = Revision(0)
        """The newest revision that was known when this was said last."""
        # What the last answer told of the record: its revision (0: none), itself, references to drop.
        self.seen = Revision(0)
        self.record: ResourceRecord | None = None
        self.dropped: tuple[Resource, ...] = ()
        self.references: tuple[Resource, ...] = ()
        """What is to be recorded, where that is more than the operation says."""
        self.as_acquire = False


class Lanes:
    """All items that have not ended."""

    def __init__(self) -> None:
        self.count = 0
        self._lanes: dict[Hashable, deque[Item]] = {}
        self._ready: dict[Holder | None, deque[Item]] = {}
        self._of_holder: dict[Holder | None, int] = {}

    def add(self, item: Item) -> None:
        """Put an item at the end of its lanes."""
        self.count += 1
        speaker = speaker_of(item.operation)
        self._of_holder[speaker] = self._of_holder.get(speaker, 0) + 1
        for name in _lanes_of(item.operation):
            lane = self._lanes.get(name)
            if lane is None:
                self._lanes[name] = deque((item,))
            else:
                lane.append(item)
                item.blocked += 1
        if not item.blocked:
            self.again(item)

    def again(self, item: Item) -> None:
        """Make an item ready that was taken before and has not ended."""
        self._ready.setdefault(item.guard, deque()).append(item)

    def remove(self, item: Item) -> None:
        """An item ended; whoever stood behind it may be ready now."""
        self.count -= 1
        speaker = speaker_of(item.operation)
        self._of_holder[speaker] -= 1
        if not self._of_holder[speaker]:
            del self._of_holder[speaker]
        for name in _lanes_of(item.operation):
            lane = self._lanes[name]
            lane.popleft()
            if not lane:
                del self._lanes[name]
                continue
            lane[0].blocked -= 1
            if not lane[0].blocked:
                self.again(lane[0])

    @property
    def ready(self) -> int:
        """How many could go, as far as order is concerned; whether their holders are attached is not looked at."""
        return sum(map(len, self._ready.values()))

    def count_of(self, holder: Holder) -> int:
        """How many items are not over for this holder."""
        return self._of_holder.get(holder, 0)

    def take(self, attached: Callable[[Holder], bool], limit: int) -> list[Item]:
        """The next batch: ready, their holders attached, no two touching one resource. May be empty."""
        batch: list[Item] = []
        touched: set[Resource] = set()  # lanes keep resources apart; only what is referred to may be met twice
        for holder, queue in list(self._ready.items()):
            if holder is None or attached(holder):
                _move(queue, batch, touched, limit)
            if not queue:
                del self._ready[holder]
        if len(self._ready) > 1:
            # Whoever was served first is served last next time.
            first = next(iter(self._ready))
            self._ready[first] = self._ready.pop(first)
        return batch


def _move(queue: deque[Item], batch: list[Item], touched: set[Resource], limit: int) -> None:
    aside: list[Item] = []
    while queue and len(batch) < limit:
        item = queue.popleft()
        resources = _resources_of(item.operation)
        if touched.isdisjoint(resources):
            touched.update(resources)
            batch.append(item)
        else:
            aside.append(item)
    queue.extendleft(reversed(aside))


def _resources_of(operation: Operation) -> tuple[Resource, ...]:
    if isinstance(operation, Register):
        return (operation.resource, *operation.references) if operation.references else (operation.resource,)
    return (operation.resource,) if operation.resource is not None else ()


def _lanes_of(operation: Operation) -> tuple[Hashable, ...]:
    if isinstance(operation, Register):
        return (operation.resource,) if operation.call is None else (operation.resource, operation.call)
    if isinstance(operation, Intend | Retract):
        return (operation.call,) if operation.resource is None else (operation.resource, operation.call)
    return (operation.resource,)
