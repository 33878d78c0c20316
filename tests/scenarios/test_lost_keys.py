"""Somebody's ``etcdctl del --prefix``: whichever part of the keyspace is lost, nothing that is needed is deleted."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.brake_window import Thresholds
from leasehold.control_plane.core.lifecycle import State
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.records import Cause, SweepRecord, SweepState, TrippedRecord, decode, encode
from leasehold.protocol.store import Delete, KeyRange, Put, Txn
from leasehold.sidecar.holds.registrar import Outcome
from leasehold.sidecar.observe.events import Use
from tests.integration.sidecar_world import USES
from tests.scenarios.house import making, sidecars_beside
from tests.unit.control_plane.stage import GRACE, Stage, abandoned, rule_set
from tests.unit.control_plane.world import blob, eventually, metric, state

NEEDED = ("held", "pinned", "referenced")
EVIDENCE = {"control", "everything", "holds", "owners", "replicas", "resources", "roster", "rules", "shards"}
"""Families without which nothing at all is deleted: each is a present fact that every step towards a delete needs.
(Shards and replicas come back by themselves, but their warm-up is longer than the test looks on.)"""
TRIPS_AT_ONCE = {"holds", "pins"}
"""Of a pin, which is a hold as well, the loss of either half trips the brake (as does that of a sweep, of which none is
there in this scenario)."""
TRIPPING = {"refs", "resources", "roster"} | TRIPS_AT_ONCE
"""Families whose keys go only by, or because of, what can be seen in the same batch."""
FAMILIES = ("nothing", "everything", *(one.value for one in Family))


def lost(keys: Keyspace, family: str) -> KeyRange:
    return keys.everything if family == "everything" else keys.family(Family(family))


@pytest.mark.parametrize("family", FAMILIES)
async def test_whichever_family_of_keys_is_lost_nothing_needed_is_deleted(
    stage: Stage, family: str, tmp_path: Path
) -> None:
    plane = await long_after_losing(stage, family, tmp_path, Thresholds())
    assert set(NEEDED) <= set(stage.owner.things)
    assert ("abandoned" in stage.owner.things) is (family in EVIDENCE | TRIPS_AT_ONCE)
    assert bool(metric(plane, "leasehold_brake_trips_total", cause=Cause.LOST)) is (family in TRIPS_AT_ONCE)


@pytest.mark.parametrize("family", ["nothing", *(one.value for one in Family)])
async def test_a_family_whose_keys_never_go_by_themselves_trips_the_brake_when_it_is_lost(
    stage: Stage, family: str, tmp_path: Path
) -> None:
    """So few would trip nothing in production: here one is too many. Whoever vanished does not count."""
    plane = await long_after_losing(stage, family, tmp_path, Thresholds(Fraction(1), losses=0))
    trips = metric(plane, "leasehold_brake_trips_total", cause=Cause.LOST)
    assert bool(trips) is (family in TRIPPING)
    item = await stage.hand.get(stage.keys.tripped)
    assert (item is not None and decode(TrippedRecord, item.value).cause is Cause.LOST) is (family in TRIPPING)
    assert await stage.hand.there(stage.keys.armed) is (family not in {*TRIPPING, "control"})
    assert set(NEEDED) <= set(stage.owner.things)


async def long_after_losing(stage: Stage, family: str, tmp_path: Path, limits: Thresholds) -> ControlPlane:
    """Graces later: three things are needed, each by somebody else, and one was abandoned before."""
    rules = rule_set(stage)
    plane = await stage.leading(rules, ttl=30, thresholds=limits)  # the clock outruns renewals
    sidecars = sidecars_beside(stage, tmp_path)
    async with sidecars.client, sidecars.sidecar(rules=rules.rules, ttl=600) as sidecar:
        for name in NEEDED:
            stage.owner.add(name)
        await sidecar.attached()
        assert await sidecar.registrar.observed(making(rules, "held")) is Outcome.REGISTERED
        await kept_by_others(stage)
        assert await sidecar.registrar.observed(Use(USES, blob("source"))) is Outcome.REGISTERED
        await abandoned(stage, "abandoned")
        await eventually("it is in its grace", lambda: state(plane, "abandoned") is State.IN_GRACE)
        if family != "nothing":
            await stage.hand.commit(Txn((), (Delete(lost(stage.keys, family)),)))
        await eventually("the living holder has a beacon", lambda: stage.hand.there(stage.keys.beacon(sidecar.holder)))
        await eventually("everybody has heard", lambda: plane.observer.sight.revision >= stage.fake.store.revision)
        await stage.clock.advance(2.5 * GRACE, step=0.5)
    return plane


async def test_a_single_sweep_that_is_lost_while_its_tombstone_stands_trips_the_brake(stage: Stage) -> None:
    """A delete may be on its way, and whoever comes now is granted a hold that does not know of it."""
    plane = await stage.leading(rule_set(stage), ttl=30)
    keys, x = stage.keys, blob("x")
    stage.owner.add("x")
    await abandoned(stage, "x")
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    sweep = SweepRecord(SweepState.QUARANTINED, "call:1", 1, 1, 1, "8s/1", attempt=1)
    await stage.hand.commit(Txn((), (Put(keys.sweep(x), encode(sweep)),)))
    await eventually("it is quarantined", lambda: state(plane, "x") is State.QUARANTINED)
    await stage.hand.commit(Txn((), (Delete(keys.family(Family.SWEEPS)),)))
    await eventually("it is tripped", lambda: plane.index.tripped[1])
    tripped = plane.index.tripped[1]
    assert tripped is not None
    assert tripped.cause is Cause.LOST
    assert "the sweep of store/blob/x" in tripped.why


async def kept_by_others(stage: Stage) -> None:
    """One is kept by an operator's pin alone, one by a reference of ``source`` alone."""
    dead = await stage.hand.attach("dead", ttl=10**6, says_ttl=1)
    maker = await stage.hand.attach("maker", ttl=10**6, says_ttl=1)
    await stage.hand.register(dead, "pinned", "referenced", grace_class="8s")
    await stage.hand.register(maker, "source", references=(blob("referenced"),), grace_class="8s")
    await stage.hand.pin("pinned")
    await stage.hand.vanish(dead)
