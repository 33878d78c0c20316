"""Real processes for the end-to-end tests: the product by its console scripts, unmodified programs, a real etcd."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

SCRIPTS = Path(sys.executable).parent
PROGRAM = Path(__file__).with_name("program.py")


class Process:
    """A process we started, with its log; ended by its pid, and killed if it does not listen."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.log = log
        self.ready: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            self._process.send_signal(number)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self, within: float = 5.0) -> int:
        """SIGTERM; fails the test if it takes longer than promised."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(within + 1):
                return await self._process.wait()
        except TimeoutError:
            await self.kill()
            raise AssertionError(f"did not stop within {within} s of SIGTERM\n{self.log.read_text()}") from None

    async def wait_ready(self, within: float = 60.0) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(within):
            line = await self._process.stdout.readline()
        assert line, f"ended before it was ready\n{self.log.read_text()}"
        self.ready = json.loads(line)
        assert self.ready["event"] == "ready"
        return self.ready


@dataclass
class Program:
    """An unmodified program, told what to call."""

    process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        return self.process.pid

    async def call(self, method: str, path: str, **more: object) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"method": method, "path": path, **more}).encode() + b"\n")
        async with asyncio.timeout(30):
            answer: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return answer

    async def create(self) -> str:
        answer = await self.call("POST", "/v1/blobs", body={"content": "x"})
        assert answer["status"] == 201, answer
        identity: str = json.loads(answer["body"])["id"]
        return identity

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def exit(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()


class World:
    """Everything one test started. Leaving the context ends all of it."""

    def __init__(self, folder: Path, endpoint: str, tenant: str) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self.tenant = tenant
        self._stack = contextlib.AsyncExitStack()
        self._count = 0

    async def script(self, name: str, *arguments: str, env: dict[str, str] | None = None) -> Process:
        self._count += 1
        log = self.folder / f"{name}-{self._count}.log"
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                str(SCRIPTS / name),
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **(env or {})},
            )
        started = Process(process, log)
        self._stack.push_async_callback(started.kill)
        return started

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    async def program(self, base_url: str) -> Program:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), base_url, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        program = Program(process)
        self._stack.push_async_callback(program.kill)
        return program

    async def sidecar(
        self, *, pid: int, to: str, rules: Path, listen: int, service: str = "maker", name: str = "a",
        ttl: str = "3s", service_ttl: str = "4s", endpoint: str | None = None, more: str = "", log_level: str = "info",
    ) -> Process:  # fmt: skip
        """A sidecar in front of the owner at ``to``, ready to relay from ``127.0.0.1:listen``."""
        config = self.write(
            f"sidecar-{name}.yaml",
            f"""
tenant: {self.tenant}
service: {service}
instance: {name}
etcd: {{endpoints: ["{endpoint or self.endpoint}"]}}
lease: {{ttl: {ttl}, service_ttl: {service_ttl}}}
host: {{pid: {pid}}}
capture:
  - {{mode: upstream, listen: "127.0.0.1:{listen}", to: "{to}"}}
  - {{mode: forward-proxy, listen: "127.0.0.1:0"}}
rules: {{file: {rules}}}
journal: {self.folder}/journal-{name}
admin: {{listen: "127.0.0.1:0"}}
{more}
""",
        )
        process = await self.script("leasehold-sidecar", "--config", str(config), "--log-level", log_level)
        await process.wait_ready()
        return process

    async def control_plane(self, rules: Path, name: str = "one", more: str = "", log_level: str = "info") -> Process:
        config = self.write(
            f"control-plane-{name}.yaml",
            f"""
tenant: {self.tenant}
etcd: {{endpoints: ["{self.endpoint}"]}}
rules: {{file: {rules}}}
http: {{listen: "127.0.0.1:0"}}
{more}
""",
        )
        process = await self.script("leasehold-control-plane", "--config", str(config), "--log-level", log_level)
        await process.wait_ready()
        return process

    async def leasehold(self, *arguments: str, expect: int | None = 0) -> str:
        """Run the CLI against this world and return what it printed."""
        process = await self.script(
            "leasehold", *arguments, env={"LEASEHOLD_ENDPOINTS": self.endpoint, "LEASEHOLD_TENANT": self.tenant}
        )
        out, _ = await process._process.communicate()
        if expect is not None:
            assert process._process.returncode == expect, process.log.read_text() + out.decode()
        return out.decode()

    async def resources(self) -> dict[str, str]:
        """Every recorded resource's id and state, as the CLI tells them."""
        listed = json.loads(await self.leasehold("get", "resources", "-o", "json"))
        return {item["id"]: item["state"] for item in listed}

    async def close(self) -> None:
        await self._stack.aclose()


async def eventually(what: str, look: Callable[[], Any], within: float = 20.0) -> Any:
    """Look until something true is seen, and return it. The deadline only bounds a failure."""
    deadline = time.monotonic() + within
    while True:
        seen = look()
        found = await seen if isinstance(seen, Awaitable) else seen
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        await asyncio.sleep(0.05)


async def http_json(url: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.json()


async def http_text(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


@contextlib.asynccontextmanager
async def world(folder: Path, endpoint: str, tenant: str) -> AsyncIterator[World]:
    """A world of its own tenant."""
    it = World(folder, endpoint, tenant)
    try:
        yield it
    finally:
        await it.close()
