"""Starts proxies as processes of their own, on a core of their own, and reads what they cost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROXY_CORE = "0"
LOAD_CORE = "1"
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Running:
    """A process we started; costs count its children too."""

    pid: int

    def cpu_seconds(self) -> float:
        total = 0
        for pid in self._family():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            except FileNotFoundError:
                continue
            total += int(fields[11]) + int(fields[12])
        return total / TICK

    def resident_mb(self) -> float:
        total = 0
        for pid in self._family():
            try:
                status = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Pss:"))
        return total / 1024

    def _family(self) -> list[int]:
        family, unseen = [], [self.pid]
        while unseen:
            pid = unseen.pop()
            family.append(pid)
            try:
                unseen += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            except FileNotFoundError:
                continue
        return family


@contextmanager
def started(command: Sequence[str], log: Path, *, core: str, ready: bool = False) -> Iterator[tuple[Running, dict]]:  # type: ignore[type-arg]
    """Run ``command`` on ``core`` until the context ends. ``ready``: wait for, and return, its ready line."""
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            ["taskset", "-c", core, *command],
            stdout=subprocess.PIPE if ready else stderr,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
        )
    try:
        told = {}
        if ready:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{command[0]} did not start: {log.read_text()[-2000:]}")
            told = json.loads(line)
        yield Running(process.pid), told
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_port(port: int, log: Path, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {port}: {log.read_text()[-2000:]}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def program(name: str) -> str | None:
    """Where a peer is: among the peers' own packages, beside this Python, or on the PATH."""
    if name == sys.executable:
        return name
    for folder in (os.environ.get("LEASEHOLD_BENCH_PEERS", ""), str(Path(sys.executable).parent)):
        if folder and (Path(folder) / name).is_file():
            return str(Path(folder) / name)
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
