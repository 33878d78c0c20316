"""Scenarios of the resolver, on a fake etcd, with a clock that moves when the test says so."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from msgspec.structs import replace

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.intents import Over
from leasehold.control_plane.core.lifecycle import State
from leasehold.control_plane.loading import RuleLoader
from leasehold.control_plane.owners.outcome import Verdict
from leasehold.protocol import transactions as protocol
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Holder
from leasehold.protocol.records import HolderKind, ResourceRecord, RosterRecord, decode
from leasehold.protocol.rules import RuleSet
from leasehold.protocol.store import Put, Txn
from tests.unit.control_plane.asking import Knowing, asking_rules, intend, intent_of
from tests.unit.control_plane.stage import GRACE, Stage
from tests.unit.control_plane.world import Owner, blob, eventually, metric, state

AFTER = 4.0


async def restarted(stage: Stage) -> Knowing:
    """The stage's owner, anew, so that it can be asked."""
    owner = Owner()
    knowing = Knowing(owner)
    stage.owner = await stage.stack.enter_async_context(owner)
    return knowing


async def crashed(stage: Stage, call: str = "c1", name: str = "a", **more: object) -> Holder:
    """A holder that intended, and vanished."""
    a = await stage.hand.attach(name, ttl=10**6, says_ttl=1)
    await intend(stage.hand, a, call, **more)  # type: ignore[arg-type]
    await stage.hand.vanish(a)
    return a


async def seen(plane: ControlPlane, count: int = 1) -> None:
    await eventually("the intent is known", lambda: len(plane.index.intents) == count)


async def test_what_a_crashed_call_created_is_found_recorded_condemned_and_swept(stage: Stage) -> None:
    knowing = await restarted(stage)
    plane = await stage.leading(asking_rules(stage.owner))
    stage.owner.add("x")
    knowing.made["c1"] = "x"
    a = await crashed(stage)
    await seen(plane)
    await stage.clock.advance(AFTER - 0.5)
    assert knowing.asked == [], "the call may still be under way"
    await stage.clock.advance(2)
    await eventually("it is recorded", lambda: stage.hand.get(stage.hand.keys.record(blob("x"))))
    found = await stage.hand.get(stage.hand.keys.record(blob("x")))
    assert found is not None
    record = decode(ResourceRecord, found.value)
    assert (record.rule, record.creator, record.incarnation, record.grace_class) == ("make", a, "call:c1", "8s")
    assert await intent_of(stage.hand, a, "c1") is None
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    await stage.clock.advance(GRACE - 1)
    assert "x" in stage.owner.things, "it gets a whole grace of its own"
    await stage.clock.advance(3)
    await eventually("it is gone", lambda: not stage.owner.things)
    assert metric(plane, "leasehold_intents_resolved_total", owner="store", outcome="found") == 1


async def test_not_there_is_asked_twice_apart(stage: Stage) -> None:
    knowing = await restarted(stage)
    plane = await stage.leading(asking_rules(stage.owner))
    a = await crashed(stage)
    await seen(plane)
    await stage.clock.advance(AFTER + 1.5)
    await eventually("it was asked", lambda: knowing.asked == ["c1"])
    await stage.clock.advance(AFTER - 2)
    assert knowing.asked == ["c1"]
    assert await intent_of(stage.hand, a, "c1") is not None
    await stage.clock.advance(4)
    await eventually("it is dismissed", lambda: len(plane.index.intents) == 0)
    assert knowing.asked == ["c1", "c1"]
    assert await stage.hand.count(Family.INTENTS) == 0
    assert await stage.hand.count(Family.RESOURCES) == 0


async def test_a_creation_that_takes_effect_between_the_two_questions_is_found(stage: Stage) -> None:
    knowing = await restarted(stage)
    plane = await stage.leading(asking_rules(stage.owner))
    await crashed(stage)
    await seen(plane)
    await stage.clock.advance(AFTER + 1.5)
    await eventually("it was asked", lambda: knowing.asked)
    knowing.made["c1"] = "late"
    await stage.clock.advance(AFTER + 1)
    await eventually("it is recorded", lambda: plane.index.entry(blob("late")))


async def test_an_outage_between_the_two_questions_makes_the_first_answer_worthless(stage: Stage) -> None:
    knowing = await restarted(stage)
    plane = await stage.leading(asking_rules(stage.owner))
    a = await crashed(stage)
    await seen(plane)
    await stage.clock.advance(AFTER + 1.5)
    await eventually("it was asked", lambda: len(knowing.asked) == 1)
    knowing.status = 500
    await stage.clock.advance(AFTER + 0.5)
    await eventually("it was asked again", lambda: len(knowing.asked) == 2)
    knowing.status = 200
    await stage.clock.advance(3)
    await eventually("and again", lambda: len(knowing.asked) == 3)
    assert await intent_of(stage.hand, a, "c1") is not None
    await stage.clock.advance(AFTER + 2)
    await eventually("now it is dismissed", lambda: len(plane.index.intents) == 0)


@pytest.mark.parametrize("status", [400, 403, 404, 410, 302, 500, 503])
async def test_no_status_means_not_there_where_an_expression_says_it(stage: Stage, status: int) -> None:
    knowing = await restarted(stage)
    knowing.status = status
    plane = await stage.leading(asking_rules(stage.owner))
    a = await crashed(stage)
    await seen(plane)
    await stage.clock.advance(6 * AFTER)
    await eventually("it is a suspect", lambda: metric(plane, "leasehold_suspects", reason="unclear-answer") == 1)
    found = await intent_of(stage.hand, a, "c1")
    assert found is not None
    assert found.suspect == "unclear-answer"
    assert plane.owners.states()["store"] == "calling", "a lookup that fails stops no sweep"


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ({"sent_as": ""}, "key-not-told"),
        ({"key": "app-chosen"}, "key-not-ours"),
        ({"rule": "gone"}, "no-rule"),
    ],
)
async def test_an_intent_nobody_can_be_asked_about_is_a_suspect(
    stage: Stage, what: dict[str, str], reason: str
) -> None:
    knowing = await restarted(stage)
    knowing.made["app-chosen"] = knowing.made["c1"] = "x"
    plane = await stage.leading(asking_rules(stage.owner))
    a = await crashed(stage, **what)
    await seen(plane)
    await stage.clock.advance(35)
    await eventually("it is a suspect", lambda: metric(plane, "leasehold_suspects", reason=reason) == 1)
    assert knowing.asked == []
    found = await intent_of(stage.hand, a, "c1")
    assert found is not None
    assert found.suspect == reason
    assert await stage.hand.count(Family.RESOURCES) == 0
    listed = plane.status()["intents"]
    assert listed == {
        "count": 1,
        "suspects": {"count": 1, "reasons": {reason: 1}, "first": [{"holder": a, "call": "c1", "reason": reason}]},
    }


async def test_without_a_lookup_it_is_a_suspect_until_one_is_offered(stage: Stage) -> None:
    knowing = await restarted(stage)
    knowing.made["c1"] = "x"
    plane = await stage.leading(asking_rules(stage.owner, ""))
    await crashed(stage)
    await seen(plane)
    await stage.clock.advance(25)
    assert plane.status()["intents"] == {"count": 1, "suspects": {"count": 0, "reasons": {}, "first": []}}
    await stage.clock.advance(8)
    await eventually("it is a suspect", lambda: metric(plane, "leasehold_suspects", reason="no-lookup") == 1)
    assert metric(plane, "leasehold_intents") == 1
    await _apply(stage, asking_rules(stage.owner))
    await stage.clock.advance(3)
    await eventually("it is recorded", lambda: plane.index.entry(blob("x")))


async def test_an_unusable_id_is_never_recorded(stage: Stage) -> None:
    knowing = await restarted(stage)
    knowing.made["c1"] = "../Other"
    plane = await stage.leading(asking_rules(stage.owner))
    await crashed(stage)
    await seen(plane)
    await stage.clock.advance(AFTER + 3)
    await eventually("it is a suspect", lambda: metric(plane, "leasehold_suspects", reason="unusable-id") == 1)
    assert await stage.hand.count(Family.RESOURCES) == 0


async def test_what_has_a_record_already_is_not_recorded_again(stage: Stage) -> None:
    knowing = await restarted(stage)
    plane = await stage.leading(asking_rules(stage.owner))
    stage.owner.add("x")
    knowing.made["c1"] = "x"
    b = await stage.hand.attach("b", ttl=10**6, says_ttl=1)
    await stage.hand.register(b, "x", grace_class="8s")
    before = await stage.hand.get(stage.hand.keys.record(blob("x")))
    await crashed(stage)
    await seen(plane)
    await stage.clock.advance(AFTER + 2)
    await eventually("the intent is gone", lambda: len(plane.index.intents) == 0)
    assert await stage.hand.get(stage.hand.keys.record(blob("x"))) == before
    assert state(plane, "x") is State.HELD


async def test_the_intents_of_the_living_are_left_alone(stage: Stage) -> None:
    knowing = await restarted(stage)
    plane = await stage.leading(asking_rules(stage.owner))
    a = await stage.hand.attach("a", ttl=10**6, says_ttl=1)
    await intend(stage.hand, a, "c1")
    await seen(plane)
    await stage.clock.advance(70)
    assert knowing.asked == []
    assert await intent_of(stage.hand, a, "c1") is not None


async def test_a_holder_that_was_back_for_a_moment_starts_the_time_anew(stage: Stage) -> None:
    knowing = await restarted(stage)
    plane = await stage.leading(asking_rules(stage.owner))
    await crashed(stage)
    await seen(plane)
    await stage.clock.advance(AFTER - 1)
    a = await stage.hand.attach("a", ttl=10**6, says_ttl=1)
    await stage.hand.vanish(a)
    await stage.clock.advance(AFTER - 1)
    assert knowing.asked == []
    await stage.clock.advance(3)
    await eventually("now it was asked", lambda: knowing.asked)
    assert len(plane.index.intents) == 1


async def test_many_intents_of_one_holder_wait_for_each_other_no_longer_than_for_one(stage: Stage) -> None:
    knowing = await restarted(stage)
    plane = await stage.leading(asking_rules(stage.owner))
    a = await stage.hand.attach("a", ttl=10**6, says_ttl=1)
    for n in range(12):
        knowing.made[f"c{n}"] = f"x{n}"
        await intend(stage.hand, a, f"c{n}")
    await stage.hand.vanish(a)
    await seen(plane, 12)
    await stage.clock.advance(AFTER + 3)
    await eventually("all are recorded", lambda: len(plane.index) == 12)


async def test_what_a_service_intended_is_recorded_for_the_service_which_may_be_alive(stage: Stage) -> None:
    knowing = await restarted(stage)
    plane = await stage.leading(asking_rules(stage.owner, held_by="service"))
    knowing.made["c1"] = "x"
    stage.owner.add("x")
    svc = await stage.hand.attach("shared", ttl=10**6, says_ttl=1, kind=HolderKind.SERVICE)
    await intend(stage.hand, svc, "c1")
    await seen(plane)
    await stage.clock.advance(9 * AFTER)
    assert knowing.asked == []
    await stage.clock.advance(AFTER + 2)
    await eventually("it is held by the service", lambda: state(plane, "x") is State.HELD)


async def test_a_slow_owner_delays_only_its_own_intents(stage: Stage) -> None:
    knowing = await restarted(stage)
    knowing.made["c2"] = "x"
    slow = Owner()

    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response(status=500)

    slow.more_routes.append(web.get("/calls", never))
    await stage.stack.enter_async_context(slow)
    both = asking_rules(stage.owner)
    other = asking_rules(slow)
    plane = await stage.leading(
        replace(
            both,
            owners=(*both.owners, replace(other.owners[0], name="slow")),
            rules=(*both.rules, replace(other.rules[0], name="make-slow", owner="slow")),
        )
    )
    await crashed(stage, "c1", rule="make-slow")
    await crashed(stage, "c2", "b")
    await seen(plane, 2)
    await stage.clock.advance(AFTER + 2)
    await eventually("the other is recorded", lambda: plane.index.entry(blob("x")))


async def test_what_names_itself_is_recorded_only_where_the_owner_shows_our_key(stage: Stage) -> None:
    shown: dict[str, dict[str, str]] = {"a1": {"key": "c1"}, "a2": {"key": "other"}, "a3": {}}

    async def item(request: web.Request) -> web.Response:
        found = shown.get(request.match_info["id"])
        return web.json_response(found) if found is not None else web.Response(status=404)

    owner = Owner()
    owner.more_routes.append(web.get("/item/{id}", item))
    stage.owner = await stage.stack.enter_async_context(owner)
    by_id = 'lookup: {path: "/item/{id}", key: {json: key}, after: 4s}'
    plane = await stage.leading(asking_rules(stage.owner, by_id))
    a = await stage.hand.attach("a", ttl=10**6, says_ttl=1)
    for n in (1, 2, 3, 4):
        await intend(stage.hand, a, f"c{n}", resource=blob(f"a{n}"))
    await stage.hand.vanish(a)
    await seen(plane, 4)
    await stage.clock.advance(3 * AFTER)
    await eventually("two are suspects", lambda: metric(plane, "leasehold_suspects", reason="other-key") == 2)
    await eventually("one is dismissed", lambda: len(plane.index.intents) == 2)
    assert await stage.hand.there(stage.hand.keys.record(blob("a1")))
    assert await stage.hand.count(Family.RESOURCES) == 1
    assert not await stage.hand.there(stage.hand.keys.hold(blob("a4"), a)), "its early hold holds nothing"


async def test_a_resolved_hold_is_kept_from_a_strike_that_does_not_know_of_it(stage: Stage) -> None:
    knowing = await restarted(stage)
    plane = await stage.leading(asking_rules(stage.owner))
    knowing.made["c1"] = "x"
    a = await crashed(stage)
    await seen(plane)
    before = await stage.hand.get(stage.hand.keys.roster(a))
    assert before is not None
    await stage.clock.advance(AFTER + 2)
    await eventually("it is recorded", lambda: plane.index.entry(blob("x")))
    by = plane.leadership.authority_of_tenant()
    assert by is not None
    struck = await stage.hand.commit(protocol.strike(stage.hand.keys, by, a, before.mod_revision))
    assert not struck.succeeded
    after = await stage.hand.get(stage.hand.keys.roster(a))
    assert after is not None
    assert decode(RosterRecord, after.value) == decode(RosterRecord, before.value)


async def _apply(stage: Stage, rule_set: RuleSet) -> None:
    await RuleLoader(stage.client, stage.keys, stage.clock, rule_set, deadline=5).load()


async def test_what_cannot_be_recorded_now_is_asked_about_ever_more_slowly(stage: Stage) -> None:
    knowing = await restarted(stage)
    knowing.made.update({"c1": "swept", "c2": "free"})
    plane = await stage.leading(asking_rules(stage.owner))
    await stage.hand.commit(Txn((), (Put(stage.keys.sweep(blob("swept")), b"{}"),)))
    a = await stage.hand.attach("a", ttl=10**6, says_ttl=1)
    await intend(stage.hand, a, "c1")
    await intend(stage.hand, a, "c2")
    await stage.hand.vanish(a)
    await seen(plane, 2)
    await stage.clock.advance(AFTER + 40)
    assert metric(plane, "leasehold_intents_resolved_total", owner="store", outcome="found") == 1, "the other one"
    assert 3 <= knowing.asked.count("c1") <= 7
    assert await intent_of(stage.hand, a, "c1") is not None


async def test_a_mistake_of_ours_with_one_intent_does_not_stop_the_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    knowing = await restarted(stage)
    knowing.made.update({"c1": "one", "c2": "two"})
    plane = await stage.leading(asking_rules(stage.owner))
    usual = plane.resolver._look_into

    async def broken(case: Over) -> bool:
        if case.call == "c1":
            raise RuntimeError("a mistake")
        return await usual(case)

    monkeypatch.setattr(plane.resolver, "_look_into", broken)
    await crashed(stage, "c1")
    await crashed(stage, "c2", "b")
    await seen(plane, 2)
    await stage.clock.advance(AFTER + 3)
    await eventually("the other is recorded", lambda: plane.index.entry(blob("two")))


async def test_an_owner_that_is_not_called_makes_suspects_that_are_asked_about_when_it_is_back(stage: Stage) -> None:
    knowing = await restarted(stage)
    knowing.made["c1"] = "x"
    plane = await stage.leading(asking_rules(stage.owner))
    office = plane.owners.get("store")
    assert office is not None
    office.guard.tripped = Verdict.UNKNOWN
    await crashed(stage)
    await seen(plane)
    await stage.clock.advance(AFTER + 2)
    await eventually("it is a suspect", lambda: metric(plane, "leasehold_suspects", reason="unclear-answer") == 1)
    assert knowing.asked == [], "the probe is for the sweeps"
    office.guard.tripped = None
    await stage.clock.advance(6)
    await eventually("it is recorded", lambda: plane.index.entry(blob("x")))
