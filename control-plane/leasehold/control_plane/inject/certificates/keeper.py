"""Keeps the webhook's certificates: every replica takes what is stored, only the leader makes new ones.

What is stored is read again at intervals, so a replica serves the new certificate within one of them; the overlap of
authorities is much longer. Only what was stored is ever served, and only what was published long enough ever signs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from leasehold.control_plane.inject.certificates.authority import issue, new_authority
from leasehold.control_plane.inject.certificates.material import (
    Certificate,
    Material,
    Plan,
    Step,
    next_step,
    with_step_taken,
)
from leasehold.control_plane.inject.certificates.store import CertificateStore, Stored
from leasehold.control_plane.kubernetes.api_server import ApiError
from leasehold.protocol.ports import Clock

ROUND_SECONDS = 30.0
FIRST_ROUND_SECONDS = 2.0
"""As long as there is no certificate at all."""
MOST_STEPS = 4
"""In one round: there is never more to be done at once."""
Serve = Callable[[Certificate], Awaitable[None]]
log = structlog.get_logger()


class CertificateKeeper:
    """``serve`` is told of each new certificate. ``leading``: whether this replica makes them."""

    def __init__(
        self,
        store: CertificateStore,
        names: frozenset[str],
        serve: Serve,
        clock: Clock,
        *,
        leading: Callable[[], bool],
        wall: Callable[[], datetime],
        plan: Plan = Plan(),  # noqa: B008 - frozen
    ) -> None:
        self._store, self._names, self._serve, self._clock = store, names, serve, clock
        self._leading, self._wall, self._plan = leading, wall, plan
        self._known: Material | None = None
        self.trouble = "there is no certificate yet"
        """Empty when all is well."""

    @property
    def not_after(self) -> datetime | None:
        """When the certificate in use ends."""
        return None if self._known is None else self._known.serving.not_after

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.round()
            pause = ROUND_SECONDS if self._known is not None else FIRST_ROUND_SECONDS
            await self._clock.sleep_until(self._clock.now() + pause)

    async def round(self) -> None:
        """Read, do what is due, serve. Whatever fails is tried again in the next round."""
        try:
            stored, trouble = await self._store.read(), ""
        except ApiError as error:
            return self._tell(str(error))
        if self._leading():
            stored, trouble = await self._advance(stored)
        # Also after some trouble with what comes next: what is stored can be served.
        if stored.material is not None:
            await self._adopt(stored.material)
        elif self._known is None and not trouble:
            trouble = "there is no certificate yet, and another replica is to make it"
        return self._tell(trouble)

    async def _advance(self, stored: Stored) -> tuple[Stored, str]:
        """The leader's part: how far it came, and what was in the way."""
        try:
            for _ in range(MOST_STEPS):
                now = self._wall()
                published = stored.material is not None and await self._store.publish(stored.material.bundle)
                step = next_step(stored.material, now, self._names, self._plan, published=published)
                if step is Step.NOTHING:
                    break
                stored = await self._store.write(self._taken(stored.material, step, now), stored.version)
                log.info("certificates_rotated", step=step.value)
        except ApiError as error:
            return stored, str(error)
        return stored, ""

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            log.warning("certificates_in_trouble", error=trouble)
        self.trouble = trouble

    def _taken(self, material: Material | None, step: Step, now: datetime) -> Material:
        if material is None or step is Step.FOUND:
            authority = new_authority(now, self._plan.authority)
            # If what was stored got lost, replicas serve for a moment what the old authority signed.
            former = self._known.current if self._known is not None else None
            return Material(authority, self._issued(authority, now), None, former)
        made: dict[str, Certificate] = {}
        if step is Step.INTRODUCE:
            made["upcoming"] = new_authority(now, self._plan.authority)
        elif step is Step.PROMOTE and material.upcoming is not None:
            made["serving"] = self._issued(material.upcoming, now)
        elif step is Step.ISSUE:
            made["serving"] = self._issued(material.current, now)
        return with_step_taken(material, step, made)

    def _issued(self, authority: Certificate, now: datetime) -> Certificate:
        lifetime: timedelta = min(self._plan.serving, authority.not_after - now)
        return issue(authority, self._names, now, lifetime)

    async def _adopt(self, material: Material) -> None:
        if self._known is None or self._known.serving.pem != material.serving.pem:
            await self._serve(material.serving)
            log.info("certificate_in_use", until=material.serving.not_after.isoformat(), issuer=material.serving.issuer)
        self._known = material
