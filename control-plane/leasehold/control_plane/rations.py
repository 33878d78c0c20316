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

    @property
    def caps(self) -> Caps:
        return self._allowance.caps

    def share(self, part: float) -> None:
        """The part of the tenant's shards that we act for, 0 to 1."""
        self._allowance.share(self._now(), part)

    def know(self, owner: str) -> None:
        """Something of this owner may come to be prepared: its bucket begins to fill."""
        self._allowance.know(self._now(), (owner,))

    def room(self, owner: str) -> bool:
        """Whether anything of this owner may be prepared now."""
        return self._allowance.opens(owner, self._now()) <= self._now()

    def take(self, asked: Mapping[str, int]) -> Instant | None:
        """Count so many prepares for each owner, all or nothing. ``None``: go on; else when to ask again."""
        now = self._now()
        opens = self._allowance.take(asked, now)
        for name in self._allowance.closed(now):
            self._reached(name, now)
        return opens

    def reopens(self) -> Instant | None:
        """When the next closed bucket opens."""
        now = self._now()
        return min((self._allowance.opens(name, now) for name in self._allowance.closed(now)), default=None)

    def waiting(self, backlog: Backlog[Resource]) -> dict[str, int]:
        """How many wait for their turn whose cap is reached, by owner."""
        closed = self._allowance.closed(self._now())
        return {owner: count for owner, count in backlog.lanes() if OVERALL in closed or owner in closed}

    def _reached(self, name: str, now: Instant) -> None:
        self._metrics.cap_reached.labels(name or "overall").inc()
        if now - self._said.get(name, Instant(float("-inf"))) >= self.caps.seconds:
            self._said[name] = now
            log.warning("cap_reached", cap=name or "overall", seconds=self.caps.seconds)

    def _now(self) -> Instant:
        return Instant(self._clock.now())
