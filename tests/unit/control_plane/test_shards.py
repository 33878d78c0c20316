"""Several replicas at work: every shard in one hand, moved within moments, and never two acting on one resource."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from leasehold.control_plane import leadership
from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.lifecycle import State
from leasehold.control_plane.core.placement import rightful
from leasehold.protocol.keyspace import Family, shard_of, shard_of_class
from leasehold.protocol.names import ClassName
from leasehold.protocol.records import FOUNDED_SHARDS, ArmedRecord, ClusterRecord, ShardRecord, decode, encode
from leasehold.protocol.store import Delete, Put, Txn
from tests.unit.control_plane.stage import GRACE, Stage, abandoned, rule_set
from tests.unit.control_plane.world import blob, eventually, has_all, metric, state

ALL = set(range(FOUNDED_SHARDS))


def shared(*planes: ControlPlane) -> bool:
    """Whether these act for all shards between them, and each for some."""
    shares = [plane.leadership.acting().keys() for plane in planes]
    return all(shares) and sum(map(len, shares)) == FOUNDED_SHARDS and set().union(*shares) == ALL


def names_of(replica: str, *alive: str, count: int = 1) -> list[str]:
    """Blobs whose shard is that replica's while these are alive."""
    names = (f"r{n}" for n in range(10_000))
    fitting = (name for name in names if rightful(shard_of(blob(name), FOUNDED_SHARDS), alive) == replica)
    return [next(fitting) for _ in range(count)]


async def hands(stage: Stage) -> dict[int, str]:
    """Who has which shard, as etcd has it."""
    found = await stage.client.read(stage.keys.family(Family.SHARDS), deadline=5)
    return {int(stage.keys.parse(item.key).parts[0]): decode(ShardRecord, item.value).replica for item in found.items}  # type: ignore[union-attr]


@pytest.fixture
async def pair(stage: Stage) -> tuple[ControlPlane, ControlPlane]:
    first = await stage.leading(rule_set(stage))
    second = await stage.plane(rule_set(stage), name="two")
    await eventually("they share", lambda: shared(first, second))
    return first, second


# --- shards move ------------------------------------------------------------------------------------------------


async def test_a_tenant_is_founded_with_its_number_of_shards_and_all_are_claimed(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    assert plane.index.shard_count == FOUNDED_SHARDS
    assert await hands(stage) == dict.fromkeys(ALL, "one")


async def test_replicas_share_as_rendezvous_has_it_and_tell(
    stage: Stage, pair: tuple[ControlPlane, ControlPlane]
) -> None:
    expected = {n: rightful(n, ("one", "two")) for n in ALL}
    await eventually("all are where they should be", lambda: _hands_are(stage, expected))
    first, second = pair
    third = await stage.plane(rule_set(stage), name="three")
    await eventually("three share", lambda: shared(first, second, third))
    expected = {n: rightful(n, ("one", "two", "three")) for n in ALL}
    await eventually("all are where they should be", lambda: _hands_are(stage, expected))
    told = third.status()["shards"]
    assert told["of_replicas"] == {name: list(expected.values()).count(name) for name in ("one", "two", "three")}  # type: ignore[index]
    assert (told["free"], told["leaving"]) == (0, 0)  # type: ignore[index]
    assert metric(third, "leasehold_shard_moves_total", how="gained") == metric(third, "leasehold_shards_held")


async def _hands_are(stage: Stage, expected: dict[int, str | None]) -> bool:
    return await hands(stage) == expected


async def test_a_dead_replicas_shards_are_claimed_in_one_transaction_once_its_lease_is_over(
    stage: Stage, pair: tuple[ControlPlane, ControlPlane]
) -> None:
    first, second = pair
    dead = second.leadership.acting().keys()
    await second.crash()
    await stage.clock.advance(1.0)
    assert len(first.leadership.acting()) < FOUNDED_SHARDS, "its lease is not over"
    await stage.clock.advance(2.0)
    await eventually("the first has all", lambda: has_all(first))
    assert len({first.leadership.acting()[n] for n in dead}) == 1, "one transaction has one revision"


async def test_a_clean_stop_frees_all_shards_at_once(stage: Stage, pair: tuple[ControlPlane, ControlPlane]) -> None:
    first, second = pair
    await first.stop()
    await eventually("the second has all, and no time has passed", lambda: has_all(second))


async def test_two_replicas_of_one_name_do_not_both_act(stage: Stage) -> None:
    first = await stage.leading(rule_set(stage))
    twin = await stage.plane(rule_set(stage))
    await eventually("the twin sees all", lambda: len(twin.index.shards) == FOUNDED_SHARDS)
    await stage.clock.advance(3)
    assert twin.leadership.acting() == {}
    await first.stop()
    await eventually("the twin has all", lambda: has_all(twin))


async def test_a_tenant_of_one_shard_has_one_replica_that_acts(stage: Stage) -> None:
    """Tenants founded before there were shards."""
    old = encode(ClusterRecord(f"{0xFACE:x}"))
    assert b"shards" not in old
    await stage.hand.commit(
        Txn((), (Put(stage.keys.cluster, old), Put(stage.keys.armed, encode(ArmedRecord("a", "b")))))
    )  # fmt: skip
    planes = [await stage.plane(rule_set(stage), name=name) for name in ("one", "two")]
    acts = next(plane for plane in planes if plane.config.replica == rightful(0, ("one", "two")))
    await eventually("one acts", lambda: acts.leadership.acting().keys() == {0} and len(acts.index.replicas) == 2)
    await abandoned(stage, "x", "y")
    await stage.clock.advance(2 * GRACE)
    await eventually("both are gone", lambda: not stage.owner.things)
    assert [len(plane.leadership.acting()) for plane in planes] == [plane is acts for plane in planes]


async def test_a_shard_whose_key_was_taken_away_is_lost_at_once_and_claimed_under_a_new_fence(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    before = plane.leadership.acting()
    await stage.hand.commit(Txn((), (Delete(stage.keys.shard(7)),)))
    await eventually("its fence is another", lambda: plane.leadership.acting().get(7) not in {None, before[7]})
    after = plane.leadership.acting()
    assert after[7] > before[7]
    assert {n: fence for n, fence in after.items() if n != 7} == {n: fence for n, fence in before.items() if n != 7}


async def test_a_replica_whose_own_key_was_taken_away_joins_again_and_keeps_its_shards(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    before = plane.leadership.acting()
    joined = plane.index.replicas["one"]
    await stage.hand.commit(Txn((), (Delete(stage.keys.replica("one")),)))
    await eventually("it joined again", lambda: plane.index.replicas.get("one", 0) > joined)
    await eventually("it acts as before", lambda: plane.leadership.acting() == before)


async def test_a_claim_whose_answer_was_lost_is_read_back(stage: Stage) -> None:
    await (await stage.leading(rule_set(stage))).stop()
    stage.fake.drop_after_apply(3)  # join, claim, and what comes next
    plane = await stage.plane(None, name="two")
    for _ in range(40):
        await stage.clock.advance(0.25)
        if has_all(plane):
            break
    assert has_all(plane)


async def test_a_key_that_turns_up_on_our_lease_is_taken_up_or_left(stage: Stage) -> None:
    """A claim that was given up for lost may land late."""
    first = await stage.leading(rule_set(stage))
    second = await stage.plane(rule_set(stage), name="two")
    await eventually("they share", lambda: shared(first, second))
    lease, record = first.membership.lease, encode(first.leadership._record)
    mine, other = min(first.leadership.acting()), min(second.leadership.acting())
    puts = [Put(stage.keys.shard(n), record, lease) for n in (mine, other)]
    await stage.hand.commit(Txn((), tuple(Delete(put.key) for put in puts)))
    await stage.hand.commit(Txn((), tuple(puts)))
    await eventually("they share again", lambda: shared(first, second))
    expected = {n: rightful(n, ("one", "two")) for n in ALL}
    await eventually("all are where they should be", lambda: _hands_are(stage, expected))


# --- acting -----------------------------------------------------------------------------------------------------


async def test_each_resource_is_swept_once_under_the_fence_of_its_own_shard(
    stage: Stage, pair: tuple[ControlPlane, ControlPlane]
) -> None:
    first, second = pair
    names = names_of("one", "one", "two", count=2) + names_of("two", "one", "two", count=2)
    stage.owner.answers += [web.Response(status=500) for _ in names]
    await abandoned(stage, *names)
    await eventually("all are in their grace", lambda: all(state(first, name) is State.IN_GRACE for name in names))
    assert await stage.hand.count(Family.EPOCHS) == 1, "one of them measures the class"
    for _ in range(100):
        await stage.clock.advance(0.5)
        found = [await stage.hand.sweep_of(name) for name in names]
        if all(found):
            break
    for name, sweep in zip(names, found, strict=True):
        shard = await stage.hand.get(stage.keys.shard(shard_of(blob(name), FOUNDED_SHARDS)))
        assert sweep is not None
        assert shard is not None
        assert sweep.fence == shard.create_revision
    for _ in range(40):
        await stage.clock.advance(0.5)
        if not stage.owner.things:
            break
    assert not stage.owner.things
    await eventually("each saw to its own", lambda: (_swept(first), _swept(second)) == (2, 2))


def _swept(plane: ControlPlane) -> float:
    samples = [s for family in plane.metrics.registry.collect() for s in family.samples]
    return sum(sample.value for sample in samples if sample.name == "leasehold_swept_total")


async def test_a_grace_begun_under_one_replica_is_measured_anew_by_the_next(
    stage: Stage, pair: tuple[ControlPlane, ControlPlane]
) -> None:
    measuring = rightful(shard_of_class(ClassName("8s"), FOUNDED_SHARDS), ("one", "two"))
    leaving, staying = sorted(pair, key=lambda plane: plane.config.replica != measuring)
    await abandoned(stage, "x")
    await eventually("it is in its grace", lambda: state(staying, "x") is State.IN_GRACE)
    await stage.clock.advance(GRACE - 2)
    await leaving.stop()
    await eventually("the other has all", lambda: has_all(staying))
    await stage.clock.advance(GRACE - 1)
    assert await stage.hand.count(Family.SWEEPS) == 0, "what the first measured does not count"
    assert "x" in stage.owner.things
    await stage.clock.advance(4)
    await eventually("it is gone", lambda: not stage.owner.things)


async def test_a_shard_that_is_gained_warms_up_and_those_that_stay_do_not(
    stage: Stage, pair: tuple[ControlPlane, ControlPlane]
) -> None:
    first, second = pair
    await stage.hand.attach("alive", ttl=10**6, says_ttl=20)
    await eventually("the holder is known", lambda: first.index.holders())
    kept, gained = first.leadership.acting().keys(), second.leadership.acting().keys()
    await second.stop()
    await eventually("the first has all", lambda: has_all(first))
    now = stage.clock.now()
    assert metric(first, "leasehold_shards_warming_up") == len(gained)
    assert all(first.brake.opens(n) <= now for n in kept)
    assert all(first.brake.opens(n) == now + 30 for n in gained)
    ours, theirs = names_of("one", "one", "two") + names_of("two", "one", "two")
    await abandoned(stage, ours, theirs)
    await stage.clock.advance(GRACE + 2)
    await eventually("what stayed ours is gone", lambda: ours not in stage.owner.things)
    await stage.clock.advance(10)
    assert theirs in stage.owner.things
    await stage.clock.advance(12)
    await eventually("after the warm-up it is gone", lambda: not stage.owner.things)


async def test_a_shard_is_kept_until_what_is_under_way_has_ended(stage: Stage) -> None:
    first = await stage.leading(rule_set(stage), ttl=60)
    [name] = names_of("two", "one", "two")
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> web.Response:
        arrived.set()
        await go_on.wait()
        return web.Response(status=500)

    looked = asyncio.Event()

    async def once_we_looked() -> web.Response:
        await looked.wait()
        return web.Response(status=500)

    stage.owner.answers += [slowly, once_we_looked]
    await abandoned(stage, name)
    await eventually("it is in its grace", lambda: state(first, name) is State.IN_GRACE)
    await stage.clock.advance(GRACE + 0.5)
    await asyncio.wait_for(arrived.wait(), 10)
    shard = shard_of(blob(name), FOUNDED_SHARDS)
    second = await stage.plane(rule_set(stage), name="two", ttl=60)
    await eventually(
        "all others moved", lambda: len(second.leadership.acting()) > 20 and first.leadership.leaving() == 1
    )
    assert (await hands(stage))[shard] == "one"
    assert shard not in first.leadership.acting(), "nothing new is begun"
    sent = await stage.hand.sweep_of(name)
    assert sent is not None
    assert sent.attempt == 1
    go_on.set()
    await eventually("it moved", lambda: shard in second.leadership.acting())
    noted = await stage.hand.sweep_of(name)
    assert noted is not None
    assert "500" in noted.outcome, "what the first learned is written down"
    looked.set()
    for _ in range(40):
        await stage.clock.advance(0.5)
        if not stage.owner.things:
            break
    assert not stage.owner.things
    assert len(stage.owner.deletes(name)) == 3
    assert (_swept(first), _swept(second)) == (0, 1)


async def test_a_call_that_does_not_end_is_cut_off_before_its_shard_is_given_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership, "LEAVING_SECONDS", 0.5)
    first = await stage.leading(rule_set(stage), ttl=60)
    [name] = names_of("two", "one", "two")
    stage.owner.hang = True
    await abandoned(stage, name)
    await eventually("it is in its grace", lambda: state(first, name) is State.IN_GRACE)
    await stage.clock.advance(GRACE + 0.5)
    await eventually("it was sent", lambda: stage.owner.deletes(name))
    second = await stage.plane(rule_set(stage), name="two", ttl=60)
    await eventually("it is being left", lambda: first.leadership.leaving() == 1)
    shard = shard_of(blob(name), FOUNDED_SHARDS)
    # The call is cut off by the loop's time, which the standing clock does not move: no instant of ours passes.
    await eventually("it moved", lambda: shard in second.leadership.acting(), within=10)
    noted = await stage.hand.sweep_of(name)
    assert noted is not None
    assert "unknown" in noted.outcome


# --- nothing by absence -----------------------------------------------------------------------------------------


async def test_without_the_number_of_shards_nothing_is_condemned(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    await stage.hand.commit(Txn((), (Delete(stage.keys.cluster),)))
    await eventually("the brake is on", lambda: "into how many shards" in plane.brake.why_not)
    assert plane.leadership.authority(blob("x"), plane.index.armed) is None
    await abandoned(stage, "x")
    await eventually("it is unheld", lambda: state(plane, "x") is State.UNHELD)
    await stage.clock.advance(2)
    assert await stage.hand.count(Family.TOMBSTONES) == 0


@pytest.mark.parametrize("shards", [b"0", b"-1", b"4097", b'"64"', b"null"])
async def test_a_number_of_shards_that_makes_no_sense_is_not_taken_for_any(stage: Stage, shards: bytes) -> None:
    plane = await stage.leading(rule_set(stage))
    await stage.hand.commit(Txn((), (Put(stage.keys.cluster, b'{"cluster_id":"face","shards":%s}' % shards),)))
    await eventually("the brake is on", lambda: "cannot be read" in plane.brake.why_not)
    assert plane.index.shard_count is None
    assert plane.leadership.authority(blob("x"), plane.index.armed) is None


async def test_a_replica_that_sees_etcd_rewound_disarms_even_if_others_found_the_tenant(
    stage: Stage, pair: tuple[ControlPlane, ControlPlane]
) -> None:
    other = next(plane for plane in pair if not plane.leadership.leading)
    assert await stage.hand.get(stage.keys.armed) is not None
    other.collector.on_rewind("etcd went back")
    assert metric(other, "leasehold_rewinds_total") == 1
    other.collector._bell.ring()
    await eventually("disarmed", lambda: _disarmed(stage))


async def _disarmed(stage: Stage) -> bool:
    return await stage.hand.get(stage.keys.armed) is None
