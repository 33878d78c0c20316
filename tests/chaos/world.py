"""The whole of a run: etcd, owners, control planes, the crowd of programs; everything ended at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.chaos.albums import Albums
from tests.chaos.cluster import Cluster
from tests.chaos.crates import Crates
from tests.chaos.crowd import Crowd
from tests.chaos.deeds import Deeds
from tests.chaos.gateway import TROUBLE
from tests.chaos.history import STALL, Fault
from tests.chaos.owners import Owner
from tests.chaos.paperwork import write_rules
from tests.chaos.parts import Pair, Plane, Settings
from tests.chaos.processes import HOST, SCRIPTS, Child, Ports
from tests.chaos.rolls import GrpcOwner
from tests.chaos.wires import Wire, owner_of_port
from tests.chaos.witness import Witness

STALL_SECONDS = 1.0
"""A loop that wakes so late was not let run: the machine stalled, and everybody may have been cut off."""
STRANGERS = 4
OTHER_LASTS_SECONDS = 20.0
"""Of a program of the other tenant: so there is something to collect."""
HOUSEKEEPING_SECONDS = 60.0
KEPT_REVISIONS = 2000
FAKETIME = ("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")


_O = TypeVar("_O", bound=Owner)


class World:
    """Enter it: everything runs. Leave it: nothing does."""

    def __init__(self, settings: Settings, random: Random, *, pairs: int, most_pairs: int) -> None:
        self.settings, self.random, self.ports = settings, random, Ports()
        elsewhere = settings.folder / "other"
        self.other = replace(settings, folder=elsewhere, tenant="other", names=OTHER_NAMES, lasts=OTHER_LASTS_SECONDS)
        for folder in (settings.folder, elsewhere):
            (folder / "board").mkdir(parents=True)
        self.cluster = Cluster(settings.folder, self.ports)
        self.gateway = self.cluster.gateway
        self.witness = Witness(self.gateway)
        self.owners = {
            name: Owner(name, named, self._look, Random(random.random()), port=self.ports.next())
            for name, named in (("blobs", False), ("files", True), ("notes", False), ("teams", False))
        }
        self.owners["rolls"] = self._new_owner(GrpcOwner, "rolls")
        self.owners["deeds"] = self.deeds = self._new_owner(Deeds, "deeds")
        self.owners["crates"] = self.crates = self._new_owner(Crates, "crates")
        self.owners["albums"] = self._new_owner(Albums, "albums")
        self.to_owners = {name: Wire(owner.port, self.ports.next()) for name, owner in self.owners.items()}
        for name, wire in self.to_owners.items():
            wire.names, self.owners[name].callers = self._plane_of, wire.callers
        self.clock = settings.folder / "clock"
        self.planes: list[Plane] = []
        self.spare: Plane
        """One more, which only a fault starts."""
        self.others: Plane
        """That of the other tenant."""
        self.crowd = Crowd(self._new_pair, random, size=pairs, most=most_pairs)
        # One of the other tenant at a time: enough to see whether it is left alone, and leaves others alone.
        self.strangers = Crowd(self._new_other, random, size=1, most=most_pairs, prefix="o")
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
        ways = {name: f"{HOST}:{wire.port}" for name, wire in self.to_owners.items()}
        write_rules(self.settings, "yes", ways)
        write_rules(self.other, "other", ways)
        await self.cluster.start()
        self._spawn(self.witness.run())
        await self._plant_what_cannot_be_read()
        self._spawn(self._watch_for_stalls())
        for owner in self.owners.values():
            await owner.start()
            for number in range(STRANGERS):
                owner.add_stranger(f"stranger-{number}")
        self.crates.add_stray("stray-of-the-first-hour")
        await asyncio.gather(*(wire.start() for wire in self.to_owners.values()))
        library = faketime()
        env = _shifted(library, self.clock) if library else {}
        self.clock.write_text("+0\n")
        members = [member.client_port for member in self.cluster.members]
        *self.planes, self.spare = (Plane(f"plane-{n}", self.settings, members, self.ports, env) for n in "abc")
        self.others = Plane("plane-o", self.other, members, self.ports, {})
        for plane in (*self.everybody(), self.others):
            await plane.start_wires()
        for plane in (*self.planes, self.others):
            await plane.child.start()
        await asyncio.gather(*(plane.until_ready() for plane in self.planes))
        self._spawn(self.crowd.run())
        self._spawn(self.strangers.run())
        self._spawn(self._raise_the_fallen())
        self._spawn(self._keep_house())

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.crowd.stop()
        await self.strangers.stop()
        for plane in (*self.everybody(), self.others) if self.planes else ():
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
        yield from (plane.child for plane in (*self.everybody(), self.others))
        for pair in (*self.crowd.pairs, *self.strangers.pairs):
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

    def _new_owner(self, kind: type[_O], name: str) -> _O:
        return kind(name, False, self._look, Random(self.random.random()), port=self.ports.next())

    def _new_pair(self, name: str) -> Pair:
        return self._pair(name, self.settings)

    def _new_other(self, name: str) -> Pair:
        return self._pair(name, self.other)

    def _pair(self, name: str, settings: Settings) -> Pair:
        owners = {owner: self.owners[owner].port for owner in self.owners}
        members = [member.client_port for member in self.cluster.members]
        return Pair(name, self.random.randrange(2**32), settings, owners, members, self.ports)

    def _plane_of(self, port: int) -> str | None:
        return owner_of_port(
            port, {one.child.pid: one.name for one in (*self.everybody(), self.others) if one.child.pid}
        )

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
                self.stalls.append(Fault(STALL, before, now, False, {"seconds": round(now - before, 2)}, ("*",)))
            before = now

    async def _raise_the_fallen(self) -> None:
        """As a supervisor would; but it is written down: no part should need one."""
        while True:
            pairs = (*self.crowd.pairs, *self.strangers.pairs)
            for part in [*(one.child for one in (*self.planes, self.others)), *(pair.sidecar for pair in pairs)]:
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

    async def _plant_what_cannot_be_read(self) -> None:
        """Records that nobody can read stand there all the while, and must not disturb the others (L5)."""
        below = f"/leasehold/1/{self.settings.tenant}"
        for key in ("resources/blobs/blob/broken-1", "roster/broken-2", "intents/broken-3/call", "rules/broken-4"):
            await self.gateway.put(f"{below}/{key}".encode(), b"\xff{ not a record", within=5.0)


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


NAMES = tuple(f"n{n}" for n in range(32))
OTHER_NAMES = (
    "o1", "o2", "o3", "../../chaos/control/armed", "/leasehold/1/chaos/pins/files/file/n1", "..", "n1/n2", "o%2Fchaos",
    "o\u00e9 \u2603", "*", "o?x=1#y",
)  # fmt: skip
"""What the other tenant calls its files: some try to be keys, or lead somewhere else."""
