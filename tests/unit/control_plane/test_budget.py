"""An owner that fails for days: a budget, then quarantine, then a slow retry for ever. Time moves only when told."""

from __future__ import annotations

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.backlog import attempts_within
from leasehold.control_plane.core.lifecycle import State
from leasehold.protocol.records import SweepState
from tests.unit.control_plane.stage import GRACE, Stage, abandoned
from tests.unit.control_plane.world import eventually, metric, rules, state

HOUR = 3600.0
RETRIES = "retries: {first: 1h, longest: 1h, budget: 10h, refusals: 3, slow: 6h}"


async def failing(stage: Stage, status: int) -> ControlPlane:
    """A plane that leads for weeks, and a resource whose first delete was answered with ``status``."""
    plane = await stage.leading(rules(stage.owner, grace="8s", limits=RETRIES), ttl=10**7)
    stage.owner.lie = status
    await abandoned(stage, "x")
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    await stage.clock.advance(GRACE + 0.5)
    await eventually("it was tried", lambda: stage.owner.deletes())
    return plane


async def pass_hours(stage: Stage, hours: float, plane: ControlPlane) -> None:
    for _ in range(round(hours * 2)):
        await stage.clock.advance(HOUR / 2, step=HOUR / 2)
        await eventually(
            "nothing is in hand", lambda: not any(crew.in_hand() for crew in plane.collector.crews.values())
        )


async def test_an_owner_that_fails_for_longer_than_its_budget_is_asked_slowly_for_ever(stage: Stage) -> None:
    plane = await failing(stage, 500)
    budget = attempts_within(10 * HOUR, HOUR, HOUR)
    await pass_hours(stage, 4, plane)
    sweep = await stage.hand.sweep_of("x")
    assert sweep is not None
    assert sweep.state is SweepState.SENT, "the budget is of hours"
    assert sweep.attempt < budget
    await pass_hours(stage, 30, plane)
    sweep = await stage.hand.sweep_of("x")
    assert sweep is not None
    assert (sweep.state, sweep.outcome) == (SweepState.QUARANTINED, "budget: DELETE 500")
    assert metric(plane, "leasehold_quarantined_total", owner="store", reason="budget") == 1
    tried = sweep.attempt
    assert tried >= budget
    await pass_hours(stage, 60, plane)
    sweep = await stage.hand.sweep_of("x")
    assert sweep is not None
    assert sweep.state is SweepState.QUARANTINED
    assert 60 / 7 <= sweep.attempt - tried <= 60 / 2.5, "between half of `slow` and all of it, give or take a step"
    stage.owner.lie = None
    await pass_hours(stage, 7, plane)
    await eventually("it is gone in the end", lambda: not stage.owner.things)


async def test_refusals_have_a_budget_of_their_own(stage: Stage) -> None:
    plane = await failing(stage, 409)
    await pass_hours(stage, 12, plane)
    assert state(plane, "x") is State.QUARANTINED
    assert len(stage.owner.deletes("x")) >= 3
    assert metric(plane, "leasehold_quarantined_total", owner="store", reason="refused") == 1
    assert metric(plane, "leasehold_aborted_total", owner="store", reason="refused") == 2
