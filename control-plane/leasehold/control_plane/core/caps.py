"""How many sweeps may be prepared per time, for one owner and over all: token buckets. Pure.

    tokens flow in at ``count / seconds``; a bucket holds a tenth of ``count`` (at least one), and begins empty

So no window of ``seconds`` sees more than 1.1 times ``count``. Laws:

- A replica takes the share of its shards: all of them together never take more than the caps.
- Whoever begins, or gains shards, begins with nothing: a change of hands can only make it slower (S5).
- What is prepared as one (``weight``) is counted with all its members. One that is more than a bucket holds waits for a
  full bucket and leaves it in debt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from leasehold.protocol.names import Instant

BURST = 0.1
OVERALL = ""
"""The name of the bucket over all owners: no owner is called so."""


@dataclass(frozen=True, slots=True)
class Caps:
    """At most so many prepares each ``seconds``."""

    per_owner: int = 6_000
    overall: int = 30_000
    seconds: float = 60.0


class _Bucket:
    __slots__ = ("at", "tokens")

    def __init__(self, now: Instant) -> None:
        self.tokens, self.at = 0.0, now


class Allowance:
    """What this replica may still prepare."""

    def __init__(self, caps: Caps, now: Instant) -> None:
        self.caps = caps
        self._share = 0.0
        self._buckets = {OVERALL: _Bucket(now)}

    def share(self, now: Instant, part: float) -> None:
        """From now on it is this part of the whole (0 to 1) that is ours."""
        for name in list(self._buckets):
            self._fill(name, now)
        self._share = part
        for name, bucket in self._buckets.items():
            bucket.tokens = min(bucket.tokens, self._holds(name))

    def know(self, now: Instant, owners: Iterable[str]) -> None:
        """There are these owners: their buckets begin to fill."""
        for owner in owners:
            if owner not in self._buckets:
                self._buckets[owner] = _Bucket(now)

    def opens(self, owner: str, now: Instant, weight: int = 1) -> Instant:
        """From when on so much may be prepared for an owner; in the past if it may now."""
        self.know(now, (owner,))
        return max(self._opens(name, now, weight) for name in (OVERALL, owner))

    def take(self, asked: Mapping[str, int], now: Instant) -> Instant | None:
        """Prepare so many for each owner, all or nothing. ``None``: taken; else from when on it may be asked again."""
        self.know(now, asked)
        whole = {OVERALL: sum(asked.values()), **asked}
        opens = max(self._opens(name, now, weight) for name, weight in whole.items())
        if opens > now:
            return opens
        for name, weight in whole.items():
            self._buckets[name].tokens -= weight
        return None

    def closed(self, now: Instant) -> set[str]:
        """Whose bucket is empty; ``OVERALL`` for all."""
        return {name for name in self._buckets if self._opens(name, now, 1) > now}

    # --- parts --------------------------------------------------------------------------------------------------

    def _opens(self, name: str, now: Instant, weight: int) -> Instant:
        bucket = self._fill(name, now)
        missing = min(float(weight), self._holds(name)) - bucket.tokens
        if missing <= 1e-9:
            return now
        rate = self._rate(name)
        return Instant(now + missing / rate) if rate else Instant(float("inf"))

    def _fill(self, name: str, now: Instant) -> _Bucket:
        bucket = self._buckets[name]
        bucket.tokens = min(self._holds(name), bucket.tokens + (now - bucket.at) * self._rate(name))
        bucket.at = now
        return bucket

    def _rate(self, name: str) -> float:
        count = self.caps.per_owner if name else self.caps.overall
        return count * self._share / self.caps.seconds

    def _holds(self, name: str) -> float:
        count = self.caps.per_owner if name else self.caps.overall
        return max(1.0, count * self._share * BURST)
