"""Starts programs as processes of their own, each on the core it is given, and reads what they cost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_CORES = sorted(os.sched_getaffinity(0))
PROXY_CORE = str(_CORES[0])
LOAD_CORES = ",".join(map(str, _CORES[1:] or _CORES))
START_SECONDS = 30.0
_PROCESS_CLOCK = 2
"""``CPUCLOCK_SCHED``: what the scheduler gave to all threads of a process, in nanoseconds, ended threads included."""


class DidNotStart(Exception):
    """A program ended, or did not listen in time. ``str()`` carries the end of what it wrote."""


@dataclass(frozen=True)
class Running:
    """A process we started; costs count its children too. ``said`` is its ready line, where it has one."""

    pid: int
    said: dict[str, object] = field(default_factory=dict)

    def cpu_seconds(self) -> float:
        """Of the processes alone. What the kernel does for them in their own context is theirs, for all alike."""
        return sum(_process_seconds(pid) for pid in self._family())

    def resident_mb(self) -> float:
        """The sum of resident set sizes, in MiB: pages that processes share count for each."""
        return sum(_resident_kb(pid) for pid in self._family()) / 1024

    def _family(self) -> list[int]:
        family, unseen = [], [self.pid]
        while unseen:
            pid = unseen.pop()
            family.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                unseen += map(int, children.read_text().split())
        return family


def _process_seconds(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | _PROCESS_CLOCK)
    except OSError:
        return 0.0


def _resident_kb(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) if found else 0


@contextmanager
def started(command: Sequence[str], log: Path, *, core: str, port: int = 0, ready: bool = False) -> Iterator[Running]:
    """Run ``command`` on ``core`` until the context ends; begun when ``port`` is listened on, or ready was said.

    Raises ``DidNotStart``. ``taskset`` and ``ip netns exec`` become the program itself: the pid is the program's.
    """
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            ["taskset", "-c", core, *command],
            stdout=subprocess.PIPE if ready else stderr,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
        )
    try:
        said = _ready_line(process, log) if ready else {}
        if port:
            _wait_for_port(process, port, log)
        yield Running(process.pid, said)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _ready_line(process: subprocess.Popen[bytes], log: Path) -> dict[str, object]:
    assert process.stdout is not None
    line = process.stdout.readline()  # ends when the program does; it has a deadline of its own for starting
    if not line:
        raise DidNotStart(_tail(log))
    said: dict[str, object] = json.loads(line)
    return said


def _wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """By the kernel's table, in the namespace the process is in: nobody is connected to for it."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        for table in ("tcp", "tcp6"):
            rows = Path(f"/proc/{process.pid}/net/{table}").read_text().splitlines()[1:]
            if any(row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "0A" for row in rows):
                return
        time.sleep(0.02)
    raise DidNotStart(f"nothing listens on {port}: {_tail(log)}")


def _tail(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace")[-600:].split("\n"))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def program(name: str) -> str | None:
    """Where it is: among the peers' own packages, beside this Python, or on the PATH."""
    if name == sys.executable:
        return name
    for folder in (os.environ.get("LEASEHOLD_BENCH_PEERS", ""), str(Path(sys.executable).parent)):
        if folder and (Path(folder) / name).is_file():
            return str((Path(folder) / name).absolute())
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")


def version(*command: str) -> str:
    """The first thing it says that looks like a version, or what went wrong."""
    found = program(command[0])
    if found is None:
        return "not installed"
    try:
        done = subprocess.run([found, *command[1:]], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    number = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
    return number[0] if number else "unknown"
