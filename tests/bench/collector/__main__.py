"""How large and how fast the collector is: ``python -m tests.bench.collector``; ``make bench-collector``.

A real etcd is filled with a tenant of ``--resources`` and ``--holders``, whose leases a process of its own keeps alive.
Then a control plane, started cold as in production, is looked at from outside: when it is of use, what it weighs, what
a full scan does to the renewals, how fast it condemns what ``--deaths`` holders leave behind, and how fast it sweeps
that against an owner that answers at once. CPU seconds are told besides, for they depend least on who else is busy.

Exits with 0 when everything was measured, targets met or not, and with 1 when something broke.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import uvloop

from tests.bench.collector import story
from tests.bench.collector.figures import Figure
from tests.bench.collector.population import Population
from tests.bench.collector.processes import running, running_plane
from tests.bench.collector.story import Site, say
from tests.etcd_process import running_etcd

ETCD = ("--quota-backend-bytes=8589934592", "--auto-compaction-mode=revision", "--auto-compaction-retention=100000")


async def measure(arguments: argparse.Namespace, folder: Path) -> Site:
    people = Population("bench", arguments.resources, arguments.holders, arguments.grace, arguments.ttl)
    async with AsyncExitStack() as stack:
        [etcd] = await stack.enter_async_context(running_etcd(folder, extra=ETCD))
        site = Site(folder, etcd.endpoint, etcd.pid, people, arguments.patience)
        say(f"{os.cpu_count()} cores; {people.resources:,} resources of {people.holders:,} holders")
        await story.fill(site)
        bare = await story.bare_megabytes(site)
        module = "tests.bench.collector"
        owner = await stack.enter_async_context(running(folder, "owner", f"{module}.owner"))
        address = f"http://127.0.0.1:{await owner.line()}"
        holders = await stack.enter_async_context(
            running(folder, "holders", f"{module}.holders", story.encoded(people), etcd.endpoint)
        )
        say(f"{await holders.line():,} holders attached")
        rules = folder / "rules.yaml"
        rules.write_text(people.rules(address, arguments.concurrency))
        configuration = site.configuration(people.tenant, rules, arguments.scan)
        plane = await stack.enter_async_context(running_plane(folder, "plane", configuration))
        await story.start_cold(site, plane, bare)
        await story.scan(site, plane, holders)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        deaths = min(arguments.deaths, people.holders)
        free = await story.die(site, plane, holders, deaths)
        await story.sweep(site, plane, owner, free, lambda: deleted(session, address))
        await conclude(site, session, address, free)
        site.add(Figure("resident memory in the end", plane.program.megabytes(), "MB"))
        site.add(Figure("  at most", plane.program.highest_megabytes(), "MB"))
        return site


async def deleted(session: aiohttp.ClientSession, address: str) -> float:
    async with session.get(f"{address}/count") as answer:
        return float((await answer.json())["deleted"])


async def conclude(site: Site, session: aiohttp.ClientSession, address: str, free: int) -> None:
    """The owner's own count: nothing that was held."""
    async with session.get(f"{address}/count") as answer:
        count = await answer.json()
    if count["deleted"] > free:
        site.broken.append(f"the owner was asked to delete {count['deleted']:,}, of which only {free:,} were unheld")
    site.add(Figure("deletes that had to be repeated", count["repeated"], "", remark="no answer in time"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--resources", type=int, default=1_000_000)
    parser.add_argument("--holders", type=int, default=5_000)
    parser.add_argument("--deaths", type=int, default=250, help="holders that end, with all they hold")
    parser.add_argument("--grace", default="30s")
    parser.add_argument("--ttl", type=int, default=30, help="seconds, of every holder")
    parser.add_argument("--scan", type=int, default=120, help="seconds between full scans")
    parser.add_argument("--concurrency", type=int, default=256, help="calls that the owner takes at once")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds that any one part may take")
    parser.add_argument("--folder", type=Path, help="where data and logs go, and stay")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="leasehold-bench-") as scratch:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        site = uvloop.run(measure(arguments, folder))
    print(f"\n{arguments.resources:,} resources, {arguments.holders:,} holders, {os.cpu_count()} cores\n")
    print("\n".join(map(str, site.figures)))
    if arguments.json:
        figures = [{"name": one.name, "value": one.value, "unit": one.unit, "met": one.met} for one in site.figures]
        arguments.json.write_text(json.dumps(figures, indent=1))
    print("\n".join(f"BROKEN: {what}" for what in site.broken), file=sys.stderr)
    sys.exit(bool(site.broken))


if __name__ == "__main__":
    main()
