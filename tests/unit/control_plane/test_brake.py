"""The brake trips by itself, for a reason, for everybody, and is not armed again for less than a reason."""

from __future__ import annotations

from fractions import Fraction

import pytest

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.brake_window import Thresholds
from leasehold.control_plane.core.caps import Caps
from leasehold.control_plane.core.lifecycle import State
from leasehold.control_plane.vigil import RETRY_SECONDS
from leasehold.protocol import transactions as tx
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Holder, Revision
from leasehold.protocol.records import ArmedRecord, Cause, ClusterRecord, TrippedRecord, WindowRecord, decode, encode
from leasehold.protocol.store import Delete, Put, Txn
from tests.unit.control_plane.stage import GRACE, Stage, rule_set
from tests.unit.control_plane.world import blob, eventually, metric, state

FEW = Thresholds(Fraction(15, 100), count=5, seconds=60.0, losses=3)


async def holding(stage: Stage, name: str, count: int) -> Holder:
    """A holder of so many blobs, which are called after it."""
    holder = await stage.hand.attach(name, ttl=10**6, says_ttl=1)
    blobs = [f"{name}-{n}" for n in range(count)]
    for one in blobs:
        stage.owner.add(one)
    await stage.hand.register(holder, *blobs, grace_class="8s")
    return holder


async def tripped(stage: Stage) -> TrippedRecord | None:
    item = await stage.hand.get(stage.keys.tripped)
    return decode(TrippedRecord, item.value) if item else None


async def is_armed(stage: Stage) -> bool:
    return await stage.hand.there(stage.keys.armed)


async def stays_armed(stage: Stage, plane: ControlPlane) -> None:
    await stage.clock.advance(2.0)
    assert await is_armed(stage)
    assert plane.brake.why_not == ""


async def test_it_trips_at_one_more_than_the_count_and_not_before(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage), thresholds=FEW)
    await holding(stage, "keeper", 20)
    a, b = await holding(stage, "a", 5), await holding(stage, "b", 1)
    await eventually("all are known", lambda: len(plane.index) == 26)
    await stage.hand.vanish(a)
    await eventually("five are missed", lambda: plane.brake.vigil.window.carried == 5)
    assert metric(plane, "leasehold_window_carried_resources") == 5
    assert metric(plane, "leasehold_window_holders") == 1
    await stays_armed(stage, plane)
    await eventually("it is noted", lambda: metric(plane, "leasehold_window_live_resources") == 26)
    await stage.hand.vanish(b)
    found = await eventually("it is tripped", lambda: tripped(stage))
    assert (found.cause, found.holders, found.resources, found.live) == (Cause.VANISHED, 2, 6, 26)
    assert not await is_armed(stage)
    await eventually("it is known", lambda: "tripped by one (vanished)" in plane.brake.why_not)
    assert metric(plane, "leasehold_brake_trips_total", cause="vanished") == 1
    await stage.clock.advance(3 * GRACE)
    assert await stage.hand.count(Family.SWEEPS) == 0
    assert len(stage.owner.things) == 26


async def test_a_round_that_fails_at_etcd_is_counted_and_tripping_is_tried_again(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage), thresholds=FEW)
    stage.fake.refuse(100)
    plane.brake.vigil.trip(Cause.LOST, "what this test says")
    await eventually("it was counted", lambda: metric(plane, "leasehold_failed_rounds_total", whose="vigil"))
    assert plane.brake.why_not  # nobody waits for etcd to stop
    stage.fake.refuse(0)
    await stage.clock.advance(2 * RETRY_SECONDS)
    found = await eventually("it is tripped", lambda: tripped(stage))
    assert found.why == "what this test says"


async def test_it_does_not_trip_at_exactly_the_fraction(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage), thresholds=FEW)
    await holding(stage, "keeper", 34)
    a = await holding(stage, "a", 6)  # 15 % of 40
    await eventually("all are known", lambda: len(plane.index) == 40)
    await stage.hand.vanish(a)
    await eventually("six are missed", lambda: plane.brake.vigil.window.carried == 6)
    await stays_armed(stage, plane)


async def test_reported_ends_releases_and_what_others_hold_do_not_count(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage), thresholds=FEW)
    exited, shared, other = [await holding(stage, name, 10) for name in ("exited", "shared", "other")]
    for n in range(10):
        assert await stage.hand.acquire(other, f"shared-{n}")
        await stage.hand.release(other, f"other-{n}")
    await eventually("all are known", lambda: len(plane.index) == 30)
    await stage.hand.retire(exited)
    await stage.hand.vanish(shared)
    await eventually("both are gone", lambda: not any(plane.index.holder(h).beacon for h in (exited, shared)))  # type: ignore[union-attr]
    assert plane.brake.vigil.window.carried == 0
    await stays_armed(stage, plane)


async def test_what_vanishes_slowly_enough_does_not_trip(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage), thresholds=FEW)
    await holding(stage, "keeper", 20)
    a, b = await holding(stage, "a", 4), await holding(stage, "b", 4)
    await eventually("all are known", lambda: len(plane.index) == 28)
    await stage.hand.pin("a-0")
    await stage.hand.vanish(a)
    await eventually("they are missed", lambda: plane.brake.vigil.window.carried == 4)
    await stage.clock.advance(61, step=0.5)
    await stage.hand.vanish(b)
    await eventually("only the later count", lambda: plane.brake.vigil.window.carried == 4)
    await stays_armed(stage, plane)


async def test_what_was_swept_meanwhile_counts_all_the_same(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage), thresholds=FEW)
    await holding(stage, "keeper", 10)
    a, b = await holding(stage, "a", 4), await holding(stage, "b", 2)
    await eventually("all are known", lambda: len(plane.index) == 16)
    await stage.hand.vanish(a)
    await stage.clock.advance(GRACE + 2)
    await eventually("four are gone", lambda: len(stage.owner.things) == 12)
    await stage.hand.vanish(b)
    assert (await eventually("it is tripped", lambda: tripped(stage))).resources == 6


async def test_returning_beacons_arm_again_once_it_would_not_trip(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage), thresholds=FEW)
    await holding(stage, "keeper", 20)
    holders = [await holding(stage, name, 4) for name in ("a", "b", "c")]
    await eventually("all are known", lambda: len(plane.index) == 32)
    for holder in holders:
        await stage.hand.vanish(holder)
    await eventually("it is tripped", lambda: tripped(stage))
    await stage.hand.attach("a", ttl=10**6)
    await stage.clock.advance(120, step=1.0)
    assert not await is_armed(stage), "eight are missing still, however long ago"
    await stage.hand.attach("b", ttl=10**6)
    await eventually("it is armed", lambda: is_armed(stage))
    assert await tripped(stage) is None
    await eventually("it may collect", lambda: not plane.brake.why_not)
    assert metric(plane, "leasehold_brake_arms_total", why="returned") == 1


async def test_a_tenant_that_grows_while_it_is_braked_does_not_talk_itself_out_of_it(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage), thresholds=FEW)
    await holding(stage, "keeper", 20)
    a = await holding(stage, "a", 6)
    await eventually("all are known", lambda: len(plane.index) == 26)
    await stage.hand.vanish(a)
    await eventually("it is tripped", lambda: tripped(stage))
    await holding(stage, "more", 60)
    await eventually("all are known", lambda: len(plane.index) == 86)
    await stage.clock.advance(5)
    assert not await is_armed(stage), "six of 86 would not have tripped it, but six of 26 are missing"


async def test_what_an_operator_tripped_no_beacon_arms_again(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage), thresholds=FEW)
    await holding(stage, "keeper", 20)
    a = await holding(stage, "a", 6)
    await eventually("all are known", lambda: len(plane.index) == 26)
    await stage.hand.vanish(a)
    await eventually("it is tripped", lambda: tripped(stage))
    await stage.hand.commit(tx.trip(stage.keys, TrippedRecord("me", "let me look first")))
    await stage.hand.attach("a", ttl=10**6)
    await stage.clock.advance(5)
    assert not await is_armed(stage)
    assert "tripped by me (operator): let me look first" in plane.brake.why_not


async def test_an_operator_who_trips_an_empty_etcd_is_obeyed_by_whoever_founds_the_tenant(stage: Stage) -> None:
    """The real one was lost, and nobody is to collect by what the empty one does not know."""
    await stage.hand.commit(tx.trip(stage.keys, TrippedRecord("me", "etcd was lost")))
    plane = await stage.plane(rule_set(stage), thresholds=FEW)
    await eventually("it is founded", lambda: plane.index.cluster[0])
    await stage.clock.advance(5)
    assert not await is_armed(stage)
    assert "tripped by me (operator): etcd was lost" in plane.brake.why_not


async def test_an_operator_who_arms_knows_what_had_vanished(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage), thresholds=FEW)
    await holding(stage, "keeper", 20)
    a = await holding(stage, "a", 6)
    await eventually("all are known", lambda: len(plane.index) == 26)
    await stage.hand.vanish(a)
    await eventually("it is tripped", lambda: tripped(stage))
    await stage.hand.commit(tx.arm(stage.keys, ArmedRecord("me", "they are gone for good")))
    await eventually("it may collect", lambda: not plane.brake.why_not)
    await stage.clock.advance(GRACE + 4)
    await eventually("they are gone", lambda: len(stage.owner.things) == 20)


async def test_the_window_survives_a_change_of_hands_in_its_middle(stage: Stage) -> None:
    first = await stage.leading(rule_set(stage), thresholds=FEW)
    await holding(stage, "keeper", 20)
    a, b, c = [await holding(stage, name, 2) for name in ("a", "b", "c")]
    await eventually("all are known", lambda: len(first.index) == 26)
    await stage.hand.vanish(a)
    await stage.hand.vanish(b)

    async def noted() -> bool:
        await stage.clock.advance(0.5)
        item = await stage.hand.get(stage.keys.window)
        return item is not None and decode(WindowRecord, item.value).carried == 4

    await eventually("it is written down", noted)
    await first.crash()
    await stage.hand.vanish(c)  # nobody looks
    await stage.plane(rule_set(stage), name="two", thresholds=FEW)
    found = await eventually("it is tripped", lambda: tripped(stage))
    assert (found.who, found.resources) == ("two", 6)


async def test_a_restart_alone_trips_nothing(stage: Stage) -> None:
    first = await stage.leading(rule_set(stage), thresholds=FEW)
    await holding(stage, "keeper", 20)
    a = await holding(stage, "a", 6)
    await eventually("all are known", lambda: len(first.index) == 26)
    await stage.hand.vanish(a)
    await eventually("it is tripped", lambda: tripped(stage))
    await stage.hand.commit(tx.arm(stage.keys, ArmedRecord("me", "I know")))
    await eventually("it may collect", lambda: not first.brake.why_not)
    await first.stop()
    second = await stage.leading(rule_set(stage), name="two", thresholds=FEW)
    assert second.brake.vigil.window.carried == 0
    await stays_armed(stage, second)


async def test_where_the_past_is_compacted_away_all_who_are_gone_count(stage: Stage) -> None:
    first = await stage.leading(rule_set(stage), thresholds=FEW)
    await holding(stage, "keeper", 20)
    a = await holding(stage, "a", 6)
    await eventually("all are known", lambda: len(first.index) == 26)
    await first.crash()
    await stage.hand.vanish(a)
    stage.fake.store.compact(stage.fake.store.revision)
    await stage.plane(rule_set(stage), name="two", thresholds=FEW)
    assert (await eventually("it is tripped", lambda: tripped(stage))).resources == 6


async def test_one_that_starts_while_the_brake_is_on_arms_again_only_for_returns(stage: Stage) -> None:
    first = await stage.leading(rule_set(stage), thresholds=FEW)
    await holding(stage, "keeper", 20)
    a = await holding(stage, "a", 6)
    await eventually("all are known", lambda: len(first.index) == 26)
    await stage.hand.vanish(a)
    await eventually("it is tripped", lambda: tripped(stage))
    await first.stop()
    second = await stage.plane(rule_set(stage), name="two", thresholds=FEW)
    await eventually("it leads", lambda: second.leadership.leading)
    await stage.clock.advance(5)
    assert not await is_armed(stage)
    await stage.hand.attach("a", ttl=10**6)
    await eventually("it is armed", lambda: is_armed(stage))


@pytest.mark.parametrize("family", [Family.HOLDS, Family.RESOURCES, Family.ROSTER, Family.REFS, Family.BEACONS])
async def test_a_family_that_vanishes_trips_it_and_nothing_is_deleted(stage: Stage, family: Family) -> None:
    plane = await stage.leading(rule_set(stage), thresholds=FEW)
    holder = await holding(stage, "a", 6)
    await stage.hand.register(holder, "source", references=tuple(blob(f"a-{n}") for n in range(6)), grace_class="8s")
    await eventually("all are known", lambda: len(plane.index) == 7)
    await stage.hand.commit(Txn((), (Delete(stage.keys.family(family)),)))
    found = await eventually("it is tripped", lambda: tripped(stage))
    assert found.cause is (Cause.VANISHED if family is Family.BEACONS else Cause.LOST)
    await stage.clock.advance(3 * GRACE)
    assert await stage.hand.count(Family.SWEEPS) == 0
    assert len(stage.owner.things) == 6


async def test_our_own_transactions_are_no_losses(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage), thresholds=FEW)
    await holding(stage, "keeper", 3)
    a = await holding(stage, "a", 5)
    await stage.hand.register(a, "source", references=tuple(blob(f"a-{n}") for n in range(5)), grace_class="8s")
    await eventually("all are known", lambda: len(plane.index) == 9)
    await stage.hand.retire(a)
    for _ in range(60):
        await stage.clock.advance(1.0)
        if len(plane.index) == 3:
            break
    assert len(stage.owner.things) == 3
    assert plane.brake.vigil.window.losses == 0
    await stays_armed(stage, plane)


async def test_every_replica_stops_by_itself_and_one_of_them_trips_it(stage: Stage) -> None:
    planes = [await stage.plane(rule_set(stage), name=name, thresholds=FEW) for name in ("one", "two")]
    await eventually("both act", lambda: all(0 < len(plane.leadership.acting()) < 64 for plane in planes))
    await holding(stage, "keeper", 20)
    a = await holding(stage, "a", 6)
    await eventually("all are known", lambda: all(len(plane.index) == 26 for plane in planes))
    await stage.hand.vanish(a)
    await eventually("it is tripped", lambda: tripped(stage))
    await eventually("both know", lambda: all("tripped by" in plane.brake.why_not for plane in planes))
    assert sum(metric(plane, "leasehold_brake_trips_total", cause="vanished") for plane in planes) == 1


async def test_a_replica_stops_before_etcd_has_heard_of_it(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage), thresholds=FEW)
    await holding(stage, "keeper", 20)
    a = await holding(stage, "a", 6)
    await eventually("all are known", lambda: len(plane.index) == 26)
    found = plane.index.holder(a)
    assert found is not None
    found.beacon = Revision(0)
    plane.index.departures.beacons[a] = False
    plane.collector.on_index()
    assert "being tripped" in plane.brake.why_not
    assert plane.brake.may_condemn() is plane.brake.may_prepare() is None


# --- caps -------------------------------------------------------------------------------------------------------


async def test_no_more_is_prepared_than_the_caps_allow_and_what_waits_is_told(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage), caps=Caps(per_owner=60, overall=600, seconds=60.0))
    a = await holding(stage, "a", 10)
    await eventually("all are known", lambda: len(plane.index) == 10)
    await stage.hand.retire(a)
    await eventually("all are in their grace", lambda: state(plane, "a-9") is State.IN_GRACE)
    await stage.clock.advance(GRACE + 0.5)
    await eventually("a bucketful is gone", lambda: len(stage.owner.things) == 4)
    assert plane.status()["caps"]["waiting"] == {"store": 4}  # type: ignore[index]
    assert metric(plane, "leasehold_cap_waiting_resources", owner="store") == 4
    assert metric(plane, "leasehold_cap_reached_total", cap="store") >= 1
    await stage.clock.advance(1.0)
    await eventually("one more", lambda: len(stage.owner.things) == 3)
    await stage.clock.advance(4.0)
    await eventually("all are gone", lambda: not stage.owner.things)


# --- version and cluster ------------------------------------------------------------------------------------------


async def test_a_replica_leaves_a_tenant_that_it_does_not_understand_and_does_not_come_back(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    item = await stage.hand.get(stage.keys.cluster)
    assert item is not None
    pinned = decode(ClusterRecord, item.value)
    newer = ClusterRecord(pinned.cluster_id, pinned.since, pinned.shards, protocol=2)
    await stage.hand.commit(Txn((), (Put(stage.keys.cluster, encode(newer)),)))
    await eventually("it acts for nothing", lambda: not plane.leadership.acting())
    await stage.clock.advance(10)
    assert await stage.hand.count(Family.REPLICAS) == 0
    assert await stage.hand.count(Family.SHARDS) == 0
    assert "version 2" in plane.not_ready()["version"]
    assert "version 2" in plane.status()["versions"]["gate"]  # type: ignore[index]
    assert metric(plane, "leasehold_version_gate") == 1
    await plane.stop()
    second = await stage.plane(rule_set(stage), name="two")
    await eventually("it says why", lambda: second.not_ready().get("version"))
    assert await stage.hand.count(Family.REPLICAS) == 0
    await stage.hand.commit(Txn((), (Put(stage.keys.cluster, encode(pinned)),)))
    await stage.clock.advance(3)
    await eventually("it joins", lambda: second.leadership.acting())


async def test_another_cluster_is_told_everywhere(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    await stage.hand.commit(Txn((), (Put(stage.keys.cluster, encode(ClusterRecord("abc", shards=64))),)))
    await eventually("the brake is on", lambda: "another cluster" in plane.brake.why_not)
    status = plane.status()
    assert "another cluster" in status["cluster"]["distrust"]  # type: ignore[index]
    assert any("another cluster" in one for one in status["attention"])  # type: ignore[attr-defined]
    assert metric(plane, "leasehold_cluster_distrusted") == 1


async def test_in_health_nothing_wants_attention(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    await eventually("all is well", lambda: plane.status()["attention"] == [])
    assert plane.status()["brake"]["armed"] is True  # type: ignore[index]
