"""How long nothing is prepared after a gap in what we know: as long as somebody may still return. Pure.

Holders may look dead only because etcd, or the network, was away for everyone. Those that existed at the gap, have not
reported their end and can return (processes, services; nobody renews a timer) get 1.5 times their TTL to do so.
Whoever attaches later does not extend it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

from leasehold.protocol.names import Instant
from leasehold.protocol.records import Ending, HolderKind

FACTOR = 1.5
NEVER = Instant(float("inf"))


@dataclass(frozen=True, slots=True)
class Attendance:
    """What the roster says of one holder."""

    kind: HolderKind
    ttl_seconds: int
    ended: Ending | None


def warm_up_seconds(rosters: Iterable[Attendance]) -> float:
    """0 when nobody may return."""
    expected = (one.ttl_seconds for one in rosters if one.kind is not HolderKind.TIMER and one.ended is None)
    return FACTOR * max(expected, default=0)


class WarmUp:
    """Until when nothing is prepared. Before the first ``begin``: for ever, because nothing is known yet."""

    def __init__(self) -> None:
        self.until = NEVER
        self.reason = "nothing is known yet"

    def begin(self, now: Instant, rosters: Iterable[Attendance], reason: str) -> float:
        """A gap just ended. A running warm-up is never shortened by a new one. Returns its length in seconds."""
        seconds = warm_up_seconds(rosters)
        until = Instant(now + seconds)
        if self.until == NEVER or until > self.until:
            self.until, self.reason = until, reason
        return seconds

    def forget(self, reason: str) -> None:
        """A gap began: what is known now is worth nothing until ``begin``."""
        self.until, self.reason = NEVER, reason

    def over(self, now: Instant) -> bool:
        return now >= self.until

    def left(self, now: Instant) -> float:
        """Seconds; infinite while a gap lasts."""
        return max(0.0, self.until - now)


class ShardWarmUps:
    """One warm-up per shard, beside the one for all: it begins when the shard is gained. Of a shard that is not ours
    nothing is known."""

    def __init__(self) -> None:
        self._shards: dict[int, WarmUp] = {}

    def begin(self, now: Instant, rosters: Iterable[Attendance], shards: Iterable[int], reason: str) -> float:
        """These shards were gained just now. Returns the length in seconds."""
        attendance = list(rosters)
        for shard in shards:
            self._shards[shard] = WarmUp()
            self._shards[shard].begin(now, attendance, reason)
        return warm_up_seconds(attendance)

    def keep(self, shards: Container[int]) -> None:
        """Forget all others: they are not ours any more."""
        self._shards = {shard: warm_up for shard, warm_up in self._shards.items() if shard in shards}

    def until(self, shard: int) -> Instant:
        found = self._shards.get(shard)
        return found.until if found is not None else NEVER

    def left(self, now: Instant) -> list[float]:
        """Seconds, of each shard that is still warming up."""
        return [warm_up.left(now) for warm_up in self._shards.values() if not warm_up.over(now)]
