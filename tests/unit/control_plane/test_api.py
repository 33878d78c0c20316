"""The JSON face: pages, filters, one resource in full, and what the replica says of itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.lifecycle import State
from tests.fakes.etcd import FakeEtcd
from tests.unit.control_plane.world import World, blob, eventually, rules, state, world

Ask = Callable[..., Awaitable[Any]]


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with FakeEtcd() as fake, world(fake.endpoint) as it:
        yield it


@pytest.fixture
async def plane(here: World) -> ControlPlane:
    plane = await here.leading(rules(here.owner, mode="condemn"))
    a = await here.hand.attach("a")
    await here.hand.register(a, *(f"r{n}" for n in range(5)), "with/slash")
    await here.hand.register(a, "observed", rule="unknown")
    await here.hand.release(a, "observed")
    await eventually("all is known", lambda: state(plane, "observed") is State.OBSERVE_ONLY)
    return plane


@pytest.fixture
async def ask(plane: ControlPlane) -> AsyncIterator[Ask]:
    async with TestClient(TestServer(plane.web_app())) as client:

        async def get(path: str, expect: int = 200) -> Any:
            answer = await client.get(path)
            assert answer.status == expect, await answer.text()
            return await answer.json()

        yield get


async def test_resources_come_in_pages(ask: Ask) -> None:
    seen, after = [], ""
    while True:
        page = await ask(f"/v1/resources?limit=3{after}")
        seen += [resource["id"] for resource in page["resources"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == ["observed", "r0", "r1", "r2", "r3", "r4", "with/slash"]


async def test_resources_are_filtered_by_owner_type_and_state(ask: Ask) -> None:
    async def ids(query: str) -> list[str]:
        return [resource["id"] for resource in (await ask(f"/v1/resources?{query}"))["resources"]]

    assert await ids("state=observe-only") == ["observed"]
    assert len(await ids("state=held&owner=store&type=blob")) == 6
    assert await ids("owner=other") == []
    assert await ids("type=other") == []
    for nonsense in ("state=nonsense", "limit=x", "after=x"):
        await ask(f"/v1/resources?{nonsense}", 400)


async def test_one_resource_is_told_in_full(ask: Ask) -> None:
    found = await ask("/v1/resources/store/blob/with/slash")
    assert found["state"] == "held"
    assert found["holds"][0]["status"] == "alive"
    assert found["mode"] == "condemn"
    observed = await ask("/v1/resources/store/blob/observed")
    assert observed["mode"] == "unknown"
    assert "unknown" in observed["why"]
    await ask("/v1/resources/store/blob/nothing", 404)


async def test_holders_and_the_replica_itself_are_told(ask: Ask, plane: ControlPlane) -> None:
    [holder] = (await ask("/v1/holders"))["holders"]
    assert (holder["holder"], holder["status"], holder["resources"]) == ("svc@a~1", "alive", 7)
    status = await ask("/v1/status")
    assert (status["leader"], status["acting"], status["armed"]) == (True, "one", True)
    assert status["fence"] == plane.leadership.fence()
    assert status["shards"] == {
        "total": 64, "held": 64, "leaving": 0, "warming_up": 0, "free": 0, "of_replicas": {"one": 64},
    }  # fmt: skip
    assert set(status["backlog"]) == {"condemn", "revive", "prepare", "sweep"}
    ready = await ask("/readyz")
    assert ready["status"] == "ready"


async def test_metrics_name_no_ids(plane: ControlPlane) -> None:
    from prometheus_client import generate_latest

    text = generate_latest(plane.metrics.registry).decode()
    assert 'leasehold_resources{owner="store",state="held",type="blob"} 6.0' in text
    assert "leasehold_leader 1.0" in text
    assert blob("r0").id not in text
