"""What the lease side of the sidecar needs of etcd, in one value, and the two things everybody does with it."""

from __future__ import annotations

import random
from dataclasses import dataclass

import structlog

from leasehold.protocol import transactions as tx
from leasehold.protocol.errors import StoreError
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Revision
from leasehold.protocol.ports import Clock, Leases, Store, Watches
from leasehold.protocol.records import PROTOCOL, Ending, RosterRecord
from leasehold.sidecar.holds.assistant import KeeperHelp, NoHelp
from leasehold.sidecar.holds.entries import Life

log = structlog.get_logger()
MAX_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Etcd:
    """One cluster and one tenant's keys in it. ``deadline``: seconds for each call."""

    store: Store
    leases: Leases
    watches: Watches
    keys: Keyspace
    clock: Clock
    service: str
    instance: str
    deadline: float
    assistant: KeeperHelp = NoHelp()  # noqa: RUF009 - it has no state

    def roster(self, life: Life, ttl_seconds: int, ending: Ending | None = None) -> RosterRecord:
        """What the roster says of a life."""
        return RosterRecord(
            self.service, self.instance, life.kind, life.boot, ttl_seconds, life.since, ending, protocol=PROTOCOL
        )

    async def attach(self, life: Life, ttl_seconds: int) -> Revision | None:
        """Put beacon and roster under the life's lease; ``None`` when another boot is in the way.

        Raises ``LeaseNotFound`` and whatever else a commit may. Safe to retry.
        """
        roster = self.roster(life, ttl_seconds)
        txn = tx.attach(self.keys, life.holder, life.boot, life.lease, roster)
        result = await self.store.commit(txn, deadline=self.deadline)
        return result.revision if tx.attached(result) else None

    async def tell_the_end(self, life: Life, ending: Ending) -> None:
        """Retire a holder and revoke its lease, trying until it is done."""
        tries = 0
        while True:
            try:
                await self.store.commit(
                    tx.retire(self.keys, life.holder, life.boot, self.roster(life, life.ttl_seconds, ending)),
                    deadline=self.deadline,
                )
                if life.lease:
                    await self.leases.revoke(life.lease, deadline=self.deadline)
            except StoreError as error:
                tries += 1
                log.warning("end_not_told_yet", holder=life.holder, error=str(error))
                await self.pause(tries)
            else:
                return

    async def pause(self, tries: int) -> None:
        """Wait with full jitter, at most a second, so that recovery is quick."""
        longest = min(0.05 * 2 ** min(tries, 10), MAX_PAUSE_SECONDS)
        await self.clock.sleep_until(self.clock.now() + random.uniform(0, longest))  # noqa: S311 - jitter
