"""Who is served next, and when again: a work queue with fairness, de-duplication and full-jitter backoff. Pure.

- Each item belongs to a lane (an owner). Lanes take turns, so a thousand items of one owner never delay another's.
- An item is there once, however often it is offered. Offered while in hand, it comes back once afterwards, whatever
  whoever had it agreed to wait for: that was decided before the news.
- What failed waits a random part of its ceiling, which doubles from 1 s to 1 h (the caller brings the randomness).
- ``capacity`` bounds it. When it is full an offer is declined; the index goes on nominating, and the next full
  feed (gaining leadership, every scan) offers again. So nothing is lost, only later.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from leasehold.protocol.names import Instant

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 3600.0
CAPACITY = 200_000

T = TypeVar("T", bound=Hashable)


def backoff_ceiling(failures: int, first: float = FIRST_SECONDS, longest: float = LONGEST_SECONDS) -> float:
    """The longest wait after that many failures in a row: 1, 2, 4 ... 3600 s."""
    return min(longest, first * 2.0 ** min(max(failures - 1, 0), 30))


def attempts_within(seconds: float, first: float = FIRST_SECONDS, longest: float = LONGEST_SECONDS) -> int:
    """After how many attempts the waits between them have added up to about ``seconds``, with full jitter (each half
    its ceiling, on average). At least 1."""
    attempts, waited = 1, 0.0
    while waited < seconds and backoff_ceiling(attempts, first, longest) < longest:
        waited += backoff_ceiling(attempts, first, longest) / 2
        attempts += 1
    return attempts + math.ceil(max(0.0, seconds - waited) / (longest / 2))


@dataclass(slots=True)
class _Item:
    lane: str
    since: Instant
    failures: int = 0
    in_hand: bool = False
    due: Instant | None = None
    """When it comes back; ``None``: it is in its lane."""
    again: Instant | None = None
    """For when it was offered while in hand; ``None``: it was not."""
    ticket: int = 0
    """Which entry of the heap or lane is valid: any other is a left-over."""


class Backlog(Generic[T]):
    """Items waiting, in hand, or backing off."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self._items: dict[T, _Item] = {}
        self._lanes: OrderedDict[str, deque[tuple[int, T]]] = OrderedDict()
        self._later: list[tuple[Instant, int, T]] = []
        self._in_hand: dict[str, int] = {}
        self._sizes: Counter[str] = Counter()
        self._tickets = 0

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, item: T) -> bool:
        return item in self._items

    # --- in -----------------------------------------------------------------------------------------------------

    def offer(self, item: T, lane: str, now: Instant, *, at: Instant | None = None) -> bool:
        """Take an item in, to be served at once (or at ``at``). A known one is served at the earlier of its two times,
        in hand once more afterwards. False: full."""
        found = self._items.get(item)
        if found is not None:
            if found.in_hand:
                wanted = now if at is None else at
                found.again = wanted if found.again is None else min(found.again, wanted)
            elif found.due is not None and (at is None or at < found.due):
                self._queue(item, found, at)
            return True
        if len(self._items) >= self.capacity:
            return False
        self._items[item] = entry = _Item(lane, now)
        self._sizes[lane] += 1
        self._queue(item, entry, at)
        return True

    def discard(self, item: T) -> None:
        """It needs no serving any more. In hand it is left to whoever has it."""
        found = self._items.get(item)
        if found is not None and not found.in_hand:
            self._forget(item, found.lane)

    def clear(self) -> None:
        """Forget everything that is not in hand."""
        self.retain(lambda _: False)

    def retain(self, wanted: Callable[[T], bool]) -> None:
        """Forget everything that is neither wanted nor in hand."""
        self._items = {item: entry for item, entry in self._items.items() if entry.in_hand or wanted(item)}
        self._sizes = Counter(entry.lane for entry in self._items.values())

    # --- out ----------------------------------------------------------------------------------------------------

    def take(self, now: Instant, room: Callable[[str, int], bool]) -> T | None:
        """The next item, now in hand. ``room(lane, in hand)`` says whether a lane may be served."""
        self._ripen(now)
        for lane in list(self._lanes):
            if not room(lane, self._in_hand.get(lane, 0)):
                continue
            item = self._first_of(lane)
            if item is not None:
                if lane in self._lanes:
                    self._lanes.move_to_end(lane)
                self._items[item].in_hand = True
                self._in_hand[lane] = self._in_hand.get(lane, 0) + 1
                return item
        return None

    def done(self, item: T, now: Instant) -> None:
        """Served. If it was offered meanwhile it is served once more."""
        entry = self._release(item)
        self._forget(item, entry.lane)
        if entry.again is not None:
            self.offer(item, entry.lane, now, at=entry.again if entry.again > now else None)

    def failed(self, item: T, now: Instant, jitter: float) -> float:
        """Not served: comes back after a random part (``jitter``, 0 to 1) of its ceiling. Returns the wait."""
        entry = self._release(item)
        entry.failures += 1
        until = self._earlier(entry, Instant(now + backoff_ceiling(entry.failures) * jitter))
        self._queue(item, entry, until)
        return max(0.0, until - now)

    def wait(self, item: T, until: Instant) -> None:
        """Not served, as agreed: comes back at ``until``; not counted as a failure."""
        entry = self._release(item)
        self._queue(item, entry, self._earlier(entry, until))

    # --- about --------------------------------------------------------------------------------------------------

    def next_due(self) -> Instant | None:
        """When the first item that backs off will be ready; ``None`` if none does."""
        while self._later and not self._is_valid(self._later[0][1], self._later[0][2]):
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None

    def oldest_age(self, now: Instant) -> float:
        """Seconds since the oldest item was first offered; 0 when empty."""
        oldest = next(iter(self._items.values()), None)  # they stand in the order in which they were offered
        return max(0.0, now - oldest.since) if oldest is not None else 0.0

    def failures(self, item: T) -> int:
        found = self._items.get(item)
        return found.failures if found else 0

    def lanes(self) -> Iterator[tuple[str, int]]:
        """How many items each lane has."""
        return iter([*self._sizes.items()])

    def waiting(self) -> Iterator[tuple[str, int]]:
        """How many of them nobody has in hand."""
        return ((lane, count - self._in_hand.get(lane, 0)) for lane, count in self.lanes())

    # --- parts --------------------------------------------------------------------------------------------------

    def _forget(self, item: T, lane: str) -> None:
        del self._items[item]
        self._sizes[lane] -= 1
        if not self._sizes[lane]:
            del self._sizes[lane]

    def _earlier(self, entry: _Item, until: Instant) -> Instant:
        again, entry.again = entry.again, None
        return until if again is None else min(until, again)

    def _queue(self, item: T, entry: _Item, at: Instant | None) -> None:
        self._tickets += 1
        entry.ticket, entry.due = self._tickets, at
        if at is None:
            self._lanes.setdefault(entry.lane, deque()).append((entry.ticket, item))
        else:
            heapq.heappush(self._later, (at, entry.ticket, item))

    def _ripen(self, now: Instant) -> None:
        while self._later and self._later[0][0] <= now:
            _, ticket, item = heapq.heappop(self._later)
            if self._is_valid(ticket, item):
                self._queue(item, self._items[item], None)

    def _first_of(self, lane: str) -> T | None:
        waiting = self._lanes[lane]
        while waiting:
            ticket, item = waiting.popleft()
            if self._is_valid(ticket, item):
                return item
        del self._lanes[lane]
        return None

    def _is_valid(self, ticket: int, item: T) -> bool:
        entry = self._items.get(item)
        return entry is not None and entry.ticket == ticket and not entry.in_hand

    def _release(self, item: T) -> _Item:
        entry = self._items[item]
        entry.in_hand = False
        left = self._in_hand[entry.lane] - 1
        if left:
            self._in_hand[entry.lane] = left
        else:
            del self._in_hand[entry.lane]
        return entry
