"""What the sweeper makes of owners that refuse, fail, lie or are dead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.lifecycle import State, Step
from leasehold.control_plane.owners.guard import SUSPECT_CALLS
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.keyspace import Family
from leasehold.protocol.records import SweepState
from leasehold.protocol.rules import RuleSet
from tests.unit.control_plane.world import Owner, World, blob, eventually, metric, rules, state, world

pytestmark = pytest.mark.etcd


@pytest.fixture
async def here(real_etcd: EtcdProcess | None) -> AsyncIterator[World]:
    if real_etcd is None:
        pytest.skip("no etcd here")
    async with world(real_etcd.endpoint) as it:
        yield it


async def abandoned(here: World, rule_set: RuleSet, *names: str, incarnation: str = "call:1") -> ControlPlane:
    """A leading control plane, and resources whose holder just died."""
    plane = await here.leading(rule_set)
    a = await here.hand.attach("a", says_ttl=0)
    for name in names:
        here.owner.add(name, uid="u1")
    await here.hand.register(a, *names, incarnation=incarnation)
    await here.hand.retire(a)
    return plane


def counted(plane: ControlPlane, verdict: str) -> float:
    return metric(plane, "leasehold_owner_calls_total", owner="store", verdict=verdict)


@pytest.mark.parametrize("status", [500, 502, 408, 504])
async def test_an_unknown_outcome_is_tried_again_until_it_is_known(here: World, status: int) -> None:
    here.owner.answers.append(web.Response(status=status))
    plane = await abandoned(here, rules(here.owner), "x")
    await eventually("it is gone in the end", lambda: not here.owner.things)
    await eventually("it is forgotten", lambda: len(plane.index) == 0)
    assert len(here.owner.deletes()) == 2
    assert counted(plane, "unknown") == 1


async def test_an_owner_that_hangs_is_cut_off_and_tried_again(here: World) -> None:
    here.owner.hang = True
    plane = await abandoned(here, rules(here.owner, limits="limits: {timeout: 300ms}"), "x")
    await eventually("it was tried", lambda: counted(plane, "unknown") >= 1)
    sweep = await here.hand.sweep_of("x")
    assert sweep is not None
    assert sweep.state is SweepState.SENT
    here.owner.hang = False
    await eventually("it is gone", lambda: not here.owner.things)


@pytest.mark.parametrize("status", [429, 503])
async def test_an_owner_that_says_when_is_obeyed(here: World, status: int) -> None:
    here.owner.answers.append(web.Response(status=status, headers={"Retry-After": "2"}))
    await abandoned(here, rules(here.owner), "x", "y")
    await eventually("both are gone", lambda: not here.owner.things)
    times = [when for method, _, when in here.owner.ledger if method == "DELETE"]
    assert len(times) == 3
    assert times[2] - times[0] >= 1.95


@pytest.mark.parametrize("status", [409, 412, 423])
async def test_a_refusal_aborts_and_everything_is_verified_again(here: World, status: int) -> None:
    here.owner.answers.append(web.Response(status=status))
    plane = await abandoned(here, rules(here.owner), "x")
    await eventually("it was aborted", lambda: metric(
        plane, "leasehold_aborted_total", owner="store", reason="refused"))  # fmt: skip
    refused_at = time.monotonic()
    await eventually("it is gone in the end", lambda: not here.owner.things)
    assert here.owner.gone_at["x"] - refused_at >= 1.0, "after another whole grace"


@pytest.mark.parametrize("status", [400, 401, 403, 405, 302])
async def test_a_misconfigured_owner_is_not_called_again_and_its_resources_are_quarantined(
    here: World, status: int
) -> None:
    here.owner.lie = status
    plane = await abandoned(here, rules(here.owner, limits="limits: {concurrency: 1}"), "x", "y", "z")
    await eventually("one is quarantined", lambda: plane.index.counts["store", "blob", "make", State.QUARANTINED] == 1)
    await asyncio.sleep(0.3)
    assert len(here.owner.deletes()) == 1
    assert plane.owners.states() == {"store": "misconfigured"}
    assert metric(plane, "leasehold_owner_misconfigured_total", owner="store") == 1
    # A mended document is a new owner: what waits is tried at once, what is quarantined a little later.
    here.owner.lie = None
    await here.plane(rules(here.owner), name="two")
    await eventually("the two that waited are gone", lambda: len(here.owner.things) == 1)


async def test_what_is_gone_already_is_finished(here: World) -> None:
    plane = await abandoned(here, rules(here.owner), "x")
    here.owner.things.clear()
    await eventually("it is forgotten", lambda: len(plane.index) == 0)
    # The watch may tell of it before the transaction's own answer does.
    await eventually(
        "it is counted", lambda: metric(plane, "leasehold_swept_total", owner="store", outcome="gone") == 1
    )


async def test_a_recreated_namesake_survives_under_if_match(here: World) -> None:
    plane = await abandoned(here, rules(here.owner, precondition="if-match"), "x", incarnation="uid:u1")
    here.owner.add("x", uid="u2")
    await eventually("the recorded one is forgotten", lambda: len(plane.index) == 0)
    assert here.owner.things["x"].uid == "u2"
    assert here.owner.deletes() == []
    # The watch may tell of it before the transaction's own answer does.
    await eventually(
        "it is counted", lambda: metric(plane, "leasehold_swept_total", owner="store", outcome="replaced") == 1
    )


async def test_what_cannot_be_told_apart_is_quarantined_and_never_deleted(here: World) -> None:
    plane = await abandoned(here, rules(here.owner, precondition="if-match"), "x", incarnation="call:1")
    await eventually("it is quarantined", lambda: state(plane, "x") is State.QUARANTINED)
    assert here.owner.deletes() == []
    assert plane.owners.states() == {"store": "calling"}, "no reason to stop calling the owner"


async def test_an_owner_that_knows_nothing_of_its_resources_is_stopped(here: World) -> None:
    here.owner.lie = 404
    names = [f"r{n}" for n in range(SUSPECT_CALLS + 10)]
    plane = await abandoned(here, rules(here.owner, limits="limits: {concurrency: 1}"), *names)
    await eventually("it is suspect", lambda: plane.owners.states() == {"store": "suspect"})
    await asyncio.sleep(0.3)
    assert len(here.owner.deletes()) == SUSPECT_CALLS
    assert len(plane.index.nominated[Step.SWEEP]) >= 10
    assert metric(plane, "leasehold_owner_stopped", owner="store", state="suspect") == 1


async def test_a_dead_owner_costs_the_others_nothing(here: World) -> None:
    other = await here.stack.enter_async_context(Owner())
    more = f"""
  - name: dead
    hosts: ["dead:80"]
    endpoint: {other.address}
    delete: {{path: "/v1/{{+id}}", precondition: never-reused}}
    limits: {{timeout: 30s, concurrency: 1000}}
"""
    other.hang = True
    text = rules(here.owner, more=more)
    dead_rule = _for_owner(text, "dead")
    plane = await here.leading(dead_rule, ttl=5)
    a = await here.hand.attach("a", says_ttl=0)
    names = [f"r{n}" for n in range(100)]
    for name in names:
        here.owner.add(name)
    await here.hand.register(a, *(blob(name, owner="dead") for name in names), rule="make-dead")
    await here.hand.register(a, *names)
    await here.hand.retire(a)
    await eventually("all of the living owner's are gone", lambda: not here.owner.things)
    assert metric(plane, "leasehold_owner_calls_total", owner="dead", verdict="unknown") == 0, "nobody waited for it"
    assert len(plane.index.nominated[Step.SWEEP]) + len(plane.index.nominated[Step.PREPARE]) >= 100


def _for_owner(rule_set: RuleSet, owner: str) -> RuleSet:
    from msgspec.structs import replace

    [rule] = rule_set.rules
    return replace(rule_set, rules=(rule, replace(rule, name=f"make-{owner}", owner=owner)))


async def test_evidence_is_written_before_bytes_leave(here: World) -> None:
    seen: list[object] = []

    async def look() -> None:
        seen.append(await here.hand.sweep_of("x"))

    async def answer() -> web.Response:
        await look()
        here.owner.things.clear()
        return web.Response(status=204)

    here.owner.answers.append(answer)
    await abandoned(here, rules(here.owner), "x")
    await eventually("it is gone", lambda: not here.owner.things)
    [sweep] = seen
    assert sweep is not None
    assert sweep.state is SweepState.SENT  # type: ignore[attr-defined]
    assert sweep.attempt == 1  # type: ignore[attr-defined]
    assert sweep.holders == ("svc@a~1",)  # type: ignore[attr-defined]
    assert await here.hand.count(Family.GRAVES) <= 1
