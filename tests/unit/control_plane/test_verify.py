"""An owner that can be asked whether something is in use: "in use" vetoes, not knowing keeps."""

from __future__ import annotations

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.lifecycle import State, Step
from leasehold.protocol.rules import RuleSet
from tests.unit.control_plane.stage import GRACE, Stage, abandoned, passing
from tests.unit.control_plane.world import blob, eventually, metric, rules, state

VERIFY = 'verify: {path: "/in-use/{+id}", json: used}'


def asking(stage: Stage) -> RuleSet:
    return rules(stage.owner, grace="8s", limits=VERIFY)


def asked(stage: Stage) -> int:
    return sum(what == "ASK" for what, _, _ in stage.owner.ledger)


async def out_of_grace(stage: Stage, plane: ControlPlane, *names: str) -> None:
    await abandoned(stage, *names)
    for name in names:
        await eventually("it is in its grace", lambda name=name: state(plane, name) is State.IN_GRACE)  # type: ignore[misc]
    await stage.clock.advance(GRACE + 0.5)


async def test_what_is_not_in_use_is_swept_after_being_asked_about_twice(stage: Stage) -> None:
    plane = await stage.leading(asking(stage))
    await out_of_grace(stage, plane, "x")
    await eventually("it is gone", lambda: not stage.owner.things)
    assert [what for what, _, _ in stage.owner.ledger][:3] == ["ASK", "ASK", "DELETE"]
    assert metric(plane, "leasehold_owner_verifications_total", owner="store", verdict="not-in-use") == 2


async def test_in_use_vetoes_before_the_prepare_and_the_grace_starts_anew(stage: Stage) -> None:
    stage.owner.used["x"] = True
    plane = await stage.leading(asking(stage))
    await out_of_grace(stage, plane, "x")
    await eventually("it was vetoed", lambda: metric(plane, "leasehold_vetoed_total", owner="store", step="prepare"))
    # Counted once etcd has answered, which is after the owner has.
    await eventually("it was revived", lambda: metric(plane, "leasehold_revived_total", reason="in-use") == 1)
    assert metric(plane, "leasehold_prepared_total") == 0
    await eventually("it is condemned anew", lambda: state(plane, "x") is State.IN_GRACE)
    stage.owner.used["x"] = False
    await stage.clock.advance(GRACE - 1)
    assert stage.owner.deletes() == [], "a whole grace again"
    await passing(stage, "it is gone", lambda: not stage.owner.things)


async def test_an_owner_that_cannot_tell_keeps_everything_as_it_is(stage: Stage) -> None:
    stage.owner.used["x"] = 500
    plane = await stage.leading(asking(stage))
    await out_of_grace(stage, plane, "x")
    await eventually("it was asked", lambda: metric(
        plane, "leasehold_kept_total", step="prepare", reason="unverified"))  # fmt: skip
    await stage.clock.advance(5)
    assert asked(stage) > 1, "it is asked again, ever more slowly"
    assert state(plane, "x") is State.IN_GRACE
    assert metric(plane, "leasehold_prepared_total") == 0
    assert await stage.hand.acquire(await stage.hand.attach("b"), "x"), "nothing stands in the way of a new holder"
    assert stage.owner.deletes() == []


async def test_in_use_vetoes_right_before_the_first_send_too(stage: Stage) -> None:
    answers = iter([False, True])
    stage.owner.used["x"] = lambda: next(answers, False)
    plane = await stage.leading(asking(stage))
    await out_of_grace(stage, plane, "x")
    await eventually("it was vetoed", lambda: metric(plane, "leasehold_vetoed_total", owner="store", step="send"))
    await eventually("it was given up", lambda: metric(
        plane, "leasehold_aborted_total", owner="store", reason="in-use"))  # fmt: skip
    assert stage.owner.deletes() == []
    assert await stage.hand.sweep_of("x") is None


async def test_not_knowing_right_before_the_first_send_gives_up_rather_than_stay_prepared(stage: Stage) -> None:
    answers = iter([False, 502])
    stage.owner.used["x"] = lambda: next(answers, 502)
    plane = await stage.leading(asking(stage))
    await out_of_grace(stage, plane, "x")
    await eventually("it was given up", lambda: metric(
        plane, "leasehold_aborted_total", owner="store", reason="unverified"))  # fmt: skip
    assert await stage.hand.acquire(await stage.hand.attach("b"), "x")
    assert stage.owner.deletes() == []


async def test_a_gap_that_began_while_the_owner_was_asked_is_waited_out(stage: Stage) -> None:
    plane = await stage.leading(asking(stage))

    def gap() -> bool:
        plane.brake.warm_up.forget("a gap begins")
        return False

    stage.owner.used["x"] = gap
    await out_of_grace(stage, plane, "x")
    await eventually("it was asked", lambda: asked(stage))
    await stage.clock.advance(3)
    assert metric(plane, "leasehold_prepared_total") == 0


async def test_a_holder_that_comes_while_the_owner_is_asked_has_its_way(stage: Stage) -> None:
    plane = await stage.leading(asking(stage))
    holder = await stage.hand.attach("b", ttl=10**6)
    answers = []

    async def acquire() -> None:
        answers.append(await stage.hand.acquire(holder, "x"))

    ask = plane.owners.get

    def meddle(name: str) -> object:
        office = ask(name)
        if office is not None and not answers and state(plane, "x") is State.IN_GRACE and plane.index.step_of(
            blob("x")
        ) is Step.PREPARE:  # fmt: skip
            plane.owners.get = ask  # type: ignore[method-assign]
            verify = office.client.verify

            async def slow(*call: object) -> object:
                await acquire()
                return await verify(*call)  # type: ignore[arg-type]

            office.client.verify = slow  # type: ignore[method-assign, assignment]
        return office

    plane.owners.get = meddle  # type: ignore[method-assign, assignment]
    await out_of_grace(stage, plane, "x")
    await eventually("it is held", lambda: state(plane, "x") is State.HELD)
    assert answers == [True]
    assert stage.owner.deletes() == []


async def test_a_misconfigured_question_stops_the_deletes_of_that_owner_too(stage: Stage) -> None:
    stage.owner.used["x"] = 403
    plane = await stage.leading(asking(stage))
    await out_of_grace(stage, plane, "x")
    await eventually("it is known", lambda: plane.owners.states() == {"store": "misconfigured"})
    assert metric(plane, "leasehold_owner_misconfigured_total", owner="store") == 1
    await stage.clock.advance(3)
    assert asked(stage) == 1
    assert stage.owner.deletes() == []
