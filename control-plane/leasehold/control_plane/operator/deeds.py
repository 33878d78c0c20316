"""Writes on single resources: look, build the protocol's transaction, commit it with its entry in the audit."""

from __future__ import annotations

from collections.abc import Callable

from leasehold.control_plane.core.epochs import grace_seconds
from leasehold.control_plane.graves import Graves
from leasehold.control_plane.operator.access import caller
from leasehold.control_plane.operator.audit import Audit
from leasehold.control_plane.operator.ports import EtcdPort
from leasehold.control_plane.shared_lease import SharedLease
from leasehold.control_plane.ticking import written_now
from leasehold.operating import deeds
from leasehold.operating.deeds import HASTE_SECONDS, UNDER_WAY, Changed, Unfit
from leasehold.operating.survey import Survey, take_one
from leasehold.protocol import transactions
from leasehold.protocol.errors import LeaseNotFound
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Holder, Resource
from leasehold.protocol.ports import Clock
from leasehold.protocol.records import HASTENED, GraveRecord, PinRecord, SweepState
from leasehold.protocol.store import GetResult, Txn, TxnResult


class Deeds:
    """Each raises ``NotDone`` or ``Problem`` when nothing was written, ``StoreError`` when nobody knows."""

    def __init__(self, etcd: EtcdPort, keys: Keyspace, clock: Clock, audit: Audit, *, deadline: float) -> None:
        self._etcd, self._keys, self._audit, self._deadline = etcd, keys, audit, deadline
        self._graves = Graves(etcd, clock, deadline=deadline)
        self._hastes = SharedLease(
            etcd, clock, seconds=HASTE_SECONDS, shared_seconds=HASTE_SECONDS / 24, deadline=deadline
        )

    async def pin(self, resource: Resource, why: str) -> None:
        record = PinRecord(caller.get().who, why.strip(), written_now())
        await self._on(resource, "Pin", why, lambda _: transactions.pin(self._keys, resource, record))

    async def unpin(self, resource: Resource, why: str) -> None:
        await self._on(resource, "Unpin", why, lambda picture: deeds.unpin(self._keys, picture, resource))

    async def restore(self, resource: Resource, why: str) -> None:
        await self._on(resource, "Restore", why, lambda picture: deeds.restore(self._keys, picture, resource))

    async def release(self, resource: Resource, holder: str, why: str, *, force: bool) -> None:
        who = caller.get().who

        def txn(picture: Survey) -> Txn:
            return deeds.release(self._keys, picture, resource, Holder(holder), who, force=force)

        details = {"holder": holder, "force": str(force).lower()}
        await self._on(resource, "Release", why, txn, details)

    async def sweep_now(self, resource: Resource, why: str) -> int:
        """Returns the grace it has now, in seconds."""
        who = caller.get().who
        lease = await self._hastes.lease()

        def txn(picture: Survey) -> Txn:
            return deeds.hasten(self._keys, picture, resource, who, why.strip(), written_now(), lease)

        await self._on(resource, "SweepNow", why, txn)
        return grace_seconds(HASTENED) or 0

    async def purge(self, resource: Resource, why: str) -> None:
        """Forget a quarantined sweep and what it was about."""
        who = caller.get().who
        lease = await self._graves.lease()

        def txn(picture: Survey) -> Txn:
            sweep, record = picture.sweeps.get(resource), picture.resources[resource]
            if sweep is None or sweep.record is None or sweep.record.state is not SweepState.QUARANTINED:
                raise Unfit(f"{resource}: not quarantined")
            if record.record is None:
                raise Unfit(f"{resource}: its record cannot be read; it is kept")
            if record.record.references or sweep.record.cycle:
                raise Unfit(f"{resource}: it refers to others, and they would go although it stays at its owner")
            grave = GraveRecord(sweep.record.incarnation, f"given up by {who}: {why.strip()}", written_now())
            return transactions.give_up(
                self._keys, resource, sweep.revision, record.record, record.revision, grave, lease
            )

        await self._on(resource, "PurgeQuarantine", why, txn)

    async def _on(
        self,
        resource: Resource,
        method: str,
        why: str,
        build: Callable[[Survey], Txn],
        details: dict[str, str] | None = None,
    ) -> None:
        picture = await take_one(self._etcd, self._keys, resource, deadline=self._deadline)
        deeds.expect_recorded(picture, resource)
        try:
            result = await self._audit.write(build(picture), method, why, (str(resource),), details)
        except LeaseNotFound:
            self._hastes.lease_lost()
            self._graves.lease_lost()
            raise
        if not result.succeeded:
            raise _refusal(resource, result, self._keys.sweep(resource))


def _refusal(resource: Resource, result: TxnResult, sweep: bytes) -> Changed | Unfit:
    found = [item.key for got in result.results if isinstance(got, GetResult) for item in got.items]
    if sweep in found:
        return Unfit(f"{resource}: {UNDER_WAY}")
    return Changed(f"{resource}: it changed meanwhile; look again")
