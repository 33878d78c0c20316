"""Each symptom is real, the runbook's commands are typed, and what happened at the owner is what the page promises."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.e2e.harness import World, eventually
from tests.e2e.owner import rules
from tests.e2e.test_collecting import gone, pair
from tests.runbook.hand import Hand
from tests.runbook.page import section
from tests.runbook.stage import BLOB, HOLDER, SOFT, Depot, holders, holders_of, put, scene, state

pytestmark = [pytest.mark.etcd, pytest.mark.slow]


async def in_state(here: World, blob: str, *wanted: str) -> None:
    async def seen() -> bool:
        return await state(here, blob) in wanted

    await eventually(f"{blob} is {wanted}", seen, 40)


async def test_while_everything_is_stopped_nothing_is_deleted_and_what_was_pinned_stays(
    here: World, depot: Depot
) -> None:
    at = await scene(here, depot, grace="9s", blobs=(BLOB, "other"))
    await at.program.kill()
    await in_state(here, BLOB, "in-grace")
    hand = Hand(here, section("Stop everything now"), at.names())
    await hand.next()
    await hand.next()

    async def grace_over() -> bool:
        return "Grace is over" in await here.leasehold("why", f"blob-store/blob/{BLOB}")

    await eventually("the grace is over under the brake", grace_over, 40)
    assert depot.deletes() == []
    await hand.next()
    await gone(depot, "other")
    await hand.next()
    hand.done()
    assert depot.deletes() == ["/v1/blobs/other"]


async def test_a_wrong_rule_is_made_harmless_and_what_it_condemned_stays(here: World, depot: Depot) -> None:
    at = await scene(here, depot, grace="8s")
    await at.program.kill()
    await in_state(here, BLOB, "in-grace")
    hand = Hand(here, section("A wrong rule was deployed"), at.names())
    for _ in range(3):
        await hand.next()
    hand.done()
    assert depot.deletes() == []


async def test_what_is_condemned_and_hidden_is_pinned_and_shown_again(here: World, depot: Depot) -> None:
    at = await scene(here, depot, grace="8s", extra_owner=SOFT)
    await at.program.kill()
    await eventually("its owner hides it", lambda: BLOB in depot.trashed)
    hand = Hand(here, section("Something needed is condemned"), at.names())
    for _ in range(3):
        await hand.next()
    assert depot.deletes() == []
    await hand.next()
    hand.done()
    await gone(depot, BLOB)


async def test_an_owner_that_was_down_is_caught_up_with_by_itself(here: World, depot: Depot) -> None:
    at = await scene(here, depot, grace="2s", extra_owner="retries: {first: 1s, longest: 1s, budget: 1h}")
    await depot.__aexit__()
    await at.program.kill()
    hand = Hand(here, section("An owner is down"), at.names())
    await hand.next()
    assert BLOB in depot.blobs
    await depot.__aenter__()
    await hand.next()
    hand.done()
    assert depot.deletes() == [f"/v1/blobs/{BLOB}"]


async def test_what_is_stuck_in_quarantine_goes_when_its_owner_was_mended(here: World, depot: Depot) -> None:
    at = await scene(here, depot, grace="2s", extra_owner="retries: {slow: 5s}")
    depot.delete_status = 403
    await at.program.kill()
    hand = Hand(here, section("Something is stuck in quarantine"), at.names())
    await hand.next()
    await hand.next()
    assert BLOB in depot.blobs
    depot.delete_status = 204
    text = (here.folder / "rules.yaml").read_text()
    here.write("rules.yaml", text.replace("slow: 5s", "slow: 3s"))
    await hand.next()
    await hand.next()
    hand.done()
    assert BLOB not in depot.blobs


async def test_what_is_deleted_by_hand_is_deleted_once_and_leaves_its_evidence(here: World, depot: Depot) -> None:
    text = rules(depot, grace="9s", held_by="timer", extra_create="ttl: 1h")
    at = await scene(here, depot, blobs=(BLOB, "4712"), text=text)
    await asyncio.gather(at.sidecar.kill(), at.program.kill())
    [timer] = [one["holder"] for one in await holders(here) if one["kind"] == "timer"]
    other, beside = await pair(here, depot, rules(depot), "b", service="other", ttl="2s")
    await other.call("GET", "/v1/blobs/4712")
    names = {**at.names(), HOLDER: timer, "127.0.0.1:15080": beside.ready["capture"][0]["listen"]}
    hand = Hand(here, section("Delete one thing by hand"), names)
    for _ in range(4):
        await hand.next()
    assert depot.deletes() == [f"/v1/blobs/{BLOB}"]
    await hand.next()
    hand.done()
    assert depot.deletes() == [f"/v1/blobs/{BLOB}", "/v1/blobs/4712"]
    evidence = (here.folder / "evidence-4711.txt").read_text()
    assert timer in evidence
    assert "was swept" in evidence


async def test_after_many_vanished_the_returning_arm_again_and_of_the_dead_only_the_pinned_stays(
    here: World, depot: Depot
) -> None:
    blobs = (BLOB, *(f"b{number}" for number in range(5)))
    at = await scene(here, depot, grace="6s", more="brake: {fraction: 0.15, count: 3, window: 1m}", blobs=blobs)
    other, _ = await pair(here, depot, (here.folder / "rules.yaml").read_text(), "b", service="other", ttl="2s")
    await put(other, "alive")
    hand = Hand(here, section("Many holders vanished at once"), at.names())
    at.sidecar.signal(signal.SIGSTOP)
    await hand.next()
    at.sidecar.signal(signal.SIGCONT)
    await hand.next()
    assert depot.deletes() == []
    await asyncio.gather(at.sidecar.kill(), at.program.kill())
    await hand.next()
    assert depot.deletes() == []
    await hand.next()
    hand.done()
    assert set(depot.blobs) == {BLOB, "alive"}
    assert await holders_of(here, "other")
