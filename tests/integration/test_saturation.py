"""A sidecar whose event loop has no time keeps its beacon. Facts in etcd are asserted, never how long it took."""

from __future__ import annotations

import asyncio
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Revision
from leasehold.protocol.store import Change
from leasehold.sidecar.app import Holds
from leasehold.sidecar.holds.assistant import Assistant
from leasehold.sidecar.metrics import SidecarMetrics
from tests.bench.saturation import LOADS, measure
from tests.integration.sidecar_world import OneHost, World, eventually

pytestmark = pytest.mark.etcd


async def test_a_loop_that_is_busy_for_longer_than_the_ttl_keeps_its_beacon(
    real_etcd: EtcdProcess | None, tmp_path: Path
) -> None:
    if real_etcd is None:
        pytest.skip("no etcd")
    world = World(real_etcd.endpoint, tmp_path)
    settings = world.settings(ttl=2)
    metrics = SidecarMetrics()
    with Assistant(lambda: EtcdClient(EtcdConfig([real_etcd.endpoint])), metrics.renewal_helped) as assistant:
        async with EtcdClient(settings.etcd) as client:
            holds = Holds(settings, client, OneHost(), metrics, assistant)
            holds.open()
            running = asyncio.create_task(holds.run())
            await holds.tenure.begun.wait()
            await eventually("attached", lambda: any(one.attached for one in holds.holders.keepers.values()))
            before = await client.read(world.keys.family(Family.BEACONS), deadline=5)
            until = time.monotonic() + 3 * settings.ttl_seconds
            while time.monotonic() < until:
                pass  # not even sleeping, which would leave the interpreter to the assistant
            after = await client.read(world.keys.family(Family.BEACONS), deadline=5)
            assert [item.create_revision for item in after.items] == [item.create_revision for item in before.items]
            running.cancel()
            await asyncio.wait([running])
            await holds.journal.close()
    await world.client.close()
    helped = metrics.registry.get_sample_value("leasehold_sidecar_lease_renewals_helped_total", {"result": "kept"})
    assert helped, "the loop itself cannot have done it"


async def test_what_a_stopped_keeper_held_is_not_kept_alive(real_etcd: EtcdProcess | None, tmp_path: Path) -> None:
    if real_etcd is None:
        pytest.skip("no etcd")
    world = World(real_etcd.endpoint, tmp_path)
    settings = world.settings(ttl=2)
    async with EtcdClient(settings.etcd) as client:
        with Assistant(lambda: EtcdClient(settings.etcd), lambda _: None) as assistant:
            holds = Holds(settings, client, OneHost(), SidecarMetrics(), assistant)
            holds.open()
            running = asyncio.create_task(holds.run())
            await holds.tenure.begun.wait()
            await eventually("attached", lambda: any(one.attached for one in holds.holders.keepers.values()))
            found = await client.read(world.keys.family(Family.BEACONS), deadline=5)
            running.cancel()
            await asyncio.wait([running])
            gone = client.watch(world.keys.family(Family.BEACONS), start=Revision(found.revision + 1))
            async with asyncio.timeout(20):
                async for batch in gone:
                    if any(event.change is Change.DELETE for event in batch.events):
                        break
            await holds.journal.close()
    await world.client.close()


@pytest.mark.slow
@pytest.mark.parametrize("load", [LOADS[1], LOADS[4]], ids=lambda load: str(load.name))
async def test_a_saturated_sidecar_loses_no_beacon(load: Any, real_etcd: EtcdProcess | None) -> None:
    if real_etcd is None or shutil.which("wrk") is None:
        pytest.skip("needs etcd and wrk (Debian: apt-get install wrk)")
    if load.connections * 3 > resource.getrlimit(resource.RLIMIT_NOFILE)[1]:
        pytest.skip("needs more file descriptors")
    found = await measure(load, 6)
    assert found["requests/s"] > 0
    assert found["beacon away"] == 0
