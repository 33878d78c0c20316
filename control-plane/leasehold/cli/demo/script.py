"""The story, act by act. Every line it says is about to become, or has just become, true on stage.

Timing: leases of 3 to 4 s and graces of 2 s, so that half a minute suffices. A real installation has minutes.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from leasehold.cli.demo.audience import Audience
from leasehold.cli.demo.owners import BUCKET
from leasehold.cli.demo.show import Show, short
from leasehold.cli.demo.stage import Actor, Stage
from leasehold.cli.demo.verdict import Verdict, judge
from leasehold.protocol.errors import LeaseholdError
from leasehold.protocol.names import Resource
from leasehold.protocol.records import FOUNDED_SHARDS

POLL_SECONDS = 0.25
REGISTERED_SECONDS = 10.0
SHARED_SECONDS = 20.0


class Stuck(LeaseholdError):
    """The story cannot go on: what was to happen did not."""


async def perform(stage: Stage, audience: Audience, show: Show, deadline: float) -> Verdict:
    """Play it and judge it. ``deadline``: the instant (monotonic) by which everything must be settled."""
    began = time.monotonic()
    await _create(stage, audience, show)
    await _die(stage, show)
    await asyncio.gather(_exit(stage, show), _roll(stage, show), _fail_over(stage, show))
    await _settle(stage, show, deadline)
    return await verdict(stage, audience, time.monotonic() - began)


async def _create(stage: Stage, audience: Audience, show: Show) -> None:
    show.act("1. Programs create things in two owners; a sidecar beside each reads along and registers who holds what")
    ledger, s3, depot = stage.ledger, f"http://{stage.owners.s3}", f"http://{stage.owners.depot}"
    ledger.bystanders |= await stage.owners.put_bystanders()
    show.say("somebody without a sidecar creates an object and a crate: never ours, must never be touched")
    first = await asyncio.gather(
        stage.start_client("uploader", "media", "uploader", s3, BUCKET, "4"),
        stage.start_client("packer", "packing", "packer", depot, "crates", "3"),
        stage.start_client("courier", "courier", "packer", depot, "crates", "3"),
        stage.start_client("clerk", "office", "clerk", depot, "2", "2"),
        stage.start_client("fleet-1", "fleet", "packer", depot, "parcels", "2"),
        stage.start_client("fleet-2", "fleet", "packer", depot, "parcels", "1"),
        stage.start_control_plane("a"),
        stage.start_control_plane("b"),
    )
    actors = [actor for actor in first if isinstance(actor, Actor)]
    await asyncio.gather(*(actor.until_done(ledger) for actor in actors))
    uploader, clerk = stage.actors["uploader"], stage.actors["clerk"]
    show.say(f"uploader is a plain boto3 program, its requests signed: {len(uploader.created)} objects in S3")
    show.say(f"clerk deleted {len(clerk.deleted)} of its own crates itself, and drew tickets with a strict TTL of 4 s")
    shared = uploader.created[0]
    reader = await stage.start_client("reader", "gallery", "reader", s3, BUCKET, shared.id)
    await reader.until_done(ledger)
    ledger.keep |= {shared, *stage.actors["fleet-1"].created, *stage.actors["fleet-2"].created}
    await _until_registered(audience, set(ledger.created) - ledger.deleted_by_program)
    await _until_shared(audience, shared)
    show.say(f"reader uses {short(shared)} of uploader's: now two hold it")


async def _until_registered(audience: Audience, expected: set[Resource]) -> None:
    """Tickets may have been condemned by now; being known at all is what counts."""
    give_up = time.monotonic() + REGISTERED_SECONDS
    while missing := expected - set(audience.states):
        if time.monotonic() > give_up:
            raise Stuck(f"not registered after {REGISTERED_SECONDS:g} s: {', '.join(map(str, sorted(missing)))}")
        await asyncio.sleep(POLL_SECONDS)


async def _until_shared(audience: Audience, shared: Resource) -> None:
    """Before anybody is killed: that two hold it must be a fact, or its survival would prove nothing."""
    give_up = time.monotonic() + REGISTERED_SECONDS
    while len(audience.holders.get(shared, ())) < 2:
        if time.monotonic() > give_up:
            raise Stuck(f"reader's use of {shared} was not registered after {REGISTERED_SECONDS:g} s")
        await asyncio.sleep(POLL_SECONDS)


async def _die(stage: Stage, show: Show) -> None:
    show.act("2. Programs end, in different ways; nobody tidies up")
    await stage.owners.set_faults(
        [
            {"kind": "latency", "seconds": 0.3, "methods": ["DELETE"]},
            {"kind": "error", "status": 500, "methods": ["DELETE"], "times": 2},
        ]
    )
    show.say("the depot gets slow, and will answer the next two deletes with 500: they are retried")
    stage.actors["uploader"].kill_program()
    show.say("uploader is killed (SIGKILL); its sidecar sees the pid end and reports it at once")
    stage.actors["courier"].kill_both()
    show.say("courier AND its sidecar are killed, as if the machine was gone; only its lease will tell, in 3 s")


async def _exit(stage: Stage, show: Show) -> None:
    show.say("packer exits cleanly, leaving its crates behind all the same")
    await stage.actors["packer"].end()


async def _roll(stage: Stage, show: Show) -> None:
    """A service is not dead while any instance lives: restarted one by one, it loses nothing."""
    depot = f"http://{stage.owners.depot}"
    for old, new in (("fleet-1", "fleet-3"), ("fleet-2", "fleet-4")):
        actor = await stage.start_client(new, "fleet", "packer", depot, "parcels", "0")
        await actor.until_done(stage.ledger)
        await stage.actors[old].end()
        show.say(f"rolling restart: {old} of service fleet is replaced by {new}; parcels are held by the service")


async def _fail_over(stage: Stage, show: Show) -> None:
    acting = await _acting(stage)
    name, shards = acting.most_common(1)[0]
    await stage.control_planes[name].kill()
    show.say(f"control plane {name} acted for {shards} of {acting.total()} shards, and is killed (SIGKILL)")
    await stage.start_control_plane(f"{name}-restarted")
    each = ", ".join(f"{name} for {shards}" for name, shards in sorted((await _acting(stage)).items()))
    show.say(f"it is started again, and the shards are shared anew: {each}; nothing changes but the time it takes")


async def _acting(stage: Stage) -> Counter[str]:
    """Who acts for how many shards, once every control plane has its share and nothing is left over."""
    give_up = time.monotonic() + SHARED_SECONDS
    while True:
        acting = await stage.acting()
        running = {name for name, child in stage.control_planes.items() if child.running}
        if acting.total() == FOUNDED_SHARDS and acting.keys() == running:
            return acting
        if time.monotonic() > give_up:
            raise Stuck(f"of {FOUNDED_SHARDS} shards {acting.total()} are acted for after {SHARED_SECONDS:g} s")
        await asyncio.sleep(POLL_SECONDS)


async def _settle(stage: Stage, show: Show, deadline: float) -> None:
    show.act("3. Nobody holds them: condemned, a whole grace waited out, proved again, deleted through their owners")
    while time.monotonic() < deadline:
        left = stage.ledger.must_go & await stage.owners.contents()
        if not left:
            break
        await asyncio.sleep(POLL_SECONDS)
    else:
        show.say(f"time is up, and {len(left)} resources are still there")
    failures = await stage.owners.faults_met()
    show.say(f"meanwhile the depot failed {failures} deletes; each was repeated until it was confirmed")


async def verdict(stage: Stage, audience: Audience, seconds: float) -> Verdict:
    """Compare what the owners have with what should be left, and etcd's records with both."""
    reader = stage.actors["reader"]
    recorded = await audience.look()
    found = await stage.owners.contents()
    for _ in range(20):  # the record of a sweep that just succeeded goes a moment later
        if not stage.ledger.must_go & set(recorded):
            break
        await asyncio.sleep(POLL_SECONDS)
        recorded, found = await audience.look(), await stage.owners.contents()
    if reader.program.process.returncode is not None:
        await reader.last_words(stage.ledger)
        stage.ledger.complaints.append("client reader ended before its time")
    return judge(stage.ledger, found, recorded, seconds)
