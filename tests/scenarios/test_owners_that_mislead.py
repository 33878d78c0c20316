"""Owners, and what stands before them, that say one thing and do another: nothing in use is deleted, nothing leaks."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from aiohttp import ClientSession, web

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.lifecycle import State
from leasehold.control_plane.owners.guard import SUSPECT_CALLS
from leasehold.protocol.keyspace import Family
from leasehold.protocol.rules import RuleSet
from tests.fakes.relay import CountingMetrics
from tests.integration.test_relay_insertion import in_front_of
from tests.scenarios.house import sidecars_beside
from tests.unit.control_plane.stage import GRACE, Stage, rule_set
from tests.unit.control_plane.world import Thing, eventually, metric, rules, state


def conditional(stage: Stage) -> RuleSet:
    return rules(stage.owner, grace="8s", precondition="if-match")


async def in_grace(stage: Stage, rule_set: RuleSet, *names: str, incarnation: str = "uid:u1") -> ControlPlane:
    """Abandoned and condemned; the owner has them all as ``u1``."""
    plane = await stage.leading(rule_set)
    for name in names:
        stage.owner.add(name, uid="u1")
    a = await stage.hand.attach("a", ttl=10**6, says_ttl=1)
    await stage.hand.register(a, *names, grace_class="8s", incarnation=incarnation)
    await stage.hand.vanish(a)
    await eventually("in its grace", lambda: all(state(plane, name) is State.IN_GRACE for name in names))
    return plane


async def until(stage: Stage, look: object, *, most: int = 120) -> None:
    """Let time pass until it is so."""
    for _ in range(most):
        if look():  # type: ignore[operator]
            return
        await stage.clock.advance(1.0, step=0.5)
    raise AssertionError(f"not within {most} s of the standing clock")


# --- deletes ------------------------------------------------------------------------------------------------------


async def test_a_delete_that_was_accepted_and_came_to_nothing_is_sent_again_until_it_is_gone(stage: Stage) -> None:
    stage.owner.answers += [web.Response(status=202), web.Response(status=202)]
    plane = await in_grace(stage, rule_set(stage), "x")
    await stage.clock.advance(GRACE + 0.5)
    await eventually("it was accepted, and looked after", lambda: metric(
        plane, "leasehold_owner_calls_total", owner="store", verdict="pending"))  # fmt: skip
    assert state(plane, "x") is State.SENT
    assert await stage.hand.count(Family.RESOURCES) == 1, "it is not forgotten on a promise"
    await until(stage, lambda: not stage.owner.things)
    assert len(stage.owner.deletes()) == 3
    await eventually("now it is forgotten", lambda: not len(plane.index))


async def test_what_a_user_changes_under_the_delete_is_refused_and_all_grace_starts_anew(stage: Stage) -> None:
    def change(name: str) -> None:
        stage.owner.before_delete = None
        stage.owner.things[name].version += 1

    stage.owner.before_delete = change
    plane = await in_grace(stage, conditional(stage), "x")
    await stage.clock.advance(GRACE + 0.5)
    await eventually("it was refused", lambda: metric(
        plane, "leasehold_aborted_total", owner="store", reason="refused"))  # fmt: skip
    assert stage.owner.things["x"].version == 2
    assert await stage.hand.sweep_of("x") is None
    await stage.clock.advance(GRACE - 1)
    assert len(stage.owner.deletes()) == 1, "no second one before another whole grace"
    await until(stage, lambda: not stage.owner.things)


async def test_what_is_recognised_by_its_etag_alone_is_kept_once_a_user_changed_it(stage: Stage) -> None:
    etag = Thing("u1").etag
    plane = await in_grace(stage, conditional(stage), "x", incarnation=f"etag:{etag}")
    stage.owner.things["x"].version += 1
    await until(stage, lambda: state(plane, "x") is State.QUARANTINED, most=600)
    assert stage.owner.deletes() == []
    assert "x" in stage.owner.things


async def test_an_owner_that_ignores_if_match_still_loses_no_namesake_that_was_there_when_we_looked(
    stage: Stage,
) -> None:
    async def obey() -> web.Response:
        stage.owner.things.clear()
        return web.Response(status=204)

    plane = await in_grace(stage, conditional(stage), "x")
    stage.owner.answers += [obey] * 10
    stage.owner.add("x", uid="u2")
    await stage.clock.advance(GRACE + 0.5)
    await eventually("the recorded one is forgotten", lambda: not len(plane.index))
    assert stage.owner.things["x"].uid == "u2"
    assert stage.owner.deletes() == []


async def test_a_delete_that_a_proxy_repeats_later_hits_no_namesake(stage: Stage) -> None:
    plane = await in_grace(stage, conditional(stage), "x")
    await stage.clock.advance(GRACE + 0.5)
    await eventually("it is gone", lambda: not stage.owner.things)
    await eventually("it is forgotten", lambda: not len(plane.index))
    stage.owner.add("x", uid="u2")
    [kept] = [headers for headers in stage.owner.seen_headers if "If-Match" in headers]
    async with ClientSession() as proxy:
        for _ in range(2):
            answer = await proxy.delete(f"{stage.owner.address}/v1/x", headers={"If-Match": kept["If-Match"]})
            assert answer.status == 412
    assert stage.owner.things["x"].uid == "u2"


# --- a gateway ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precondition", ["never-reused", "if-match"])
async def test_a_gateway_that_answers_404_to_everything_is_believed_for_no_more_than_a_window(
    stage: Stage, precondition: str
) -> None:
    names = [f"r{n}" for n in range(SUSPECT_CALLS + 10)]
    more = {"precondition": precondition, "limits": "limits: {concurrency: 1}"}
    plane = await in_grace(stage, rules(stage.owner, grace="8s", **more), *names)
    there, stage.owner.things = stage.owner.things, {}  # behind the gateway
    await stage.clock.advance(GRACE + 0.5)
    await eventually("it is suspect", lambda: plane.owners.states() == {"store": "suspect"})
    await stage.clock.advance(60, step=0.5)
    left = len(names) - (SUSPECT_CALLS - 1)  # the one that made it suspect is not believed either
    assert len(plane.index) == left, "the rest stays recorded, and is seen to wait"
    stage.owner.things = there
    assert stage.owner.gone_at == {}


# --- creations ----------------------------------------------------------------------------------------------------


async def test_a_get_or_create_that_answers_200_makes_nothing_ours(stage: Stage, tmp_path: Path) -> None:
    """The same call, twice: the first made it (201), the second found what somebody had made (200)."""

    async def get_or_create(request: web.Request) -> web.Response:
        name = (await request.json())["name"]
        return web.json_response({"id": name}, status=200 if name == "theirs" else 201)

    sidecars = sidecars_beside(stage, tmp_path)
    async with (
        sidecars.client,
        sidecars.sidecar() as one,
        in_front_of(get_or_create, GET_OR_CREATE, one.registrar, CountingMetrics()) as origin,
        aiohttp.ClientSession() as app,
    ):
        await one.attached()
        for name in ("ours", "theirs"):
            async with app.post(f"{origin}/v1/blobs", json={"name": name}) as answer:
                assert (await answer.json())["id"] == name
        assert await sidecars.recorded() == {"ours"}
        assert await sidecars.held_by(one.holder) == {"ours"}
        assert await sidecars.family(Family.INTENTS) == {}


GET_OR_CREATE = """
owners:
  - name: store
    hosts: ["s3.test"]
    endpoint: http://s3.test
    delete: {path: "/v1/blobs/{id}", precondition: never-reused}
rules:
  - name: make
    owner: store
    type: blob
    on: create
    match: {method: POST, path: "/v1/blobs", status: [201]}
    id: {json: id}
    held_by: process
    mode: sweep
    grace: 8s
    commit: before-request
"""
