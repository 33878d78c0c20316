"""The shadow report on the whole: an observing rule deletes nothing, and says what it would have deleted."""

from __future__ import annotations

import pytest

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.lifecycle import State
from leasehold.protocol import transactions as tx
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import RuleName
from leasehold.protocol.records import ResourceRecord, ShadowRecord, TrippedRecord, decode
from tests.unit.control_plane.stage import GRACE, Stage, abandoned
from tests.unit.control_plane.world import blob, eventually, metric, rules, state

NAMES = ("late", "own", "left")


def numbers(plane: ControlPlane) -> tuple[int, int, int]:
    record = plane.shadows.records().get("make", ShadowRecord())
    return record.wrong, record.by_app, record.unheld


async def forget(stage: Stage, name: str) -> None:
    item = await stage.hand.get(stage.keys.record(blob(name)))
    assert item is not None
    record = decode(ResourceRecord, item.value)
    await stage.hand.commit(tx.forget(stage.keys, blob(name), record, item.mod_revision))


async def passes(stage: Stage, plane: ControlPlane, wanted: tuple[int, int, int]) -> None:
    for _ in range(30):
        if numbers(plane) == wanted:
            return
        await stage.clock.advance(1.0, step=0.5)
    assert numbers(plane) == wanted


@pytest.mark.parametrize("mode", ["observe", "condemn"])
async def test_what_would_have_been_deleted_is_told_and_how_often_that_was_wrong(stage: Stage, mode: str) -> None:
    plane = await stage.leading(rules(stage.owner, mode=mode, grace="8s"))
    await abandoned(stage, *NAMES)
    await eventually("all are known", lambda: len(plane.index) == 3)
    await stage.clock.advance(GRACE - 2)
    assert numbers(plane) == (0, 0, 0)
    await passes(stage, plane, (0, 0, 3))
    b = await stage.hand.attach("b", ttl=10**6)
    assert await stage.hand.acquire(b, "late")
    await forget(stage, "own")
    await eventually("all is told", lambda: numbers(plane) == (1, 1, 1))
    [example] = plane.shadows.records()["make"].examples
    assert (example.resource, example.who) == ("store/blob/late", b)
    assert metric(plane, "leasehold_shadow_would_delete", rule="make") == 3
    assert metric(plane, "leasehold_shadow_wrong", rule="make") == 1
    assert metric(plane, "leasehold_shadow_by_app", rule="make") == 1
    assert metric(plane, "leasehold_shadow_unheld", rule="make") == 1
    assert await stage.hand.count(Family.SWEEPS) == 0
    assert len(stage.owner.things) == 3
    assert (await stage.hand.count(Family.TOMBSTONES) > 0) is (mode == "condemn")


async def test_the_report_survives_a_change_of_hands(stage: Stage) -> None:
    first = await stage.leading(rules(stage.owner, mode="observe", grace="8s"))
    await abandoned(stage, *NAMES)
    await passes(stage, first, (0, 0, 3))
    b = await stage.hand.attach("b", ttl=10**6, says_ttl=1)
    assert await stage.hand.acquire(b, "late")
    await passes(stage, first, (1, 0, 2))

    async def noted() -> bool:
        await stage.clock.advance(1.0, step=0.5)
        item = await stage.hand.get(stage.keys.shadow(RuleName("make")))
        return item is not None and decode(ShadowRecord, item.value).wrong == 1

    await eventually("it is written down", noted)
    await first.stop()
    second = await stage.leading(rules(stage.owner, mode="observe", grace="8s"), name="two")
    await stage.clock.advance(3)
    await eventually("it goes on", lambda: numbers(second) == (1, 0, 2))
    assert await stage.hand.acquire(b, "left")
    await eventually("it was wrong again", lambda: numbers(second) == (2, 0, 1))


async def test_while_the_brake_is_on_nothing_would_have_been_deleted(stage: Stage) -> None:
    plane = await stage.leading(rules(stage.owner, mode="observe", grace="8s"))
    await stage.hand.commit(tx.trip(stage.keys, TrippedRecord("me", "no")))
    await eventually("it is known", lambda: plane.brake.why_not)
    await abandoned(stage, *NAMES)
    await eventually("all are known", lambda: state(plane, "left") is State.OBSERVE_ONLY)
    await stage.clock.advance(3 * GRACE, step=0.5)
    assert numbers(plane) == (0, 0, 0)


async def test_a_rule_that_sweeps_is_not_in_the_report(stage: Stage) -> None:
    plane = await stage.leading(rules(stage.owner, mode="sweep", grace="8s"))
    await abandoned(stage, "x")
    await stage.clock.advance(GRACE + 2)
    await eventually("it is gone", lambda: not stage.owner.things)
    assert plane.shadows.records() == {}
