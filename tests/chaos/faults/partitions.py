"""Wires that refuse, swallow, delay or let only requests through."""

from __future__ import annotations

import asyncio
import re
from random import Random

from tests.chaos.faults.stopwatch import Stopwatch, until
from tests.chaos.history import Fault
from tests.chaos.lossy import Sieve
from tests.chaos.parts import SCAN_SECONDS
from tests.chaos.wires import Mode, Wire
from tests.chaos.world import World

PATIENCE_SECONDS = 40.0
"""How long it may take until something is swept."""
MOST_LOST = 20
LOSING_SECONDS = 20.0
MODES = (Mode.REFUSE, Mode.BLACKHOLE, Mode.HALF_OPEN, Mode.DELAY)


async def cut_sidecar_from_etcd(world: World, random: Random) -> Fault:
    """For less than a grace: nothing may be lost. Traffic goes on all the while."""
    watch = Stopwatch("cut-sidecar-from-etcd")
    pairs = [pair for pair in world.crowd.whole if pair.away_since is None]
    if not pairs:
        return watch.nothing("no program has a sidecar")
    pair, mode = random.choice(pairs), random.choice(MODES)
    watch.show(program=pair.name)
    took = await _hurt(watch, pair.etcd, mode, random.uniform(0.4, 0.8) * world.settings.grace)
    return watch.over(took, *([] if mode is Mode.DELAY else [pair.name]))


async def cut_plane_from_etcd(world: World, random: Random) -> Fault:
    """Past its lease: another must act after it. Unless its bytes are only late, or only answers are lost: then its
    renewals reach etcd, and it keeps a lease that it does not dare to use."""
    watch = Stopwatch("cut-plane-from-etcd")
    acting = [plane for plane in world.planes if world.shards_of(plane)]
    if not acting:
        return watch.nothing("no control plane has a shard")
    plane = random.choice(acting)
    shards = world.shards_of(plane)
    mode = random.choice(MODES)
    watch.show(plane=plane.name)
    took = await _hurt(watch, plane.etcd, mode, world.settings.leader_ttl * random.uniform(1.5, 2.5))
    keeps = mode in {Mode.DELAY, Mode.HALF_OPEN}
    moved = keeps or await until(lambda: world.moved(shards), 10.0)
    watch.show(shards=len(shards), taken_over=world.moved(shards))
    return watch.over(took and bool(moved))


async def lose_watch_events(world: World, random: Random) -> Fault:
    """A control plane's watch goes on, without some of its news: only its scan can find that out (L2)."""
    watch = Stopwatch("lose-watch-events")
    acting = [plane for plane in world.planes if plane.child.pid and world.shards_of(plane)]
    if not acting:
        return watch.nothing("no control plane has a shard")
    plane, lost = random.choice(acting), list[str]()
    mended = plane.child.said("scan_corrected")
    families = random.choice(["tombstones", "tombstones|beacons", "tombstones|epochs"])
    chosen = re.compile(f"/leasehold/1/{world.settings.tenant}/(?:{families})/[!-~]+".encode())
    for wire in plane.etcd:
        wire.sieve = lambda: Sieve(chosen, lost, MOST_LOST).feed
        wire.set(Mode.LOSSY)
    try:
        if world.crowd.whole:
            await random.choice(world.crowd.whole).end_program("crash")  # so that there is something to tell
        await until(lambda: any("/tombstones/" in key for key in lost), LOSING_SECONDS)
        await asyncio.sleep(random.uniform(2, 4))  # the watch must get past what was lost, or it is told again
    finally:
        for wire in plane.etcd:
            wire.set(Mode.OPEN)
    found = lost and await until(lambda: plane.child.said("scan_corrected") > mended, 2 * SCAN_SECONDS + 10)
    watch.show(plane=plane.name, lost=lost[:MOST_LOST], found_by_a_scan=bool(found))
    return watch.over(bool(found))


async def cut_plane_from_owner(world: World, random: Random) -> Fault:
    """Deletes under way are cut, held up or lose their answers."""
    watch = Stopwatch("cut-plane-from-owner")
    name, mode = random.choice(["blobs", "files", "rolls", "deeds"]), random.choice(MODES)
    watch.show(owner=name)
    if world.crowd.whole:
        await random.choice(world.crowd.whole).end_program("crash")  # so that there is something to delete
    wire = world.to_owners[name]
    seconds, delay = random.uniform(1, 4), random.uniform(0.5, 2.5)
    wire.set(mode, delay)
    await until(lambda: wire.effect.any, PATIENCE_SECONDS)
    before = wire.effect
    took = await _hurt(watch, [wire], mode, seconds, delay)
    return watch.over(took or before.any)


async def cut_sidecar_from_owner(world: World, random: Random) -> Fault:
    """A program's calls are cut in the middle, creations among them."""
    watch = Stopwatch("cut-sidecar-from-owner")
    if not world.crowd.whole:
        return watch.nothing("no program has a sidecar")
    pair, mode = random.choice(world.crowd.whole), random.choice(MODES)
    watch.show(program=pair.name)
    wires = list(pair.owners.values())
    cut = 0
    for _ in range(random.randrange(2, 6)):
        cut += sum(wire.cut() for wire in wires)
        await asyncio.sleep(random.uniform(0.1, 0.5))
    watch.show(connections_cut=cut)
    took = await _hurt(watch, wires, mode, random.uniform(1, 4))
    return watch.over(took or cut > 0)


async def _hurt(watch: Stopwatch, wires: list[Wire], mode: Mode, seconds: float, delay: float = 0.3) -> bool:
    for wire in wires:
        wire.set(mode, delay)
    try:
        await asyncio.sleep(seconds)
    finally:
        effects = [wire.effect for wire in wires]
        for wire in wires:
            wire.set(Mode.OPEN)
    watch.show(
        mode=mode, seconds=round(seconds, 2), refused=sum(one.refused for one in effects),
        cut=sum(one.cut for one in effects), swallowed_bytes=sum(one.swallowed_bytes for one in effects),
        delayed=sum(one.delayed for one in effects),
    )  # fmt: skip
    return any(one.any for one in effects)
