"""The self-test: quiet in health, an alarm when nothing would be collected, the brake when what is held would be."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from leasehold.control_plane import canary
from leasehold.control_plane.core.verdict import Keep
from leasehold.protocol.keyspace import Family
from leasehold.protocol.records import Cause, TrippedRecord, decode
from tests.unit.control_plane.stage import Stage, rule_set
from tests.unit.control_plane.world import eventually, metric


async def test_in_health_it_passes_writes_no_tombstone_and_calls_nobody(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage), canary_seconds=5.0)
    await stage.clock.advance(6)
    await eventually("it passed", lambda: metric(plane, "leasehold_canaries_total", outcome="passed") == 1)
    assert plane.canary.failed == ""
    assert plane.brake.why_not == ""
    await eventually("it is cleared away", lambda: not len(plane.index))
    assert await stage.hand.count(Family.TOMBSTONES) == await stage.hand.count(Family.EPOCHS) == 0
    assert stage.owner.ledger == []
    assert plane.brake.vigil.window.losses == plane.brake.vigil.window.carried == 0


async def test_guards_that_let_a_living_holders_resource_through_trip_the_brake(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = canary.tx.condemn

    def unguarded(*arguments: Any) -> Any:
        return msgspec.structs.replace(guarded(*arguments), compares=())

    plane = await stage.leading(rule_set(stage), canary_seconds=5.0)
    monkeypatch.setattr(canary.tx, "condemn", unguarded)
    await stage.clock.advance(6)
    item = await eventually("it is tripped", lambda: stage.hand.get(stage.keys.tripped))
    assert decode(TrippedRecord, item.value).cause is Cause.CANARY
    assert await stage.hand.get(stage.keys.armed) is None
    await eventually("it is told", lambda: "guards" in plane.canary.failed)
    assert metric(plane, "leasehold_canary_failed") == 1


async def test_a_judge_that_takes_the_living_for_dead_trips_the_brake(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = canary.unheld

    def always(evidence: Any) -> Any:
        found = judged(evidence)
        return object() if isinstance(found, Keep) else found

    await stage.leading(rule_set(stage), canary_seconds=5.0)
    monkeypatch.setattr(canary, "unheld", always)
    await stage.clock.advance(6)
    assert await eventually("it is tripped", lambda: stage.hand.get(stage.keys.tripped))


async def test_one_that_keeps_everything_is_told_and_stops_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "unheld", lambda _: Keep("held", "says a mistake"))
    plane = await stage.leading(rule_set(stage), canary_seconds=5.0)
    await stage.clock.advance(6)
    await eventually("it failed", lambda: "what nobody holds is kept" in plane.canary.failed)
    assert metric(plane, "leasehold_canaries_total", outcome="failed") == 1
    assert any("canary" in one for one in plane.standing.attention())
    assert await stage.hand.get(stage.keys.armed) is not None


async def test_it_is_not_tried_while_the_brake_is_on(stage: Stage) -> None:
    from leasehold.protocol import transactions as tx

    plane = await stage.leading(rule_set(stage), canary_seconds=5.0)
    await stage.hand.commit(tx.trip(stage.keys, TrippedRecord("me", "no")))
    await eventually("it is known", lambda: plane.brake.why_not)
    await stage.clock.advance(12)
    assert await stage.hand.get(stage.keys.canary) is None


async def test_what_an_interrupted_one_left_is_cleared_by_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = await stage.leading(rule_set(stage))
    real = canary.Canary._clear

    async def interrupted(*_: object) -> None:
        """Nothing is cleared."""

    monkeypatch.setattr(canary.Canary, "_clear", interrupted)
    assert await plane.canary.test() == ""
    assert await stage.hand.count(Family.RESOURCES) == 2
    monkeypatch.setattr(canary.Canary, "_clear", real)
    assert await plane.canary.test() == ""
    assert await stage.hand.count(Family.RESOURCES) == await stage.hand.count(Family.ROSTER) == 0
