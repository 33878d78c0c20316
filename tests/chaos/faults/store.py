"""etcd's leader is killed, frozen, cut off from its peers, or not heard by them any more."""

from __future__ import annotations

import asyncio
from random import Random

from tests.chaos.faults.leases import Leases
from tests.chaos.faults.stopwatch import Stopwatch, until
from tests.chaos.history import Fault
from tests.chaos.wires import Mode
from tests.chaos.world import World

ELECTION_SECONDS = 15.0
REVOKES_SECONDS = 9.0
"""How long after its thaw a leader of before may still ask for revokes: what it asked as a leader times out first."""


async def kill_leader(world: World, random: Random) -> Fault:
    """SIGKILL; started again a little later, with its data."""
    watch, old = Stopwatch("kill-etcd-leader"), await world.gateway.leader()
    if old is None:
        return watch.nothing("etcd has no leader")
    member = world.cluster.members[old]
    await member.kill()
    new = await world.cluster.new_leader(old, ELECTION_SECONDS)
    watch.show(old=member.name, gone=not member.pid, new=new)
    await asyncio.sleep(random.uniform(0, 3))
    await member.start()
    await _rejoined(world)
    return watch.over(new is not None)


async def freeze_leader(world: World, random: Random) -> Fault:
    """SIGSTOP past every TTL, then SIGCONT: it wakes up believing to lead, and may revoke leases that were renewed
    elsewhere (etcd before 3.5.13). Leases of our own, renewed all the while, show whether it did; the witness counts
    the beacons that vanished then."""
    watch, old = Stopwatch("freeze-etcd-leader"), await world.gateway.leader()
    if old is None:
        return watch.nothing("etcd has no leader")
    member = world.cluster.members[old]
    async with Leases(world.gateway, world.settings.ttl) as leases:
        state = await member.freeze()
        new = await world.cluster.new_leader(old, ELECTION_SECONDS)
        await asyncio.sleep(world.settings.ttl + random.uniform(0.5, 2))
        before = len(world.witness.events)
        member.thaw()
        await _rejoined(world)

        def gone() -> dict[str, float]:
            return {event.key: event.latest for event in world.witness.events[before:] if event.deleted}

        await until(lambda: leases.wronged(gone()), REVOKES_SECONDS)
        revoked, vanished = len(leases.wronged(gone())), gone()
    beacons = sum("/beacons/" in key for key in vanished)
    watch.show(old=member.name, state=state, new=new, live_leases_revoked=revoked, of=len(leases))
    watch.show(beacons_gone_after_thaw=beacons)
    return watch.over(state == "T" and new is not None)


async def mute_leader(world: World, random: Random) -> Fault:
    """A one-way partition: it hears its peers, they do not hear it, and elect another while it believes to lead."""
    watch, old = Stopwatch("mute-etcd-leader"), await world.gateway.leader()
    if old is None:
        return watch.nothing("etcd has no leader")
    wire = world.cluster.members[old].peers
    wire.set(Mode.HALF_OPEN)  # who wants to hear somebody dials him: what is lost is what he says
    try:
        new = await world.cluster.new_leader(old, ELECTION_SECONDS)
        await asyncio.sleep(world.settings.ttl + random.uniform(0.5, 2))
        swallowed = wire.effect.swallowed_bytes
    finally:
        world.cluster.rejoin()
    await _rejoined(world)
    watch.show(old=world.cluster.members[old].name, new=new, bytes_swallowed=swallowed)
    return watch.over(new is not None and swallowed > 0)


async def isolate_leader(world: World, random: Random) -> Fault:
    """Its peers cannot hear it, its clients can: it must not serve what is stale."""
    watch, old = Stopwatch("isolate-etcd-leader"), await world.gateway.leader()
    if old is None:
        return watch.nothing("etcd has no leader")
    world.cluster.isolate(old)
    try:
        new = await world.cluster.new_leader(old, ELECTION_SECONDS)
        await asyncio.sleep(world.settings.ttl + random.uniform(0.5, 2))
        cut = sum(member.peers.effect.swallowed_bytes for member in world.cluster.members)
    finally:
        world.cluster.rejoin()
    await _rejoined(world)
    watch.show(old=world.cluster.members[old].name, new=new, bytes_swallowed=cut)
    return watch.over(new is not None and cut > 0)


async def _rejoined(world: World) -> None:
    await world.cluster.until_serving(30.0)
