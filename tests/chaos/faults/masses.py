"""Many holders lost at once under a brake as in production, and things at an owner that no sidecar ever saw."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

from tests.chaos.crates import INTERVAL_SECONDS
from tests.chaos.faults.stopwatch import Stopwatch, until
from tests.chaos.faults.trouble import arm
from tests.chaos.history import COLLECTOR, Fault
from tests.chaos.parts import WITH_BRAKE, WITHOUT_BRAKE
from tests.chaos.world import World

TRIPPED_SECONDS = 20.0
GOES_ON_SECONDS = 25.0
LISTED_SECONDS = 5 * INTERVAL_SECONDS
STRAYS = 2


async def lose_zone(world: World, random: Random) -> Fault:
    """Nearly all machines are lost at once, under a brake as in production: it trips by itself, nothing is swept while
    it is on (S5 judges that, key by key), an operator who knows arms it, and collecting goes on."""
    watch = Stopwatch("lose-zone")
    await _configure(world, WITH_BRAKE)
    try:
        if not await arm(world):  # what vanished before counts no more
            return watch.nothing("the brake could not be armed")
        await until(lambda: len(world.crowd.whole) > 1, 5.0)
        await asyncio.sleep(2.0)  # so that they hold something
        lost = [pair for pair in world.crowd.whole if pair.away_since is None]
        for pair in lost:
            pair.away_since = await pair.sidecar.kill()
        await asyncio.gather(*(pair.end_program("crash") for pair in lost))
        tripped = await until(lambda: _tripped_by_itself(world), TRIPPED_SECONDS)
        watch.show(machines=len(lost), tripped=tripped)
        before = _swept(world)
        await asyncio.sleep(2.5 * world.settings.grace)  # all of it would be swept by then
        watch.show(removed_meanwhile=_swept(world) - before, still_tripped=bool(_tripped_by_itself(world)))
        armed, before = await arm(world), _swept(world)
        went_on = await until(lambda: _swept(world) - before >= 3, GOES_ON_SECONDS)
        watch.show(armed_again=armed, removed_afterwards=_swept(world) - before)
        return watch.over(bool(tripped) and armed and bool(went_on))
    finally:
        await _configure(world, WITHOUT_BRAKE)


async def _configure(world: World, brake: str) -> None:
    """A rolling restart: one after the other hands its shards over and gets its share again."""
    for plane in (*world.planes, world.spare):
        plane.configure(brake)
        if plane.child.pid:
            await plane.child.stop()
            await plane.child.start()
            await until(lambda plane=plane: world.shards_of(plane), 10.0)  # type: ignore[misc]


def _tripped_by_itself(world: World) -> dict[str, Any]:
    """What stands in etcd about it, or nothing."""
    below = f"/leasehold/1/{world.settings.tenant}/control/"
    if f"{below}armed" in world.witness.values:
        return {}
    said = json.loads(world.witness.values.get(f"{below}tripped", "{}"))
    shown = {name: said[name] for name in ("cause", "holders", "resources", "live") if name in said}
    return shown if said.get("cause") == "vanished" else {}


def _swept(world: World) -> int:
    """By the owners' word: what was sent before it tripped may still be on its way."""
    return sum(
        call.who == COLLECTOR and call.effect == "removed" for owner in world.owners.values() for call in owner.ledger
    )


async def leave_strays(world: World, random: Random) -> Fault:
    """Things with our label come to be past every sidecar, and one that is recorded is taken away behind our back: two
    listings have to find out."""
    watch, crates = Stopwatch("leave-strays"), world.crates
    strays = [f"stray-{random.getrandbits(64):016x}" for _ in range(STRAYS)]
    for stray in strays:
        crates.add_stray(stray)
    below = f"/leasehold/1/{world.settings.tenant}/resources/crates/crate/"
    recorded = [name for name in crates.things if below + name in world.witness.values and name not in strays]
    lost = random.choice(recorded) if recorded else ""
    if lost:
        crates.lose(lost)

    def settled() -> bool:
        return not any(stray in crates.things for stray in strays) and below + lost not in world.witness.values

    await until(settled, LISTED_SECONDS)
    left = [stray for stray in strays if stray in crates.things]
    watch.show(owner="crates", strays=len(strays), swept=len(strays) - len(left), lost=lost)
    watch.show(closed=bool(lost) and below + lost not in world.witness.values)
    return watch.over(not left)
