"""Does the keeper renew while the relay is at 100 % CPU? ``python -m tests.bench.saturation [--seconds 30]``.

One sidecar with a TTL of 3 s, a real etcd, an owner that answers at once, and wrk at full blast, by several kinds of
traffic. Told for each: requests per second, CPU of the sidecar, renewals (kept, failed, late, and by the assistant),
how often the beacon was away, the least that was left of its lease (asked of etcd ten times a second, in whole
seconds), and how late the event loop was.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import re
import resource
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
import uvloop

from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import LeaseId, Tenant
from leasehold.protocol.store import Change
from tests.etcd_process import running_etcd

KEYS = Keyspace(Tenant("default"))
TTL_SECONDS = 3
BIG = 1024 * 1024
POST = 'wrk.method = "POST"\nwrk.path = "/v1/blobs"\n'
CLOSE = 'wrk.headers["Connection"] = "close"\n'


@dataclass(frozen=True)
class Load:
    """A kind of traffic: how wrk makes it."""

    name: str
    connections: int
    path: str = "/other"
    script: str = ""


LOADS = (
    Load("unmatched, 64 connections", 64),
    Load("unmatched, 4000 connections", 4000),
    Load("bodies of 1 MiB, 64 connections", 64, "/big"),
    Load("matched and held, 64 connections", 64, script=POST),
    Load("matched and held, 1000 connections", 1000, script=POST),
    Load("a connection for each request", 64, script=CLOSE),
)


class Owner(asyncio.Protocol):
    """Answers at once: a new id to a POST, a large body to /big. One request per read, as wrk sends them."""

    _numbers = itertools.count(1)
    _big = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + b"x" * BIG
    _small = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"POST"):
            body = b'{"id":"b%d"}' % next(self._numbers)
            head = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            self._transport.write(head + body)
        else:
            self._transport.write(self._big if data.startswith(b"GET /big") else self._small)
        if b"onnection: close" in data:
            self._transport.close()


async def be_owner() -> None:
    """The body of the owner's process."""
    server = await asyncio.get_running_loop().create_server(Owner, "127.0.0.1", 0, backlog=8192)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@dataclass
class Watcher:
    """Sees the beacon with other eyes than the sidecar's."""

    client: EtcdClient
    beacons_lost: int = 0
    least_left: float = float(TTL_SECONDS)
    leases: set[LeaseId] = field(default_factory=set)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            tasks.create_task(self._ask())

    async def _watch(self) -> None:
        found = await self.client.read(KEYS.family(Family.BEACONS), deadline=5)
        self.leases.update(item.lease for item in found.items)
        async for batch in self.client.watch(
            KEYS.family(Family.BEACONS), start=type(found.revision)(found.revision + 1)
        ):
            self.beacons_lost += sum(event.change is Change.DELETE for event in batch.events)

    async def _ask(self) -> None:
        while True:
            for lease in self.leases:
                status = await self.client.time_to_live(lease, deadline=5)
                self.least_left = min(self.least_left, status.remaining_seconds)
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def process(*command: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, bytes]]:
    """Started, with the first line it said; killed afterwards."""
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert child.stdout is not None
        yield child, await child.stdout.readline()
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.communicate()


def configuration(folder: Path, etcd: str, owner: int) -> Path:
    (folder / "rules.yaml").write_text(f"""
owners: [{{name: store, hosts: ["127.0.0.1:{owner}"], endpoint: "http://127.0.0.1:{owner}"}}]
rules:
  - {{name: make, owner: store, type: blob, on: create, held_by: process, id: {{json: id}},
     match: {{method: POST, path: /v1/blobs, status: [201]}}}}
""")
    path = folder / "sidecar.yaml"
    path.write_text(f"""
service: maker
instance: one
etcd: {{endpoints: ["{etcd}"]}}
lease: {{ttl: {TTL_SECONDS}s}}
host: {{pid: {os.getpid()}}}
capture: [{{mode: upstream, listen: "127.0.0.1:0", to: "127.0.0.1:{owner}"}}]
rules: {{file: rules.yaml}}
journal: journal
admin: {{listen: "127.0.0.1:0"}}
""")
    return path


async def metrics(admin: str) -> dict[str, float]:
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"http://{admin}/metrics") as answer:
        text = await answer.text()
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name.removeprefix("leasehold_sidecar_"): float(value) for name, _, value in lines}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def lag(found: dict[str, float]) -> str:
    """The buckets that the median and the worst turn of the loop fell into."""
    buckets = [
        (bound[1], value)
        for name, value in found.items()
        if (bound := re.search(r'event_loop_lag_seconds_bucket\{le="(.*)"', name))
    ]
    total = buckets[-1][1]
    median = next(bound for bound, value in buckets if value >= total / 2)
    worst = next(bound for bound, value in buckets if value == total)
    return f"< {median} s, worst < {worst} s"


async def measure(load: Load, seconds: int) -> dict[str, Any]:
    """One load on a fresh sidecar and a fresh etcd."""
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "load.lua").write_text(load.script)
        async with (
            running_etcd(folder) as [etcd],
            process(sys.executable, "-m", "tests.bench.saturation", "--owner") as (_, port),
        ):
            config = configuration(folder, etcd.endpoint, int(port))
            async with (
                process(sys.executable, "-m", "leasehold.sidecar", "--config", str(config), "--log-level", "error") as (
                    sidecar,
                    said,
                ),
                EtcdClient(EtcdConfig([etcd.endpoint])) as client,
            ):
                ready = json.loads(said)
                await asyncio.sleep(1)
                watcher = Watcher(client)
                watching = asyncio.create_task(watcher.run())
                before = cpu_seconds(sidecar.pid)
                blast = await asyncio.create_subprocess_exec(
                    "wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "30s",
                    "-s", str(folder / "load.lua"), f"http://{ready['capture'][0]['listen']}{load.path}",
                    stdout=asyncio.subprocess.PIPE,
                )  # fmt: skip
                report = (await blast.communicate())[0].decode()
                used = cpu_seconds(sidecar.pid) - before
                found = await metrics(ready["admin"])
                watching.cancel()
        rate = re.search(r"Requests/sec:\s*([\d.]+)", report)
        return {
            "load": load.name,
            "requests/s": round(float(rate[1])) if rate else report,
            "cpu": f"{100 * used / seconds:.0f} %",
            "kept": round(found.get('lease_renewals_total{kind="process",result="kept"}', 0)),
            "failed": round(found.get('lease_renewals_total{kind="process",result="failed"}', 0)),
            "late": round(found.get('lease_renewals_late_total{kind="process"}', 0)),
            "helped": round(found.get('lease_renewals_helped_total{result="kept"}', 0)),
            "beacon away": watcher.beacons_lost,
            "least left": f"{watcher.least_left} s",
            "loop": lag(found),
        }


async def main(seconds: int, only: str) -> None:
    if shutil.which("wrk") is None:
        sys.exit("expected wrk on PATH (Debian: apt-get install wrk)")
    for load in LOADS:
        if only in load.name:
            print(json.dumps(await measure(load, seconds)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--only", default="", help="Only loads whose name contains this.")
    parser.add_argument("--owner", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    uvloop.run(be_owner() if arguments.owner else main(arguments.seconds, arguments.only))
