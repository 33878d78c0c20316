"""The playground owner behaves like an owner, and misbehaves as told."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from leasehold.cli.demo.depot import Depot, Face, parse_faults


@pytest.fixture
async def depot(aiohttp_client: Any) -> TestClient[Any, Any]:
    client: TestClient[Any, Any] = await aiohttp_client(TestServer(Face(Depot()).application()))
    return client


async def create(depot: TestClient[Any, Any]) -> tuple[str, str]:
    answer = await depot.post("/v1/crates", json={"content": "x"})
    assert answer.status == 201
    created = await answer.json()
    assert answer.headers["Location"] == f"/v1/crates/{created['id']}"
    return f"/v1/crates/{created['id']}", answer.headers["ETag"]


async def test_what_was_created_can_be_read_and_is_listed(depot: TestClient[Any, Any]) -> None:
    path, etag = await create(depot)
    answer = await depot.get(path)
    assert (answer.status, answer.headers["ETag"]) == (200, etag)
    assert len((await (await depot.get("/v1/crates")).json())["items"]) == 1


async def test_a_deleted_thing_is_gone_with_its_date_and_not_forgotten(depot: TestClient[Any, Any]) -> None:
    path, _ = await create(depot)
    assert (await depot.delete(path)).status == 204
    answer = await depot.get(path)
    assert answer.status == 410
    assert (await answer.json())["deleted_at"]
    assert (await depot.delete(path)).status == 410
    assert (await (await depot.get("/v1/crates")).json())["items"] == []


async def test_a_stale_etag_deletes_nothing(depot: TestClient[Any, Any]) -> None:
    path, etag = await create(depot)
    assert (await depot.put(path, json={"content": "y"})).headers["ETag"] != etag
    assert (await depot.delete(path, headers={"If-Match": etag})).status == 412
    fresh = (await depot.get(path)).headers["ETag"]
    assert (await depot.delete(path, headers={"If-Match": fresh})).status == 204


async def test_an_unknown_thing_is_not_found(depot: TestClient[Any, Any]) -> None:
    assert (await depot.delete("/v1/crates/none")).status == 404
    assert (await depot.patch("/v1/crates/none")).status == 405


async def test_faults_strike_their_methods_as_often_as_told(depot: TestClient[Any, Any]) -> None:
    path, _ = await create(depot)
    faults = [{"kind": "error", "status": 503, "methods": ["DELETE"], "times": 2}]
    assert (await depot.post("/faults", json=faults)).status == 200
    assert (await depot.get(path)).status == 200
    assert [(await depot.delete(path)).status for _ in range(3)] == [503, 503, 204]


async def test_a_lying_owner_says_deleted_and_keeps_it(depot: TestClient[Any, Any]) -> None:
    path, _ = await create(depot)
    await depot.post("/faults", json=[{"kind": "lie"}])
    assert (await depot.delete(path)).status == 204
    assert (await depot.get(path)).status == 200


async def test_an_overloaded_owner_says_when_to_come_back(depot: TestClient[Any, Any]) -> None:
    await depot.post("/faults", json=[{"kind": "too-many", "seconds": 7}])
    answer = await depot.get("/v1/crates")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")


async def test_an_owner_that_finds_nothing_any_more(depot: TestClient[Any, Any]) -> None:
    path, _ = await create(depot)
    await depot.post("/faults", json=[{"kind": "not-found", "methods": ["DELETE"]}])
    assert (await depot.delete(path)).status == 404
    assert (await depot.get(path)).status == 200


async def test_the_ledger_has_every_request_with_its_outcome(depot: TestClient[Any, Any]) -> None:
    path, _ = await create(depot)
    await depot.delete(path)
    ledger = await (await depot.get("/ledger")).json()
    assert [(entry["method"], entry["status"]) for entry in ledger] == [("POST", 201), ("DELETE", 204)]


@pytest.mark.parametrize("document", [{}, [{"kind": "magic"}], [{"kind": "error", "sattus": 500}]])
async def test_an_unknown_fault_is_refused(depot: TestClient[Any, Any], document: object) -> None:
    assert (await depot.post("/faults", json=document)).status == 400
    with pytest.raises(ValueError, match="expected"):
        parse_faults(document)
