"""A jumping wall clock, an operator's brake, and owners in all their moods."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from random import Random

from tests.chaos.faults.stopwatch import Stopwatch, until
from tests.chaos.history import Fault
from tests.chaos.owners import Mood
from tests.chaos.parts import Plane
from tests.chaos.world import World, faketime

MOODY = dict.fromkeys((Mood.LATE, Mood.REPEATS), ("files",)) | {Mood.EVASIVE: ("deeds", "crates")}
"""Late deletes are of interest where names come again, evasions where something is asked."""
MOODY |= dict.fromkeys((Mood.LIES_DELETED, Mood.LIES_ABSENT, Mood.CUTS_CREATIONS), ("blobs", "files"))
PATIENCE_SECONDS = 40.0
"""How long a mood lasts at most. Meanwhile something has to be swept, whatever else is hurt."""
Done = Callable[[World, Random], Awaitable[Fault]]


async def shift_wall_clock(world: World, random: Random) -> Fault:
    """Both control planes' wall clocks jump by hours, either way; no decision may notice."""
    watch = Stopwatch("shift-wall-clock")
    if faketime() is None:
        return watch.nothing("libfaketime is not here (Debian: apt-get install faketime)")
    hours = random.choice([-48, -1, 1, 48])
    world.clock.write_text(f"{hours * 3600:+d}\n")
    planes = [plane for plane in world.planes if plane.child.pid and plane.child.state != "T"]
    shifts: list[float] = []

    async def all_shifted() -> bool:
        shifts[:] = [await _shift(plane) for plane in planes]
        return bool(shifts) and all(abs(shift - hours * 3600) < 120 for shift in shifts)

    shifted = await until(all_shifted, 5.0)
    await asyncio.sleep(random.uniform(3, 6))
    world.clock.write_text("+0\n")
    watch.show(hours=hours, seen_shifts=[round(shift) for shift in shifts])
    return watch.over(bool(shifted))


async def _shift(plane: Plane) -> float:
    date = await plane.date()
    return parsedate_to_datetime(date).timestamp() - time.time() if date else 0.0


async def trip_brake(world: World, random: Random) -> Fault:
    """By the operator's command; sometimes a control plane dies meanwhile: who takes its shards must heed it, too."""
    watch = Stopwatch("trip-brake")
    gone = await operate(world, "trip", there=False)
    acting = [plane for plane in world.planes if plane.child.pid and world.shards_of(plane)]
    if acting and random.random() < 0.5:
        plane = random.choice(acting)
        shards = world.shards_of(plane)
        await plane.child.kill()
        moved = await until(lambda: world.moved(shards), 10.0)
        watch.show(killed=plane.name, shards=len(shards), taken_over=bool(moved))
        await plane.child.start()
    await asyncio.sleep(random.uniform(2, 5))
    watch.show(armed_key_gone=gone, armed_again=await arm(world))
    return watch.over(gone)


async def arm(world: World) -> bool:
    """Until it is armed; ``False`` if it cannot be."""
    return await operate(world, "arm", there=True)


async def operate(world: World, verb: str, *, there: bool) -> bool:
    """The operator repeats what did not work; the witness tells whether it did."""
    armed = f"/leasehold/1/{world.settings.tenant}/control/armed"
    for _ in range(10):
        try:
            await world.leasehold("brake", verb, "--reason", "chaos")
        except (OSError, TimeoutError):
            await asyncio.sleep(1.0)
            continue
        return bool(await until(lambda: (armed in world.witness.values) is there, 5.0))
    return False


def in_mood(mood: Mood) -> Done:
    """An owner is in this mood until some requests met it."""

    async def do(world: World, random: Random) -> Fault:
        watch = Stopwatch(f"owner-{mood}")
        owner = world.owners[random.choice(MOODY.get(mood, ("blobs", "files", "deeds")))]
        pairs = world.crowd.whole
        if mood is not Mood.CUTS_CREATIONS:  # there has to be something to delete
            for pair in random.sample(pairs, min(2, len(pairs))):
                await pair.end_program("crash")
        owner.feel(mood)
        await until(lambda: owner.moody >= 2, PATIENCE_SECONDS)
        await asyncio.sleep(random.uniform(1, 4))
        met = owner.moody
        owner.feel(Mood.FINE)
        watch.show(owner=owner.name, requests=met)
        return watch.over(met > 0)

    return do
