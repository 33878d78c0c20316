"""How much vanished without a word lately, and whether that is too much. Pure.

When an etcd, a network or a zone is away, everybody behind it looks dead at once; nobody reported it, and all they
hold looks abandoned. So the brake trips when what was *carried* by holders that vanished without a reported death is
more than ``count`` resources **and** more than ``fraction`` of those that were live. Both are strict: exactly as many
do not trip. Laws:

- Resources are counted, each once, however many of its holders vanished; one that somebody else still holds is not.
- What counts, counts for ``seconds`` on this process's monotonic clock, also if it has been swept meanwhile.
- A holder that is back, or whose death was reported after all, takes what it carries out again.
- Keys that went without a transaction of ours have no innocent reason: ``losses`` resources are enough, whatever part
  of all they are.
- While the brake is on, nothing grows old: what is missing is missing until it is back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from leasehold.protocol.names import Holder, Instant, Resource

K = TypeVar("K")
V = TypeVar("V")
NOBODY = (0, 0, 0, Instant(float("-inf")))


@dataclass(frozen=True, slots=True)
class Thresholds:
    """``fraction`` of live resources and ``count`` of them, ``losses`` of keys, within ``seconds``."""

    fraction: Fraction = Fraction(15, 100)
    count: int = 50
    seconds: float = 300.0
    losses: int = 10

    def vanished_too_much(self, carried: int, live: int) -> bool:
        """More than both. Exact: no rounding decides."""
        return carried > self.count and carried > self.fraction * live

    def lost_too_much(self, lost: int) -> bool:
        return lost > self.losses


class BrakeWindow:
    """What vanished and what was lost within the last ``seconds``. Everything costs what it touches."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._carried: dict[Resource, tuple[Instant, Holder]] = {}
        self._holders: dict[Holder, Instant] = {}
        self._lost: dict[Resource, Instant] = {}
        self._inherited = NOBODY

    # --- events -------------------------------------------------------------------------------------------------

    def vanished(self, now: Instant, holder: Holder, carried: Iterable[Resource]) -> None:
        """A holder went without a word; ``carried`` is what nobody alive holds any more."""
        _put_last(self._holders, holder, now)
        for resource in carried:
            _put_last(self._carried, resource, (now, holder))

    def explained(self, holder: Holder, holds: Iterable[Resource], also: Iterable[Resource] = ()) -> None:
        """It is back, or its death was reported. ``also``: what others that vanished carry all the same."""
        self._holders.pop(holder, None)
        kept = set(also)
        for resource in holds:
            if resource not in kept:
                self._carried.pop(resource, None)

    def lost(self, now: Instant, resources: Iterable[Resource]) -> None:
        """Keys about these went without a transaction of ours."""
        for resource in resources:
            _put_last(self._lost, resource, now)

    def inherit(self, now: Instant, holders: int, carried: int, lost: int) -> None:
        """What somebody else had counted before us. From here on it counts for a whole window again."""
        self._inherited = (holders, carried, lost, now)

    def clear(self) -> None:
        """An operator armed, knowing all this."""
        self._carried.clear()
        self._holders.clear()
        self._lost.clear()
        self._inherited = NOBODY

    def settle(self, now: Instant) -> None:
        """Forget what is older than the window. Not to be called while the brake is on."""
        before = now - self._seconds
        _drop_first(self._holders, ((one, at) for one, at in self._holders.items()), before)
        _drop_first(self._carried, ((one, at) for one, (at, _) in self._carried.items()), before)
        _drop_first(self._lost, ((one, at) for one, at in self._lost.items()), before)
        if self._inherited[3] <= before:
            self._inherited = NOBODY

    # --- views --------------------------------------------------------------------------------------------------

    def __contains__(self, holder: Holder) -> bool:
        return holder in self._holders

    @property
    def holders(self) -> int:
        return len(self._holders) + self._inherited[0]

    @property
    def carried(self) -> int:
        """How many resources they carry."""
        return len(self._carried) + self._inherited[1]

    @property
    def losses(self) -> int:
        return len(self._lost) + self._inherited[2]

    @property
    def inherited(self) -> int:
        """Of those carried, what somebody else had counted."""
        return self._inherited[1]

    def resources(self) -> Collection[Resource]:
        """What they carry, as far as we saw it ourselves."""
        return self._carried.keys()


def _put_last(known: dict[K, V], one: K, value: V) -> None:
    # Kept in the order of time, so that forgetting looks at the oldest only.
    known.pop(one, None)
    known[one] = value


def _drop_first(known: dict[K, V], dated: Iterator[tuple[K, Instant]], before: float) -> None:
    old = []
    for one, at in dated:
        if at > before:
            break
        old.append(one)
    for one in old:
        del known[one]
