"""Where finished sweeps are remembered: a lease for graves, shared by all of about ten minutes.

A grave outlives every delete that may still be under way somewhere; one lease for many keeps etcd's lessor small.
"""

from __future__ import annotations

import asyncio

from leasehold.protocol.names import Instant, LeaseId
from leasehold.protocol.ports import Clock, Leases

GRAVE_SECONDS = 3600
SHARED_SECONDS = 600.0


class Graves:
    """Hands out the lease to put a grave under."""

    def __init__(self, leases: Leases, clock: Clock, *, deadline: float) -> None:
        self._leases, self._clock, self._deadline = leases, clock, deadline
        self._lease = LeaseId(0)
        self._until = Instant(float("-inf"))
        self._granting = asyncio.Lock()

    async def lease(self) -> LeaseId:
        """Raises ``StoreError``."""
        async with self._granting:
            now = Instant(self._clock.now())
            if now >= self._until:
                granted = await self._leases.grant(GRAVE_SECONDS, deadline=self._deadline)
                self._lease, self._until = granted.lease, Instant(now + SHARED_SECONDS)
            return self._lease

    def lease_lost(self) -> None:
        """etcd does not know it: grant another."""
        self._until = Instant(float("-inf"))
