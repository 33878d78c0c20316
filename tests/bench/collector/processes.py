"""The processes of the benchmark, seen from outside: started, spoken to by lines, measured by ``/proc``, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

ANSWER_BYTES = 64 * 2**20
ANSWER_SECONDS = 300.0
_LIMIT_SECONDS = 10.0


class Program:
    """One process. What it writes to stderr goes to ``log``."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process, self.log = process, log

    @property
    def pid(self) -> int:
        return self._process.pid

    async def line(self, within: float = ANSWER_SECONDS) -> Any:
        """Its next line, as JSON."""
        assert self._process.stdout is not None
        async with asyncio.timeout(within):
            text = await self._process.stdout.readline()
        if not text:
            raise RuntimeError(f"a process ended too early; it wrote: {self.log.read_text()[-2000:]}")
        return json.loads(text)

    async def ask(self, command: str) -> Any:
        """Say a line to it, and return the line it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(command.encode() + b"\n")
        return await self.line()

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    def megabytes(self, field: str = "Rss") -> float:
        """``Rss`` counts shared pages in full, ``Pss`` in part. Of a million bytes."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        found = re.search(rf"^{field}:\s*(\d+) kB", text, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024 / 1e6

    def highest_megabytes(self) -> float:
        """Resident at most, since ``forget_highest``."""
        found = re.search(r"^VmHWM:\s*(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024 / 1e6

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(_LIMIT_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


@contextlib.asynccontextmanager
async def running(folder: Path, name: str, *command: str) -> AsyncIterator[Program]:
    """A Python module with its arguments, until the context ends."""
    log = folder / f"{name}.log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=stderr, limit=ANSWER_BYTES,
        )  # fmt: skip
    program = Program(process, log)
    try:
        yield program
    finally:
        await program.stop()


class Plane:
    """A control plane process and its HTTP face."""

    def __init__(self, program: Program, began: float, session: aiohttp.ClientSession, address: str) -> None:
        self.program, self.began = program, began
        self._session, self._base = session, f"http://{address}"

    async def status(self) -> dict[str, Any]:
        async with self._session.get(f"{self._base}/v1/status") as answer:
            found: dict[str, Any] = await answer.json()
        return found

    async def is_ready(self) -> bool:
        async with self._session.get(f"{self._base}/readyz") as answer:
            return answer.status == 200

    async def counter(self, name: str) -> float:
        """A counter of its metrics, summed over its labels."""
        async with self._session.get(f"{self._base}/metrics") as answer:
            text = await answer.text()
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if re.match(rf"{name}[{{ ]", line))

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it logged under that name, so far."""
        with self.program.log.open() as lines:
            found = [json.loads(line) for line in lines if f'"{name}"' in line and line.startswith("{")]
        return [event for event in found if event.get("event") == name]


@contextlib.asynccontextmanager
async def running_plane(folder: Path, name: str, configuration: str) -> AsyncIterator[Plane]:
    """Yielded as soon as it serves HTTP, which is long before it is of use."""
    path = folder / f"{name}.yaml"
    path.write_text(configuration)
    began = time.monotonic()
    async with (
        running(folder, name, "leasehold.control_plane", "--config", str(path)) as program,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
    ):
        ready = await program.line()
        yield Plane(program, began, session, ready["http"])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
