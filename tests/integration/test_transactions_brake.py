"""The brake's transactions, guard by guard, against the fake etcd and a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from leasehold.protocol import transactions as tx
from leasehold.protocol import transactions_brake as brake
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.names import Revision, RuleName
from leasehold.protocol.records import (
    ArmedRecord,
    CanaryRecord,
    Cause,
    ClusterRecord,
    ShadowRecord,
    TrippedRecord,
    WindowRecord,
)
from leasehold.protocol.store import Delete, Txn
from tests.integration.sidecar_world import World
from tests.integration.test_transactions import A, Protocol, resource

TRIPPED = TrippedRecord("one", "too much", Cause.VANISHED, "", 1, 60, 100)
AGAIN = ArmedRecord("one", "they are back", returned=True)


@pytest.fixture
async def protocol(tenant: World) -> AsyncIterator[Protocol]:
    async with EtcdClient(EtcdConfig(endpoints=[tenant.endpoint])) as etcd:
        it = Protocol(etcd)
        await it.found()
        yield it


async def test_it_is_tripped_under_the_armed_key_that_was_seen_and_says_why(protocol: Protocol) -> None:
    armed = await protocol.revision(protocol.keys.armed)
    assert (await protocol.run(brake.trip_armed(protocol.keys, armed, TRIPPED))).succeeded
    assert not await protocol.revision(protocol.keys.armed)
    assert await protocol.revision(protocol.keys.tripped)


async def test_what_an_operator_armed_since_is_not_tripped_on_old_evidence(protocol: Protocol) -> None:
    armed = await protocol.revision(protocol.keys.armed)
    await protocol.run(tx.arm(protocol.keys, ArmedRecord("me", "I know")))
    assert not (await protocol.run(brake.trip_armed(protocol.keys, armed, TRIPPED))).succeeded
    assert await protocol.revision(protocol.keys.armed) > armed
    assert not await protocol.revision(protocol.keys.tripped)


async def test_another_cluster_is_accepted_only_while_braked_and_over_the_pin_that_was_seen(protocol: Protocol) -> None:
    keys, other = protocol.keys, ClusterRecord("abc", shards=64)
    pinned = await protocol.revision(keys.cluster)
    assert not (await protocol.run(brake.accept_cluster(keys, pinned, other, TRIPPED))).succeeded
    seen = await trip(protocol)
    assert (await protocol.run(brake.accept_cluster(keys, pinned, other, TRIPPED))).succeeded
    assert await protocol.revision(keys.tripped) > seen, "the trip is the operator's now"
    assert not await protocol.revision(keys.armed)
    assert not (await protocol.run(brake.accept_cluster(keys, pinned, other, TRIPPED))).succeeded


async def test_a_trip_without_anything_seen_is_no_transaction(protocol: Protocol) -> None:
    with pytest.raises(ValueError, match="expected the revision"):
        brake.trip_armed(protocol.keys, Revision(0), TRIPPED)


async def trip(protocol: Protocol) -> Revision:
    armed = await protocol.revision(protocol.keys.armed)
    assert (await protocol.run(brake.trip_armed(protocol.keys, armed, TRIPPED))).succeeded
    return await protocol.revision(protocol.keys.tripped)


async def test_returned_beacons_arm_again_once(protocol: Protocol) -> None:
    seen = await trip(protocol)
    assert (await protocol.run(brake.rearm(protocol.keys, protocol.by, seen, AGAIN))).succeeded
    assert await protocol.revision(protocol.keys.armed)
    assert not await protocol.revision(protocol.keys.tripped)
    assert not (await protocol.run(brake.rearm(protocol.keys, protocol.by, seen, AGAIN))).succeeded


async def test_what_an_operator_tripped_meanwhile_is_not_armed_again(protocol: Protocol) -> None:
    seen = await trip(protocol)
    await protocol.run(tx.trip(protocol.keys, TrippedRecord("me", "let me look")))
    assert not (await protocol.run(brake.rearm(protocol.keys, protocol.by, seen, AGAIN))).succeeded
    assert not await protocol.revision(protocol.keys.armed)


async def test_without_the_fence_nobody_arms_again_or_tells_anything(protocol: Protocol) -> None:
    seen = await trip(protocol)
    await protocol.run(Txn((), (Delete(protocol.keys.shard(0)),)))
    keys, by = protocol.keys, protocol.by
    for txn in (
        brake.rearm(keys, by, seen, AGAIN),
        brake.note_window(keys, by, WindowRecord(1, 1)),
        brake.note_canary(keys, by, CanaryRecord("one")),
        brake.note_shadow(keys, by, RuleName("make"), ShadowRecord()),
        brake.clear_canary(keys, by, (resource(),), (A,)),
        brake.strike_canary(keys, by, (A,)),
    ):
        assert not (await protocol.run(txn)).succeeded
    assert not await protocol.revision(keys.armed)


async def test_a_canary_alive_is_not_struck(protocol: Protocol) -> None:
    await protocol.attach(A)
    assert not (await protocol.run(brake.strike_canary(protocol.keys, protocol.by, (A,)))).succeeded
    assert await protocol.revision(protocol.keys.roster(A))
