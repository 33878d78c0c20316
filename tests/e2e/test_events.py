"""Life-cycle events with real processes: killed in the middle, or told to nobody for a while, and nothing is missed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Tenant
from tests.e2e.harness import Process, World, eventually
from tests.e2e.owner import Owner, rules
from tests.e2e.test_collecting import gone, pair, settled
from tests.fakes.receiver import Receiver

LIFE = ["leasehold.registered", "leasehold.condemned", "leasehold.swept"]
pytestmark = [pytest.mark.etcd, pytest.mark.slow]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as it:
        yield it


async def telling(here: World, owner: Owner, receiver: Receiver, name: str = "one") -> Process:
    more = f"events: {{webhook: {{url: '{receiver.url}', timeout: 2s}}}}\nlease: {{ttl: 2s}}"
    plane = await here.control_plane(here.write("rules.yaml", rules(owner, grace="1s")), name, more)
    await eventually("there is a cursor", lambda: _cursor(here))
    return plane


async def _cursor(here: World) -> bool:
    async with EtcdClient(EtcdConfig([here.endpoint])) as client:
        return await client.get(Keyspace(Tenant(here.tenant)).events("webhook"), deadline=5) is not None


@pytest.mark.timeout(180)
async def test_every_transition_arrives_however_often_the_control_plane_is_killed(
    here: World, owner: Owner, receiver: Receiver
) -> None:
    plane = await telling(here, owner, receiver)
    program, _ = await pair(here, owner, rules(owner, grace="1s"))
    blobs = [await program.create() for _ in range(30)]
    await program.kill()
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    moments = random.Random(seed)
    for n in range(3):
        await asyncio.sleep(moments.uniform(0.2, 2.0))  # anywhere in between is right
        await plane.kill()
        plane = await telling(here, owner, receiver, f"again-{n}")
    for blob in blobs:
        await gone(owner, blob, within=90)
    await eventually("all was told", lambda: all(set(receiver.told(blob)) >= set(LIFE) for blob in blobs), 60)
    assert all([one for one in receiver.told(blob) if one in LIFE] == LIFE for blob in blobs), "in this order"
    ids = [one["id"] for one in receiver.confirmed]
    print(f"{len(ids)} deliveries of {len(set(ids))} events")
    assert not any(one["type"] == "leasehold.gap" for one in receiver.confirmed)
    of_swept = {one["id"] for one in receiver.confirmed if one["type"] == LIFE[2]}
    assert len(of_swept) == len(blobs), "what is told twice has one id"


async def test_with_the_receiver_down_collecting_goes_on_and_then_everything_arrives(
    here: World, owner: Owner, receiver: Receiver
) -> None:
    await telling(here, owner, receiver)
    program, _ = await pair(here, owner, rules(owner, grace="1s"))
    receiver.down = True
    blobs = [await program.create() for _ in range(5)]
    await program.kill()
    for blob in blobs:
        await gone(owner, blob)
    await settled(here)
    assert receiver.confirmed == []
    receiver.down = False
    await eventually("all was told", lambda: all(receiver.told(blob) == LIFE for blob in blobs), 60)
