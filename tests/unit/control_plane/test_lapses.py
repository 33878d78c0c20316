"""Belief that lapses for a moment, and comes back under the same fences: nothing that was under way is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.collector import Collector
from leasehold.control_plane.core.lifecycle import Step
from leasehold.control_plane.membership import Membership
from tests.unit.control_plane.stage import GRACE, Stage, abandoned, rule_set
from tests.unit.control_plane.world import blob, calling, eventually, state


class Lapse:
    """While ``on`` no replica believes in its lease, and nobody tells it so."""

    on = False


@pytest.fixture
def lapse(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lapse]:
    it = Lapse()
    believed = Membership.believed.fget
    assert believed is not None
    monkeypatch.setattr(Membership, "believed", property(lambda self: not it.on and believed(self)))
    told = Collector.on_leadership
    monkeypatch.setattr(Collector, "on_leadership", lambda self: None if it.on else told(self))
    return it


async def _turn(times: int = 20) -> None:
    for _ in range(times):
        await asyncio.sleep(0.005)


async def _until_swept(stage: Stage, plane: ControlPlane, *, within: float) -> bool:
    until = stage.clock.now() + within
    while stage.clock.now() < until:
        if state(plane, "x") is None:
            return True
        await stage.clock.advance(0.5)
    return False


async def test_a_delete_that_ends_while_belief_lapses_is_concluded_when_it_is_back(stage: Stage, lapse: Lapse) -> None:
    plane = await stage.leading(rule_set(stage))

    def lose_belief(_: str) -> None:
        lapse.on = True

    stage.owner.before_delete = lose_belief
    await abandoned(stage, "x")
    for _ in range(80):
        await stage.clock.advance(0.25)
        if lapse.on:
            break
    await eventually("the call is over", lambda: not calling(plane))
    assert plane.index.step_of(blob("x")) is Step.SWEEP
    lapse.on, stage.owner.before_delete = False, None
    assert await _until_swept(stage, plane, within=20), "long before the next scan"


async def test_a_grace_that_was_measured_through_a_lapse_of_belief_counts(stage: Stage, lapse: Lapse) -> None:
    plane = await stage.leading(rule_set(stage))
    await abandoned(stage, "x")
    await eventually("in its grace", lambda: bool(list(plane.index.epochs_of("8s"))))  # type: ignore[arg-type]
    await stage.clock.advance(GRACE - 2)
    lapse.on = True
    plane.collector._graces.nudge()
    await _turn()
    lapse.on = False
    assert await _until_swept(stage, plane, within=6), "sooner than a grace that began anew would be over"


async def test_what_the_epochs_needed_while_belief_lapsed_is_done_when_it_is_back(stage: Stage, lapse: Lapse) -> None:
    plane = await stage.leading(rule_set(stage))
    await abandoned(stage, "x")
    await eventually("in its grace", lambda: bool(list(plane.index.epochs_of("8s"))))  # type: ignore[arg-type]
    await stage.clock.advance(GRACE - 0.5)
    lapse.on = True
    stage.fake.advance(1)  # etcd's clock alone: shorter than our lease, which is not renewed meanwhile
    await eventually("its lease is over", lambda: not any(one.measured for one in plane.index.epochs_of("8s")))  # type: ignore[arg-type]
    await _turn()
    lapse.on = False
    plane.leadership.on_membership()
    assert await _until_swept(stage, plane, within=8)


async def test_belief_that_is_renewed_wakes_whoever_found_it_lapsed(
    stage: Stage, lapse: Lapse, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = await stage.leading(rule_set(stage))
    woken: list[str] = []
    for crew in plane.collector.crews.values():
        monkeypatch.setattr(crew, "nudge", lambda stage=crew.stage: woken.append(stage))
    lapse.on = True
    assert plane.collector.crews[Step.CONDEMN]._gate() is None
    lapse.on = False
    plane.leadership.on_membership()
    assert set(woken) == set(plane.collector.crews), "nothing changed but that"
    assert plane.index.entry(blob("x")) is None
