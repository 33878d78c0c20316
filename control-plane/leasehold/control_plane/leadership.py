"""Who may act: one replica per shard, under a fence. Shard 0 is the only one yet.

The shard's key hangs on a lease that ``protocol.session`` drives; its create_revision is the fence which every write
on the destructive path compares (S3). A standby tries again whenever the key vanishes, and a few times per TTL anyway.

What is believed here is never proof, it only spares pointless tries; it is counted from the *send* of a renewal, so it
ends before etcd ends the lease. Calls to owners, which cannot compare a fence, are made under belief alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from leasehold.control_plane.ticking import Bell, written_now
from leasehold.protocol.errors import LeaseNotFound, StoreError, Uncertain
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Instant, LeaseId, Revision
from leasehold.protocol.ports import Clock, Leases, Store
from leasehold.protocol.records import ShardRecord, encode
from leasehold.protocol.session import Attach, Command, Grant, KeepAlive, Phase, Session, WakeAt
from leasehold.protocol.store import GetResult, KeyValue, TxnResult
from leasehold.protocol.transactions import Authority, claim_shard, yield_shard

SHARD = 0
RESIGN_SECONDS = 1.0
log = structlog.get_logger()


class Leadership:
    """One replica's claim to shard 0. ``on_change`` is called whenever leading begins, ends or is renewed."""

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
        self._record = ShardRecord(replica=replica, since=written_now())
        self._session = Session(ttl_seconds)
        self._deadline = ttl_seconds / 3
        self._on_change = on_change
        self._bell = Bell(clock)
        self._claimed = Revision(0)
        self._wake_at: Instant | None = None
        self._led = False
        self._gone: Revision | None = None

    # --- what may be believed -----------------------------------------------------------------------------------

    @property
    def fence(self) -> Revision:
        """Ours as far as we may believe; 0 otherwise."""
        return self._claimed if self._session.believed(self._now()) else Revision(0)

    @property
    def leading(self) -> bool:
        return self.fence > 0

    @property
    def believed_until(self) -> Instant:
        """When belief ends unless the lease is renewed before."""
        return self._session.valid_until

    def authority(self, armed: Revision) -> Authority | None:
        """In whose name to write; ``None`` while we do not lead."""
        fence = self.fence
        return Authority(SHARD, fence, armed) if fence else None

    # --- events -------------------------------------------------------------------------------------------------

    def on_shard_gone(self, revision: Revision) -> None:
        """The watch saw the shard's key deleted: claim it, or find out what became of our claim."""
        self._gone = revision
        self._bell.ring()

    async def run(self) -> None:
        """Claim and keep, until cancelled."""
        commands = self._session.start()
        while True:
            while commands:
                commands = [more for command in commands for more in await self._carry_out(command)]
                self._announce()
            await self._bell.wait(self._wake_at)
            commands = self._woken()

    async def resign(self) -> None:
        """Stopping: let the next replica begin at once. Best effort; the lease ends by itself anyway."""
        by = self.authority(Revision(0))
        lease = self._session.lease
        self._session = Session(self._session.ttl_seconds)
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(RESIGN_SECONDS):
                if by is not None:
                    await self._store.commit(yield_shard(self._keys, by), deadline=RESIGN_SECONDS)
                if lease:
                    await self._leases.revoke(lease, deadline=RESIGN_SECONDS)
        self._announce()

    def _woken(self) -> list[Command]:
        gone, self._gone = self._gone, None
        if gone is not None and self._session.phase is Phase.ATTACHED:
            return self._session.on_beacon_gone(gone)
        self._wake_at = None
        return self._session.on_wake()

    # --- commands -----------------------------------------------------------------------------------------------

    async def _carry_out(self, command: Command) -> list[Command]:
        if isinstance(command, WakeAt):
            self._wake_at = command.instant
            return []
        sent_at = self._now()
        try:
            match command:
                case Grant(ttl_seconds, lease):
                    granted = await self._leases.grant(ttl_seconds, deadline=self._deadline, lease=lease)
                    return self._session.on_granted(sent_at, granted.lease, granted.ttl_seconds)
                case KeepAlive(lease):
                    ttl = await self._leases.keep_alive(lease, deadline=self._deadline)
                    return self._session.on_kept(sent_at, ttl)
                case Attach(lease):
                    return await self._claim(lease)
        except LeaseNotFound:
            log.warning("lease_lost", lease=command.lease)
            return self._session.on_lease_lost()
        except StoreError as error:
            log.warning("claim_failed", step=type(command).__name__, error=str(error))
            return self._session.on_failed(self._now())

    async def _claim(self, lease: LeaseId) -> list[Command]:
        holder: KeyValue | None
        try:
            txn = claim_shard(self._keys, SHARD, self._record, lease)
            holder = _holder(await self._store.commit(txn, deadline=self._deadline))
        except Uncertain:
            holder = await self._store.get(self._keys.shard(SHARD), deadline=self._deadline)
        if holder is None or holder.lease != lease or holder.value != encode(self._record):
            # Somebody else's: stand by. Its end is seen by the watch; trying anyway is for when the watch is late.
            return [WakeAt(Instant(self._now() + self._deadline))]
        self._claimed = holder.create_revision
        return self._session.on_attached(self._now(), holder.mod_revision)

    # --- parts --------------------------------------------------------------------------------------------------

    def _announce(self) -> None:
        if self.leading is not self._led:
            self._led = self.leading
            log.info("leading" if self._led else "leading_ended", fence=self._claimed, replica=self._record.replica)
        self._on_change()

    def _now(self) -> Instant:
        return Instant(self._clock.now())


def _holder(result: TxnResult) -> KeyValue | None:
    found = next((one for one in result.results if isinstance(one, GetResult)), None)
    return found.items[0] if found and found.items else None
