"""References and cycles on a fake etcd, with a clock that moves when the test says so."""

from __future__ import annotations

from aiohttp import web

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.lifecycle import State
from leasehold.protocol import cycles
from leasehold.protocol import transactions as tx
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Holder, Revision
from leasehold.protocol.records import ResourceRecord, SweepState, TombstoneRecord, decode
from leasehold.protocol.store import Delete, Txn
from tests.unit.control_plane.stage import GRACE, Stage, passing, rule_set
from tests.unit.control_plane.world import blob, eventually, metric, state

LONG = 10**6


async def attached(stage: Stage, name: str) -> Holder:
    return await stage.hand.attach(name, ttl=LONG, says_ttl=1)


async def ring(stage: Stage, holder: Holder, *names: str) -> None:
    """Each refers to the next, the last to the first."""
    for name, following in zip(names, (*names[1:], names[0]), strict=True):
        stage.owner.add(name)
        await stage.hand.register(holder, name, grace_class="8s", references=(blob(following),))


async def searched(plane: ControlPlane, *names: str) -> None:
    """A search once the index has seen that nobody holds these."""
    await eventually("only referred to", lambda: {r for r, _ in plane.index.picture()} == {blob(n) for n in names})
    await plane.cycles.search()


async def graced(stage: Stage, plane: ControlPlane, *names: str) -> None:
    await eventually("in grace", lambda: all(state(plane, name) is State.IN_GRACE for name in names))


async def test_what_a_living_resource_refers_to_lives_and_referrers_are_swept_first(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    a, b = await attached(stage, "a"), await attached(stage, "b")
    for name in ("part", "whole"):
        stage.owner.add(name)
    await stage.hand.register(a, "part", grace_class="8s")
    await stage.hand.register(b, "whole", grace_class="8s", references=(blob("part"),))
    await stage.hand.vanish(a)
    await stage.clock.advance(3 * GRACE)
    await plane.cycles.search()
    assert state(plane, "part") is State.HELD
    assert stage.owner.ledger == []
    await stage.hand.vanish(b)
    await graced(stage, plane, "whole")
    assert state(plane, "part") is State.HELD, "its referrer is still there"
    await stage.clock.advance(GRACE + 1)
    await eventually("the referrer is gone", lambda: "whole" not in stage.owner.things)
    await eventually("its grace began", lambda: state(plane, "part") in {State.CONDEMNED, State.IN_GRACE})
    await stage.clock.advance(GRACE - 2)  # it may have begun a whole second ago
    assert "part" in stage.owner.things, "its grace is a whole one"
    await stage.clock.advance(GRACE)
    await eventually("and then it is gone, too", lambda: not stage.owner.things)
    assert stage.owner.deletes() == ["whole", "part"]


async def test_a_dead_cycle_is_swept_last_created_first(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    a, b = await attached(stage, "a"), await attached(stage, "b")
    await ring(stage, a, "x", "y", "z")
    assert await stage.hand.acquire(b, "y")
    await stage.hand.vanish(a)
    await eventually("y is held by another", lambda: state(plane, "y") is State.HELD)
    await plane.cycles.search()
    await stage.clock.advance(2 * GRACE)
    assert await stage.hand.count(Family.TOMBSTONES) == 0, "one living member keeps them all"
    await stage.hand.vanish(b)
    await searched(plane, "x", "y", "z")
    tombstones = await stage.client.read(stage.keys.family(Family.TOMBSTONES), deadline=5)
    assert len({item.mod_revision for item in tombstones.items}) == 1
    await graced(stage, plane, "x", "y", "z")
    await stage.clock.advance(GRACE - 1)
    assert await stage.hand.count(Family.SWEEPS) == 0
    await passing(stage, "all are gone", lambda: not stage.owner.things and not len(plane.index))
    assert stage.owner.deletes() == ["z", "y", "x"]
    assert metric(plane, "leasehold_condemned_total") == metric(plane, "leasehold_prepared_total") == 3
    assert await stage.hand.count(Family.REFS) == 0


async def test_a_revived_member_revives_all_of_its_cycle(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    a, b = await attached(stage, "a"), await attached(stage, "b")
    await ring(stage, a, "x", "y", "z")
    await stage.hand.vanish(a)
    await searched(plane, "x", "y", "z")
    await graced(stage, plane, "x", "y", "z")
    assert await stage.hand.acquire(b, "x")
    await eventually("the others follow", lambda: all(state(plane, name) is State.HELD for name in "xyz"))
    await stage.clock.advance(2 * GRACE)
    assert await stage.hand.count(Family.TOMBSTONES) == 0
    assert stage.owner.ledger == []


async def test_a_reference_from_outside_revives_a_cycle(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    a, b = await attached(stage, "a"), await attached(stage, "b")
    await ring(stage, a, "x", "y")
    await stage.hand.vanish(a)
    await searched(plane, "x", "y")
    await graced(stage, plane, "x", "y")
    await stage.hand.register(b, "whole", grace_class="8s", references=(blob("y"),))
    await eventually("both live", lambda: all(state(plane, name) is State.HELD for name in "xy"))
    await stage.clock.advance(2 * GRACE)
    assert stage.owner.ledger == []


async def test_a_member_that_the_app_deletes_does_not_leave_its_grace_to_the_others(stage: Stage) -> None:
    """Somebody may have held the rest by way of it, after the tombstones were put."""
    plane = await stage.leading(rule_set(stage))
    a = await attached(stage, "a")
    await ring(stage, a, "x", "y")
    await stage.hand.vanish(a)
    await searched(plane, "x", "y")
    await graced(stage, plane, "x", "y")
    await stage.clock.advance(GRACE - 1)
    item = await stage.hand.get(stage.keys.record(blob("x")))
    assert item is not None
    del stage.owner.things["x"]
    await stage.hand.commit(tx.forget(stage.keys, blob("x"), decode(ResourceRecord, item.value), item.mod_revision))
    await eventually("a tombstone of its own", lambda: _condemned_alone(stage, "y"))
    await stage.clock.advance(GRACE - 1)
    assert "y" in stage.owner.things, "its grace began anew"
    await stage.clock.advance(GRACE)
    await eventually("it is gone", lambda: not stage.owner.things)


async def _condemned_alone(stage: Stage, name: str) -> bool:
    item = await stage.hand.get(stage.keys.tombstone(blob(name)))
    return item is not None and decode(TombstoneRecord, item.value).cycle == ()


async def test_a_pinned_member_keeps_its_cycle(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    a = await attached(stage, "a")
    await ring(stage, a, "x", "y")
    await stage.hand.pin("x")
    await stage.hand.vanish(a)
    await searched(plane, "y")
    await stage.clock.advance(2 * GRACE)
    assert await stage.hand.count(Family.TOMBSTONES) == 0
    await stage.hand.unpin("x")
    await searched(plane, "x", "y")
    await graced(stage, plane, "x", "y")
    await stage.hand.pin("y")
    await stage.clock.advance(2 * GRACE)
    assert await stage.hand.count(Family.SWEEPS) == 0


async def test_a_cycle_that_no_transaction_holds_is_kept_and_reported(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    a = await attached(stage, "a")
    small, large = [f"s{n:02}" for n in range(cycles.MAX_MEMBERS)], [f"l{n:02}" for n in range(cycles.MAX_MEMBERS + 1)]
    await ring(stage, a, *small)
    await ring(stage, a, *large)
    await stage.hand.vanish(a)
    await searched(plane, *small, *large)
    assert metric(plane, "leasehold_cycles_too_large") == 1
    await graced(stage, plane, *small)
    await passing(stage, "the small one is gone", lambda: sorted(stage.owner.things) == sorted(large))
    assert all(state(plane, name) is State.HELD for name in large)


async def test_members_wait_for_those_before_them_and_are_given_up_with_one_that_is_refused(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    a = await attached(stage, "a")
    await ring(stage, a, "x", "y")
    stage.owner.answers = [web.Response(status=409)]
    await stage.hand.vanish(a)
    await searched(plane, "x", "y")
    await graced(stage, plane, "x", "y")
    await stage.clock.advance(GRACE + 1)
    await eventually("refused", lambda: stage.owner.deletes() == ["y"])
    await eventually("all was given up", lambda: _none_left(stage))
    assert sorted(stage.owner.things) == ["x", "y"]


async def _none_left(stage: Stage) -> bool:
    return await stage.hand.count(Family.SWEEPS) == 0 and await stage.hand.count(Family.TOMBSTONES) == 0


async def test_a_member_behind_one_in_quarantine_waits(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    a = await attached(stage, "a")
    await ring(stage, a, "x", "y")
    stage.owner.answers = [web.Response(status=401)] * 10
    await stage.hand.vanish(a)
    await searched(plane, "x", "y")
    await graced(stage, plane, "x", "y")
    await stage.clock.advance(GRACE + 1)
    await eventually("quarantined", lambda: state(plane, "y") is State.QUARANTINED)
    await stage.clock.advance(120, step=5.0)
    sweep = await stage.hand.sweep_of("x")
    assert sweep is not None
    assert (sweep.state, sweep.attempt) == (SweepState.PREPARED, 0)
    assert stage.owner.deletes("x") == []


async def test_no_member_can_be_held_once_all_are_prepared(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    a, b = await attached(stage, "a"), await attached(stage, "b")
    await ring(stage, a, "x", "y")
    stage.owner.hang = True
    await stage.hand.vanish(a)
    await searched(plane, "x", "y")
    await graced(stage, plane, "x", "y")
    await stage.clock.advance(GRACE + 1)
    await eventually("both are prepared", lambda: _prepared(stage))
    assert not await stage.hand.acquire(b, "x")
    assert not await stage.hand.acquire(b, "y")


async def _prepared(stage: Stage) -> bool:
    return await stage.hand.count(Family.SWEEPS) == 2


async def test_a_reference_to_everything_of_a_type_keeps_it_until_it_goes(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    a, b = await attached(stage, "a"), await attached(stage, "b")
    stage.owner.add("x")
    await stage.hand.register(a, "x", grace_class="8s")
    await stage.hand.vanish(a)
    await graced(stage, plane, "x")
    await stage.clock.advance(GRACE - 1)
    await stage.hand.register(b, blob("m"), grace_class="8s", references=(tx.every(blob("x")),))
    await eventually("it is needed", lambda: state(plane, "x") is State.HELD)
    await stage.clock.advance(3 * GRACE)
    assert stage.owner.ledger == []
    assert await stage.hand.count(Family.TOMBSTONES) == 0
    await stage.hand.vanish(b)
    await eventually("it does not keep itself", lambda: state(plane, "m") in {State.CONDEMNED, State.IN_GRACE})
    assert state(plane, "x") is State.HELD, "nor what it may refer to before it is gone"
    await stage.clock.advance(GRACE + 1)
    await eventually("its grace begins now", lambda: state(plane, "x") in {State.CONDEMNED, State.IN_GRACE})
    await stage.clock.advance(2 * GRACE)
    await eventually("gone", lambda: not stage.owner.things and not len(plane.index))


async def test_losing_the_index_of_references_frees_nobody(stage: Stage) -> None:
    """``etcdctl del --prefix`` of that key family: the records still say what they need."""
    plane = await stage.leading(rule_set(stage))
    a, b = await attached(stage, "a"), await attached(stage, "b")
    stage.owner.add("part")
    await stage.hand.register(a, "part", grace_class="8s")
    await stage.hand.register(b, blob("whole"), grace_class="8s", references=(blob("part"),))
    await stage.hand.vanish(a)
    await stage.hand.commit(Txn((), (Delete(stage.keys.family(Family.REFS)),)))
    await stage.clock.advance(2 * GRACE)
    assert state(plane, "part") is State.HELD
    await plane.stop()
    other = await stage.plane(rule_set(stage), name="two")
    await eventually("another one knows, too", lambda: state(other, "part") is State.HELD)
    await stage.clock.advance(3 * GRACE)
    assert stage.owner.ledger == []
    assert await stage.hand.count(Family.TOMBSTONES) == 0
    assert other.index.entry(blob("part")).sources[0].revision == Revision(0)  # type: ignore[union-attr]
