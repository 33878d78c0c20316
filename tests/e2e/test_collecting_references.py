"""What resources need of each other, with real processes: parts live with their wholes, and dead cycles go."""

from __future__ import annotations

import json

import pytest

from tests.e2e.harness import Program, World, eventually
from tests.e2e.owner import Owner, rules
from tests.e2e.test_collecting import gone, pair, settled

pytestmark = [pytest.mark.etcd, pytest.mark.slow]
REFERRING = "references: [{owner: blob-store, type: blob, ids: 'parts || `[]`', from: request}]"


async def made(program: Program, *parts: str) -> str:
    answer = await program.call("POST", "/v1/blobs", body={"parts": parts})
    assert answer["status"] == 201, answer
    identity: str = json.loads(answer["body"])["id"]
    return identity


async def put(program: Program, name: str, *parts: str) -> None:
    assert (await program.call("PUT", f"/v1/blobs/{name}", body={"parts": parts}))["status"] == 201


async def test_a_part_lives_as_long_as_what_it_is_a_part_of(here: World, owner: Owner) -> None:
    text = rules(owner, extra_create=REFERRING)
    await here.control_plane(here.write("rules.yaml", text))
    maker, _ = await pair(here, owner, text, "maker")
    composer, _ = await pair(here, owner, text, "composer")
    part, loose = await made(maker), await made(maker)
    whole = await made(composer, part)
    await maker.kill()
    await gone(owner, loose)
    assert part in owner.blobs
    assert (await here.resources())[part] == "held"
    told = await here.leasehold("why", f"blob-store/blob/{part}")
    assert f"blob-store/blob/{whole}" in told, told
    await composer.kill()
    await gone(owner, part)
    assert owner.deletes() == [f"/v1/blobs/{one}" for one in (loose, whole, part)], "the referrer went first"
    assert owner.gone_at[part] - owner.gone_at[whole] >= 2, "its grace began when the referrer was gone"
    await settled(here)


async def test_two_abandoned_resources_that_need_each_other_are_collected(here: World, owner: Owner) -> None:
    text = rules(owner, extra_create=REFERRING)
    await here.control_plane(here.write("rules.yaml", text), more="cycle_interval: 1s")
    maker, _ = await pair(here, owner, text, "maker")
    holder, _ = await pair(here, owner, text, "holder")
    await put(maker, "p", "q")
    await put(maker, "q", "p")
    assert (await holder.call("GET", "/v1/blobs/p"))["status"] == 200
    marker = await made(maker)
    await maker.kill()
    await gone(owner, marker)
    assert sorted(owner.blobs) == ["p", "q"], "one is held, so both live"
    drawn = await here.leasehold("graph", "--resource", "blob-store/blob/q", "-o", "dot")
    assert '"blob-store/blob/p" -> "blob-store/blob/q"' in drawn
    await holder.kill()
    await eventually("both are gone", lambda: not owner.blobs, 30)
    assert owner.deletes() == [f"/v1/blobs/{one}" for one in (marker, "q", "p")], "last-created first"
    await settled(here)
