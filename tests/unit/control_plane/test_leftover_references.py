"""Leftovers of crashes: what they refer to nobody has read, so they keep everything that it might be."""

from __future__ import annotations

import pytest

from leasehold.control_plane.api import shown_state
from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.lifecycle import State
from leasehold.protocol import transactions as tx
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Resource
from leasehold.protocol.records import ResourceRecord, decode
from tests.unit.control_plane.asking import BY_KEY, asking_rules
from tests.unit.control_plane.stage import GRACE, Stage, passing
from tests.unit.control_plane.test_intents import AFTER, crashed, restarted, seen
from tests.unit.control_plane.test_inventory import Shop
from tests.unit.control_plane.test_references import attached, graced, searched
from tests.unit.control_plane.world import blob, eventually, state

REFERRING = "references: [{owner: store, type: part, ids: 'parts'}]"
PART = blob("p", "part")


@pytest.fixture
def shop(stage: Stage) -> Shop:
    return Shop(stage)


async def record_of(stage: Stage, name: str) -> ResourceRecord | None:
    item = await stage.hand.get(stage.keys.record(blob(name)))
    return decode(ResourceRecord, item.value) if item else None


def part_state(plane: ControlPlane) -> State | None:
    entry = plane.index.entry(PART)
    return shown_state(plane.index, entry) if entry else None


async def abandoned_part(stage: Stage, plane: ControlPlane) -> None:
    a = await attached(stage, "part-maker")
    await stage.hand.register(a, PART, grace_class="8s")
    await stage.hand.vanish(a)
    await eventually("nobody holds it", lambda: part_state(plane) is State.OBSERVE_ONLY)


async def needed(plane: ControlPlane) -> None:
    await eventually("everything it may need is kept", lambda: part_state(plane) is State.HELD)


async def test_what_a_crashed_call_created_refers_to_everything_that_its_rule_speaks_of(stage: Stage) -> None:
    knowing = await restarted(stage)
    plane = await stage.leading(asking_rules(stage.owner, BY_KEY, rule_more=REFERRING))
    await abandoned_part(stage, plane)
    stage.owner.add("x")
    knowing.made["c1"] = "x"
    await crashed(stage)
    await seen(plane)
    await stage.clock.advance(AFTER + 1.5)
    await eventually("it is recorded", lambda: record_of(stage, "x"))
    found = await record_of(stage, "x")
    assert found is not None
    assert tx.references(found) == (tx.every(PART),)
    await needed(plane)
    assert await stage.hand.count(Family.REFS) == 1
    await passing(stage, "it is swept", lambda: not stage.owner.things)
    await eventually("and then nothing needs them", lambda: part_state(plane) is not State.HELD)
    assert await stage.hand.count(Family.REFS) == 0


async def test_an_orphan_refers_to_everything_that_rules_about_its_type_speak_of(stage: Stage, shop: Shop) -> None:
    plane = await shop.open(rule_more=REFERRING)
    await abandoned_part(stage, plane)
    shop.add("orphan", by="us")
    await shop.scans(plane, 2)
    await eventually("it is recorded", lambda: record_of(stage, "orphan"))
    found = await record_of(stage, "orphan")
    assert found is not None
    assert tx.references(found) == (tx.every(PART),)
    await needed(plane)


async def test_an_orphan_that_a_living_resource_refers_to_is_not_condemned(stage: Stage, shop: Shop) -> None:
    """The reference was written when nobody had recorded what it is to."""
    plane = await shop.open(mode="sweep")
    shop.add("orphan", by="us")
    shop.owner.add("whole")
    shop.knowing.listed.append({"id": "whole", "by": "us"})
    await stage.hand.register(shop.holder, "whole", grace_class="8s", references=(blob("orphan"),))
    await shop.scans(plane, 2)
    await eventually("it is recorded", lambda: record_of(stage, "orphan"))
    await eventually("and needed", lambda: state(plane, "orphan") is State.HELD)
    await stage.clock.advance(2 * GRACE)
    assert await stage.hand.count(Family.TOMBSTONES) == 0
    await stage.hand.vanish(shop.holder)
    await graced(stage, plane, "whole")
    assert state(plane, "orphan") is State.HELD
    await passing(stage, "all go, the referrer first", lambda: not shop.owner.things)
    assert shop.owner.deletes("whole") == ["whole"]
    order = shop.owner.deletes()
    assert order.index("whole") < order.index("orphan")


async def test_leftovers_that_may_need_each_other_are_swept_as_a_cycle(stage: Stage) -> None:
    """Of two creations nobody knows which others of their own type they need. They must not wait for each other."""
    plane = await stage.leading(asking_rules(stage.owner))
    a = await attached(stage, "a")
    everything: tuple[Resource, ...] = (tx.every(blob("m")),)
    for name in ("m", "n", "free"):
        stage.owner.add(name)
    await stage.hand.register(a, "free", grace_class="8s")
    await stage.hand.register(a, "m", "n", grace_class="8s", references=everything)
    await stage.hand.vanish(a)
    await searched(plane, "m", "n")
    await graced(stage, plane, "m", "n")
    assert state(plane, "free") is State.HELD
    await passing(stage, "all are gone", lambda: not stage.owner.things and not len(plane.index))
    assert stage.owner.deletes()[2] == "free"


async def test_leftovers_of_which_one_is_held_keep_everything_of_their_type(stage: Stage) -> None:
    plane = await stage.leading(asking_rules(stage.owner))
    a, b = await attached(stage, "a"), await attached(stage, "b")
    everything: tuple[Resource, ...] = (tx.every(blob("m")),)
    await stage.hand.register(a, "m", grace_class="8s", references=everything)
    await stage.hand.register(b, "n", grace_class="8s", references=everything)
    await stage.hand.vanish(a)
    await eventually("m is merely needed", lambda: [one for one, _ in plane.index.picture()] == [blob("m")])
    await plane.cycles.search()
    await stage.clock.advance(2 * GRACE)
    assert await stage.hand.count(Family.TOMBSTONES) == 0
