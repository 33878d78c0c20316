"""Calls that delete: each bounded by its owner's timeout and by our belief to hold the shard, as it changes meanwhile.

A call that is cut off may have done anything; the owner's precondition covers it.
"""

from __future__ import annotations

import asyncio

import structlog

from leasehold.control_plane.attempt import Sweep
from leasehold.control_plane.leadership import Leadership
from leasehold.control_plane.lives import Lives
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.owners.continuing import continuing
from leasehold.control_plane.owners.outcome import Answer, Verdict
from leasehold.control_plane.owners.register import Office, Owners
from leasehold.protocol.names import Instant, Resource
from leasehold.protocol.ports import Clock

NEEDED_SECONDS = 0.5
"""Belief that must be left for a call to begin."""
log = structlog.get_logger()


class Calls:
    """Those under way."""

    def __init__(self, clock: Clock, leadership: Leadership, owners: Owners, metrics: Metrics, lives: Lives) -> None:
        self._clock, self._leadership, self._owners, self._metrics = clock, leadership, owners, metrics
        self._lives = lives
        self._under_way: dict[asyncio.Timeout, tuple[Resource, Instant]] = {}
        """Each with how long its owner may take at most."""

    def on_leadership(self) -> None:
        """Belief grew or ended, or shards are being left: calls under way may last as long as they may."""
        for call, (resource, patience) in self._under_way.items():
            if not call.expired():
                left = min(self._leadership.cut_off(resource), patience) - self._now()
                call.reschedule(asyncio.get_running_loop().time() + left)

    def place(self, resource: Resource) -> Office | None:
        """The office of its owner, if a first call may be made at once: then that counts as begun, for ``sweep`` to
        make, or for ``Office.end``."""
        office, now = self._owners.get(resource.owner), self._now()
        if office is None or not office.guard.may_call(now, 0):
            return None
        if self._leadership.cut_off(resource) - now < NEEDED_SECONDS:
            return None
        office.begin(now)
        return office

    async def sweep(self, sweep: Sweep, place: Office | None = None) -> Answer:
        """Make the one call of an attempt that was written as sent. With a ``place`` it has begun."""
        office = place or self._owners.get(sweep.owner)
        if office is None:
            return Answer(Verdict.MISCONFIGURED, f"there is no owner {sweep.owner!r}")
        began, first = self._now(), sweep.record.attempt == 1
        until = self._leadership.cut_off(sweep.resource)
        if until <= began:
            if place is not None:
                place.end(began, None, first=first)
            # We were stopped in between; somebody else may act, and whatever was true then may have changed.
            return Answer(Verdict.UNKNOWN, "nothing was sent: the shard was not ours any more")
        patience = Instant(began + office.owner.limits.timeout)
        bound = asyncio.timeout(min(until, patience) - began)
        if place is None:
            office.begin(began)
        answer = Answer(Verdict.UNKNOWN, "cut off")
        try:
            async with bound:
                self._under_way[bound] = (sweep.resource, patience)
                with continuing(self._lives.traceparent(sweep)):
                    answer = await office.client.sweep(sweep.resource, sweep.record.incarnation, first=first)
        except TimeoutError:
            answer = Answer(Verdict.UNKNOWN, f"no answer within {self._now() - began:.1f} s")
        finally:
            self._under_way.pop(bound, None)
            office.end(self._now(), answer, first=first)
            self._metrics.owner_calls.labels(sweep.owner, answer.verdict).inc()
            took = self._now() - began
            self._metrics.owner_seconds.labels(sweep.owner).observe(took)
            self._lives.called(sweep, answer, took)
            log.info("owner_called", **sweep.about, verdict=answer.verdict, latency_ms=round(took * 1000, 3))
        return answer

    def _now(self) -> Instant:
        return Instant(self._clock.now())
