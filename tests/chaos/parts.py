"""The product as processes: control planes, and programs each beside its sidecar, every wire of theirs ours to cut."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.chaos.history import Life
from tests.chaos.processes import HOST, SCRIPTS, Child, Ports
from tests.chaos.wires import Mode, Wire

PROGRAM = Path(__file__).with_name("program.py")
SERVICE = "crowd"
READY_SECONDS = 30.0
SCAN_SECONDS = 10.0
"""Between two scans of a control plane."""
WITHOUT_BRAKE = "{fraction: 1}"
"""It would trip at every other fault of a run whose holders are so few."""
WITH_BRAKE = "{fraction: 0.15, count: 10, window: 30s}"
"""As in production, for so few."""
CYCLE_SECONDS = 4.0
"""Between two searches for cycles."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What every part is told."""

    folder: Path
    tenant: str
    ttl: int
    grace: int
    leader_ttl: int
    hold_deadline: float
    idle: float
    pause: float
    timer: float = 6.0
    """How long what a timer holds lives after its creation or last use."""
    service_ttl: int = 6
    names: tuple[str, ...] = ()
    """What programs call the files they make."""
    lasts: float = float("inf")
    """When a program ends by itself."""


async def ask(url: str, within: float = 1.0) -> tuple[int, dict[str, Any], str]:
    """Status, JSON and the ``Date`` header; status 0 when there is no answer."""
    try:
        timeout = aiohttp.ClientTimeout(total=within)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers.get("Date", "")
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return 0, {}, ""


class Wired:
    """A part with its own wires to every member of etcd."""

    def __init__(self, members: Sequence[int], ports: Ports) -> None:
        self.etcd = [Wire(port, ports.next()) for port in members]

    @property
    def endpoints(self) -> str:
        return json.dumps([f"http://{HOST}:{wire.port}" for wire in self.etcd])

    async def start_wires(self) -> None:
        await asyncio.gather(*(wire.start() for wire in self.etcd))

    async def stop_wires(self) -> None:
        await asyncio.gather(*(wire.stop() for wire in self.etcd))

    def set_etcd(self, mode: Mode) -> None:
        for wire in self.etcd:
            wire.set(mode)


class Plane(Wired):
    """One control plane. ``clock`` is a file that shifts its wall clock, where that can be done."""

    def __init__(
        self, name: str, settings: Settings, members: Sequence[int], ports: Ports, env: dict[str, str]
    ) -> None:
        super().__init__(members, ports)
        self.name, self.port = name, ports.next()
        self._settings, self._config = settings, settings.folder / f"{name}.yaml"
        self.configure(WITHOUT_BRAKE)
        command = [str(SCRIPTS / "leasehold-control-plane"), "--config", str(self._config)]
        self.child = Child(name, command, settings.folder, env)

    def configure(self, brake: str) -> None:
        """From its next start on: when its brake trips by itself."""
        settings = self._settings
        self._config.write_text(f"""
tenant: {settings.tenant}
replica: {self.name}
etcd: {{endpoints: {self.endpoints}, deadline: 3s}}
rules: {{file: {settings.folder / "rules.yaml"}}}
lease: {{ttl: {settings.leader_ttl}s}}
scan_interval: {SCAN_SECONDS:g}s
cycle_interval: {CYCLE_SECONDS:g}s
brake: {brake}
http: {{listen: "{HOST}:{self.port}"}}
""")

    async def status(self) -> dict[str, Any]:
        return (await ask(f"http://{HOST}:{self.port}/v1/status"))[1]

    async def until_ready(self, within: float = READY_SECONDS) -> None:
        """Raises ``TimeoutError``."""
        async with asyncio.timeout(within):
            while (await ask(f"http://{HOST}:{self.port}/readyz"))[0] != 200:
                await asyncio.sleep(0.1)

    async def date(self) -> str:
        """What its wall clock says, by the header of any answer."""
        return (await ask(f"http://{HOST}:{self.port}/readyz"))[2]


class Pair(Wired):
    """A program and its sidecar, which the world starts again whenever it was killed."""

    def __init__(
        self, name: str, seed: int, settings: Settings, owners: dict[str, int], members: Sequence[int], ports: Ports
    ) -> None:
        super().__init__(members, ports)
        self.name, self.settings = name, settings
        self.owners = {owner: Wire(port, ports.next()) for owner, port in owners.items()}
        self.admin = ports.next()
        self._doors = {owner: ports.next() for owner in owners}
        folder = settings.folder
        self.log = folder / f"{name}.jsonl"
        told = {
            "name": name, "seed": seed, "tenant": settings.tenant, "ports": self._doors, "pause": settings.pause,
            "names": settings.names, "lasts": settings.lasts,
            "etcd": [f"http://{HOST}:{port}" for port in members], "board": str(folder / "board"), "log": str(self.log),
        }  # fmt: skip
        self.program = Child(f"{name}-program", [sys.executable, "-I", str(PROGRAM), json.dumps(told)], folder)
        self.config = folder / f"{name}-sidecar.yaml"
        self.sidecar = Child(
            f"{name}-sidecar", [str(SCRIPTS / "leasehold-sidecar"), "--config", str(self.config)], folder
        )
        self.life = Life(name, 0.0, float("inf"), "lives")
        self.away_since: float | None = None
        """When its sidecar was killed, until it is attached again."""

    async def start(self) -> None:
        await self.start_wires()
        await asyncio.gather(*(wire.start() for wire in self.owners.values()))
        began = time.monotonic()
        await self.program.start()
        self.life = Life(self.name, began, float("inf"), "lives")
        captures = "\n".join(
            f'  - {{mode: upstream, listen: "{HOST}:{door}", to: "{HOST}:{self.owners[owner].port}"}}'
            for owner, door in self._doors.items()
        )
        self.config.write_text(f"""
tenant: {self.settings.tenant}
service: {SERVICE}
instance: {self.name}
etcd: {{endpoints: {self.endpoints}, deadline: 3s}}
lease: {{ttl: {self.settings.ttl}s, service_ttl: {self.settings.service_ttl}s}}
host: {{pid: {self.program.pid}}}
capture:
{captures}
rules: {{file: {self.settings.folder / "rules.yaml"}}}
journal: {self.settings.folder / (self.name + "-journal")}
admin: {{listen: "{HOST}:{self.admin}"}}
""")
        await self.sidecar.start()

    async def stop(self) -> None:
        await asyncio.gather(self.program.kill(), self.sidecar.kill(), self.stop_wires())
        await asyncio.gather(*(wire.stop() for wire in self.owners.values()))

    @property
    def living(self) -> bool:
        return bool(self.program.pid)

    async def end_program(self, how: str) -> None:
        """``crash``: SIGKILL. ``exit``: it is asked to end, and does after its call."""
        if how == "exit" and self.program.state != "T":
            await self.program.stop(within=12.0)
            self.life = Life(self.name, self.life.began, time.monotonic(), how)
        else:
            self.life = Life(self.name, self.life.began, await self.program.kill(), how)

    async def is_attached(self) -> bool:
        _, said, _ = await ask(f"http://{HOST}:{self.admin}/v1/status")
        own = (one for one in said.get("holders", ()) if "@" in one["holder"])
        return any(one["phase"] == "attached" and one["belief_seconds"] > 0 for one in own)

    async def has_told(self) -> bool:
        """Whether everything its sidecar knew is in etcd, the end of its program included."""
        _, said, _ = await ask(f"http://{HOST}:{self.admin}/v1/status")
        return bool(said) and not said["ends_to_tell"] and not said["journal"]["pending"] and not said["holders"]
