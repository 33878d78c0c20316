"""The caps on prepares as the crews see them: may this owner's turn come, when again, and who waits.

Asked before a resource is looked at (``room``), so that nothing is read in vain, and taken from (``take``) right before
the transaction, which alone counts.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from leasehold.control_plane.core.backlog import Backlog
from leasehold.control_plane.core.caps import OVERALL, Allowance, Caps
from leasehold.control_plane.metrics import Metrics
from leasehold.protocol.names import Instant, Resource
from leasehold.protocol.ports import Clock

log = structlog.get_logger()


class Rations:
    """One replica's."""

    def __init__(self, caps: Caps, clock: Clock, metrics: Metrics) -> None:
        self._clock, self._metrics = clock, metrics
        self._allowance = Allowance(caps, self._now())
        self._said: dict[str, Instant] = {}
        self._reopens: Instant | None = None

    @property
    def caps(self) -> Caps:
        return self._allowance.caps

    def share(self, part: float) -> None:
        """The part of the tenant's shards that we act for, 0 to 1."""
        self._allowance.share(self._now(), part)

    def know(self, owner: str) -> None:
        """Something of this owner may come to be prepared: its bucket begins to fill."""
        self._allowance.know(self._now(), (owner,))

    def room(self, owner: str, in_hand: int) -> bool:
        """Whether one more of this owner may be prepared now, beside those in hand: each of them will take its own."""
        now = self._now()
        opens = self._allowance.opens(owner, now, in_hand + 1)
        if opens > now:
            self._reopens = opens if self._reopens is None else min(self._reopens, opens)
        return opens <= now

    def take(self, asked: Mapping[str, int]) -> Instant | None:
        """Count so many prepares for each owner, all or nothing. ``None``: go on; else when to ask again."""
        now = self._now()
        opens = self._allowance.take(asked, now)
        for name in self._allowance.closed(now):
            self._reached(name, now)
        return opens

    def reopens(self) -> Instant | None:
        """When the first of those that had no room since the last call has some; ``None``: nobody was turned away."""
        reopens, self._reopens = self._reopens, None
        return reopens

    def waiting(self, backlog: Backlog[Resource]) -> dict[str, int]:
        """How many wait for their turn whose cap is reached, by owner."""
        closed = self._allowance.closed(self._now())
        return {owner: count for owner, count in backlog.waiting() if count and (OVERALL in closed or owner in closed)}

    def _reached(self, name: str, now: Instant) -> None:
        self._metrics.cap_reached.labels(name or "overall").inc()
        if now - self._said.get(name, Instant(float("-inf"))) >= self.caps.seconds:
            self._said[name] = now
            log.warning("cap_reached", cap=name or "overall", seconds=self.caps.seconds)

    def _now(self) -> Instant:
        return Instant(self._clock.now())
