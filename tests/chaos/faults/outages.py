"""etcd without a quorum, without its past, without space."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random
from typing import Any

from tests.chaos.cluster import MEMBERS, QUOTA_BYTES
from tests.chaos.faults.stopwatch import Stopwatch, until
from tests.chaos.gateway import TROUBLE, Refused, encoded
from tests.chaos.history import Fault
from tests.chaos.wires import Mode
from tests.chaos.world import World

BALLAST_BYTES = 512 * 1024
BALLAST = b"/chaos/ballast/"


async def lose_quorum(world: World, random: Random) -> Fault:
    """Two of three members are killed, or stand still, for longer than every TTL."""
    watch, how = Stopwatch("lose-quorum"), random.choice(["kill", "freeze"])
    chosen = random.sample(world.cluster.members, 2)
    await asyncio.gather(*(member.kill() if how == "kill" else member.freeze() for member in chosen))
    await asyncio.sleep(1.0)
    refused = ""
    try:
        await world.gateway.put(b"/chaos/probe", b"", within=2.0)
    except TROUBLE as error:
        refused = repr(error)[:120]
    await asyncio.sleep(world.settings.ttl + random.uniform(0, 3))
    for member in chosen:
        if how == "kill":
            await member.start()
        else:
            member.thaw()
    await world.cluster.until_serving(30.0)
    watch.show(how=how, members=[member.name for member in chosen], a_put_said=refused)
    return watch.over(bool(refused))


async def compact_behind_a_watch(world: World, random: Random) -> Fault:
    """A control plane is cut off from etcd, etcd goes on and forgets its past: the watch really is told so."""
    watch = Stopwatch("compact-behind-a-watch")
    plane = random.choice(world.planes)
    told = plane.child.said("watch_compacted")
    plane.set_etcd(Mode.REFUSE)
    try:
        await asyncio.sleep(1.0)
        revision = await _compact(world)
    finally:
        plane.set_etcd(Mode.OPEN)
    heard = await until(lambda: plane.child.said("watch_compacted") > told, 15.0)
    watch.show(plane=plane.name, revision=revision, own_watch_was=await _watch_from(world, 1), plane_heard=bool(heard))
    return watch.over(bool(heard))


async def run_out_of_space(world: World, random: Random) -> Fault:
    """Ballast up to the quota until the NOSPACE alarm is there; then made room for and disarmed."""
    watch = Stopwatch("run-out-of-space")
    put = 0
    try:
        for put in range(2 * QUOTA_BYTES // BALLAST_BYTES):
            await world.gateway.put(BALLAST + b"%d" % put, b"x" * BALLAST_BYTES, within=5.0)
    except Refused as error:
        watch.show(a_put_said=str(error)[:120])
    except TROUBLE as error:
        watch.show(interrupted=repr(error)[:120])
    alarms = await _alarms(world)
    await asyncio.sleep(world.settings.ttl + random.uniform(0, 2))
    await _make_room(world)
    watch.show(ballast=put, alarms=alarms, alarms_afterwards=await _alarms(world))
    return watch.over("NOSPACE" in alarms)


async def _make_room(world: World) -> None:
    """As an operator would: delete, compact, defragment each member, disarm; again if a step came too early."""
    ballast = {"key": encoded(BALLAST), "range_end": encoded(BALLAST[:-1] + b"0")}
    for _ in range(20):
        with contextlib.suppress(*TROUBLE):
            gone = await world.gateway.ask_any("kv/deleterange", ballast)
            await world.witness.seen(int(gone["header"]["revision"]), within=5.0)
        with contextlib.suppress(*TROUBLE):
            await _compact(world)
        with contextlib.suppress(*TROUBLE):
            for number in range(MEMBERS):
                await world.gateway.ask("maintenance/defragment", {}, member=number, within=20.0)
            await world.gateway.disarm()
            if not await world.gateway.alarms():
                return
        await asyncio.sleep(1.0)


async def _compact(world: World) -> int:
    """Up to what the witness has seen: it must not lose anything itself."""
    revision = world.witness.revision
    await world.gateway.ask_any("kv/compaction", {"revision": str(revision), "physical": True}, within=5.0)
    return revision


async def _watch_from(world: World, revision: int) -> str:
    """What etcd says to a watch that begins so far back."""
    with contextlib.suppress(*TROUBLE):
        async with asyncio.timeout(3.0):
            async for result in world.gateway.watch(0, revision, silence=3.0):
                if result.get("canceled"):
                    return f"cancelled, compacted at {result.get('compact_revision')}"
    return "not cancelled"


async def _alarms(world: World) -> list[Any]:
    with contextlib.suppress(*TROUBLE):
        return list(await world.gateway.alarms())
    return []
