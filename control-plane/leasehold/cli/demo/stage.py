"""Everything that runs in the demo, and the end of all of it.

``Stage`` owns every process: whatever is started here is killed when the stage is left, however that happens. If we
are killed ourselves, the kernel does it (``processes``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from leasehold.cli.demo.owners import AUTHORIZATION, RULES_FILE, Owners, aws_environment, resource
from leasehold.cli.demo.verdict import Ledger
from leasehold.cli.processes import Child, DidNotStart, send_signal, start_daemon
from leasehold.cli.run.pair import Program, at_gate, beside, let_go, until_reported
from leasehold.operating.rule_plan import apply_rules
from leasehold.protocol.etcd.binary import EtcdBinary
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.process import EtcdOptions, EtcdProcess, free_ports
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import Resource, Tenant
from leasehold.protocol.records import ShardRecord, decode
from leasehold.protocol.rules import load_rules

TENANT = Tenant("demo")
CLIENTS = Path(__file__).with_name("clients")
CLIENT_SECONDS = 30.0
"""A client that has not done its work by then is stuck."""
DEADLINE = 5.0


class Actor:
    """One client program, its sidecar, and what it said it did."""

    def __init__(self, name: str, program: Program, sidecar: Child) -> None:
        self.name = name
        self.program = program
        self.sidecar = sidecar
        self.created: list[Resource] = []
        self.deleted: list[Resource] = []

    async def until_done(self, ledger: Ledger) -> None:
        """Read what it says until it has done its work. Raises ``DidNotStart`` if it ends or hangs before."""
        if self.program.process.stdout is None:
            raise ValueError(f"{self.name} was started without a pipe for its output")
        try:
            async with asyncio.timeout(CLIENT_SECONDS):
                while line := await self.program.process.stdout.readline():
                    if self._take(line, ledger):
                        return
        except TimeoutError:
            pass
        raise DidNotStart(f"client {self.name} did not do its work (its log: {self.name}.log)", None)

    def _take(self, line: bytes, ledger: Ledger) -> bool:
        said: dict[str, Any] = json.loads(line)
        if "created" in said:
            self.created.append(resource(said["type"], said["created"]))
            ledger.created[self.created[-1]] = self.name
        elif "deleted" in said:
            self.deleted.append(resource(said["type"], said["deleted"]))
            ledger.deleted_by_program.add(self.deleted[-1])
        elif "lost" in said:
            ledger.complaints.append(f"client {self.name} lost {said['lost']}: {said['error']}")
        return said.get("event") == "done"

    def kill_program(self) -> None:
        """SIGKILL: it cannot tidy up, nor say goodbye."""
        send_signal(self.program.process, signal.SIGKILL)

    def kill_both(self) -> None:
        """As when the machine goes down: nobody is left to report it."""
        self.sidecar.signal_group(signal.SIGKILL)
        send_signal(self.program.process, signal.SIGKILL)

    async def end(self) -> None:
        """The program ends by itself, cleanly; the sidecar reports that and is stopped."""
        if self.program.process.stdin is not None:
            self.program.process.stdin.close()
        await self.program.process.wait()
        await until_reported(self.sidecar)
        await self.sidecar.stop()

    async def last_words(self, ledger: Ledger) -> None:
        """End it and hear whether it lost anything."""
        if self.program.process.stdin is not None:
            self.program.process.stdin.close()
        if self.program.process.stdout is not None:
            async with asyncio.timeout(CLIENT_SECONDS):
                async for line in self.program.process.stdout:
                    self._take(line, ledger)


class Stage:
    """What runs. Enter it to get an etcd and the owners; leave it, and nothing is left."""

    def __init__(self, folder: Path, binary: EtcdBinary) -> None:
        self.folder = folder
        self.keys = Keyspace(TENANT)
        self.ledger = Ledger()
        self.actors: dict[str, Actor] = {}
        self.control_planes: dict[str, Child] = {}
        self.owners: Owners
        client, peer = free_ports(2)
        self.etcd = EtcdProcess(binary, folder, EtcdOptions(client, peer))
        self.client = EtcdClient(EtcdConfig(endpoints=[self.etcd.endpoint], deadline_seconds=DEADLINE))
        self._children: list[Child] = []
        self._programs: list[Program] = []

    async def __aenter__(self) -> Self:
        try:
            await self.etcd.start()
            self.owners = await Owners.start(self.folder)
            self._children += self.owners.children
            await self.etcd.wait_until_serving(deadline=30.0)
            await self.apply()
        except BaseException:
            await self.clear()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.clear()

    async def clear(self) -> None:
        """End everything, at once and without ceremony: nothing here is worth keeping."""
        for program in self._programs:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(program.pid, signal.SIGKILL)
        for child in self._children:
            child.signal_group(signal.SIGKILL)
        await self.client.close()
        await self.etcd.stop(patience=2.0)
        await asyncio.gather(*(program.abandon() for program in self._programs), *(c.wait() for c in self._children))

    async def apply(self) -> None:
        """What ``leasehold apply -f rules.yaml`` does."""
        values = {
            "DEMO_S3": self.owners.s3,
            "DEMO_DEPOT": self.owners.depot,
            "DEMO_S3_AUTHORIZATION": AUTHORIZATION,
        }
        rules = load_rules(RULES_FILE.read_text(), str(RULES_FILE), values)
        await apply_rules(self.client, self.keys, rules, deadline=DEADLINE, dry_run=False)

    async def start_control_plane(self, name: str) -> Child:
        """One more replica, by a name of its own: the first one leads, others stand by."""
        config = self.folder / f"control-plane-{name}.yaml"
        config.write_text(
            f"""\
tenant: {TENANT}
replica: {name}
etcd: {{endpoints: ["{self.etcd.endpoint}"]}}
rules: {{etcd: true}}
http: {{listen: "127.0.0.1:0"}}
lease: {{ttl: 3s}}
"""
        )
        arguments = [sys.executable, "-P", "-m", "leasehold.control_plane", "--config", str(config)]
        child = await start_daemon(f"control plane {name}", arguments, log=self.folder / f"control-plane-{name}.log")
        self._children.append(child)
        self.control_planes[name] = child
        return child

    async def acting(self) -> Counter[str]:
        """The control planes that run, each with the number of shards it acts for. A dead one's are nobody's."""
        found = await self.client.read(self.keys.family(Family.SHARDS), deadline=DEADLINE)
        names = (decode(ShardRecord, item.value).replica for item in found.items)
        return Counter(name for name in names if name in self.control_planes and self.control_planes[name].running)

    async def start_client(self, name: str, service: str, script: str, *arguments: str) -> Actor:
        """A program under a sidecar of its own; returns when it has started, not when it has done its work."""
        with (self.folder / f"{name}.log").open("ab") as log:
            program = await at_gate(
                [sys.executable, str(CLIENTS / f"{script}.py"), *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.fileno(), session=True, death=signal.SIGKILL,
            )  # fmt: skip
        self._programs.append(program)
        log_path = self.folder / f"sidecar-{name}.log"
        sidecar = await beside(
            program, self._sidecar(name, service), self.folder / "sidecar.yaml", self.folder,
            log=log_path, name=f"sidecar-{name}", log_level="info", death=signal.SIGKILL,
        )  # fmt: skip
        self._children.append(sidecar)
        let_go(program, sidecar, aws_environment(os.environ))
        self.actors[name] = Actor(name, program, sidecar)
        return self.actors[name]

    def _sidecar(self, name: str, service: str) -> str:
        return f"""\
tenant: {TENANT}
service: {service}
instance: {name}
etcd: {{endpoints: ["{self.etcd.endpoint}"]}}
lease: {{ttl: 3s, service_ttl: 4s}}
capture:
  - {{mode: forward-proxy, listen: "127.0.0.1:0"}}
rules: {{etcd: true}}
journal: {self.folder}/journal-{name}
admin: {{listen: "127.0.0.1:0"}}
"""

    def addresses(self) -> Sequence[tuple[str, str]]:
        """For ``--keep``: what listens where."""
        return [
            ("etcd", self.etcd.endpoint),
            ("S3 (moto)", f"http://{self.owners.s3}"),
            ("depot", f"http://{self.owners.depot}"),
            *(
                (f"control plane {name}", f"http://{child.ready.get('http')}")
                for name, child in self.control_planes.items()
            ),
            *(
                (f"sidecar of {name}", f"http://{actor.sidecar.ready.get('admin')}")
                for name, actor in self.actors.items()
                if actor.sidecar.running
            ),
        ]
