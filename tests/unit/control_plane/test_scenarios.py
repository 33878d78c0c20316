"""Scenarios on a fake etcd, with a clock that moves when the test says so."""

from __future__ import annotations

import asyncio

import pytest

from leasehold.control_plane import observe
from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.lifecycle import State, Step
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Revision
from leasehold.protocol.records import HolderKind
from leasehold.protocol.rules import RuleSet
from tests.unit.control_plane.stage import GRACE, Stage, abandoned, rule_set
from tests.unit.control_plane.world import blob, eventually, metric, state


async def test_a_grace_is_a_whole_one_and_little_more(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    await abandoned(stage, "x")
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    await stage.clock.advance(GRACE - 0.5)
    assert await stage.hand.count(Family.SWEEPS) == 0
    assert "x" in stage.owner.things
    await stage.clock.advance(1.0)
    await eventually("it is gone", lambda: not stage.owner.things)


async def test_the_second_of_two_waits_a_quarter_longer_not_twice(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    await abandoned(stage, "first")
    await eventually("the first is in its grace", lambda: state(plane, "first") is State.IN_GRACE)
    b = await stage.hand.attach("b", ttl=10**6, says_ttl=1)
    stage.owner.add("second")
    await stage.hand.register(b, "second", grace_class="8s")
    await stage.hand.vanish(b)
    await eventually("the second is condemned", lambda: state(plane, "second") is State.CONDEMNED)
    await stage.clock.advance(GRACE / 4 + 0.25)
    await eventually("an epoch of its own is open", lambda: state(plane, "second") is State.IN_GRACE)
    await stage.clock.advance(GRACE - GRACE / 4)
    await eventually("the first is gone", lambda: "first" not in stage.owner.things)
    assert "second" in stage.owner.things
    await stage.clock.advance(GRACE / 4 + 0.5)
    await eventually("the second is gone", lambda: not stage.owner.things)


async def test_a_new_leader_waits_for_those_who_may_return_and_measures_the_grace_itself(stage: Stage) -> None:
    first = await stage.leading(rule_set(stage))
    alive = await stage.hand.attach("alive", ttl=10**6, says_ttl=20)
    timer = await stage.hand.attach("timer", ttl=10**6, says_ttl=10**5, kind=HolderKind.TIMER)
    await stage.hand.register(alive, "kept", grace_class="8s")
    await stage.hand.register(timer, "timed", grace_class="8s")
    await abandoned(stage, "x")
    await eventually("it is in its grace", lambda: state(first, "x") is State.IN_GRACE)
    await stage.clock.advance(GRACE - 2)
    await first.stop()
    began = stage.clock.now()
    second = await stage.plane(rule_set(stage), name="two")
    await eventually("the second leads", lambda: second.leadership.leading)
    assert second.brake.warm_up.left(began) == 1.5 * 20

    def ripe() -> bool:
        return blob("x") in second.index.nominated[Step.PREPARE]

    await stage.clock.advance_until("the grace is over", ripe, within=100)
    assert stage.clock.now() >= began + GRACE, "what the first measured does not count"
    assert stage.owner.ledger == []
    await stage.clock.advance_until("it is gone", lambda: not stage.owner.things, within=200)
    assert stage.clock.now() >= began + 1.5 * 20, "those who may return were waited for"
    assert state(second, "kept") is State.HELD


async def test_a_compaction_makes_us_list_again_and_warm_up(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    a = await stage.hand.attach("a", ttl=10**6, says_ttl=4)
    await stage.hand.register(a, "x", "y", grace_class="8s")
    await eventually("both are known", lambda: len(plane.index) == 2)
    await _miss_something(stage, plane, a)
    await eventually("it listed again", lambda: plane.observer.sight.lists == 2)
    assert plane.index.entry(blob("y")) is None, "what was deleted meanwhile is known to be gone"
    assert state(plane, "z") is State.HELD
    assert plane.brake.warm_up.left(stage.clock.now()) > 0


async def _miss_something(stage: Stage, plane: ControlPlane, holder: object) -> None:
    """While the watch is cut off: a deletion, a registration, and a compaction that forgets both."""
    from leasehold.protocol import transactions as tx
    from leasehold.protocol.records import ResourceRecord, decode

    item = await stage.hand.get(stage.keys.record(blob("y")))
    assert item is not None
    record = decode(ResourceRecord, item.value)
    # The fake announces changes; quiet, the watch does not hear of them before the compaction.
    quiet = stage.fake._changed
    stage.fake._changed = set()
    await stage.hand.commit(tx.forget(stage.keys, blob("y"), record, item.mod_revision))
    await stage.hand.register(holder, "z", grace_class="8s")  # type: ignore[arg-type]
    stage.fake.store.compact(stage.fake.store.revision)
    stage.fake._changed = quiet
    stage.fake.announce()


async def test_a_lost_event_is_found_by_the_scan(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    await abandoned(stage, "x")
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    assert await plane.observer.scan() == 0, "in health there is nothing to mend"
    b = await stage.hand.attach("b", ttl=10**6)
    assert await stage.hand.acquire(b, "x")
    await eventually("it is held", lambda: state(plane, "x") is State.HELD)
    # Lost: the hold, and that the tombstone is gone.
    entry = plane.index.entry(blob("x"))
    assert entry is not None
    entry.holds = tuple(hold for hold in entry.holds if "b" not in hold.holder)
    entry.tombstone = Revision(1)
    assert await plane.observer.scan() == 2
    assert state(plane, "x") is State.HELD
    assert metric(plane, "leasehold_scan_corrections_total") == 2
    assert plane.brake.warm_up.left(stage.clock.now()) > 0, "who knows what else was missed"


async def test_silence_is_a_gap(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "SILENCE_SECONDS", 3.5)
    plane = await stage.leading(rule_set(stage))
    await stage.hand.attach("alive", ttl=10**6, says_ttl=20)
    await eventually("the holder is known", lambda: plane.index.holders())
    assert plane.brake.warm_up.left(stage.clock.now()) == 0
    stage.fake.stall()
    await stage.clock.advance(10, both=False)
    assert not plane.leadership.leading
    assert plane.not_ready() or plane.observer.silence >= 9
    stage.fake.resume()
    await eventually("it leads again", lambda: plane.leadership.leading)
    await eventually("it warms up", lambda: plane.brake.warm_up.left(stage.clock.now()) > 20)


async def test_uncertain_transactions_are_read_back_and_nothing_happens_twice(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    a = await stage.hand.attach("a", ttl=10**6, says_ttl=1)
    names = [f"r{n}" for n in range(5)]
    for name in names:
        stage.owner.add(name)
    await stage.hand.register(a, *names, grace_class="8s")
    await stage.hand.vanish(a)
    for _ in range(80):
        if not stage.owner.things and not len(plane.index):
            break
        stage.fake.drop_after_apply(1)
        await stage.clock.advance(0.25)
    stage.fake.drop_after_apply(0)
    for _ in range(100):
        await stage.clock.advance(1.0, step=1.0)
        if not stage.owner.things and not len(plane.index):
            break
    assert not stage.owner.things
    assert sorted(stage.owner.deletes()) == names


async def test_a_control_plane_may_start_before_its_etcd(stage: Stage) -> None:
    stage.fake.stall()
    plane = await stage.plane(rule_set(stage))
    await asyncio.sleep(0.1)
    assert set(plane.not_ready()) == {"etcd", "rules"}
    stage.fake.resume()
    await eventually("it leads", lambda: plane.leadership.leading)
    await eventually("it is ready", lambda: not plane.not_ready())
    assert await stage.hand.count(Family.RULES) == 1


async def test_only_a_new_tenant_is_founded(stage: Stage) -> None:
    from leasehold.protocol.records import TombstoneRecord, encode
    from leasehold.protocol.store import Put, Txn

    await stage.hand.commit(
        Txn((), (Put(stage.keys.tombstone(blob("x")), encode(TombstoneRecord("i", "r", 1))),))
    )  # fmt: skip
    plane = await stage.plane(rule_set(stage))
    await eventually("it leads and has looked", lambda: plane.leadership.leading and plane.collector._checked)
    assert await stage.hand.get(stage.keys.armed) is None
    assert "control/armed is missing" in plane.brake.why_not


async def test_rules_that_are_not_in_the_file_are_left_alone_and_the_same_are_not_written_again(stage: Stage) -> None:
    first = await stage.leading(rule_set(stage))
    await first.stop()
    before = stage.fake.store.revision
    other = RuleSet(rule_set(stage).owners, ())
    second = await stage.plane(other, name="two")
    await eventually("loaded", lambda: second.loader is not None and not second.loader.pending)
    assert await stage.hand.count(Family.RULES) == 1
    found = await stage.client.read(stage.keys.family(Family.OWNERS), deadline=5)
    assert all(item.mod_revision <= before for item in found.items)


async def test_nothing_is_left_running(stage: Stage) -> None:
    before = asyncio.all_tasks()
    plane = await stage.leading(rule_set(stage))
    await plane.stop()
    await asyncio.sleep(0.05)
    left = [task for task in asyncio.all_tasks() - before if "leasehold.control_plane" in repr(task.get_coro())]
    assert left == []
