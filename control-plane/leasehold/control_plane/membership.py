"""This replica among its like: one lease, and on it the key by which the others count it in.

``protocol.session`` drives both. Everything this replica acts for hangs on the same lease (see ``leadership``), so its
end is the end of all of it at once, seen by everybody in one revision.

What is believed here is never proof, it only spares pointless tries; it is counted from the *send* of a renewal, so it
ends before etcd ends the lease. Calls to owners, which cannot compare a fence, are made under belief alone.

Two replicas of one name are one too many: the second stands by until the first one's key is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

import msgspec
import structlog

from leasehold.control_plane.core.versions import why_foreign
from leasehold.control_plane.ticking import Bell, written_now
from leasehold.protocol.errors import LeaseNotFound, StoreError, Uncertain
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Instant, LeaseId, Revision
from leasehold.protocol.ports import Clock, Leases, Store
from leasehold.protocol.records import PROTOCOL, ClusterRecord, ReplicaRecord, Unreadable, decode, encode
from leasehold.protocol.session import Attach, Command, Grant, KeepAlive, Phase, Session, WakeAt
from leasehold.protocol.transactions import attached, join

RESIGN_SECONDS = 1.0
ABSENT = Revision(0)
log = structlog.get_logger()


class Membership:
    """One replica's lease and key. ``on_change`` is called whenever belief begins, ends or is renewed."""

    def __init__(
        self,
        store: Store,
        leases: Leases,
        keys: Keyspace,
        clock: Clock,
        *,
        replica: str,
        ttl_seconds: int,
        on_change: Callable[[], None],
    ) -> None:
        self._store, self._leases, self._keys, self._clock = store, leases, keys, clock
        self.replica = replica
        self.record = ReplicaRecord(uuid4().hex, written_now(), protocol=PROTOCOL)
        self._session = Session(ttl_seconds)
        self.deadline = ttl_seconds / 3
        """Seconds that a step may take; also how long to wait before a vain one is tried again."""
        self._on_change = on_change
        self._foreign = ""
        self._bell = Bell(clock)
        self._joined = Revision(0)
        self._refused = Revision(0)
        """When our name was last found taken: older news of the key is of no interest."""
        self._wake_at: Instant | None = None
        self._gone: Revision | None = None

    # --- what may be believed -----------------------------------------------------------------------------------

    @property
    def believed(self) -> bool:
        """Whether the lease and the key are there, as far as anyone can know."""
        return self._session.believed(self._now())

    @property
    def believed_until(self) -> Instant:
        """When belief ends unless the lease is renewed before."""
        return self._session.valid_until

    @property
    def lease(self) -> LeaseId:
        """What everything hangs on; 0: nothing."""
        return self._session.lease

    @property
    def foreign(self) -> str:
        """Why we do not join: this tenant's keys are none that we understand."""
        return self._foreign

    def announce(self, address: str, version: str) -> None:
        """Where we may be asked, and what we are. To be called before ``run``."""
        self.record = msgspec.structs.replace(self.record, address=address, version=version)

    # --- events -------------------------------------------------------------------------------------------------

    def on_foreign(self, why: str) -> None:
        """What the index says of this tenant's keys. Joined, we go: others may understand them."""
        if why and self._session.phase is Phase.ATTACHED and not self._foreign:
            self._foreign = why
            self._bell.ring()

    def on_keys(self, there: bool, seen: Revision) -> None:
        """Whether a key of our name is there, as of ``seen``. Gone, ours is put again; or it is our turn now."""
        if there:
            return
        if self._session.phase is Phase.ATTACHED and seen > self._joined:
            self._gone = seen
            self._bell.ring()
        elif self._session.phase is Phase.ATTACHING and seen > self._refused:
            self._bell.ring()

    async def run(self) -> None:
        """Join and stay, until cancelled."""
        commands = self._session.start()
        while True:
            while commands:
                commands = [more for command in commands for more in await self._carry_out(command)]
                self._on_change()
            await self._bell.wait(self._wake_at)
            commands = await self._withdraw() if self._foreign and self.believed else self._woken()

    async def resign(self) -> None:
        """Stopping: end the lease and all that hangs on it, so that the others need not wait for it. Best effort."""
        lease = self._session.lease
        self._session = Session(self._session.ttl_seconds)
        self._on_change()
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(RESIGN_SECONDS):
                if lease:
                    await self._leases.revoke(lease, deadline=RESIGN_SECONDS)

    # --- parts --------------------------------------------------------------------------------------------------

    async def _withdraw(self) -> list[Command]:
        log.error("version_gate", reason=self._foreign, alert=True)
        with suppress(StoreError):
            await self._leases.revoke(self._session.lease, deadline=self.deadline)
        return self._session.on_lease_lost()

    async def _is_foreign(self) -> bool:
        """Whether this tenant's keys are none that we understand, as etcd has it now."""
        item = await self._store.get(self._keys.cluster, deadline=self.deadline)
        try:
            why = why_foreign(decode(ClusterRecord, item.value).protocol) if item is not None else ""
        except Unreadable:
            why = ""  # nobody can tell; without a number of shards nobody acts, either
        if why and why != self._foreign:
            log.error("version_gate", reason=why, alert=True)
        self._foreign = why
        return bool(why)

    def _woken(self) -> list[Command]:
        gone, self._gone = self._gone, None
        if gone is not None and self._session.phase is Phase.ATTACHED:
            return self._session.on_beacon_gone(gone)
        self._wake_at = None
        return self._session.on_wake()

    async def _carry_out(self, command: Command) -> list[Command]:
        if isinstance(command, WakeAt):
            self._wake_at = command.instant
            return []
        sent_at = self._now()
        try:
            match command:
                case Grant(ttl_seconds, lease):
                    granted = await self._leases.grant(ttl_seconds, deadline=self.deadline, lease=lease)
                    return self._session.on_granted(sent_at, granted.lease, granted.ttl_seconds)
                case KeepAlive(lease):
                    ttl = await self._leases.keep_alive(lease, deadline=self.deadline)
                    return self._session.on_kept(sent_at, ttl)
                case Attach(lease):
                    return await self._join(lease)
        except LeaseNotFound:
            log.warning("lease_lost", lease=command.lease)
            return self._session.on_lease_lost()
        except StoreError as error:
            log.warning("join_failed", step=type(command).__name__, error=str(error))
            return self._session.on_failed(self._now())

    async def _join(self, lease: LeaseId) -> list[Command]:
        if await self._is_foreign():
            return [WakeAt(Instant(self._now() + self.deadline))]
        txn = join(self._keys, self.replica, self.record, lease)
        try:
            result = await self._store.commit(txn, deadline=self.deadline)
            joined, self._refused = (result.revision, ABSENT) if attached(result) else (ABSENT, result.revision)
        except Uncertain:
            found = await self._store.get(self._keys.replica(self.replica), deadline=self.deadline)
            ours = found is not None and found.lease == lease and found.value == encode(self.record)
            joined = found.mod_revision if found is not None and ours else ABSENT
        if not joined:
            # Our name is taken. Its end is seen by the watch; trying anyway is for when the watch is late.
            log.warning("name_taken", replica=self.replica)
            return [WakeAt(Instant(self._now() + self.deadline))]
        self._joined = joined
        log.info("joined", replica=self.replica, revision=joined)
        return self._session.on_attached(self._now(), joined)

    def _now(self) -> Instant:
        return Instant(self._clock.now())
