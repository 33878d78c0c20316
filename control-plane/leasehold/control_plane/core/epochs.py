"""Which epoch of a class to open, close or drop: a grace period measured by two clocks, neither a wall clock. Pure.

Laws:

- An epoch is opened only *after* the tombstones it is for; etcd's revisions prove that.
- It is done when its lease key is gone **and** a whole G has passed on this leader's own monotonic clock since it
  opened the epoch or found it. What an earlier leader measured does not count.
- So that a tombstone need not wait for a running epoch to end, a further one of the class may be opened meanwhile, at
  most one every max(G/4, 0.5 s): grace is between G and 1.25 G, plus what etcd takes to notice an expired lease.
- A done epoch older than another done one is dominated: whatever it covers, the newer one covers too. It is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from leasehold.protocol.names import ClassName, Instant, Revision
from leasehold.protocol.records import EpochRecord
from leasehold.protocol.transactions import EpochFound

_CLASS = re.compile(r"([1-9][0-9]{0,8})s")


def grace_seconds(name: ClassName) -> int | None:
    """G of a class, from its name; ``None`` for a name no rule would give (its resources are kept)."""
    found = _CLASS.fullmatch(name)
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Seen:
    """An epoch as the index has it; ``measured`` while its lease key is there."""

    found: EpochFound
    measured: bool


@dataclass(frozen=True, slots=True)
class Open:
    """Grant a lease of G seconds, then open epoch ``number`` under it."""

    name: ClassName
    number: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Close:
    """Mark it done: both clocks agree."""

    epoch: EpochFound


@dataclass(frozen=True, slots=True)
class Drop:
    """Delete ``old``: ``newer`` is done as well."""

    old: EpochFound
    newer: EpochFound


@dataclass(frozen=True, slots=True)
class LookAt:
    """Nothing more to do before this instant (or news from the index)."""

    instant: Instant


Command = Open | Close | Drop | LookAt


def is_whole(epoch: EpochRecord, seconds: int) -> bool:
    """Whether it is done and measured at least G."""
    return epoch.done and epoch.seconds >= seconds


class Epochs:
    """The epochs of one class, as this leader times them. A new leader begins with a new one of these."""

    def __init__(self, name: ClassName, seconds: int) -> None:
        self.name = name
        self.seconds = seconds
        self._since: dict[tuple[int, Revision], Instant] = {}
        self._opened_at = Instant(float("-inf"))

    def decide(
        self, now: Instant, epochs: Iterable[Seen], newest_tombstone: Revision, highest: int = 0
    ) -> list[Command]:
        """``newest_tombstone``: the latest of the class's tombstones, 0 if there are none. ``highest``: the highest
        number in use, also by epochs that cannot be read.

        Repeating a decision is harmless: each is guarded by its transaction.
        """
        seen = sorted(epochs, key=lambda epoch: epoch.found.create_revision)
        self._time(now, seen)
        commands: list[Command] = [*self._close(now, seen), *_drop(seen, self.seconds)]
        newest = seen[-1].found.create_revision if seen else Revision(0)
        instants = [since + self.seconds for since in self._since.values() if since + self.seconds > now]
        if newest_tombstone > newest:
            may_open = self._opened_at + max(self.seconds / 4, 0.5)
            if now >= may_open:
                number = 1 + max(highest, *(epoch.found.number for epoch in seen), 0)
                commands.append(Open(self.name, number, self.seconds))
            else:
                instants.append(may_open)
        if instants:
            commands.append(LookAt(Instant(min(instants))))
        return commands

    def opened(self, now: Instant) -> None:
        """An ``Open`` took place; the next may follow after a quarter of G."""
        self._opened_at = now

    def _time(self, now: Instant, seen: list[Seen]) -> None:
        running = {(epoch.found.number, epoch.found.create_revision) for epoch in seen if not epoch.found.record.done}
        self._since = {key: self._since.get(key, now) for key in running}

    def _close(self, now: Instant, seen: list[Seen]) -> list[Close]:
        return [
            Close(epoch.found)
            for epoch in seen
            if not epoch.found.record.done
            and not epoch.measured
            and now >= self._since[epoch.found.number, epoch.found.create_revision] + self.seconds
        ]


def _drop(seen: list[Seen], seconds: int) -> list[Drop]:
    done = [epoch.found for epoch in seen if is_whole(epoch.found.record, seconds)]
    return [Drop(old, done[-1]) for old in done[:-1]]
