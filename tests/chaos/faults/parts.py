"""Processes of the product that are killed or stand still."""

from __future__ import annotations

import asyncio
from random import Random

from tests.chaos.faults.stopwatch import Stopwatch, until
from tests.chaos.history import Fault
from tests.chaos.parts import Pair, Plane
from tests.chaos.world import World

TAKEN_OVER_SECONDS = 25.0
"""How long others may take to take shards over, when etcd itself is hurt meanwhile."""


async def kill_sidecar(world: World, random: Random) -> Fault:
    """SIGKILL, and back before a grace is over: its program must not lose anything."""
    return await _kill_sidecar(world, random, "kill-sidecar", random.uniform(0.1, 0.8))


async def kill_sidecar_for_long(world: World, random: Random) -> Fault:
    """SIGKILL, and away for longer than TTL and grace: whatever its program held may be lost."""
    settings = world.settings
    away = settings.ttl + 2 * settings.grace + random.uniform(1, 3)
    return await _kill_sidecar(world, random, "kill-sidecar-for-long", away)


async def _kill_sidecar(world: World, random: Random, kind: str, away: float) -> Fault:
    watch = Stopwatch(kind)
    pair = _choose(world, random)
    if pair is None:
        return watch.nothing("no program has a sidecar")
    pid = pair.sidecar.pid
    pair.away_since = await pair.sidecar.kill()
    watch.show(program=pair.name, pid=pid, gone=not pair.sidecar.pid)
    await asyncio.sleep(away)
    await world.crowd.restart(pair)
    return watch.over(watch.evidence["gone"], pair.name)


async def freeze_sidecar(world: World, random: Random) -> Fault:
    """SIGSTOP for less than a grace, then SIGCONT."""
    watch = Stopwatch("freeze-sidecar")
    pair = _choose(world, random)
    if pair is None:
        return watch.nothing("no program has a sidecar")
    state = await pair.sidecar.freeze()
    watch.show(program=pair.name, state=state)
    await asyncio.sleep(random.uniform(0.3, 0.6) * world.settings.grace)
    pair.sidecar.thaw()
    return watch.over(state == "T", pair.name)


async def crash_program(world: World, random: Random) -> Fault:
    """SIGKILL: its sidecar sees the end."""
    return await _end_program(world, random, "crash-program", "crash")


async def exit_program(world: World, random: Random) -> Fault:
    """It ends by itself, and tidies nothing up."""
    return await _end_program(world, random, "exit-program", "exit")


async def _end_program(world: World, random: Random, kind: str, how: str) -> Fault:
    watch = Stopwatch(kind)
    pair = _choose(world, random)
    if pair is None:
        return watch.nothing("no program has a sidecar")
    await pair.end_program(how)
    watch.show(program=pair.name, gone=not pair.program.pid)
    return watch.over(not pair.program.pid)


async def lose_machine(world: World, random: Random) -> Fault:
    """Program and sidecar are killed together, and nobody starts the sidecar again before the run is healed."""
    watch = Stopwatch("lose-machine")
    pair = _choose(world, random)
    if pair is None:
        return watch.nothing("no program has a sidecar")
    pair.away_since = await pair.sidecar.kill()
    await pair.end_program("crash")
    gone = not pair.program.pid and not pair.sidecar.pid
    watch.show(program=pair.name, gone=gone)
    return watch.over(gone)


async def kill_plane(world: World, random: Random) -> Fault:
    """SIGKILL of a control plane: the others must take its shards."""
    watch, plane = Stopwatch("kill-plane"), _choose_plane(world, random)
    if plane is None:
        return watch.nothing("no control plane has a shard")
    shards = world.shards_of(plane)
    await plane.child.kill()
    moved = await until(lambda: world.moved(shards), TAKEN_OVER_SECONDS)
    watch.show(plane=plane.name, shards=len(shards), taken_over=bool(moved))
    await asyncio.sleep(random.uniform(0.0, 2.0))
    await plane.child.start()
    return watch.over(bool(moved))


async def freeze_plane(world: World, random: Random) -> Fault:
    """SIGSTOP past its lease: another acts, and the first wakes up believing nothing has happened."""
    watch, plane = Stopwatch("freeze-plane"), _choose_plane(world, random)
    if plane is None:
        return watch.nothing("no control plane has a shard")
    shards = world.shards_of(plane)
    state = await plane.child.freeze()
    moved = await until(lambda: world.moved(shards), TAKEN_OVER_SECONDS)
    watch.show(plane=plane.name, shards=len(shards), state=state, taken_over=bool(moved))
    await asyncio.sleep(random.uniform(0.0, 2.0))
    plane.child.thaw()
    return watch.over(state == "T" and bool(moved))


async def add_plane(world: World, random: Random) -> Fault:
    """One more joins in the middle of the work, gets its share, and leaves again, this way or that."""
    watch, plane = Stopwatch("add-plane"), world.spare
    await plane.child.start()
    got = await until(lambda: world.shards_of(plane), 20.0)
    await asyncio.sleep(random.uniform(2, 8))
    shards, how = world.shards_of(plane), random.choice(["stop", "kill"])
    await (plane.child.stop() if how == "stop" else plane.child.kill())
    moved = await until(lambda: world.moved(shards), TAKEN_OVER_SECONDS)
    watch.show(plane=plane.name, shards=len(shards), left_by=how, taken_over=bool(moved))
    return watch.over(bool(got) and bool(shards))


def _choose_plane(world: World, random: Random) -> Plane | None:
    acting = [plane for plane in world.planes if plane.child.pid and world.shards_of(plane)]
    return random.choice(acting) if acting else None


def _choose(world: World, random: Random) -> Pair | None:
    whole = [pair for pair in world.crowd.whole if pair.away_since is None]
    return random.choice(whole) if whole else None
