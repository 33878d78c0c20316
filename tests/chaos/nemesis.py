"""Chooses faults by a seed, lane by lane, does them to the world, and heals it afterwards.

Each lane goes through all its kinds in a shuffled order before it repeats one, so that a long run meets every kind many
times; what took no effect is tried again. The seed decides kinds, targets and durations; what it cannot decide is when
the world's own steps fall.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from random import Random

from tests.chaos.faults import KINDS, Lane
from tests.chaos.faults.trouble import arm
from tests.chaos.gateway import TROUBLE
from tests.chaos.history import Fault
from tests.chaos.owners import Mood
from tests.chaos.state import instance_of, parse
from tests.chaos.wires import Mode
from tests.chaos.world import World

PAUSES = {Lane.STORE: (10.0, 20.0), Lane.PARTS: (1.0, 3.0)}
"""Seconds between faults. Without any peace in etcd nothing is ever condemned, and nothing proven."""
FAULT_SECONDS = 150.0
"""Longer than any fault may take."""
TRIES = 3
"""Of a fault that had nothing to bite on. One that never took effect makes the run invalid."""
SLACK_SECONDS = 3.0
"""What a busy machine may add to a promise."""
Say = Callable[[str], None]


class Nemesis:
    """``kinds``: the names it may choose from."""

    def __init__(self, world: World, seed: int, kinds: Iterable[str], say: Say) -> None:
        self._world, self._seed, self._say = world, seed, say
        self._kinds = list(kinds)
        self.faults: list[Fault] = []

    async def rage(self, until: float, *, rounds: int | None = None) -> None:
        """Until this instant, or until each lane did all its kinds so many times."""
        async with asyncio.TaskGroup() as tasks:
            for lane in Lane:
                kinds = sorted(kind for kind in self._kinds if KINDS[kind].lane is lane)
                if kinds:
                    tasks.create_task(self._lane(lane, kinds, until, rounds))

    async def _lane(self, lane: Lane, kinds: list[str], until: float, rounds: int | None) -> None:
        random = Random(f"{self._seed}-{lane}")
        for kind in _bags(kinds, random, rounds):
            await asyncio.sleep(random.uniform(*PAUSES[lane]))
            if time.monotonic() >= until or self._world.witness.gaps:
                return  # what is invalid already proves nothing by going on
            for _ in range(TRIES):
                if (await self._do(kind, random)).took_effect:
                    break
                await asyncio.sleep(random.uniform(*PAUSES[lane]))

    async def _do(self, kind: str, random: Random) -> Fault:
        began = time.monotonic()
        try:
            async with asyncio.timeout(FAULT_SECONDS):
                fault = await KINDS[kind].do(self._world, random)
        except TROUBLE as error:
            fault = Fault(kind, began, time.monotonic(), False, {"error": f"it came to no end: {error!r}"}, ("*",))
        self.faults.append(fault)
        self._say(
            f"{kind}: {'took effect' if fault.took_effect else 'NO EFFECT'} in "
            f"{fault.ended - fault.began:.1f} s {fault.evidence}"
        )
        return fault


def _bags(kinds: list[str], random: Random, rounds: int | None) -> Iterator[str]:
    number = 0
    while rounds is None or number < rounds:
        bag = list(kinds)
        random.shuffle(bag)
        yield from bag
        number += 1


async def heal(world: World) -> None:
    """Everything is put right: processes, wires, moods, clocks, the brake. Raises ``TimeoutError`` if etcd does not."""
    world.crowd.growing = False
    world.clock.write_text("+0\n")
    for owner in world.owners.values():
        owner.feel(Mood.FINE)
    for part in world.parts():
        part.thaw()
    for wire in (*world.to_owners.values(), *(wire for pair in world.crowd.pairs for wire in pair.owners.values())):
        wire.set(Mode.OPEN)
    for wired in (*world.everybody(), *world.crowd.pairs):
        wired.set_etcd(Mode.OPEN)
    world.cluster.rejoin()
    for member in world.cluster.members:
        if not member.pid:
            await member.start()
    await world.cluster.until_serving(60.0)
    await world.spare.child.kill()
    for plane in world.planes:
        if not plane.child.pid:
            await plane.child.start()
    if not await arm(world):
        raise TimeoutError("the brake could not be armed")
    away = [pair for pair in world.crowd.pairs if pair.away_since is not None]
    await asyncio.gather(*(world.crowd.restart(pair) for pair in away))


async def attachment(world: World) -> tuple[float, int, tuple[str, ...]]:
    """When everybody who lives was attached, or the time for it was over; etcd's revision then, and who lives."""
    living = tuple(pair.name for pair in world.crowd.whole)
    until = time.monotonic() + 2 * world.settings.ttl + SLACK_SECONDS
    while time.monotonic() < until and not set(living) <= attached(world):
        await asyncio.sleep(0.1)
    return time.monotonic(), world.witness.revision, living


def attached(world: World) -> set[str]:
    """Instances with a beacon, as the witness saw it last."""
    keys = (parse(key, world.settings.tenant) for key in world.witness.values)
    return {instance_of(found[1][0]) for found in keys if found and found[0] == "beacons"}


async def abandon(world: World, random: Random) -> None:
    """Every program ends, this way or that. The control planes are restarted before, one after the other: what an owner
    kept waiting for up to an hour is then asked for at once."""
    for plane in world.planes:
        await plane.child.stop()
        await plane.child.start()
        await plane.until_ready()
    await asyncio.gather(*(pair.end_program(random.choice(["crash", "exit"])) for pair in world.crowd.living))


async def settle(world: World, within: float) -> None:
    """Until no record is left and every sidecar told what it knew, or the time for it is over."""
    until = time.monotonic() + within
    records = f"/leasehold/1/{world.settings.tenant}/resources/"
    while time.monotonic() < until:
        waiting = [pair for pair in world.crowd.pairs if pair.sidecar.pid]
        left = [key for key in world.witness.values if key.startswith(records) and "broken-" not in key]
        if not waiting and not left:
            return
        await asyncio.sleep(0.2)
