"""What stands in etcd and at the owner when a test of the console begins."""

from __future__ import annotations

import asyncio

from aiohttp import web

from leasehold.control_plane.core.lifecycle import State
from leasehold.protocol.records import HolderKind
from tests.integration.operator_world import Face
from tests.unit.control_plane.world import World, blob, eventually, state

LONG = "3600s"
STUCK = State.QUARANTINED


async def abandoned(here: World, face: Face, *names: str, holder: str = "gone") -> None:
    """Of a holder that crashed. Their grace is running, or begins after the epoch of their class that runs."""
    it = await here.hand.attach(holder)
    for one in names:
        here.owner.add(one)
    await here.hand.register(it, *names, grace_class=LONG)
    await here.hand.retire(it)
    condemned = {State.CONDEMNED, State.IN_GRACE}
    await eventually("condemned", lambda: all(state(face.plane, one) in condemned for one in names))


MANY = 100_000
HOLDERS = 10


async def crowd(here: World, face: Face) -> None:
    """A hundred thousand resources of a few living holders."""
    each = MANY // HOLDERS

    async def fill(n: int) -> None:
        it = await here.hand.attach(f"h{n}")
        await here.hand.register(it, *(f"r-{n}-{k:05}" for k in range(each)), grace_class=LONG)

    await asyncio.gather(*(fill(n) for n in range(HOLDERS)))
    held = State.HELD
    await eventually("seen", lambda: face.plane.index.counts["store", "blob", "make", held] == MANY, within=120)


async def everything(here: World, face: Face) -> None:
    """Something in every state that lasts: for looking at."""
    alive = await here.hand.attach("media-7f9c4d-x2x1q")
    holder = await here.hand.attach("worker-1")
    timer = await here.hand.attach("timer-600", kind=HolderKind.TIMER)
    await abandoned(here, face, *(f"leaked/{n:02}" for n in range(12)), holder="batch-12")
    # Last, because of an owner that answers so nothing more is condemned.
    here.owner.answers = [web.Response(status=403) for _ in range(2)]
    await abandoned(here, face, "stuck/1", "stuck/2", holder="uploader-3")
    for one in ("stuck/1", "stuck/2"):
        await face.ok("SweepNow", {"name": {"owner": "store", "type": "blob", "id": one}, "why": "the disk is full"})
    await eventually("both are quarantined", lambda: face.plane.index.counts["store", "blob", "make", STUCK] == 2)
    await here.hand.register(alive, *(f"albums/2026/{n:03}" for n in range(40)), grace_class=LONG)
    await here.hand.register(timer, "thumbnails/1", "thumbnails/2", grace_class=LONG)
    parts = [blob(f"parts/{n}") for n in range(3)]
    await here.hand.register(holder, *parts, grace_class=LONG)
    await here.hand.register(holder, "bundle", references=tuple(parts), grace_class=LONG)
    await here.hand.register(alive, "catalogue", references=(blob("bundle"),), grace_class=LONG)
    gone = await here.hand.attach("batch-13")
    await here.hand.register(gone, "odd/1", "odd/2", grace_class=LONG, rule="no-such-rule")
    await here.hand.vanish(gone)
    await face.ok("Pin", {"name": {"owner": "store", "type": "blob", "id": "leaked/03"}, "why": "evidence, case 9"})
    await face.ok("TripBrake", {"why": "half the cluster is unreachable"})
    await face.ok("ArmBrake", {"why": "the network is back"})
