"""Processes of the product that are killed or stand still."""

from __future__ import annotations

import asyncio
from random import Random

from tests.chaos.faults.stopwatch import Stopwatch, until
from tests.chaos.history import Fault
from tests.chaos.parts import Pair
from tests.chaos.world import World


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


async def kill_leading_plane(world: World, random: Random) -> Fault:
    """SIGKILL of the control plane that leads; another must lead after it."""
    watch = Stopwatch("kill-leading-plane")
    plane, fence = world.leader, world.fence
    if plane is None:
        return watch.nothing("nobody leads")
    await plane.child.kill()
    moved = await until(lambda: world.fence not in {"", fence}, world.settings.leader_ttl * 4)
    watch.show(plane=plane.name, another_leads=bool(moved))
    await asyncio.sleep(random.uniform(0.0, 2.0))
    await plane.child.start()
    return watch.over(bool(moved))


async def freeze_leading_plane(world: World, random: Random) -> Fault:
    """SIGSTOP past its lease: another leads, and the first wakes up believing nothing has happened."""
    watch = Stopwatch("freeze-leading-plane")
    plane, fence = world.leader, world.fence
    if plane is None:
        return watch.nothing("nobody leads")
    state = await plane.child.freeze()
    moved = await until(lambda: world.fence not in {"", fence}, world.settings.leader_ttl * 4)
    watch.show(plane=plane.name, state=state, another_leads=bool(moved))
    await asyncio.sleep(random.uniform(0.0, 2.0))
    plane.child.thaw()
    return watch.over(state == "T" and bool(moved))


def _choose(world: World, random: Random) -> Pair | None:
    whole = [pair for pair in world.crowd.whole if pair.away_since is None]
    return random.choice(whole) if whole else None
