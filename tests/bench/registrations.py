"""How many registrations per second go through one sidecar's committer into one real etcd.

``python -m tests.bench.registrations [--count N] [--waiting N]``. The lease side of a sidecar as it is in production,
with its journal on disk and its beacon attached; only the traffic is made up: ``--waiting`` creations are always under
way. Afterwards records and holds are counted in etcd; exit 1 if one is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import ServiceName, Tenant
from leasehold.shell.logs import configure_logs
from leasehold.sidecar.app import Holds
from leasehold.sidecar.capture.listener import Address
from leasehold.sidecar.config import Settings
from leasehold.sidecar.metrics import SidecarMetrics
from leasehold.sidecar.ports import Outcome
from tests.etcd_process import running_etcd
from tests.integration.sidecar_world import OneHost, creation


async def measure(count: int, waiting: int) -> int:
    with tempfile.TemporaryDirectory(prefix="leasehold-bench-") as name:
        folder = Path(name)
        async with running_etcd(folder) as [etcd]:
            config = EtcdConfig([etcd.endpoint])
            settings = Settings(
                Tenant("bench"), ServiceName("maker"), "one", config, 15, 60, 1, (), None, folder / "journal",
                Address("127.0.0.1", 0),
            )  # fmt: skip
            async with EtcdClient(config) as client:
                metrics = SidecarMetrics()
                holds = Holds(settings, client, OneHost(), metrics)
                holds.open()
                running = asyncio.create_task(holds.run())
                try:
                    await holds.tenure.begun.wait()
                    await drive(holds, 1000, waiting, "warm-up")
                    etcd_before = cpu_of(etcd.pid)
                    took, cpu = await drive(holds, count, waiting, "measured")
                    etcd_cpu = cpu_of(etcd.pid) - etcd_before
                    commits = metrics.registry.get_sample_value("leasehold_sidecar_commits_total") or 1
                    print(f"{count / took:,.0f} registrations/s ({count:,} in {took:.2f} s, {waiting} under way)")
                    print(f"{cpu / count * 1e6:.1f} us CPU of the sidecar each, {cpu / took:.0%} of one core")
                    print(f"{(count + 1000) / commits:.1f} registrations per transaction")
                    print(f"{etcd_cpu / count * 1e6:.1f} us CPU of etcd each, {etcd_cpu / took:.0%} of one core")
                    print(f"{holds.journal.bytes / 1e6:.1f} MB of journal, {peak_mb():.0f} MB resident at most")
                    return await verify(holds, client, count + 1000)
                finally:
                    running.cancel()
                    await asyncio.wait([running])
                    await holds.journal.close()


async def drive(holds: Holds, count: int, waiting: int, name: str) -> tuple[float, float]:
    """Register ``count`` blobs; wall and CPU seconds. The observations, the relay's work, are made beforehand."""
    observations = [creation(f"{name}-{n:08d}-0123456789abcdef") for n in range(count)]
    room = asyncio.Semaphore(waiting)
    bad: list[Outcome] = []

    def ended(future: asyncio.Future[Outcome]) -> None:
        room.release()
        if future.result() is not Outcome.REGISTERED:
            bad.append(future.result())

    began, cpu = time.perf_counter(), time.process_time()
    for observation in observations:
        await room.acquire()
        holds.registrar.observed(observation).add_done_callback(ended)
    for _ in range(waiting):
        await room.acquire()
    took = time.perf_counter() - began, time.process_time() - cpu
    assert not bad, bad[:5]
    return took


async def verify(holds: Holds, client: EtcdClient, expected: int) -> int:
    counts = {}
    for family in (Family.RESOURCES, Family.HOLDS):
        found = await client.read(holds.etcd.keys.family(family), deadline=30, keys_only=True)
        counts[family.value] = len(found.items)
    print("in etcd:", ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    if set(counts.values()) != {expected}:
        print(f"expected {expected:,} of each", file=sys.stderr)
        return 1
    return 0


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--waiting", type=int, default=1000)
    arguments = parser.parse_args()
    configure_logs("info")  # as in production: nobody listens to what is told for debugging
    sys.exit(uvloop.run(measure(arguments.count, arguments.waiting)))


if __name__ == "__main__":
    main()
