"""Bodies of any size through one sidecar, both ways at once: ``python -m tests.bench.large --size 100GiB``.

A real sidecar as a process of its own, an app and an owner that make up what they send and check what they get, so that
nothing is on disk or in memory as a whole. Told: bytes per second, CPU of the sidecar, and how much its resident memory
grew at most. Bounded by ``--seconds``: what has not passed by then is a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.saturation import configuration, cpu_seconds, metrics, process
from tests.fakes.etcd import FakeEtcd
from tests.fakes.torrent import Torrent, both_ways

FRAMINGS = ("sized", "chunked", "until close", "http2")
MAX_GROWTH = 64 * 1024 * 1024
_UNITS = {"": 1, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@dataclass(frozen=True)
class SidecarProcess:
    """One that relays ``port`` to the owner."""

    pid: int
    port: int
    admin: str

    async def followed(self) -> bool:
        """Whether no connection so far was one that it could not follow."""
        found = await metrics(self.admin)
        return not sum(value for name, value in found.items() if name.startswith(("observer_gave_up", "uninspected")))

    def resident(self) -> int:
        """Bytes, now; and forget the highest so far."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return self._status("VmRSS")

    def highest(self) -> int:
        """Bytes, at most, since ``resident`` was asked."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        found = re.search(rf"^{name}:\s*(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024


@contextlib.asynccontextmanager
async def sidecar_to(owner: socket.socket) -> AsyncIterator[SidecarProcess]:
    """A real sidecar process whose etcd is ours. ``owner`` listens."""
    with tempfile.TemporaryDirectory() as name:
        async with FakeEtcd() as fake:
            config = configuration(Path(name), fake.endpoint, owner.getsockname()[1])
            command = (sys.executable, "-m", "leasehold.sidecar", "--config", str(config), "--log-level", "error")
            async with process(*command) as (child, said):
                ready = json.loads(said)
                yield SidecarProcess(child.pid, int(ready["capture"][0]["listen"].rpartition(":")[2]), ready["admin"])


def listening(backlog: int = 64) -> socket.socket:
    sock = socket.create_server(("127.0.0.1", 0), backlog=backlog)
    sock.settimeout(30)
    return sock


def connected(port: int, owner: socket.socket, deadline: float) -> tuple[socket.socket, socket.socket]:
    """An app and an owner with a relay between them. No wait of theirs lasts longer than ``deadline``."""
    app = socket.create_connection(("127.0.0.1", port), timeout=deadline)
    other, _ = owner.accept()
    other.settimeout(deadline)
    return app, other


@dataclass(frozen=True)
class Figures:
    """One call."""

    framing: str
    matched: bool
    each_way: int
    seconds: float
    mb_per_second: float
    cpu_seconds: float
    growth_mb: float
    followed: bool


async def pass_through(framing: str, size: int, *, matched: bool, deadline: float = 60.0) -> Figures:
    """``size`` bytes each way, every one of them checked. ``deadline``: seconds without any progress."""
    asked, told = both_ways(framing, size, matched=matched)
    with listening() as owner:
        async with sidecar_to(owner) as sidecar:
            app, other = await asyncio.to_thread(connected, sidecar.port, owner, deadline)
            with app, other:
                before, cpu, since = sidecar.resident(), cpu_seconds(sidecar.pid), time.monotonic()
                await _exchange(app, other, asked, told)
                took = time.monotonic() - since
                growth = sidecar.highest() - before
                used = cpu_seconds(sidecar.pid) - cpu
            followed = await sidecar.followed()
    rate = (asked.size + told.size) / took / 1e6
    return Figures(
        framing, matched, size, round(took, 2), round(rate), round(used, 2), round(growth / 1e6, 1), followed
    )


async def _exchange(app: socket.socket, other: socket.socket, asked: Torrent, told: Torrent) -> None:
    """Both ways at once, each end of each way in a thread."""

    def answer() -> None:
        other.recv(1, socket.MSG_PEEK)  # no owner speaks before it was asked
        told.pour(other)
        other.shutdown(socket.SHUT_WR)

    loop = asyncio.get_running_loop()
    jobs = (lambda: asked.pour(app), lambda: asked.drain(other), answer, lambda: told.drain(app))
    with ThreadPoolExecutor(len(jobs)) as threads:
        try:
            await asyncio.gather(*(loop.run_in_executor(threads, job) for job in jobs))
        except BaseException:
            for sock in (app, other):  # so that no thread waits for what never comes
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            raise


def size_of(text: str) -> int:
    found = re.fullmatch(r"(\d+)\s*(MiB|GiB|TiB|)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected a size such as 500MiB or 100GiB, got {text!r}")
    return int(found[1]) * _UNITS[found[2]]


async def main(size: int, only: str, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        for framing in FRAMINGS:
            if only not in framing:
                continue
            figures = await pass_through(framing, size, matched=False)
            print(json.dumps(asdict(figures)), flush=True)
            if figures.growth_mb * 1e6 > MAX_GROWTH:
                sys.exit(f"resident memory grew by {figures.growth_mb} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=size_of, default=size_of("10GiB"), help="each way: 500MiB, 100GiB, ...")
    parser.add_argument("--only", default="", help="Only framings whose name contains this.")
    parser.add_argument("--seconds", type=float, default=3600)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.size, arguments.only, arguments.seconds))
