"""Asks an owner whether a resource is in use after all, where the owner can be asked that.

The answer may only ever keep something: "not in use" permits nothing that the protocol would not have permitted
without being asked.
"""

from __future__ import annotations

import asyncio

import structlog

from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.owners.outcome import Answer, Verdict
from leasehold.control_plane.owners.register import Owners
from leasehold.protocol.names import Instant, Resource
from leasehold.protocol.ports import Clock

WAIT_SECONDS = 0.25
"""Until an owner that had no room is looked at again."""
PATIENCE = 240
"""How often."""
log = structlog.get_logger()


class Verifier:
    """All owners."""

    def __init__(self, owners: Owners, clock: Clock, metrics: Metrics) -> None:
        self._owners, self._clock, self._metrics = owners, clock, metrics

    async def ask(self, resource: Resource) -> Answer | None:
        """``None``: nobody offers to be asked. Bounded by the owner's timeout; safe to repeat."""
        office = self._owners.get(resource.owner)
        call = office.owner.verify_of(resource.type) if office is not None else None
        if office is None or call is None:
            return None
        answer = Answer(Verdict.UNKNOWN, "cut off")
        office.begin(self._now())
        try:
            async with asyncio.timeout(float(office.owner.limits.timeout)):
                answer = await office.client.verify(resource, call)
        except TimeoutError:
            answer = Answer(Verdict.UNKNOWN, f"no answer within {office.owner.limits.timeout:g} s")
        finally:
            office.end(self._now(), answer, first=False)
            self._metrics.verifications.labels(resource.owner, answer.verdict).inc()
        if answer.verdict is Verdict.MISCONFIGURED:
            self._metrics.misconfigured.labels(resource.owner).inc()
            log.error("owner_misconfigured", owner=resource.owner, detail=f"verify: {answer.detail}", alert=True)
        return answer

    async def ask_patiently(self, resource: Resource) -> Answer | None:
        """The same, for one of several that are asked about one after another: each waits until its own owner has room,
        up to a minute. Nobody else has counted these calls beforehand."""
        for _ in range(PATIENCE):
            if self._owners.room_to_verify(resource.owner, 0):
                return await self.ask(resource)
            await self._clock.sleep_until(self._clock.now() + WAIT_SECONDS)
        return Answer(Verdict.WAIT, "the owner had no room for a question")

    def _now(self) -> Instant:
        return Instant(self._clock.now())
