"""The transactions of resolver and inventory, on a fake and on a real etcd: each guard refuses what it is there for.

Every refusal is shown twice: the transaction as it is does nothing, and without the guard in question it would go
through, so no other guard hides it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

import pytest

from leasehold.protocol import transactions as tx
from leasehold.protocol import transactions_intents as intents
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import CallId, Holder, Revision
from leasehold.protocol.records import HoldRecord, IntentRecord, ResourceRecord
from leasehold.protocol.store import Compare, Delete, Put, Txn
from tests.fakes.etcd import FakeEtcd
from tests.integration.test_transactions import A, B, Protocol, hold, record, resource

CALL = CallId("call")
INTENT = IntentRecord("create", "POST", "/x", "call", sent_as="Idempotency-Key")
IT = resource()
RELEASED = HoldRecord("", 0, "inventory", released=True)
FOUND_HOLD = HoldRecord("", 0, "intent call")


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.etcd)])
async def protocol(request: pytest.FixtureRequest, real_etcd: EtcdProcess | None) -> AsyncIterator[Protocol]:
    if request.param == "real":
        if real_etcd is None:
            pytest.skip("no etcd here")
        async with EtcdClient(EtcdConfig(endpoints=[real_etcd.endpoint])) as etcd:
            it = Protocol(etcd)
            await it.found()
            yield it
        return
    async with FakeEtcd() as fake, EtcdClient(fake.config) as etcd:
        it = Protocol(etcd)
        await it.found()
        yield it


@dataclass
class Crashed:
    """A holder that intended and vanished."""

    protocol: Protocol
    found: intents.IntentFound
    seen: Revision = Revision(1)
    """When the record of what it created was read."""

    def resolve(self, held: Revision = Revision(0), seen: Revision = Revision(0)) -> Txn:
        made = record(incarnation="call:call")
        return intents.resolve(self.protocol.keys, self.protocol.by, self.found, IT, made, FOUND_HOLD, held, seen)

    def recorded(self) -> Txn:
        return intents.recorded(self.protocol.keys, self.protocol.by, self.found, IT, self.seen)

    def dismiss(self, held: Revision = Revision(0)) -> Txn:
        return intents.dismiss(self.protocol.keys, self.protocol.by, self.found, IT, held)

    def suspect(self) -> Txn:
        noted = replace_suspect(INTENT)
        return intents.suspect(self.protocol.keys, self.protocol.by, self.found, noted)


def replace_suspect(intent: IntentRecord) -> IntentRecord:
    return IntentRecord(intent.rule, intent.method, intent.target, intent.idempotency_key, suspect="no-lookup")


async def crashed(protocol: Protocol, *, named: bool = False) -> Crashed:
    await protocol.attach()
    early = IT if named else None
    assert await protocol.batch(tx.intend(protocol.keys, A, CALL, INTENT, early, hold()))
    await protocol.vanish()
    roster = await protocol.etcd.get(protocol.keys.roster(A), deadline=5)
    assert roster is not None
    at = await protocol.revision(protocol.keys.intent(A, CALL))
    return Crashed(protocol, intents.IntentFound(A, CALL, at, roster.mod_revision, roster.value))


def without(txn: Txn, key: bytes | object) -> Txn:
    """The transaction with every guard about this place taken out; there has to be one."""
    kept: list[Compare] = [compare for compare in txn.compares if compare.where != key]
    assert len(kept) < len(txn.compares)
    return Txn(kept, txn.success, txn.failure)


async def refused(protocol: Protocol, txn: Txn, guard: bytes | object) -> None:
    """It does nothing, and only because of this guard."""
    assert not (await protocol.run(txn)).succeeded
    assert (await protocol.run(without(txn, guard))).succeeded


async def put(protocol: Protocol, key: bytes) -> None:
    await protocol.run(Txn((), (Put(key, b"{}"),)))


# --- what they do -----------------------------------------------------------------------------------------------


async def test_what_was_found_is_held_by_the_dead_holder_and_its_roster_is_rewritten(protocol: Protocol) -> None:
    it = await crashed(protocol)
    assert (await protocol.run(it.resolve())).succeeded
    [held] = (await protocol.unheld(IT)).holds
    assert (held.holder, held.released) == (A, False)
    assert held.roster > it.found.roster
    assert not await protocol.revision(protocol.keys.intent(A, CALL))
    assert await protocol.condemn(IT), "the ordinary path goes on from here"
    assert await protocol.prepare(IT, await protocol.epoch())


async def test_an_early_hold_stays_as_its_holder_wrote_it(protocol: Protocol) -> None:
    it = await crashed(protocol, named=True)
    held = await protocol.revision(protocol.keys.hold(IT, A))
    assert (await protocol.run(it.resolve(held))).succeeded
    assert await protocol.revision(protocol.keys.hold(IT, A)) == held
    assert await protocol.revision(protocol.keys.roster(A)) == it.found.roster, "no hold was added: nobody is disturbed"


async def test_a_holder_that_returns_holds_what_was_found_and_can_register_over_it(protocol: Protocol) -> None:
    it = await crashed(protocol)
    assert (await protocol.run(it.resolve())).succeeded
    await protocol.attach()
    assert not await protocol.condemn(IT)
    seen = await protocol.revision(protocol.keys.record(IT))
    mine = tx.register(protocol.keys, IT, record(incarnation="uid:9"), A, hold(7), seen=seen, call=CALL)
    assert await protocol.batch(mine)
    assert await protocol.release(IT, sequence=7)


async def test_a_strike_that_read_before_cannot_take_the_roster_entry_away(protocol: Protocol) -> None:
    it = await crashed(protocol)
    strike = tx.strike(protocol.keys, protocol.by, A, it.found.roster)
    assert (await protocol.run(it.resolve())).succeeded
    await refused(protocol, strike, protocol.keys.roster(A))


async def test_what_was_dismissed_leaves_neither_intent_nor_early_hold(protocol: Protocol) -> None:
    it = await crashed(protocol, named=True)
    held = await protocol.revision(protocol.keys.hold(IT, A))
    assert (await protocol.run(it.dismiss(held))).succeeded
    assert not await protocol.left_of(IT)
    assert not await protocol.revision(protocol.keys.intent(A, CALL))


@pytest.mark.parametrize("why", ["recorded", "held anew"])
async def test_a_dismissal_leaves_a_hold_that_holds_something(protocol: Protocol, why: str) -> None:
    it = await crashed(protocol, named=True)
    held = await protocol.revision(protocol.keys.hold(IT, A))
    await put(protocol, protocol.keys.record(IT) if why == "recorded" else protocol.keys.hold(IT, A))
    assert (await protocol.run(it.dismiss(held))).succeeded
    assert await protocol.revision(protocol.keys.hold(IT, A))
    assert not await protocol.revision(protocol.keys.intent(A, CALL))


async def test_nothing_is_dismissed_of_a_holder_that_was_back_for_a_moment(protocol: Protocol) -> None:
    """Found by the model: it may have made the call while it was back."""
    it = await crashed(protocol)
    await put(protocol, protocol.keys.roster(A))
    assert not (await protocol.run(it.dismiss())).succeeded
    assert await protocol.revision(protocol.keys.intent(A, CALL))


async def test_an_intent_is_not_concluded_by_the_record_of_another_incarnation(protocol: Protocol) -> None:
    """What was read as the call's own was forgotten since, and its id used again."""
    it = await crashed(protocol)
    await _with_record(it, "recorded")
    await put(protocol, protocol.keys.record(IT))
    assert not (await protocol.run(it.recorded())).succeeded
    assert await protocol.revision(protocol.keys.intent(A, CALL))


async def test_what_a_call_created_is_recorded_over_an_earlier_incarnation_as_it_was_read(protocol: Protocol) -> None:
    await protocol.attach(B)
    assert await protocol.register(IT, holder=B), "by somebody else"
    seen = await protocol.revision(protocol.keys.record(IT))
    it = await crashed(protocol)
    assert not (await protocol.run(it.resolve())).succeeded, "a record is there"
    assert (await protocol.run(it.resolve(seen=seen))).succeeded
    found = await protocol.etcd.get(protocol.keys.record(IT), deadline=5)
    assert found is not None
    assert b"call:call" in found.value


async def test_a_service_may_be_alive_when_what_it_intended_is_resolved(protocol: Protocol) -> None:
    it = await crashed(protocol)
    await protocol.attach()
    roster = await protocol.revision(protocol.keys.roster(A))
    it.found = replace(it.found, roster=roster, outlived=True)
    assert (await protocol.run(it.resolve())).succeeded
    assert not await protocol.condemn(IT)


async def test_what_the_inventory_found_is_condemned_by_the_ordinary_path(protocol: Protocol) -> None:
    txn = intents.adopt(protocol.keys, protocol.by, IT, record(), RELEASED)
    assert (await protocol.run(txn)).succeeded
    assert not (await protocol.run(txn)).succeeded
    assert await protocol.condemn(IT)
    assert await protocol.prepare(IT, await protocol.epoch())


async def test_what_is_closed_leaves_nothing_behind(protocol: Protocol) -> None:
    await protocol.attach()
    await protocol.register(resource("target"))
    await protocol.register(IT, resource("target"))
    seen = await protocol.revision(protocol.keys.record(IT))
    for key in (protocol.keys.tombstone(IT), protocol.keys.notice(IT)):
        await put(protocol, key)
    assert Family.NOTICES in await protocol.left_of(IT)
    kept: ResourceRecord = record(resource("target"))
    assert (await protocol.run(intents.close(protocol.keys, protocol.by, IT, kept, seen))).succeeded
    assert not await protocol.left_of(IT)


async def test_what_a_leftover_may_need_is_written_down_with_it_and_is_condemned_no_more(protocol: Protocol) -> None:
    keys, part = protocol.keys, resource("part")
    needing = record(tx.every(part), incarnation="call:call")
    it = await crashed(protocol)
    resolve = intents.resolve(keys, protocol.by, it.found, IT, needing, FOUND_HOLD)
    adopt = intents.adopt(keys, protocol.by, resource("orphan"), needing, RELEASED)
    for source, txn in ((IT, resolve), (resource("orphan"), adopt)):
        await put(protocol, keys.tombstone(part))
        assert (await protocol.run(txn)).succeeded
        assert await protocol.etcd.get(keys.ref(tx.every(part), source), deadline=5) is not None
        assert await protocol.etcd.get(keys.tombstone(part), deadline=5) is None


async def test_the_inventory_never_says_that_somebody_holds(protocol: Protocol) -> None:
    with pytest.raises(ValueError, match="released"):
        intents.adopt(protocol.keys, protocol.by, IT, record(), FOUND_HOLD)


# --- what each guard is for -------------------------------------------------------------------------------------

Build = Callable[[Crashed], Txn]
OF_INTENTS: dict[str, Build] = {
    "resolve": lambda it: it.resolve(),
    "dismiss": lambda it: it.dismiss(),
    "suspect": lambda it: it.suspect(),
    "recorded": lambda it: it.recorded(),
}


async def _with_record(it: Crashed, name: str) -> None:
    if name == "recorded":
        await put(it.protocol, it.protocol.keys.record(IT))
        it.seen = await it.protocol.revision(it.protocol.keys.record(IT))


@pytest.mark.parametrize("name", OF_INTENTS)
async def test_a_replica_without_the_fence_writes_nothing(protocol: Protocol, name: str) -> None:
    it = await crashed(protocol)
    await _with_record(it, name)
    protocol.by = replace(protocol.by, fence=Revision(protocol.by.fence - 1))
    await refused(protocol, OF_INTENTS[name](it), protocol.keys.shard(0))


@pytest.mark.parametrize("name", OF_INTENTS)
async def test_a_holder_that_is_back_speaks_for_itself(protocol: Protocol, name: str) -> None:
    it = await crashed(protocol)
    await _with_record(it, name)
    await put(protocol, protocol.keys.beacon(A))
    await refused(protocol, OF_INTENTS[name](it), protocol.keys.beacon(A))


@pytest.mark.parametrize("name", OF_INTENTS)
async def test_an_intent_that_was_concluded_or_written_anew_is_left_alone(protocol: Protocol, name: str) -> None:
    it = await crashed(protocol)
    await _with_record(it, name)
    txn = OF_INTENTS[name](it)
    await put(protocol, protocol.keys.intent(A, CALL))
    assert not (await protocol.run(txn)).succeeded
    await protocol.run(Txn((), (Delete(protocol.keys.intent(A, CALL)),)))
    await refused(protocol, txn, protocol.keys.intent(A, CALL))


async def test_a_holder_that_was_back_meanwhile_is_not_given_holds(protocol: Protocol) -> None:
    it = await crashed(protocol)
    await protocol.attach()
    await protocol.vanish()
    await refused(protocol, it.resolve(), protocol.keys.roster(A))


async def test_a_holder_struck_off_the_roster_is_not_given_holds(protocol: Protocol) -> None:
    it = await crashed(protocol)
    await protocol.run(Txn((), (Delete(protocol.keys.roster(A)),)))
    await refused(protocol, it.resolve(), protocol.keys.roster(A))


async def test_what_somebody_recorded_meanwhile_is_not_overwritten(protocol: Protocol) -> None:
    it = await crashed(protocol)
    await protocol.attach(B)
    await protocol.register(IT, holder=B)
    await refused(protocol, it.resolve(), protocol.keys.record(IT))


async def test_what_is_being_swept_is_not_recorded_anew(protocol: Protocol) -> None:
    it = await crashed(protocol)
    await put(protocol, protocol.keys.sweep(IT))
    await refused(protocol, it.resolve(), protocol.keys.sweep(IT))


async def test_a_hold_that_appeared_meanwhile_is_not_overwritten(protocol: Protocol) -> None:
    it = await crashed(protocol)
    await put(protocol, protocol.keys.hold(IT, A))
    await refused(protocol, it.resolve(), protocol.keys.hold(IT, A))


async def test_what_has_no_record_is_not_called_recorded(protocol: Protocol) -> None:
    it = await crashed(protocol)
    await refused(protocol, it.recorded(), protocol.keys.record(IT))


@pytest.mark.parametrize("guard", ["shard", "record", "holds", "sweep", "grave"])
async def test_an_orphan_is_not_adopted(protocol: Protocol, guard: str) -> None:
    keys = protocol.keys
    places: dict[str, object] = {
        "shard": keys.shard(0), "record": keys.record(IT), "holds": keys.holds_of(IT), "sweep": keys.sweep(IT),
        "grave": keys.grave(IT),
    }  # fmt: skip
    if guard == "shard":
        protocol.by = replace(protocol.by, fence=Revision(protocol.by.fence - 1))
    elif guard == "holds":
        await put(protocol, keys.hold(IT, Holder("c@1~1")))
    else:
        await put(protocol, places[guard])  # type: ignore[arg-type]
    await refused(protocol, intents.adopt(keys, protocol.by, IT, record(), RELEASED), places[guard])


@pytest.mark.parametrize("guard", ["shard", "record", "sweep"])
async def test_a_record_is_not_closed(protocol: Protocol, guard: str) -> None:
    keys = protocol.keys
    await protocol.attach()
    await protocol.register(IT)
    seen = await protocol.revision(keys.record(IT))
    if guard == "shard":
        protocol.by = replace(protocol.by, fence=Revision(protocol.by.fence - 1))
    elif guard == "sweep":
        await put(protocol, keys.sweep(IT))
    else:
        await protocol.batch(tx.register(keys, IT, record(incarnation="uid:2"), A, hold(2), seen=seen))
    place = {"shard": keys.shard(0), "record": keys.record(IT), "sweep": keys.sweep(IT)}[guard]
    await refused(protocol, intents.close(keys, protocol.by, IT, record(), seen), place)
