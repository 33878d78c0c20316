"""One lease for many keys that are to go by themselves after a while: it keeps etcd's lessor small."""

from __future__ import annotations

import asyncio

from leasehold.protocol.names import Instant, LeaseId
from leasehold.protocol.ports import Clock, Leases


class SharedLease:
    """Hands out a lease of ``seconds`` to put a key under; another one every ``shared_seconds``."""

    def __init__(self, leases: Leases, clock: Clock, *, seconds: int, shared_seconds: float, deadline: float) -> None:
        self._leases, self._clock, self._deadline = leases, clock, deadline
        self._seconds, self._shared_seconds = seconds, shared_seconds
        self._lease = LeaseId(0)
        self._until = Instant(float("-inf"))
        self._granting = asyncio.Lock()

    async def lease(self) -> LeaseId:
        """Raises ``StoreError``."""
        async with self._granting:
            now = Instant(self._clock.now())
            if now >= self._until:
                granted = await self._leases.grant(self._seconds, deadline=self._deadline)
                self._lease, self._until = granted.lease, Instant(now + self._shared_seconds)
            return self._lease

    def lease_lost(self) -> None:
        """etcd does not know it: grant another."""
        self._until = Instant(float("-inf"))
