"""A cycle whose members fall into shards of different replicas: one acts for all of it, each sweeps its own."""

from __future__ import annotations

import pytest

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.lifecycle import State
from leasehold.protocol.keyspace import Family, shard_of
from leasehold.protocol.records import FOUNDED_SHARDS
from tests.unit.control_plane.stage import Stage, passing, rule_set
from tests.unit.control_plane.test_references import attached, graced, ring
from tests.unit.control_plane.test_shards import names_of, shared
from tests.unit.control_plane.world import blob, eventually, metric, state


@pytest.fixture
async def pair(stage: Stage) -> tuple[ControlPlane, ControlPlane]:
    first = await stage.leading(rule_set(stage))
    second = await stage.plane(rule_set(stage), name="two")
    await eventually("they share", lambda: shared(first, second))
    return first, second


@pytest.mark.parametrize("led_by", ["one", "two"])
async def test_a_cycle_across_shards_is_condemned_once_and_swept_by_each_for_its_own(
    stage: Stage, pair: tuple[ControlPlane, ControlPlane], led_by: str
) -> None:
    other = "two" if led_by == "one" else "one"
    names = names_of(other, "one", "two", count=2) + names_of(led_by, "one", "two")  # the last created is named first
    holder = await attached(stage, "a")
    await ring(stage, holder, *names)
    await stage.hand.vanish(holder)
    members = {blob(name) for name in names}
    for plane in pair:
        await eventually("only referred to", lambda plane=plane: {r for r, _ in plane.index.picture()} == members)
    for plane in pair:
        await plane.cycles.search()
    tombstones = await stage.client.read(stage.keys.family(Family.TOMBSTONES), deadline=5)
    assert len({item.mod_revision for item in tombstones.items}) == 1
    await graced(stage, pair[0], *names)
    await passing(stage, "all are gone", lambda: not stage.owner.things and not any(len(p.index) for p in pair))
    assert stage.owner.deletes() == list(reversed(names))
    condemned = {p.config.replica: metric(p, "leasehold_condemned_total") for p in pair}
    assert condemned == {led_by: 3, other: 0}, "the first member's shard acts"


async def test_a_living_member_in_anothers_shard_keeps_the_whole_cycle(
    stage: Stage, pair: tuple[ControlPlane, ControlPlane]
) -> None:
    names = names_of("one", "one", "two") + names_of("two", "one", "two")
    assert len({shard_of(blob(name), FOUNDED_SHARDS) for name in names}) == 2
    dead, alive = await attached(stage, "a"), await attached(stage, "b")
    await ring(stage, dead, *names)
    await stage.hand.vanish(dead)
    for plane in pair:
        await eventually("only referred to", lambda plane=plane: len(list(plane.index.picture())) == 2)
        await plane.cycles.search()
    await graced(stage, pair[0], *names)
    assert await stage.hand.acquire(alive, names[1])
    await eventually("both are held", lambda: all(state(p, name) is State.HELD for p in pair for name in names))
    await stage.clock.advance(60)
    assert stage.owner.ledger == []
