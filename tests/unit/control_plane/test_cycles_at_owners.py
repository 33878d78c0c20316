"""Cycles whose owners want to be asked or told: every member counts, and one of them is enough to keep all."""

from __future__ import annotations

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.lifecycle import State
from leasehold.protocol.keyspace import Family
from leasehold.protocol.records import TombstoneRecord, decode
from leasehold.protocol.rules import RuleSet
from tests.unit.control_plane.stage import GRACE, Stage, passing, rule_set
from tests.unit.control_plane.test_notices import NOTICES
from tests.unit.control_plane.test_references import attached, graced, ring, searched
from tests.unit.control_plane.test_verify import VERIFY
from tests.unit.control_plane.world import blob, eventually, metric, rules, state


def with_owner(stage: Stage, more: str) -> RuleSet:
    return rules(stage.owner, grace="8s", limits=more)


async def dead_ring(stage: Stage, plane: ControlPlane, *names: str) -> None:
    a = await attached(stage, "a")
    await ring(stage, a, *names)
    await stage.hand.vanish(a)
    await searched(plane, *names)
    await graced(stage, plane, *names)


def asked(stage: Stage) -> list[str]:
    return [name for what, name, _ in stage.owner.ledger if what == "ASK"]


async def test_every_member_is_asked_about_before_any_is_prepared_and_before_its_own_first_send(stage: Stage) -> None:
    plane = await stage.leading(with_owner(stage, VERIFY))
    await dead_ring(stage, plane, "x", "y", "z")
    await passing(stage, "all are gone", lambda: not stage.owner.things)
    calls = [(what, name) for what, name, _ in stage.owner.ledger if what != "GET"]
    assert calls[:3] == [("ASK", "z"), ("ASK", "y"), ("ASK", "x")]
    assert calls[3:] == [(what, name) for name in "zyx" for what in ("ASK", "DELETE")]


async def test_one_member_in_use_keeps_all_of_the_cycle_for_another_whole_grace(stage: Stage) -> None:
    plane = await stage.leading(with_owner(stage, VERIFY))
    stage.owner.used["x"] = True
    await dead_ring(stage, plane, "x", "y", "z")
    await stage.clock.advance(GRACE + 1)
    await eventually("vetoed", lambda: metric(plane, "leasehold_vetoed_total", owner="store", step="prepare"))
    await eventually("all are kept", lambda: all(state(plane, name) is State.HELD for name in "xyz"))
    assert metric(plane, "leasehold_prepared_total") == 0
    stage.owner.used["x"] = False
    await searched(plane, "x", "y", "z")
    await graced(stage, plane, "x", "y", "z")
    await stage.clock.advance(GRACE - 2)
    assert stage.owner.deletes() == [], "a whole grace again"
    await passing(stage, "all are gone", lambda: not stage.owner.things)


async def test_one_member_whose_owner_cannot_tell_keeps_the_cycle_as_it_is(stage: Stage) -> None:
    plane = await stage.leading(with_owner(stage, VERIFY))
    stage.owner.used["x"] = 500
    await dead_ring(stage, plane, "x", "y", "z")
    await stage.clock.advance(GRACE + 1)
    await eventually("it was asked", lambda: metric(
        plane, "leasehold_kept_total", step="prepare", reason="unverified"))  # fmt: skip
    assert all(state(plane, name) is State.IN_GRACE for name in "xyz")
    assert metric(plane, "leasehold_prepared_total") == 0
    b = await attached(stage, "b")
    assert await stage.hand.acquire(b, "y"), "nothing stands in the way of a new holder"
    assert stage.owner.deletes() == []


async def test_a_member_in_use_right_before_its_send_gives_up_all_that_were_not_sent(stage: Stage) -> None:
    plane = await stage.leading(with_owner(stage, VERIFY))
    answers = iter([False, True])
    stage.owner.used["z"] = lambda: next(answers, True)
    await dead_ring(stage, plane, "x", "y", "z")
    await stage.clock.advance(GRACE + 1)
    await eventually("vetoed", lambda: metric(plane, "leasehold_vetoed_total", owner="store", step="send"))
    await eventually("all was given up", lambda: all(state(plane, name) is State.HELD for name in "xyz"))
    assert await stage.hand.count(Family.SWEEPS) == 0
    assert stage.owner.deletes() == []


async def test_asking_about_many_members_keeps_to_the_rate_of_their_owner(stage: Stage) -> None:
    names = "uvwxyz"
    plane = await stage.leading(with_owner(stage, f"{VERIFY}\n    limits: {{per_second: 0.5, concurrency: 1}}"))
    await dead_ring(stage, plane, *names)
    await passing(stage, "the first is asked about", lambda: bool(asked(stage)))
    began = stage.clock.now()
    most = 0.0

    def all_asked() -> bool:
        nonlocal most
        most = max(most, len(asked(stage)) - 1 - (stage.clock.now() - began) * 0.5)
        return len(asked(stage)) >= len(names)

    await passing(stage, "all are asked about", all_asked)
    assert most < 0.5, "never ahead of its rate"
    assert asked(stage)[: len(names)] == list(reversed(names))


async def test_owners_are_told_of_every_member_and_told_again_when_one_is_held(stage: Stage) -> None:
    plane = await stage.leading(with_owner(stage, NOTICES))
    await dead_ring(stage, plane, "x", "y", "z")
    await eventually("all are told", lambda: stage.owner.condemned == {"x", "y", "z"})
    assert await stage.hand.acquire(await attached(stage, "b"), "y")
    await eventually("all are restored", lambda: not stage.owner.condemned)
    await eventually("nothing is owed any more", lambda: not plane.index.notices.due())
    assert await stage.hand.count(Family.NOTICES) == 0


async def test_nothing_is_left_of_the_notices_when_the_cycle_is_gone(stage: Stage) -> None:
    plane = await stage.leading(with_owner(stage, NOTICES))
    await dead_ring(stage, plane, "x", "y")
    await eventually("all are told", lambda: stage.owner.condemned == {"x", "y"})
    await passing(stage, "all are gone", lambda: not stage.owner.things and not len(plane.index))
    assert await stage.hand.count(Family.NOTICES) == 0
    assert [what for what, _, _ in stage.owner.ledger].count("restore") == 0


async def test_a_cycle_that_was_refused_is_left_alone_for_as_long_as_its_member_would_be(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    a = await attached(stage, "a")
    await ring(stage, a, "x", "y")
    plane.cycles._patience = lambda resource: 40.0 if resource == blob("y") else 0.0
    await stage.hand.vanish(a)
    await searched(plane, "x", "y")
    await stage.clock.advance(35)
    await plane.cycles.search()
    assert await stage.hand.count(Family.TOMBSTONES) == 0
    await stage.clock.advance(6)
    await searched(plane, "x", "y")
    await graced(stage, plane, "x", "y")
    item = await stage.hand.get(stage.keys.tombstone(blob("x")))
    assert item is not None
    assert len(decode(TombstoneRecord, item.value).cycle) == 2
