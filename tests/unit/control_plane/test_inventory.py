"""Scenarios of the inventory, on a fake etcd, with a clock that moves when the test says so."""

from __future__ import annotations

import pytest
from aiohttp import web

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.lifecycle import State
from leasehold.protocol.keyspace import Family
from leasehold.protocol.records import ResourceRecord, decode
from leasehold.protocol.rules import RuleSet
from tests.unit.control_plane.asking import Knowing, asking_rules, intend
from tests.unit.control_plane.stage import Stage
from tests.unit.control_plane.world import Owner, blob, eventually, metric, state

INTERVAL = 10.0
PLACE = {"owner": "store", "type": "blob"}
RULE = "inventory/store/blob"


def inventory_rules(owner: Owner, provenance: str = "{json: by, equals: us}", mode: str = "observe",
                    rule_more: str = "") -> RuleSet:  # fmt: skip
    return asking_rules(
        owner,
        f"""types:
      blob:
        inventory:
          path: /list
          items: items
          id: id
          provenance: {provenance}
          next: {{cursor: next}}
          interval: 10s
          mode: {mode}
          grace: 8s""",
        rule_more=rule_more,
    )


class Shop:
    """An owner that lists what it has, and a holder who keeps one thing of it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.owner = Owner()
        self.knowing = Knowing(self.owner)

    async def open(self, **more: str) -> ControlPlane:
        self.stage.owner = await self.stage.stack.enter_async_context(self.owner)
        plane = await self.stage.leading(inventory_rules(self.owner, **more))
        self.holder = await self.stage.hand.attach("keeper", ttl=10**6, says_ttl=1)
        self.add("kept", by="us")
        await self.stage.hand.register(self.holder, "kept", grace_class="8s")
        await eventually("it is known", lambda: state(plane, "kept") is State.HELD)
        return plane

    def add(self, name: str, **shown: object) -> None:
        self.owner.add(name)
        self.knowing.listed.append({"id": name, **shown})

    async def scans(self, plane: ControlPlane, count: int, result: str = "compared") -> None:
        """Let time pass until so many scans ended this way."""
        for _ in range(40):
            if metric(plane, "leasehold_inventory_scans_total", result=result, **PLACE) >= count:
                break
            await self.stage.clock.advance(1)
        assert metric(plane, "leasehold_inventory_scans_total", result=result, **PLACE) == count


@pytest.fixture
def shop(stage: Stage) -> Shop:
    return Shop(stage)


async def test_what_is_ours_and_unknown_is_recorded_by_the_second_scan_and_only_observed(
    stage: Stage, shop: Shop
) -> None:
    plane = await shop.open()
    shop.add("orphan", by="us")
    shop.add("theirs", by="them")
    shop.add("nobodys")
    await shop.scans(plane, 1)
    assert metric(plane, "leasehold_inventory_candidates", **PLACE) == 1
    assert metric(plane, "leasehold_unmanaged_resources", **PLACE) == 2
    assert await stage.hand.count(Family.RESOURCES) == 1
    await shop.scans(plane, 2)
    await eventually("it is recorded", lambda: state(plane, "orphan") is State.OBSERVE_ONLY)
    assert metric(plane, "leasehold_inventory_orphans_total", **PLACE) == 1
    assert metric(plane, "leasehold_owner_questions_total", owner="store", answer="there") >= 2
    found = await stage.hand.get(stage.hand.keys.record(blob("orphan")))
    assert found is not None
    assert decode(ResourceRecord, found.value).rule == RULE
    await shop.scans(plane, 4)
    assert set(shop.owner.things) == {"kept", "orphan", "theirs", "nobodys"}
    assert shop.owner.deletes() == []
    assert plane.status()["inventory"] == {
        "store/blob": {
            "known": 2, "candidates": 0, "missing": 0, "unmanaged": 2, "braked": None, "problem": None
        }
    }  # fmt: skip


async def test_with_mode_sweep_an_orphan_goes_the_ordinary_way(stage: Stage, shop: Shop) -> None:
    plane = await shop.open(mode="sweep")
    shop.add("orphan", by="us")
    await shop.scans(plane, 2)
    await eventually("it is in its grace", lambda: state(plane, "orphan") is State.IN_GRACE)
    assert "orphan" in shop.owner.things
    await stage.clock.advance(10)
    await eventually("it is gone", lambda: "orphan" not in shop.owner.things)
    assert shop.owner.deletes() == ["orphan"]


async def test_what_was_swept_and_is_still_listed_is_not_adopted_again(stage: Stage, shop: Shop) -> None:
    plane = await shop.open(mode="sweep")
    shop.add("orphan", by="us")
    await shop.scans(plane, 2)
    await stage.clock.advance(12)
    await eventually("it is gone", lambda: "orphan" not in shop.owner.things)
    await eventually("and forgotten", lambda: plane.index.entry(blob("orphan")) is None)
    await shop.scans(plane, 6)
    assert await stage.hand.count(Family.RESOURCES) == 1
    assert shop.owner.deletes() == ["orphan"]


async def test_a_key_shows_whose_call_created_it_even_where_nobody_can_be_asked(stage: Stage, shop: Shop) -> None:
    plane = await shop.open(provenance="{json: key}")
    a = await stage.hand.attach("a", ttl=10**6, says_ttl=0)
    await intend(stage.hand, a, "c1")
    await stage.hand.vanish(a)
    shop.add("found", key="c1")
    shop.add("theirs", key="another")
    await stage.clock.advance(25)
    assert plane.index.entry(blob("found")) is None, "the call may still be registered: it is no suspect yet"
    await stage.clock.advance(INTERVAL)
    found = await eventually("it is recorded", lambda: stage.hand.get(stage.hand.keys.record(blob("found"))))
    assert (decode(ResourceRecord, found.value).rule, decode(ResourceRecord, found.value).creator) == ("make", a)
    assert await stage.hand.count(Family.INTENTS) == 0
    await stage.clock.advance(INTERVAL)
    await eventually("and goes the ordinary way", lambda: shop.owner.deletes() == ["found"])
    await stage.clock.advance(3 * INTERVAL)
    assert shop.owner.deletes() == ["found"]


async def test_what_a_call_under_way_may_have_created_is_no_orphan(stage: Stage, shop: Shop) -> None:
    plane = await shop.open()
    await intend(stage.hand, shop.holder, "c1")
    shop.add("new", by="us")
    await shop.scans(plane, 4)
    assert await stage.hand.count(Family.RESOURCES) == 1
    await stage.hand.register(shop.holder, "new", grace_class="8s")
    await eventually("it is held", lambda: state(plane, "new") is State.HELD)


async def test_what_is_recorded_and_gone_is_closed_after_two_scans_and_a_read(stage: Stage, shop: Shop) -> None:
    plane = await shop.open()
    await stage.hand.register(shop.holder, "gone", grace_class="8s")
    await shop.scans(plane, 1)
    assert metric(plane, "leasehold_inventory_missing", **PLACE) == 1
    assert ("GET", "gone") not in [(method, name) for method, name, _ in shop.owner.ledger]
    await shop.scans(plane, 2)
    await eventually("it is closed", lambda: plane.index.entry(blob("gone")) is None)
    assert [(method, name) for method, name, _ in shop.owner.ledger] == [("GET", "gone")]
    assert await stage.hand.count(Family.HOLDS) == 1
    assert state(plane, "kept") is State.HELD


@pytest.mark.parametrize("answer", [200, 403, 500, 302])
async def test_what_a_read_does_not_call_gone_is_not_closed(stage: Stage, shop: Shop, answer: int) -> None:
    plane = await shop.open()
    await stage.hand.register(shop.holder, "unlisted", grace_class="8s")
    shop.owner.read_answers += [web.Response(status=answer) for _ in range(5)]
    await shop.scans(plane, 3)
    assert state(plane, "unlisted") is State.HELD
    assert metric(plane, "leasehold_inventory_closed_total", **PLACE) == 0


@pytest.mark.parametrize("fault", ["status", "loop", "no list"])
async def test_a_listing_that_does_not_come_to_its_end_concludes_nothing(stage: Stage, shop: Shop, fault: str) -> None:
    plane = await shop.open()
    await stage.hand.register(shop.holder, "unlisted", grace_class="8s")
    shop.add("orphan", by="us")
    if fault == "status":
        shop.knowing.status = 500
    elif fault == "loop":
        shop.knowing.page_size = 0
    else:
        shop.knowing.listed = [{"name": "no id"}]
    await shop.scans(plane, 4, "failed")
    assert await stage.hand.count(Family.RESOURCES) == 2
    told = plane.status()["inventory"]["store/blob"]  # type: ignore[index]
    assert told["problem"]
    assert "known" not in told


async def test_the_brake_holds_when_most_of_what_is_ours_is_unknown(stage: Stage, shop: Shop) -> None:
    plane = await shop.open(mode="sweep")
    for n in range(11):
        shop.add(f"x{n}", by="us")
    await shop.scans(plane, 3, "braked")
    assert await stage.hand.count(Family.RESOURCES) == 1
    assert metric(plane, "leasehold_inventory_braked", **PLACE) == 1
    assert len(shop.knowing.asked) >= 3 * 6, "all pages were read"


async def test_another_leader_begins_to_count_anew(stage: Stage, shop: Shop) -> None:
    first = await shop.open()
    shop.add("orphan", by="us")
    await shop.scans(first, 1)
    await first.stop()
    second = await stage.plane(None, name="two")
    await eventually("the second leads", lambda: second.leadership.leading and not second.brake.why_not)
    await shop.scans(second, 1)
    assert await stage.hand.count(Family.RESOURCES) == 1
    await shop.scans(second, 2)
    await eventually("it is recorded", lambda: second.index.entry(blob("orphan")))
