"""The benchmark's story: fill etcd, start cold, scan, let holders die, sweep. Each part measures and adds figures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.store import Txn
from tests.bench.collector.figures import Figure, Renewals, Sampling
from tests.bench.collector.population import Population
from tests.bench.collector.processes import Plane, Program, cpu_seconds, running_plane

FILLS_AT_ONCE = 16
DEADLINE = 60.0
SAMPLE_SECONDS = 0.5
IDLE_SECONDS = 8.0
MEGABYTE = 1e6
UNCAPPED = 60_000_000
"""Prepares a minute: what is measured is the collector, not its patience."""


@dataclass
class Site:
    """What stays for the whole run."""

    folder: Path
    endpoint: str
    etcd_pid: int
    population: Population
    patience: float
    figures: list[Figure] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def add(self, figure: Figure) -> None:
        self.figures.append(figure)
        say(str(figure))

    def configuration(self, tenant: str, rules: Path | None, scan_seconds: int) -> str:
        loaded = f"file: {rules}" if rules else "etcd: true"
        return (
            f'tenant: {tenant}\netcd: {{endpoints: ["{self.endpoint}"]}}\nrules: {{{loaded}}}\n'
            f'http: {{listen: "127.0.0.1:0"}}\nscan_interval: {scan_seconds}s\n'
            f"caps: {{per_owner: {UNCAPPED}, overall: {UNCAPPED}, window: 1m}}\n"
        )


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


async def fill(site: Site) -> None:
    """Everything that is held, written many transactions at a time."""
    people, began, written = site.population, time.monotonic(), 0
    waiting: set[asyncio.Task[object]] = set()
    async with EtcdClient(EtcdConfig([site.endpoint], deadline_seconds=DEADLINE)) as client:
        for puts in people.transactions():
            if len(waiting) >= FILLS_AT_ONCE:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            waiting.add(asyncio.create_task(client.commit(Txn((), puts), deadline=DEADLINE)))
            written += len(puts)
            if written % 200_000 < len(puts):
                say(f"  {written // 2:,} resources written")
        await asyncio.gather(*waiting)
    say(f"{people.resources:,} resources and their holds written in {time.monotonic() - began:.0f} s")


async def bare_megabytes(site: Site) -> float:
    """What a control plane weighs that has nothing to keep."""
    configuration = site.configuration("nobody", None, 300)
    async with running_plane(site.folder, "bare", configuration) as plane:
        await until("the empty one is ready", plane.is_ready, site.patience)
        return plane.program.megabytes()


async def start_cold(site: Site, plane: Plane, bare: float) -> None:
    """From the start of its process until it is synced, leads, and says that it is ready."""

    async def usable() -> bool:
        status = await plane.status()
        return bool(status["synced"] and status["leader"] and await plane.is_ready())

    await until("the control plane is of use", usable, site.patience)
    program, count = plane.program, site.population.resources
    site.add(Figure("cold start until usable", time.monotonic() - plane.began, "s", 30))
    site.add(Figure("  CPU of the control plane for it", program.cpu_seconds(), "s"))
    found = (await plane.status())["index"]
    expected = {"resources": count, "holders": site.population.holders}
    if found != expected:
        site.broken.append(f"the index holds {found}, expected {expected}")
    weighed = program.megabytes()
    site.add(Figure("resident memory", weighed, "MB", 1000))
    site.add(Figure("  proportional share (Pss)", program.megabytes("Pss"), "MB"))
    site.add(Figure("  at most so far", program.highest_megabytes(), "MB", 1000))
    site.add(Figure("  bare, without any resource", bare, "MB"))
    site.add(Figure("  per resource, beyond that", (weighed - bare) * MEGABYTE / count, "bytes"))


async def scan(site: Site, plane: Plane, holders: Program) -> None:
    """One full consistency scan beside renewals, and a while without one for comparison."""
    await holders.ask("told")
    cpu = plane.program.cpu_seconds()
    say("waiting for a full scan, and watching renewals meanwhile")

    offset, since = time.time() - time.monotonic(), time.monotonic() + IDLE_SECONDS
    spans = list[tuple[float, float, dict[str, Any]]]()

    async def scanned() -> bool:
        for event in plane.events("scanned"):
            end = datetime.fromisoformat(event["timestamp"]).timestamp() - offset
            if end - event["seconds"] > since:
                spans.append((end - event["seconds"], end, event))
        return bool(spans)

    await until("a scan is over", scanned, site.patience)
    began, end, report = spans[0]
    if report["wrong"]:
        site.broken.append(f"the scan found {report['wrong']} keys wrong, expected none")
    told = await holders.ask("told")
    during = Renewals.of(told, lambda sent: began <= sent <= end)
    idle = Renewals.of(told, lambda sent: began - IDLE_SECONDS < sent < began)
    site.add(Figure("full consistency scan", report["seconds"], "s"))
    site.add(Figure("  CPU of the control plane since it was usable", plane.program.cpu_seconds() - cpu, "s"))
    if during is None or idle is None:
        site.broken.append("no renewals were seen during the scan, or none before it")
        return
    site.add(Figure("keepalives during the scan, p99", during.p99, "ms", remark=str(during)))
    site.add(Figure("  before it, p99", idle.p99, "ms", remark=str(idle)))
    site.add(Figure("  p99 during / before", during.p99 / idle.p99, "x"))
    late = site.population.ttl_seconds * 1000 / 30
    site.add(Figure("  worst during the scan", during.worst, "ms", late, remark="a tenth of what a renewal may take"))
    site.add(Figure("  leases lost", during.lost + idle.lost, "", 0))
    ended = [event for name in ("lease_lost", "shards_lost") for event in plane.events(name)]
    site.add(Figure("  shards or replica's lease lost", len(ended), "", 0))


async def die(site: Site, plane: Plane, holders: Program, count: int) -> int:
    """Many holders end at once, reported: what they held is condemned. How many resources that are."""
    began, cpu, etcd_cpu = time.monotonic(), plane.program.cpu_seconds(), cpu_seconds(site.etcd_pid)
    samples = [(began, 0.0)]
    free: int = await holders.ask(f"retire {count}")
    say(f"{count:,} holders reported their end: {free:,} resources are unheld")
    await sampled(site, "all are condemned", samples, free, lambda: plane.counter("leasehold_condemned_total"))
    took = samples[-1][0] - began
    site.add(
        Figure("condemnations", Sampling(samples).rate(0.05 * free, 0.95 * free) * 60, "per minute", 20_000, False)
    )
    site.add(Figure("  all of them, from the first death on", samples[-1][1] / took * 60, "per minute"))
    site.add(Figure("  CPU of the control plane", (plane.program.cpu_seconds() - cpu) / free * 1e6, "us each"))
    site.add(Figure("  CPU of etcd", (cpu_seconds(site.etcd_pid) - etcd_cpu) / free * 1e6, "us each"))
    return free


async def sweep(site: Site, plane: Plane, owner: Program, free: int, deleted: Callable[[], Awaitable[float]]) -> None:
    """Their grace ends: all of them are prepared, deleted at the owner, and finished."""

    async def begun() -> bool:
        return await deleted() > 0

    await until("the first is swept", begun, site.patience)
    count = await deleted()
    site.add(Figure("  swept before all were condemned", count if count > free / 20 else 0, ""))
    measured = [plane.program.cpu_seconds(), cpu_seconds(site.etcd_pid), owner.cpu_seconds()]
    samples = [(time.monotonic(), count)]
    await sampled(site, "all are deleted", samples, free, deleted)
    done = samples[-1][1] - count
    site.add(Figure("sweeps", Sampling(samples).rate(max(count, 0.05 * free), 0.95 * free), "per second", 1500, False))
    now = [plane.program.cpu_seconds(), cpu_seconds(site.etcd_pid), owner.cpu_seconds()]
    for name, before, after in zip(("the control plane", "etcd", "the owner"), measured, now, strict=True):
        site.add(Figure(f"  CPU of {name}", (after - before) / max(done, 1) * 1e6, "us each"))


async def sampled(
    site: Site, what: str, samples: list[tuple[float, float]], wanted: int, look: Callable[[], Awaitable[float]]
) -> None:
    """Look until a count is there, and keep what was seen."""
    until_when, told = time.monotonic() + site.patience, 0.0
    while samples[-1][1] < wanted and time.monotonic() < until_when:
        await asyncio.sleep(SAMPLE_SECONDS)
        samples.append((time.monotonic(), await look()))
        if time.monotonic() - told > 5:
            told = time.monotonic()
            say(f"  {what}: {samples[-1][1]:,.0f} of {wanted:,}")
    if samples[-1][1] < wanted:
        site.broken.append(f"not within {site.patience:.0f} s: {what}; {samples[-1][1]:,.0f} of {wanted:,}")


async def until(what: str, look: Callable[[], Awaitable[bool]], patience: float) -> None:
    deadline = time.monotonic() + patience
    while not await look():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {patience:.0f} s: {what}")
        await asyncio.sleep(0.1)


def encoded(population: Population) -> str:
    return msgspec.json.encode(population).decode()
