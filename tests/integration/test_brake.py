"""The brake against a real etcd: families that vanish, and what the command line tells of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from fractions import Fraction
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from leasehold.cli.__main__ import main
from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.brake_window import Thresholds
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Holder
from leasehold.protocol.records import Cause, ShadowRecord, TrippedRecord, decode
from leasehold.protocol.store import Delete, Txn
from tests.unit.control_plane.world import World, blob, eventually, has_all, rules, world

pytestmark = pytest.mark.etcd
COUNT = 60


@pytest.fixture
async def here(real_etcd: EtcdProcess | None) -> AsyncIterator[World]:
    if real_etcd is None:
        pytest.skip("no etcd here")
    async with world(real_etcd.endpoint) as it:
        yield it


async def crowded(here: World) -> Holder:
    """More than the brake's count, all of one living holder; a source refers to each."""
    holder = await here.hand.attach("a")
    names = [f"r{n}" for n in range(COUNT)]
    for name in names:
        here.owner.add(name)
    await here.hand.register(holder, *names)
    for n in range(0, COUNT, 10):
        await here.hand.register(holder, f"s{n}", references=tuple(blob(name) for name in names[n : n + 10]))
    return holder


async def tripped(here: World) -> TrippedRecord | None:
    item = await here.hand.get(here.keys.tripped)
    return decode(TrippedRecord, item.value) if item else None


@pytest.mark.parametrize("family", [Family.BEACONS, Family.HOLDS, Family.ROSTER, Family.RESOURCES, Family.REFS])
async def test_a_family_deleted_by_hand_trips_the_brake_and_nothing_is_deleted_at_owners(
    here: World, family: Family
) -> None:
    plane = await here.leading(rules(here.owner))
    await crowded(here)
    await eventually("all are known", lambda: len(plane.index) == COUNT + 6)
    await here.hand.commit(Txn((), (Delete(here.keys.family(family)),)))
    found = await eventually("it is tripped", lambda: tripped(here))
    assert found.cause is (Cause.VANISHED if family is Family.BEACONS else Cause.LOST)
    assert found.resources >= COUNT
    assert await here.hand.get(here.keys.armed) is None
    await asyncio.sleep(2.5)  # longer than a grace: nothing follows from it
    assert await here.hand.count(Family.SWEEPS) == 0
    assert here.owner.deletes() == []


async def test_without_armed_nothing_is_deleted_and_nobody_puts_it_back(here: World) -> None:
    plane = await here.leading(rules(here.owner))
    a = await crowded(here)
    await here.hand.commit(Txn((), (Delete(here.keys.armed),)))
    await eventually("it is noticed", lambda: plane.brake.why_not)
    await here.hand.vanish(a)
    await asyncio.sleep(2.5)
    assert await here.hand.get(here.keys.armed) is None
    assert await here.hand.count(Family.TOMBSTONES) == 0
    assert here.owner.deletes() == []


# --- the command line -------------------------------------------------------------------------------------------


async def run(here: World, *arguments: str) -> Result:
    command = ["--etcd", here.endpoint, "--tenant", here.tenant, *arguments]
    return await asyncio.to_thread(lambda: CliRunner().invoke(main, command))


async def told(here: World, *arguments: str) -> tuple[int, Any]:
    result = await run(here, *arguments, "-o", "json")
    return result.exit_code, json.loads(result.stdout)


async def with_a_face(here: World, **more: Any) -> ControlPlane:
    """A replica that can be asked, as ``serve`` makes it."""
    client = await here.stack.enter_async_context(EtcdClient(EtcdConfig(endpoints=[here.endpoint])))
    plane = ControlPlane(here.config(rules(here.owner), **more), client)
    runner = web.AppRunner(plane.web_app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    here.stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    plane.membership.announce(f"127.0.0.1:{runner.addresses[0][1]}", "1.2.3")
    await here.stack.enter_async_context(plane)
    await eventually("it has all shards", lambda: has_all(plane) and plane.index.shard_count == 64)
    await eventually("it may collect", lambda: not plane.brake.why_not)
    return plane


async def test_status_is_0_in_health_and_1_with_the_reason_when_braked(here: World) -> None:
    plane = await with_a_face(here)
    code, found = await told(here, "status")
    assert (code, found["attention"]) == (0, [])
    assert found["brake"]["armed"] is True
    assert found["window"]["thresholds"] == {"count": 50, "fraction": 0.15, "seconds": 300.0, "losses": 10}
    assert found["versions"] == {"tenant": 1, "common": 1}
    assert found["replicas"]["one"]["version"] == "1.2.3"
    assert found["shards"] == {"total": 64, "held": 64, "of_replicas": {"one": 64}}
    assert found["warm_up"]["seconds_left"] == 0
    table = await run(here, "status")
    assert table.exit_code == 0
    assert "armed" in table.output
    assert (await run(here, "brake", "trip", "--reason", "let me look")).exit_code == 0
    await eventually("it is known", lambda: plane.brake.why_not)
    code, found = await told(here, "status")
    assert code == 1
    assert (found["brake"]["cause"], found["brake"]["why"]) == ("operator", "let me look")
    assert found["brake"]["who"]
    assert found["brake"]["since"]
    assert [one.partition(":")[0] for one in found["attention"]] == ["braked"]
    code, found = await told(here, "brake", "status")
    assert (code, found["brake"]["armed"]) == (1, False)
    assert (await run(here, "brake", "arm", "--reason", "looked")).exit_code == 0
    assert (await run(here, "status")).exit_code == 0
    assert await tripped(here) is None


async def test_status_tells_who_vanished_and_what_trips(here: World) -> None:
    limits = Thresholds(Fraction(1, 4), count=2)
    plane = await with_a_face(here, thresholds=limits)
    a = await here.hand.attach("a")
    await here.hand.register(a, "x", "y", "z")
    await eventually("all are known", lambda: len(plane.index) == 3)
    await here.hand.vanish(a)
    await eventually("it is tripped", lambda: tripped(here))
    code, found = await told(here, "status")
    assert code == 1
    assert (found["brake"]["cause"], found["brake"]["who"]) == ("vanished", "one")
    assert (found["window"]["carried"], found["window"]["live"]) == (3, 3)
    table = await run(here, "status")
    assert "3 of 3 live resources, by 1 holders; trips above 25% and 2 in 300 s" in table.output
    assert "without a reported death" in table.output


async def test_status_names_who_does_not_answer_and_still_tells_what_etcd_knows(here: World) -> None:
    await here.leading(rules(here.owner))
    code, found = await told(here, "status")
    assert code == 0
    assert found["replicas"]["one"]["problem"] == "it announces no address"
    assert found["warm_up"]["seconds_left"] is None


async def test_a_tenant_nobody_acts_for_wants_attention(here: World) -> None:
    code, found = await told(here, "status")
    assert code == 1
    kinds = {one.partition(":")[0] for one in found["attention"]}
    assert {"braked", "cluster", "shards"} <= kinds


async def test_the_canary_sings_and_leaves_nothing_behind(here: World) -> None:
    plane = await with_a_face(here, canary_seconds=1.0)
    await eventually("it was tried", lambda: plane.index.canary)
    code, found = await told(here, "status")
    assert (code, found["canary"]["failed"], found["canary"]["who"]) == (0, None, "one")
    await plane.stop()
    for family in (Family.RESOURCES, Family.HOLDS, Family.TOMBSTONES, Family.ROSTER, Family.BEACONS, Family.EPOCHS):
        assert await here.hand.count(family) == 0, family


async def test_the_shadow_report_is_told_rule_by_rule(here: World) -> None:
    plane = await here.leading(rules(here.owner, mode="observe"))
    a = await here.hand.attach("a", ttl=2)
    await here.hand.register(a, "x", "y")
    await here.hand.vanish(a)
    await eventually("both would be gone", lambda: plane.shadows.records().get("make", ShadowRecord()).unheld == 2)
    b = await here.hand.attach("b")
    assert await here.hand.acquire(b, "x")

    async def wrong() -> Any:
        return next((one for one in (await told(here, "shadow"))[1] if one["wrong"]), None)

    found = await eventually("it is written down", wrong, 30)
    assert (found["rule"], found["mode"], found["would_have_deleted"], found["unheld"]) == ("make", "observe", 2, 1)
    assert found["examples"][0]["who"] == b
    table = await run(here, "shadow")
    assert "svc@b~1 for store/blob/x after" in table.output
    assert await here.hand.count(Family.TOMBSTONES) == 0
