"""The whole of a run: etcd, owners, control planes, the crowd of programs; everything ended at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

from tests.chaos.cluster import Cluster
from tests.chaos.crowd import Crowd
from tests.chaos.gateway import TROUBLE
from tests.chaos.history import Fault
from tests.chaos.owners import TIMEOUT_SECONDS, Owner
from tests.chaos.parts import Pair, Plane, Settings
from tests.chaos.processes import HOST, SCRIPTS, Child, Ports
from tests.chaos.wires import Wire, owner_of_port
from tests.chaos.witness import Witness

STALL_SECONDS = 1.0
"""A loop that wakes so late was not let run: the machine stalled, and everybody may have been cut off."""
STRANGERS = 4
HOUSEKEEPING_SECONDS = 60.0
KEPT_REVISIONS = 2000
FAKETIME = ("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")


class World:
    """Enter it: everything runs. Leave it: nothing does."""

    def __init__(self, settings: Settings, random: Random, *, pairs: int, most_pairs: int) -> None:
        self.settings, self.random, self.ports = settings, random, Ports()
        (settings.folder / "board").mkdir(parents=True)
        self.cluster = Cluster(settings.folder, self.ports)
        self.gateway = self.cluster.gateway
        self.witness = Witness(self.gateway)
        self.owners = {
            name: Owner(name, named, self._look, Random(random.random()), port=self.ports.next())
            for name, named in (("blobs", False), ("files", True))
        }
        self.to_owners = {name: Wire(owner.port, self.ports.next()) for name, owner in self.owners.items()}
        for name, wire in self.to_owners.items():
            wire.names, self.owners[name].callers = self._plane_of, wire.callers
        self.clock = settings.folder / "clock"
        self.planes: list[Plane] = []
        self.spare: Plane
        """One more, which only a fault starts."""
        self.crowd = Crowd(self._new_pair, random, size=pairs, most=most_pairs)
        self.stalls: list[Fault] = []
        self.falls: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        self._write_rules()
        await self.cluster.start()
        self._spawn(self.witness.run())
        self._spawn(self._watch_for_stalls())
        for owner in self.owners.values():
            await owner.start()
            for number in range(STRANGERS):
                owner.add_stranger(f"stranger-{number}")
        await asyncio.gather(*(wire.start() for wire in self.to_owners.values()))
        library = faketime()
        env = _shifted(library, self.clock) if library else {}
        self.clock.write_text("+0\n")
        members = [member.client_port for member in self.cluster.members]
        *self.planes, self.spare = (Plane(f"plane-{n}", self.settings, members, self.ports, env) for n in "abc")
        for plane in self.everybody():
            await plane.start_wires()
        for plane in self.planes:
            await plane.child.start()
        await asyncio.gather(*(plane.until_ready() for plane in self.planes))
        self._spawn(self.crowd.run())
        self._spawn(self._raise_the_fallen())
        self._spawn(self._keep_house())

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.crowd.stop()
        for plane in self.everybody() if self.planes else ():
            await plane.child.kill()
            await plane.stop_wires()
        for wire in self.to_owners.values():
            await wire.stop()
        for owner in self.owners.values():
            await owner.stop()
        await self.cluster.stop()

    @property
    def broken(self) -> BaseException | None:
        """What ended one of our own tasks, if something did."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                return task.exception()
        return None

    def shards_of(self, plane: Plane) -> dict[str, str]:
        """The shards that have its name on them, each with its value, as the witness saw it last."""
        below = f"/leasehold/1/{self.settings.tenant}/shards/"
        return {key: value for key, value in self._below(below) if f'"{plane.name}"' in value}

    def acting(self) -> dict[str, int]:
        """How many shards each control plane acts for."""
        return {plane.name: len(self.shards_of(plane)) for plane in self.everybody()}

    def moved(self, shards: dict[str, str]) -> bool:
        """Whether each of these is in a hand again, and not under the same fence as it was."""
        now = self.witness.values
        return all(now.get(key, value) != value for key, value in shards.items())

    def everybody(self) -> list[Plane]:
        return [*self.planes, self.spare]

    def _below(self, prefix: str) -> list[tuple[str, str]]:
        return [(key, value) for key, value in self.witness.values.items() if key.startswith(prefix)]

    def parts(self) -> Iterator[Child]:
        """Every process of the product and of etcd."""
        yield from self.cluster.members
        yield from (plane.child for plane in self.everybody())
        for pair in self.crowd.pairs:
            yield from (pair.program, pair.sidecar)

    async def leasehold(self, *arguments: str) -> None:
        """The operator's hand. Raises ``OSError`` if it did not work."""
        endpoint = f"http://{HOST}:{self.cluster.members[self.gateway._good].client_port}"
        env = {"LEASEHOLD_ENDPOINTS": endpoint, "LEASEHOLD_TENANT": self.settings.tenant}
        child = Child("operator", [str(SCRIPTS / "leasehold"), *arguments], self.settings.folder, env)
        await child.start()
        async with asyncio.timeout(20):
            if await child.ended():
                raise OSError(f"leasehold {arguments}: {child.log.read_text()[-300:]}")

    # --- parts ----------------------------------------------------------------------------------------------------

    def _new_pair(self, name: str) -> Pair:
        owners = {owner: self.owners[owner].port for owner in self.owners}
        members = [member.client_port for member in self.cluster.members]
        return Pair(name, self.random.randrange(2**32), self.settings, owners, members, self.ports)

    def _plane_of(self, port: int) -> str | None:
        return owner_of_port(port, {plane.child.pid: plane.name for plane in self.everybody() if plane.child.pid})

    async def _look(self) -> int:
        return await self.gateway.revision(within=0.3)

    def _spawn(self, doing: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(doing))

    async def _watch_for_stalls(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(0.1)
            now = time.monotonic()
            if now - before > STALL_SECONDS:
                self.stalls.append(Fault("stall", before, now, False, {"seconds": round(now - before, 2)}, ("*",)))
            before = now

    async def _raise_the_fallen(self) -> None:
        """As a supervisor would; but it is written down: no part should need one."""
        while True:
            for part in [*(plane.child for plane in self.planes), *(pair.sidecar for pair in self.crowd.pairs)]:
                if part.fell:
                    self.falls.append(
                        f"{part.name} at {time.monotonic():.3f}: {part.log.read_text().splitlines()[-1:]}"
                    )
                    await part.start()
            await asyncio.sleep(0.5)

    async def _keep_house(self) -> None:
        """etcd would be full after a while, and not by the nemesis's hand."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            revision = self.witness.revision - KEPT_REVISIONS
            if revision > 0:
                with contextlib.suppress(*TROUBLE):
                    await self.gateway.ask_any("kv/compaction", {"revision": str(revision)}, within=5.0)

    def _write_rules(self) -> None:
        settings = self.settings
        text = _OWNERS.format(
            timeout=TIMEOUT_SECONDS, **{name: f"{HOST}:{wire.port}" for name, wire in self.to_owners.items()}
        )
        for owner, create in (("blobs", _BY_POST), ("files", _BY_PUT)):
            text += (create + _USE_AND_DELETE).format(
                owner=owner, type=owner[:-1], grace=settings.grace, hold=settings.hold_deadline, idle=settings.idle
            )
        (settings.folder / "rules.yaml").write_text(text)


def faketime() -> Path | None:
    """The library that shifts a process's wall clock (Debian: ``faketime``), if it is here."""
    found = (Path(path) for path in (os.environ.get("LEASEHOLD_FAKETIME", ""), *FAKETIME) if path)
    return next((path for path in found if path.exists()), None)


def _shifted(library: Path, clock: Path) -> dict[str, str]:
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


@contextlib.contextmanager
def nothing_left(world: World) -> Iterator[None]:
    """Fails when a process of the world outlives it."""
    yield
    left = [part.name for part in world.parts() if part.pid]
    if left:
        raise AssertionError(f"still running: {left}")


_OWNERS = """
owners:
  - name: blobs
    hosts: ["blobs.test"]
    endpoint: http://{blobs}
    headers: {{X-Collector: "yes"}}
    delete: {{path: "/v1/blobs/{{id}}", precondition: never-reused}}
    read: {{path: "/v1/blobs/{{id}}"}}
    limits: {{timeout: {timeout}s}}
  - name: files
    hosts: ["files.test"]
    endpoint: http://{files}
    headers: {{X-Collector: "yes"}}
    delete: {{path: "/v1/files/{{id}}", precondition: if-match}}
    read: {{path: "/v1/files/{{id}}", incarnation: {{json: uid}}}}
    limits: {{timeout: {timeout}s}}
rules:
"""
_BY_POST = """
  - {{name: create-{owner}, owner: {owner}, type: {type}, on: create, held_by: process, mode: sweep, grace: {grace}s,
     match: {{method: POST, path: "/v1/{owner}", status: [201]}}, id: {{json: id}}, incarnation: {{json: uid}},
     hold_deadline: {hold}s}}
"""
_BY_PUT = """
  - {{name: create-{owner}, owner: {owner}, type: {type}, on: create, held_by: process, mode: sweep, grace: {grace}s,
     match: {{method: PUT, path: "/v1/{owner}/{{id}}", status: [201]}}, id: {{path: id}}, incarnation: {{json: uid}},
     hold_deadline: {hold}s, commit: before-request, on_unavailable: reject}}
"""
_USE_AND_DELETE = """
  - {{name: use-{owner}, owner: {owner}, type: {type}, on: use, held_by: process, idle_release: {idle}s,
     match: {{method: GET, path: "/v1/{owner}/{{id}}", status: [200]}}, id: {{path: id}}, hold_deadline: {hold}s}}
  - {{name: delete-{owner}, owner: {owner}, type: {type}, on: delete,
     match: {{method: DELETE, path: "/v1/{owner}/{{id}}", status: [200, 204, 404]}}, id: {{path: id}}}}
"""
