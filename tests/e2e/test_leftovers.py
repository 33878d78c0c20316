"""Program and sidecar are killed between the owner's creation and the registration: it is found, or listed."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.e2e.harness import World, eventually, http_json, http_text
from tests.e2e.owner import Owner, rules
from tests.e2e.test_collecting import gone, pair, settled

pytestmark = [pytest.mark.etcd, pytest.mark.slow]
INTENDING = "commit: before-request\n    idempotency_key: {header: Idempotency-Key}"
LOOKUP = """lookup:
      path: "/v1/blobs?idempotency_key={key}"
      id: {json: "items[0].id"}
      missing: "length(items) == `0`"
      after: 2s"""

INVENTORY = """types:
      blob:
        inventory: {path: /v1/blobs, items: items, id: id, provenance: {json: by, equals: us}, interval: 2s,
                    mode: MODE, grace: 2s}"""


async def crashed_in_the_middle(here: World, owner: Owner, text: str) -> str:
    """The owner has created it, and nobody will ever hear of it. Returns its id."""
    owner.answering = asyncio.Event()
    program, sidecar = await pair(here, owner, text)
    calling = asyncio.create_task(program.call("POST", "/v1/blobs", body={"content": "x"}))
    await eventually("the owner has created it", lambda: owner.blobs)
    await asyncio.gather(sidecar.kill(), program.kill())
    await asyncio.gather(calling, return_exceptions=True)
    owner.answering.set()
    [blob] = owner.blobs
    return blob


async def suspects(here: World) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = json.loads(await here.leasehold("get", "suspects", "-o", "json"))
    return listed


async def test_what_a_call_created_whose_answer_nobody_heard_is_found_recorded_condemned_and_swept(
    here: World, owner: Owner
) -> None:
    text = rules(owner, extra_create=INTENDING, extra_owner=LOOKUP)
    owner.telling = asyncio.Event()
    await here.control_plane(here.write("rules.yaml", text))
    blob = await crashed_in_the_middle(here, owner, text)
    assert owner.blobs[blob]["key"], "the owner was told a key"
    assert await here.resources() == {}
    # Held open: on a busy machine the command takes longer than the owner would.
    [suspect] = await eventually("its holder has ended", lambda: suspects(here), 60)
    assert suspect["reason"] == "not-asked-yet"
    owner.telling.set()

    async def recorded() -> bool:
        return bool(owner.deletes()) or blob in await here.resources()  # nothing is deleted that was not recorded

    await eventually("it is recorded", recorded, 30)
    assert await suspects(here) == []
    await gone(owner, blob)
    await settled(here)
    assert owner.deletes() == [f"/v1/blobs/{blob}"]


async def test_without_a_lookup_it_is_listed_as_a_suspect_and_left_alone(here: World, owner: Owner) -> None:
    text = rules(owner, extra_create=INTENDING)
    plane = await here.control_plane(here.write("rules.yaml", text))
    blob = await crashed_in_the_middle(here, owner, text)

    [suspect] = await eventually("its holder has ended", lambda: suspects(here), 60)
    assert (suspect["status"], suspect["owner"], suspect["target"]) == ("vanished", "blob-store", "/v1/blobs")
    address = plane.ready["http"]

    async def reason() -> bool:
        return [one["reason"] for one in await suspects(here)] == ["no-lookup"]

    await eventually("the control plane says why", reason, 100)
    status = await http_json(f"http://{address}/v1/status")
    assert status["intents"]["suspects"]["reasons"] == {"no-lookup": 1}
    assert 'leasehold_suspects{reason="no-lookup"} 1.0' in await http_text(f"http://{address}/metrics")
    assert blob in owner.blobs
    assert owner.deletes() == []


async def test_a_call_that_created_nothing_leaves_nothing(here: World, owner: Owner) -> None:
    text = rules(owner, extra_create=INTENDING, extra_owner=LOOKUP)
    await here.control_plane(here.write("rules.yaml", text))
    blob = await crashed_in_the_middle(here, owner, text)
    del owner.blobs[blob]

    async def nothing() -> bool:
        return await suspects(here) == [] and not json.loads(await here.leasehold("get", "intents", "-o", "json"))

    await eventually("the intent is forgotten", nothing, 40)
    asked = [path for method, path in owner.ledger if (method, path) == ("GET", "/v1/blobs")]
    assert len(asked) >= 2, "it was asked twice"
    assert owner.deletes() == []


@pytest.mark.parametrize("mode", ["observe", "sweep"])
async def test_what_only_the_owner_knows_of_is_collected_if_it_is_ours_and_its_inventory_may_sweep(
    here: World, owner: Owner, mode: str
) -> None:
    text = rules(owner, extra_owner=INVENTORY.replace("MODE", mode))
    plane = await here.control_plane(here.write("rules.yaml", text))
    program, _ = await pair(here, owner, text)
    kept = await program.create()
    owner.blobs["stray"] = {"id": "stray", "by": "us"}
    owner.blobs["foreign"] = {"id": "foreign", "by": "them"}

    async def orphans() -> dict[str, str]:
        listed = json.loads(await here.leasehold("get", "orphans", "-o", "json"))
        return {one["id"]: one["state"] for one in listed}

    async def recorded() -> bool:
        return bool(owner.deletes()) or bool(await orphans())

    await eventually("the stray one is recorded", recorded, 40)
    if mode == "sweep":
        await gone(owner, "stray")
        assert owner.deletes() == ["/v1/blobs/stray"]
    else:
        await asyncio.sleep(6)  # a wrong sweep would happen now
        assert await orphans() == {"stray": "observe-only"}
        assert owner.deletes() == []
    assert {kept, "foreign"} <= set(owner.blobs)
    status = await http_json(f"http://{plane.ready['http']}/v1/status")
    assert status["inventory"]["blob-store/blob"]["unmanaged"] == 1
