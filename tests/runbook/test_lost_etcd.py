"""etcd restored from a snapshot, and etcd lost: what the runbook says is typed, and nothing that lives is deleted."""

from __future__ import annotations

import shutil

import pytest

from leasehold.protocol.etcd.process import EtcdProcess
from tests.e2e.harness import World
from tests.e2e.test_collecting import gone
from tests.runbook.hand import Hand
from tests.runbook.page import section
from tests.runbook.stage import BLOB, Depot, holders_of, scene, state

pytestmark = [pytest.mark.etcd, pytest.mark.slow]
INVENTORY = """types:
      blob:
        inventory: {path: /v1/blobs, items: items, id: id, provenance: {json: by, equals: us}, interval: 2s,
                    mode: observe, grace: 2s}"""


async def replaced(here: World, etcd: EtcdProcess, by: str = "") -> None:
    """Its data is another folder's from here on, or nothing."""
    await etcd.kill()
    data = here.folder / etcd.options.name
    shutil.rmtree(data)
    if by:
        (here.folder / by).rename(data)
    await etcd.start()
    await etcd.wait_until_serving(deadline=20)


async def test_after_a_restored_snapshot_all_who_live_hold_again_before_anything_is_collected(
    here: World, depot: Depot, etcd: EtcdProcess
) -> None:
    at = await scene(here, depot, grace="2s")
    hand = Hand(here, section("etcd was restored from a snapshot"), at.names())
    await hand.next()
    await at.put("later")
    await at.plane.stop()
    await hand.next()
    await replaced(here, etcd, "restored")
    await hand.next()
    await here.control_plane(here.folder / "rules.yaml")
    await hand.next()
    await hand.next()
    await hand.next()
    hand.done()
    assert await state(here) == "held"
    assert set(depot.blobs) == {BLOB, "later"}
    await at.program.kill()
    await gone(depot, BLOB)
    assert set(depot.blobs) == {"later"}, "what the snapshot did not know is kept"


async def test_after_the_loss_of_etcd_nothing_from_before_is_deleted_and_what_is_new_is_held(
    here: World, depot: Depot, etcd: EtcdProcess
) -> None:
    at = await scene(here, depot, grace="2s", extra_owner=INVENTORY)
    await at.plane.stop()
    await replaced(here, etcd)
    hand = Hand(here, section("etcd is lost without a snapshot"), at.names())
    await hand.next()
    await here.control_plane(here.folder / "rules.yaml")
    await hand.next()
    assert await holders_of(here, "media") == [at.holder]
    await hand.next()
    await at.put("4712")
    depot.blobs[BLOB]["by"] = depot.blobs["4712"]["by"] = "us"
    await hand.next()
    await hand.next()
    hand.done()
    assert depot.deletes() == []
    assert set(depot.blobs) == {BLOB, "4712"}
