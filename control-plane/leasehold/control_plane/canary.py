"""A self-test, now and then: would what nobody holds be condemned, and is what somebody holds kept?

Two resources of our own are registered by the protocol's own transactions, one held by a holder that lives on our
lease, one by a holder that has ended. Then everything that decides is asked about both: the index (does it
nominate?), the look in etcd (what does it prove?), and etcd itself: the guards of *condemn*, with nothing behind
them, so that no tombstone is ever written, and for the living one with facts that claim it dead. Owners are never
called: no rule speaks of these.

If what is held would be condemned, the guards do not guard: the brake trips. If what is abandoned would not be,
nothing is collected while all looks well: that is said, and stops nothing. One replica does it for the tenant, while
it may act.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import structlog

from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.lifecycle import Step
from leasehold.control_plane.core.verdict import Condemnable, Evidence, Keep, unheld
from leasehold.control_plane.leadership import TENANTS_SHARD, Leadership
from leasehold.control_plane.membership import Membership
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.ticking import written_now
from leasehold.control_plane.vigil import Vigil
from leasehold.control_plane.witness import Witness
from leasehold.protocol import transactions as tx
from leasehold.protocol.errors import StoreError, Unavailable
from leasehold.protocol.keyspace import Keyspace, shard_of
from leasehold.protocol.names import Boot, Instant, OwnerName, Resource, ResourceId, Revision, TypeName
from leasehold.protocol.ports import Clock, Store
from leasehold.protocol.records import (
    CanaryRecord,
    Cause,
    Ending,
    HolderKind,
    HoldRecord,
    ResourceRecord,
    RosterRecord,
    TombstoneRecord,
)
from leasehold.protocol.roles import CANARIES
from leasehold.protocol.store import Txn
from leasehold.protocol.transactions_brake import clear_canary, note_canary, strike_canary

OURS = "!canary"
"""As an owner, a rule and a service: nobody else can be called so."""
ALIVE, ENDED = CANARIES
WATCH_SECONDS = 5.0
"""How long the watch may take to show what was written."""
POLL_SECONDS = 0.05
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Cage:
    """What is put up for one test."""

    held: Resource
    abandoned: Resource

    @classmethod
    def in_shard(cls, shard: int, shards: int) -> _Cage:
        return cls(*(_in_shard(name, shard, shards) for name in ("held", "abandoned")))


class Canary:
    """One replica's. ``opens`` says from when on preparing is allowed; ``seen`` up to which revision we know etcd."""

    def __init__(
        self, store: Store, keys: Keyspace, index: Index, clock: Clock, witness: Witness, leadership: Leadership,
        membership: Membership, vigil: Vigil, metrics: Metrics, *, seconds: float, deadline: float,
        seen: Callable[[], Revision], opens: Callable[[], Instant | None],
    ) -> None:  # fmt: skip
        self._store, self._keys, self._index, self._clock = store, keys, index, clock
        self._witness, self._leadership, self._membership = witness, leadership, membership
        self._vigil, self._metrics = vigil, metrics
        self._seconds, self._deadline, self._seen, self._opens = seconds, deadline, seen, opens

    @property
    def failed(self) -> str:
        """What the last test of this tenant found wrong; empty if nothing."""
        record = self._index.canary
        return record.failed if record is not None else ""

    def told(self) -> dict[str, object]:
        """For ``/v1/status``."""
        record = self._index.canary
        last = {"who": record.who, "since": record.since, "failed": record.failed or None} if record else None
        return {"every_seconds": self._seconds or None, "last": last}

    async def run(self) -> None:
        """Until cancelled."""
        while self._seconds:
            await self._clock.sleep_until(self._clock.now() + self._seconds)
            opens = self._opens()
            if self._leadership.leading and opens is not None and opens <= self._clock.now():
                await self._try()

    async def _try(self) -> None:
        try:
            failed = await self.test()
        except StoreError as error:
            # etcd's trouble is none of the canary's: others tell of it.
            log.warning("canary_not_tested", error=str(error))
            self._metrics.canaries.labels("not-tested").inc()
            return
        self._metrics.canaries.labels("failed" if failed else "passed").inc()
        if failed:
            log.error("canary_failed", reason=failed, alert=True)
        else:
            log.info("canary_passed")

    async def test(self) -> str:
        """One test. Returns what was found wrong, or nothing. Raises ``StoreError``; safe to repeat."""
        by, shards = self._leadership.authority_of_tenant(), self._index.shard_count
        if by is None or not shards:
            raise Unavailable("the tenant's shard is not ours")
        cage = _Cage.in_shard(TENANTS_SHARD, shards)
        await self._clear(by, cage)
        try:
            await self._put_up(cage)
            dangerous, failed = await self._ask(cage)
        finally:
            await self._clear(by, cage)
        record = CanaryRecord(self._membership.replica, dangerous or failed, written_now())
        await self._commit(note_canary(self._keys, by, record), "note")
        if dangerous:
            self._vigil.trip(Cause.CANARY, dangerous)
        return dangerous or failed

    # --- parts --------------------------------------------------------------------------------------------------

    async def _clear(self, by: tx.Authority, cage: _Cage) -> None:
        holders = (ALIVE, ENDED)
        await self._commit(clear_canary(self._keys, by, (cage.held, cage.abandoned), holders), "clearing")
        await self._commit(strike_canary(self._keys, by, holders), "clearing")

    async def _put_up(self, cage: _Cage) -> None:
        boot = Boot(self._membership.record.boot)
        lease = self._membership.lease
        roster = RosterRecord(OURS, self._membership.replica, HolderKind.PROCESS, boot, 1, written_now())
        for holder in (ALIVE, ENDED):
            await self._commit(tx.attach(self._keys, holder, boot, lease, roster), "attach")
        record = ResourceRecord(OURS, OURS, "1s", OURS)
        members = [
            tx.register(self._keys, resource, record, holder, HoldRecord(boot, 1))
            for resource, holder in ((cage.held, ALIVE), (cage.abandoned, ENDED))
        ]
        await self._commit(tx.batch(self._keys, {ALIVE: boot, ENDED: boot}, members), "register")
        ended = RosterRecord(OURS, self._membership.replica, HolderKind.PROCESS, boot, 1, ended=Ending.COMPLETED)
        await self._commit(tx.retire(self._keys, ENDED, boot, ended), "retire")

    async def _ask(self, cage: _Cage) -> tuple[str, str]:
        """What is dangerously wrong, and what is merely wrong."""
        abandoned, held = await self._witness.look(cage.abandoned), await self._witness.look(cage.held)
        if not await self._watched(abandoned.revision):
            return "", f"the watch did not show revision {abandoned.revision} within {WATCH_SECONDS:g} s"
        if self._index.step_of(cage.held) is not None:
            return "the index nominates what a living holder holds", ""
        proven, kept = unheld(abandoned), unheld(held)
        if not isinstance(kept, Keep):
            return "what a living holder holds looks abandoned", ""
        if await self._guards_pass(cage.held, _claimed_dead(held), held):
            return "etcd's guards would let a living holder's resource be condemned", ""
        if self._index.step_of(cage.abandoned) is not Step.CONDEMN:
            return "", "the index does not nominate what nobody holds"
        if not isinstance(proven, Condemnable):
            return "", f"what nobody holds is kept: {proven.reason} {proven.detail}".strip()
        if not await self._guards_pass(cage.abandoned, proven.facts, abandoned):
            return "", "etcd's guards keep what nobody holds"
        return "", ""

    async def _watched(self, revision: Revision) -> bool:
        until = self._clock.now() + WATCH_SECONDS
        while self._seen() < revision and self._clock.now() < until:
            await self._clock.sleep_until(self._clock.now() + POLL_SECONDS)
        return self._seen() >= revision

    async def _guards_pass(self, resource: Resource, facts: tx.Unheld, evidence: Evidence) -> bool:
        by = self._leadership.authority(resource, evidence.armed.mod_revision if evidence.armed else Revision(0))
        if by is None or not by.armed:
            raise Unavailable("the brake is on, or the shard is not ours any more")
        condemn = tx.condemn(self._keys, by, facts, TombstoneRecord(OURS, "canary", evidence.revision))
        return (await self._store.commit(Txn(condemn.compares), deadline=self._deadline)).succeeded

    async def _commit(self, txn: Txn, what: str) -> None:
        result = await self._store.commit(txn, deadline=self._deadline)
        if not (tx.committed(result) or tx.attached(result)):
            raise Unavailable(f"the canary's {what} was refused: somebody else is at it, or the shard was lost")


def _claimed_dead(held: Evidence) -> tx.Unheld:
    """What a mistake of ours might take for facts."""
    if held.record is None:
        raise Unavailable("the canary was taken away meanwhile")
    holds = [
        tx.HoldFound(holder, item.mod_revision, False, held.rosters[holder].mod_revision)
        for holder, item in held.holds.items()
    ]
    return tx.Unheld(held.resource, held.record.mod_revision, held.revision, holds)


def _in_shard(name: str, shard: int, shards: int) -> Resource:
    made = (Resource(OwnerName(OURS), TypeName(OURS), ResourceId(f"{name}-{n}")) for n in count())
    return next(one for one in made if shard_of(one, shards) == shard)
