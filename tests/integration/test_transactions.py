"""Every transaction of the protocol against a real etcd: each guard refuses what it is there to refuse."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from uuid import uuid4

import pytest

from leasehold.protocol import transactions as tx
from leasehold.protocol.etcd.binary import find_etcd
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.process import EtcdOptions, EtcdProcess, free_ports
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import (
    Boot,
    CallId,
    ClassName,
    Holder,
    LeaseId,
    OwnerName,
    Resource,
    ResourceId,
    Revision,
    Tenant,
    TypeName,
)
from leasehold.protocol.records import (
    ArmedRecord,
    ClusterRecord,
    Ending,
    EpochRecord,
    GraveRecord,
    HolderKind,
    HoldRecord,
    IntentRecord,
    PinRecord,
    ReplicaRecord,
    ResourceRecord,
    RosterRecord,
    ShardRecord,
    SweepRecord,
    SweepState,
    TombstoneRecord,
    encode,
)
from leasehold.protocol.store import Delete, Put, Txn, TxnResult

pytestmark = pytest.mark.etcd
A, B = Holder("a@1~1"), Holder("b@1~1")
BOOT = Boot("boot")
GRACE = ClassName("2s")


def resource(name: str = "r") -> Resource:
    return Resource(OwnerName("store"), TypeName("blob"), ResourceId(name))


def record(*references: Resource, incarnation: str = "uid:1") -> ResourceRecord:
    return ResourceRecord(
        incarnation=incarnation, rule="create", grace_class=GRACE, creator=A,
        references=tuple((one.owner, one.type, one.id) for one in references),
    )  # fmt: skip


def roster(ended: Ending | None = None) -> RosterRecord:
    return RosterRecord("svc", "1", HolderKind.PROCESS, BOOT, 10, ended=ended)


def hold(sequence: int = 1) -> HoldRecord:
    return HoldRecord(boot=BOOT, sequence=sequence)


TOMBSTONE = TombstoneRecord("uid:1", "unheld", 1)


class Protocol:
    """The transactions, with the facts they need read from etcd just before, unless a test says otherwise."""

    def __init__(self, etcd: EtcdClient) -> None:
        self.etcd = etcd
        self.keys = Keyspace(Tenant(f"t{uuid4().hex[:8]}"))
        self.by = tx.Authority(0, Revision(0), Revision(0))

    async def run(self, txn: Txn) -> TxnResult:
        return await self.etcd.commit(txn, deadline=5)

    async def found(self) -> None:
        assert (await self.run(tx.found_tenant(self.keys, ClusterRecord("c"), ArmedRecord("test", "")))).succeeded
        await self.lead()

    async def lead(self) -> None:
        lease = (await self.etcd.grant(60, deadline=5)).lease
        claimed = await self.run(tx.claim_shard(self.keys, 0, ShardRecord("replica"), lease))
        assert claimed.succeeded
        self.by = tx.Authority(0, claimed.revision, await self.revision(self.keys.armed))

    async def revision(self, key: bytes) -> Revision:
        found = await self.etcd.get(key, deadline=5)
        return found.mod_revision if found else Revision(0)

    async def attach(self, holder: Holder = A, boot: Boot = BOOT) -> bool:
        lease = (await self.etcd.grant(60, deadline=5)).lease
        return tx.attached(await self.run(tx.attach(self.keys, holder, boot, lease, roster())))

    async def die(self, holder: Holder = A) -> None:
        await self.run(tx.retire(self.keys, holder, BOOT, roster(Ending.CRASHED)))

    async def vanish(self, holder: Holder = A) -> None:
        await self.run(Txn((), (Delete(self.keys.beacon(holder)),)))

    async def batch(self, member: Txn, holder: Holder = A) -> bool:
        result = await self.run(tx.batch(self.keys, {holder: BOOT}, [member]))
        return result.succeeded and tx.committed(result)

    async def register(self, it: Resource, *references: Resource, holder: Holder = A) -> bool:
        return await self.batch(tx.register(self.keys, it, record(*references), holder, hold()), holder)

    async def acquire(self, it: Resource, holder: Holder = B, sequence: int = 1) -> bool:
        return await self.batch(tx.acquire(self.keys, it, holder, hold(sequence)), holder)

    async def release(self, it: Resource, holder: Holder = A, sequence: int = 1) -> bool:
        released = HoldRecord(boot=BOOT, sequence=sequence, released=True)
        return (await self.run(tx.release(self.keys, it, holder, hold(sequence), released))).succeeded

    async def unheld(self, it: Resource) -> tx.Unheld:
        found = await self.etcd.read(self.keys.holds_of(it), deadline=5)
        parsed = [(self.keys.parse(item.key), item) for item in found.items]
        holds = [
            tx.HoldFound(
                key.holder,
                item.mod_revision,
                b'"released":true' in item.value,
                await self.revision(self.keys.roster(key.holder)),
            )
            for key, item in parsed
            if key is not None
        ]
        return tx.Unheld(it, await self.revision(self.keys.record(it)), found.revision, holds)

    async def condemn(self, it: Resource, facts: tx.Unheld | None = None) -> bool:
        facts = facts or await self.unheld(it)
        return tx.committed(await self.run(tx.condemn(self.keys, self.by, facts, TOMBSTONE)))

    async def epoch(self, number: int = 1, *, finished: bool = True) -> tx.EpochFound:
        lease = (await self.etcd.grant(60, deadline=5)).lease
        opened = EpochRecord(2.0, lease)
        assert (await self.run(tx.open_epoch(self.keys, self.by, GRACE, number, opened))).succeeded
        if finished:
            await self.etcd.revoke(lease, deadline=5)
            assert (
                await self.run(
                    tx.close_epoch(self.keys, self.by, await self.epoch_found(number), EpochRecord(2.0, lease, True))
                )
            ).succeeded
        return await self.epoch_found(number)

    async def epoch_found(self, number: int = 1) -> tx.EpochFound:
        key = self.keys.epoch(GRACE, number)
        found = await self.etcd.get(key, deadline=5)
        assert found is not None
        return tx.EpochFound(GRACE, number, key, found.create_revision, found.mod_revision, EpochRecord(2.0, 1))

    async def prepare(self, it: Resource, epoch: tx.EpochFound, facts: tx.Unheld | None = None) -> bool:
        facts = facts or await self.unheld(it)
        tombstone = await self.revision(self.keys.tombstone(it)) or Revision(1)
        sweep = self.sweep(facts, SweepState.PREPARED, 0, tombstone)
        txn = tx.prepare(self.keys, self.by, facts, tombstone, epoch, sweep)
        return tx.committed(await self.run(txn))

    def sweep(self, facts: tx.Unheld, state: SweepState, attempt: int, tombstone: Revision) -> SweepRecord:
        return SweepRecord(state, "uid:1", self.by.fence, facts.revision, tombstone, "2s/1", facts.holders, attempt)

    async def send(self, it: Resource, attempt: int = 1) -> bool:
        seen = await self.revision(self.keys.sweep(it)) or Revision(1)
        facts = await self.unheld(it)
        tombstone = await self.revision(self.keys.tombstone(it))
        sweep = self.sweep(facts, SweepState.SENT, attempt, tombstone)
        txn = tx.send(self.keys, self.by, it, seen, sweep, facts.revision)
        return tx.committed(await self.run(txn))

    async def condemned(self, it: Resource) -> tx.EpochFound:
        """Registered by A, who died; condemned; a whole epoch later."""
        await self.attach()
        assert await self.register(it)
        await self.die()
        assert await self.condemn(it)
        return await self.epoch()

    async def left_of(self, it: Resource) -> list[Family]:
        """The families that still have a key with this id in it."""
        left = await self.etcd.read(self.keys.everything, deadline=5)
        return [key.family for item in left.items if (key := self.keys.parse(item.key)) and it.id in key.parts]

    async def prepared(self, it: Resource) -> None:
        assert await self.prepare(it, await self.condemned(it))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    client, peer = free_ports(2)
    folder = tmp_path_factory.mktemp("etcd")
    process = EtcdProcess(find_etcd({**os.environ, "PATH": ""}), folder, EtcdOptions(client, peer))

    async def start() -> None:
        await process.start()
        await process.wait_until_serving(deadline=20)

    with asyncio.Runner() as runner:
        runner.run(start())
        yield process
        runner.run(process.stop())


@pytest.fixture
async def protocol(server: EtcdProcess) -> AsyncIterator[Protocol]:
    async with EtcdClient(EtcdConfig(endpoints=[server.endpoint])) as etcd:
        it = Protocol(etcd)
        await it.found()
        yield it


# --- the holder's side ------------------------------------------------------------------------------------------


async def test_a_beacon_is_attached_again_by_its_own_boot_only(protocol: Protocol) -> None:
    assert await protocol.attach()
    assert await protocol.attach()
    assert not await protocol.attach(boot=Boot("other"))


async def test_a_batch_without_its_beacon_does_nothing_at_all(protocol: Protocol) -> None:
    assert not await protocol.register(resource())
    assert (await protocol.etcd.read(protocol.keys.everything, deadline=5)).items[0].key.find(b"resources") == -1


async def test_a_registered_resource_cannot_be_registered_over_unseen(protocol: Protocol) -> None:
    await protocol.attach()
    assert await protocol.register(resource())
    assert not await protocol.register(resource())
    seen = await protocol.revision(protocol.keys.record(resource()))
    newer = tx.register(protocol.keys, resource(), record(incarnation="uid:2"), A, hold(2), seen=seen)
    assert await protocol.batch(newer)


async def test_what_no_rule_saw_created_cannot_be_acquired(protocol: Protocol) -> None:
    await protocol.attach(B)
    assert not await protocol.acquire(resource())


@pytest.mark.parametrize("act", ["acquire", "release", "register", "forget", "restore"])
async def test_whatever_a_living_holder_does_deletes_the_tombstone(protocol: Protocol, act: str) -> None:
    await protocol.condemned(resource())
    await protocol.attach(A)
    await protocol.attach(B)
    seen = await protocol.revision(protocol.keys.record(resource()))
    assert await protocol.revision(protocol.keys.tombstone(resource()))
    if act == "acquire":
        assert await protocol.acquire(resource())
    elif act == "release":
        assert await protocol.release(resource())
    elif act == "register":
        assert await protocol.batch(tx.register(protocol.keys, resource(), record(), B, hold(), seen=seen), B)
    elif act == "forget":
        assert (await protocol.run(tx.forget(protocol.keys, resource(), record(), seen))).succeeded
    else:
        assert (await protocol.run(tx.restore(protocol.keys, resource()))).succeeded
    assert not await protocol.revision(protocol.keys.tombstone(resource()))


async def test_a_late_release_cannot_hit_a_newer_acquire(protocol: Protocol) -> None:
    await protocol.attach()
    await protocol.register(resource())
    assert await protocol.release(resource(), sequence=1)
    assert await protocol.acquire(resource(), A, sequence=2)
    assert not await protocol.release(resource(), sequence=1)
    [found] = (await protocol.unheld(resource())).holds
    assert not found.released


async def test_second_copies_of_an_old_acquire_and_its_release_leave_a_newer_acquire_alone(protocol: Protocol) -> None:
    """Found by the model: the first would take the place of the newer hold, and the second let go of it."""
    await protocol.attach()
    await protocol.attach(B)
    assert await protocol.register(resource())
    keys = protocol.keys
    old = tx.acquire(keys, resource(), B, hold(1), heard=await protocol.revision(keys.record(resource())))
    early = tx.intend(
        keys, B, CallId("c"), IntentRecord("r", "PUT", "/r", "c"), resource(), hold(1),
        heard=await protocol.revision(keys.record(resource())),
    )  # fmt: skip
    assert await protocol.batch(old, B)
    assert await protocol.release(resource(), B, 1)
    refused = await protocol.run(tx.acquire(keys, resource(), B, hold(2), heard=Revision(1)))
    assert not refused.succeeded, "what was not heard of is heard of now"
    newer = tx.acquire(keys, resource(), B, hold(2), heard=refused.revision)
    assert await protocol.batch(newer, B)
    for copy in (old, early):
        assert not await protocol.batch(copy, B)
        assert not await protocol.release(resource(), B, 1)
    assert await protocol.release(resource(), B, 2)


async def test_an_app_that_deleted_it_leaves_nothing_behind(protocol: Protocol) -> None:
    await protocol.attach()
    await protocol.register(resource("target"))
    await protocol.register(resource(), resource("target"))
    seen = await protocol.revision(protocol.keys.record(resource()))
    txn = tx.forget(protocol.keys, resource(), record(resource("target")), seen)
    assert (await protocol.run(txn)).succeeded
    assert (await protocol.run(txn)).succeeded is False
    assert not await protocol.left_of(resource())


async def test_a_retracted_call_leaves_neither_intent_nor_early_hold(protocol: Protocol) -> None:
    await protocol.attach()
    intent = IntentRecord("create", "PUT", "/x", "call")
    assert await protocol.batch(tx.intend(protocol.keys, A, CallId("call"), intent, resource(), hold()))
    assert (await protocol.unheld(resource())).holds
    await protocol.run(tx.retract(protocol.keys, A, CallId("call"), resource(), hold()))
    assert not (await protocol.unheld(resource())).holds
    assert not (await protocol.etcd.read(protocol.keys.intents_of(A), deadline=5)).items


async def test_a_retracted_call_never_lets_go_of_what_was_held_before(protocol: Protocol) -> None:
    await protocol.attach()
    await protocol.register(resource())
    intent = IntentRecord("create", "PUT", "/x", "call")
    assert await protocol.batch(tx.intend(protocol.keys, A, CallId("call"), intent, resource(), hold(2)))
    await protocol.run(tx.retract(protocol.keys, A, CallId("call"), resource(), hold(2)))
    assert (await protocol.unheld(resource())).holds


async def test_a_hundred_registrations_are_one_commit(protocol: Protocol) -> None:
    await protocol.attach()
    members = [tx.register(protocol.keys, resource(f"r{n}"), record(), A, hold(n)) for n in range(tx.MAX_BATCH)]
    result = await protocol.run(tx.batch(protocol.keys, {A: BOOT}, members))
    assert tx.committed(result)
    records = await protocol.etcd.read(protocol.keys.family(Family.RESOURCES), deadline=5)
    assert len(records.items) == tx.MAX_BATCH
    assert {item.mod_revision for item in records.items} == {result.revision}


# --- the collector's side ---------------------------------------------------------------------------------------


async def test_the_abandoned_goes_all_the_way(protocol: Protocol) -> None:
    it = resource()
    await protocol.prepared(it)
    assert await protocol.send(it)
    seen = await protocol.revision(protocol.keys.sweep(it))
    lease = (await protocol.etcd.grant(60, deadline=5)).lease
    grave = GraveRecord("uid:1", "deleted")
    assert (await protocol.run(tx.finish(protocol.keys, protocol.by, it, seen, record(), grave, lease))).succeeded
    assert await protocol.left_of(it) == [Family.GRAVES]


Spoil = Callable[[Protocol], object]


async def _attach_again(protocol: Protocol) -> None:
    await protocol.attach()


async def _pin(protocol: Protocol) -> None:
    await protocol.run(tx.pin(protocol.keys, resource(), PinRecord("me", "mine")))


async def _trip(protocol: Protocol) -> None:
    await protocol.run(tx.trip(protocol.keys))


async def _rearm(protocol: Protocol) -> None:
    await protocol.run(tx.arm(protocol.keys, ArmedRecord("me", "again")))


async def _lose_the_shard(protocol: Protocol) -> None:
    await protocol.run(tx.yield_shard(protocol.keys, protocol.by))
    lease = (await protocol.etcd.grant(60, deadline=5)).lease
    await protocol.run(tx.claim_shard(protocol.keys, 0, ShardRecord("another"), lease))


async def _someone_acquires(protocol: Protocol) -> None:
    await protocol.attach(B)
    assert await protocol.acquire(resource())


async def _someone_refers(protocol: Protocol) -> None:
    await protocol.attach(B)
    assert await protocol.register(resource("source"), resource(), holder=B)


async def _record_changes(protocol: Protocol) -> None:
    await protocol.run(Txn((), (Put(protocol.keys.record(resource()), b"{}"),)))


async def _record_vanishes(protocol: Protocol) -> None:
    await protocol.run(Txn((), (Delete(protocol.keys.record(resource())),)))


async def _holds_vanish(protocol: Protocol) -> None:
    await protocol.run(Txn((), (Delete(protocol.keys.family(Family.HOLDS)),)))


SPOILERS = [
    _attach_again, _pin, _trip, _rearm, _lose_the_shard, _someone_acquires, _someone_refers, _record_changes,
    _record_vanishes, _holds_vanish,
]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda one: one.__name__.strip("_"))
async def test_a_condemnation_fails_if_any_fact_changed_since_the_read(protocol: Protocol, spoil: Spoil) -> None:
    await protocol.attach()
    await protocol.register(resource())
    await protocol.die()
    facts = await protocol.unheld(resource())
    await spoil(protocol)  # type: ignore[misc]
    assert not await protocol.condemn(resource(), facts)


async def _roster_renewed(protocol: Protocol) -> None:
    await protocol.attach()
    await protocol.vanish()


async def _roster_lost(protocol: Protocol) -> None:
    await protocol.run(Txn((), (Delete(protocol.keys.family(Family.ROSTER)),)))


async def _restored(protocol: Protocol) -> None:
    await protocol.run(tx.restore(protocol.keys, resource()))


async def _epochs_lost(protocol: Protocol) -> None:
    await protocol.run(Txn((), (Delete(protocol.keys.family(Family.EPOCHS)),)))


async def _condemned_anew(protocol: Protocol) -> None:
    await _restored(protocol)
    assert await protocol.condemn(resource())


@pytest.mark.parametrize(
    "spoil",
    [*SPOILERS, _roster_renewed, _roster_lost, _restored, _epochs_lost, _condemned_anew],
    ids=lambda one: one.__name__.strip("_"),
)
async def test_a_sweep_is_not_prepared_if_any_fact_changed_since_the_read(protocol: Protocol, spoil: Spoil) -> None:
    epoch = await protocol.condemned(resource())
    facts = await protocol.unheld(resource())
    await spoil(protocol)  # type: ignore[misc]
    assert not await protocol.prepare(resource(), epoch, facts)


async def test_an_epoch_that_opened_before_the_tombstone_measures_nothing(protocol: Protocol) -> None:
    epoch = await protocol.epoch()
    await protocol.attach()
    await protocol.register(resource())
    await protocol.die()
    assert await protocol.condemn(resource())
    assert not await protocol.prepare(resource(), epoch)
    assert await protocol.prepare(resource(), await protocol.epoch(2))


async def test_an_epoch_is_not_done_while_its_lease_lives(protocol: Protocol) -> None:
    epoch = await protocol.epoch(finished=False)
    closing = tx.close_epoch(protocol.keys, protocol.by, epoch, EpochRecord(2.0, 1, True))
    assert not (await protocol.run(closing)).succeeded


async def test_absence_of_holds_permits_nothing(protocol: Protocol) -> None:
    await protocol.attach()
    await protocol.register(resource())
    await _holds_vanish(protocol)
    with pytest.raises(ValueError, match="absence permits nothing"):
        await protocol.condemn(resource())


async def test_a_released_hold_is_evidence_of_letting_go(protocol: Protocol) -> None:
    await protocol.attach()
    await protocol.register(resource())
    assert not await protocol.condemn(resource())
    assert await protocol.release(resource())
    assert await protocol.condemn(resource())


@pytest.mark.parametrize("count", [24, 25, 200])
async def test_one_living_holder_of_many_is_enough(protocol: Protocol, count: int) -> None:
    await protocol.attach()
    await protocol.register(resource())
    others = [Holder(f"h@{n}~1") for n in range(count - 1)]
    for holder in others:
        await protocol.attach(holder)
        assert await protocol.acquire(resource(), holder)
    await protocol.die()
    for holder in others:
        await protocol.vanish(holder)
    facts = await protocol.unheld(resource())
    await protocol.attach(others[-1])
    assert not await protocol.condemn(resource(), facts)
    await protocol.vanish(others[-1])
    assert await protocol.condemn(resource())
    epoch = await protocol.epoch()
    facts = await protocol.unheld(resource())
    await protocol.attach(others[-1])
    with_returned = await protocol.prepare(resource(), epoch, facts)
    assert not with_returned
    await protocol.vanish(others[-1])
    await protocol.run(tx.restore(protocol.keys, resource()))
    assert await protocol.condemn(resource())
    assert await protocol.prepare(resource(), await protocol.epoch(2))
    seen = await protocol.revision(protocol.keys.sweep(resource()))
    facts = await protocol.unheld(resource())
    await protocol.attach(others[-1])
    first = protocol.sweep(facts, SweepState.SENT, 1, await protocol.revision(protocol.keys.tombstone(resource())))
    sent = await protocol.run(tx.send(protocol.keys, protocol.by, resource(), seen, first, facts.revision))
    assert not sent.succeeded


async def test_a_beacon_that_returned_stops_the_first_send_but_not_a_retry(protocol: Protocol) -> None:
    await protocol.prepared(resource())
    await protocol.attach()
    assert not await protocol.send(resource(), attempt=1)
    assert await protocol.send(resource(), attempt=2)


async def test_a_tripped_brake_stops_the_first_send(protocol: Protocol) -> None:
    await protocol.prepared(resource())
    await _trip(protocol)
    assert not await protocol.send(resource())


@pytest.mark.parametrize("act", ["acquire", "register", "pin", "restore", "forget", "again"])
async def test_while_a_sweep_runs_nobody_may_touch_its_resource(protocol: Protocol, act: str) -> None:
    await protocol.prepared(resource())
    await protocol.attach(B)
    seen = await protocol.revision(protocol.keys.record(resource()))
    if act == "acquire":
        assert not await protocol.acquire(resource())
    elif act == "register":
        assert not await protocol.batch(tx.register(protocol.keys, resource(), record(), B, hold(), seen=seen), B)
    elif act == "forget":
        assert not (await protocol.run(tx.forget(protocol.keys, resource(), record(), seen))).succeeded
    elif act == "again":
        assert not await protocol.prepare(resource(), await protocol.epoch_found())
    else:
        change = (
            tx.pin(protocol.keys, resource(), PinRecord("me", ""))
            if act == "pin"
            else tx.restore(protocol.keys, resource())
        )
        assert not (await protocol.run(change)).succeeded


@pytest.mark.parametrize("family", [Family.PINS, Family.HOLDS])
async def test_a_pin_outlives_the_loss_of_either_of_its_two_keys(protocol: Protocol, family: Family) -> None:
    epoch = await protocol.condemned(resource())
    keys = protocol.keys
    assert (await protocol.run(tx.pin(keys, resource(), PinRecord("me", "mine")))).succeeded
    lost = keys.pin(resource()) if family is Family.PINS else keys.hold(resource(), tx.PINNED)
    await protocol.run(Txn((), (Delete(lost),)))
    assert not await protocol.prepare(resource(), epoch)
    assert (await protocol.run(tx.unpin(keys, resource()))).succeeded
    assert await protocol.condemn(resource()), "an unpin is seen as what it is, whatever was lost before"
    assert await protocol.prepare(resource(), await protocol.epoch(2))


async def test_a_pin_is_of_the_id_and_stays_when_the_app_deletes_what_it_pinned(protocol: Protocol) -> None:
    await protocol.attach()
    assert await protocol.register(resource())
    await protocol.acquire(resource(), A, 2)
    await protocol.run(tx.pin(protocol.keys, resource(), PinRecord("me", "mine")))
    seen = await protocol.revision(protocol.keys.record(resource()))
    assert (await protocol.run(tx.forget(protocol.keys, resource(), record(), seen))).succeeded
    assert sorted(await protocol.left_of(resource()), key=str) == [Family.HOLDS, Family.PINS]


async def test_a_referenced_target_that_is_being_swept_refuses_its_new_source(protocol: Protocol) -> None:
    await protocol.prepared(resource())
    await protocol.attach(B)
    assert not await protocol.register(resource("source"), resource(), holder=B)


async def test_what_needs_everything_of_a_type_waits_for_every_sweep_of_it(protocol: Protocol) -> None:
    await protocol.prepared(resource())
    keys, needing = protocol.keys, record(tx.every(resource()))
    refused = await protocol.run(tx.register(keys, resource("source"), needing, B, hold()))
    assert not tx.committed(refused)
    other = Resource(OwnerName("store"), TypeName("other"), ResourceId("r"))
    elsewhere = tx.register(keys, resource("elsewhere"), record(tx.every(other)), B, hold())
    assert tx.committed(await protocol.run(elsewhere))
    late = tx.register(keys, resource("source"), needing, B, hold(), past_others=True)
    assert tx.committed(await protocol.run(late)), "others of the type need its protection"


async def test_a_stale_leader_can_finish_nothing(protocol: Protocol) -> None:
    await protocol.prepared(resource())
    assert await protocol.send(resource())
    stale = protocol.by
    await protocol.run(tx.yield_shard(protocol.keys, stale))
    await protocol.lead()
    seen = await protocol.revision(protocol.keys.sweep(resource()))
    assert protocol.by.fence != stale.fence
    grave = GraveRecord("uid:1", "deleted")
    attempts = [
        tx.finish(protocol.keys, stale, resource(), seen, record(), grave, LeaseId(0)),
        tx.abort(protocol.keys, stale, resource(), seen),
        tx.note(
            protocol.keys,
            stale,
            resource(),
            seen,
            protocol.sweep(await protocol.unheld(resource()), SweepState.SENT, 2, Revision(1)),
        ),
        tx.open_epoch(protocol.keys, stale, GRACE, 9, EpochRecord(2.0, 0)),
        tx.yield_shard(protocol.keys, stale),
    ]
    for attempt in attempts:
        assert not (await protocol.run(attempt)).succeeded
    assert (await protocol.run(tx.abort(protocol.keys, protocol.by, resource(), seen))).succeeded


async def test_a_lost_armed_key_is_not_put_back_by_a_new_control_plane(protocol: Protocol) -> None:
    await protocol.epoch()
    await _trip(protocol)
    await protocol.run(Txn((), (Delete(protocol.keys.cluster),)))
    founded = await protocol.run(tx.found_tenant(protocol.keys, ClusterRecord("c"), ArmedRecord("x", "")))
    assert not founded.succeeded


def test_facts_that_were_not_read_cannot_be_compared(protocol: Protocol) -> None:
    nobody = tx.Authority(0, Revision(0), Revision(0))
    with pytest.raises(ValueError, match="was read and was there"):
        tx.abort(protocol.keys, nobody, resource(), Revision(3))
    with pytest.raises(ValueError, match="was read and was there"):
        tx.abort(protocol.keys, replace(nobody, fence=Revision(2)), resource(), Revision(0))


# --- the roster -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["beacon", "roster"])
async def test_a_first_send_needs_every_holder_gone_and_quiet_since_the_tombstone(
    protocol: Protocol, what: str
) -> None:
    it = resource()
    await protocol.prepared(it)
    await protocol.attach()
    if what == "roster":
        await protocol.vanish()
    assert not await protocol.send(it)
    assert await protocol.send(it, attempt=2), "what was sent once is repeated: bytes have left already"


async def test_a_first_send_needs_the_roster_entry_to_be_there(protocol: Protocol) -> None:
    it = resource()
    await protocol.prepared(it)
    await protocol.run(Txn((), (Delete(protocol.keys.roster(A)),)))
    assert not await protocol.send(it)


async def _strike(protocol: Protocol, seen: Revision | None = None, by: tx.Authority | None = None) -> bool:
    found = seen or await protocol.revision(protocol.keys.roster(A))
    return (await protocol.run(tx.strike(protocol.keys, by or protocol.by, A, found))).succeeded


async def test_a_holder_that_is_long_gone_is_struck_off_the_roster(protocol: Protocol) -> None:
    await protocol.attach()
    await protocol.vanish()
    assert await _strike(protocol)
    assert not await protocol.revision(protocol.keys.roster(A))


@pytest.mark.parametrize("but", ["alive", "ended since", "came back since", "calling", "stale fence"])
async def test_nobody_is_struck_off_the_roster_who(protocol: Protocol, but: str) -> None:
    await protocol.attach()
    by = protocol.by
    if but == "calling":
        intent = IntentRecord("create", "PUT", "/x", "call")
        assert await protocol.batch(tx.intend(protocol.keys, A, CallId("call"), intent, None, hold()))
    seen = await protocol.revision(protocol.keys.roster(A))
    if but == "ended since":
        await protocol.die()
    if but == "came back since":
        await protocol.attach()
    if but == "stale fence":
        by = replace(by, fence=Revision(by.fence - 1))
    if but != "alive":
        await protocol.vanish()
    assert not await _strike(protocol, seen, by)
    assert await protocol.revision(protocol.keys.roster(A))


async def test_who_was_struck_holds_nothing_without_attaching_anew(protocol: Protocol) -> None:
    await protocol.attach()
    await protocol.vanish()
    assert await _strike(protocol)
    assert not await protocol.register(resource())
    assert await protocol.attach()
    assert await protocol.register(resource())
    assert await protocol.revision(protocol.keys.roster(A)), "attaching rewrites the entry"


# --- replicas and shards ----------------------------------------------------------------------------------------

ME = ReplicaRecord("boot-1")
SHARD_OF_ME = ShardRecord("one")


async def _lease(protocol: Protocol) -> LeaseId:
    return (await protocol.etcd.grant(60, deadline=5)).lease


async def _join(protocol: Protocol, lease: LeaseId, replica: ReplicaRecord = ME) -> bool:
    return tx.attached(await protocol.run(tx.join(protocol.keys, "one", replica, lease)))


async def _claim(protocol: Protocol, shards: Sequence[int], lease: LeaseId, cluster: Revision) -> TxnResult:
    return await protocol.run(tx.claim_shards(protocol.keys, shards, SHARD_OF_ME, ME, lease, cluster))


async def test_two_replicas_of_one_name_are_one_too_many(protocol: Protocol) -> None:
    assert await _join(protocol, await _lease(protocol))
    assert await _join(protocol, await _lease(protocol)), "joining again, under a new lease, is harmless"
    assert not await _join(protocol, await _lease(protocol), ReplicaRecord("boot-2"))


async def test_all_free_shards_are_claimed_at_once_and_none_that_somebody_has(protocol: Protocol) -> None:
    cluster, lease = await protocol.revision(protocol.keys.cluster), await _lease(protocol)
    assert await _join(protocol, lease)
    claimed = await _claim(protocol, range(tx.MAX_BATCH), lease, cluster)
    assert [member.succeeded for member in claimed.results] == [False, *[True] * 99], "0 is led by the other"  # type: ignore[union-attr]
    found = await protocol.etcd.read(protocol.keys.family(Family.SHARDS), deadline=5)
    assert {item.create_revision for item in found.items if item.lease == lease} == {claimed.revision}
    assert protocol.by.fence == await protocol.revision(protocol.keys.shard(0))


@pytest.mark.parametrize("why", ["not joined", "joined by another", "number of shards rewritten"])
async def test_nothing_is_claimed_when(protocol: Protocol, why: str) -> None:
    cluster, lease = await protocol.revision(protocol.keys.cluster), await _lease(protocol)
    if why == "joined by another":
        assert await _join(protocol, lease, ReplicaRecord("boot-2"))
    if why == "number of shards rewritten":
        assert await _join(protocol, lease)
        await protocol.run(Txn((), (Put(protocol.keys.cluster, encode(ClusterRecord("c", shards=2))),)))
    assert not (await _claim(protocol, [1, 2], lease, cluster)).succeeded
    assert not await protocol.revision(protocol.keys.shard(1))


async def test_only_that_tenure_of_a_shard_is_yielded_that_was_ours(protocol: Protocol) -> None:
    cluster, lease = await protocol.revision(protocol.keys.cluster), await _lease(protocol)
    assert await _join(protocol, lease)
    claimed = await _claim(protocol, [1, 2], lease, cluster)
    await _lose_the_shard(protocol)
    fences = {0: protocol.by.fence, 1: claimed.revision}
    await protocol.run(tx.yield_shards(protocol.keys, fences))
    there = [bool(await protocol.revision(protocol.keys.shard(n))) for n in range(3)]
    assert there == [True, False, True]
    assert tx.committed(await protocol.run(tx.yield_shards(protocol.keys, {2: claimed.revision})))


async def test_a_fence_of_another_shard_permits_nothing(protocol: Protocol) -> None:
    """Whoever holds shard 1 is refused what is done under shard 0, and the other way round."""
    await protocol.prepared(resource())
    cluster, lease = await protocol.revision(protocol.keys.cluster), await _lease(protocol)
    assert await _join(protocol, lease)
    fence = (await _claim(protocol, [1], lease, cluster)).revision
    seen = await protocol.revision(protocol.keys.sweep(resource()))
    for by in (replace(protocol.by, fence=fence), replace(protocol.by, shard=1), replace(protocol.by, shard=2)):
        assert not (await protocol.run(tx.abort(protocol.keys, by, resource(), seen))).succeeded


async def test_a_tenant_that_an_operator_armed_before_its_first_control_plane_is_founded_all_the_same(
    server: EtcdProcess,
) -> None:
    async with EtcdClient(EtcdConfig(endpoints=[server.endpoint])) as etcd:
        await _found_what_is_armed(Protocol(etcd))


async def _found_what_is_armed(protocol: Protocol) -> None:
    await _rearm(protocol)
    armed = await protocol.revision(protocol.keys.armed)
    result = await protocol.run(tx.found_tenant(protocol.keys, ClusterRecord("c"), ArmedRecord("x", "")))
    assert tx.founded(result)
    assert await protocol.revision(protocol.keys.cluster)
    assert await protocol.revision(protocol.keys.armed) == armed
