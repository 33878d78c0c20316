"""The lease side of a sidecar in one test: a host that dies on command, and what etcd holds, read independently."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from leasehold.protocol.configuration import Seconds
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import CallId, Holder, OwnerName, Resource, ResourceId, ServiceName, Tenant, TypeName
from leasehold.protocol.records import Ending, HolderKind
from leasehold.protocol.rules import Match, On, Rule, RuleSet, Source
from leasehold.sidecar.admin import Inside
from leasehold.sidecar.app import Holds
from leasehold.sidecar.capture.listener import Address
from leasehold.sidecar.config import Settings
from leasehold.sidecar.host.port import UNTOLD
from leasehold.sidecar.metrics import SidecarMetrics
from leasehold.sidecar.observe.events import Creation, Deletion, Use
from leasehold.sidecar.rules_source import RulesHealth

PATIENCE = 20.0


def rule(held_by: HolderKind | None = HolderKind.PROCESS, on: On = On.CREATE, **more: Any) -> Rule:
    return Rule(
        name=f"{on}-{held_by or 'nobody'}", owner="store", type="blob", on=on,
        match=Match("POST", "/v1/blobs", (201,)), id=Source(json="id"), held_by=held_by,
        **{name: Seconds(value) if type(value) in {int, float} else value for name, value in more.items()},
    )  # fmt: skip


BY_PROCESS, BY_SERVICE = rule(), rule(HolderKind.SERVICE)
USES = rule(on=On.USE)
DELETES = rule(None, On.DELETE)


def by_timer(ttl: float, on: On = On.CREATE) -> Rule:
    return rule(HolderKind.TIMER, on, ttl=ttl)


def blob(name: str) -> Resource:
    return Resource(OwnerName("store"), TypeName("blob"), ResourceId(name))


def creation(name: str, by: Rule = BY_PROCESS, incarnation: str = "") -> Creation:
    return Creation(by, blob(name), incarnation or f"uid:{name}", CallId(uuid4().hex))


def use(name: str, by: Rule = USES) -> Use:
    return Use(by, blob(name))


def deletion(name: str) -> Deletion:
    return Deletion(DELETES, blob(name))


class OneHost:
    """A host that lives until told otherwise; ``None`` was gone before we came."""

    def __init__(self, start: str | None = "1.1.abc") -> None:
        self._start = start
        self._over = asyncio.Event()
        self.ending = Ending.EXITED

    async def started(self) -> str | None:
        start, self._start = self._start, None
        return start

    async def ended(self, *, resumed: bool) -> Ending:
        await self._over.wait()
        return self.ending

    def die(self) -> None:
        self._over.set()


class ManyLives(OneHost):
    """A host as a probe sees it: nothing tells one run from another."""

    async def started(self) -> str | None:
        if self._start is None:
            await self._again.wait()
            self._again.clear()
        self._start = None
        return UNTOLD

    def __init__(self) -> None:
        super().__init__(UNTOLD)
        self._again = asyncio.Event()

    async def ended(self, *, resumed: bool) -> Ending:
        await self._over.wait()
        self._over.clear()
        return self.ending

    def start_again(self) -> None:
        self._again.set()


class World:
    """One tenant in one etcd, and any number of sidecars."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.endpoint = endpoint
        self.folder = folder
        self.keys = Keyspace(Tenant(f"t{uuid4().hex[:10]}"))
        self.client = EtcdClient(EtcdConfig([endpoint]))

    def settings(self, instance: str = "one", ttl: int = 5, service_ttl: int = 5, deadline: float = 1.0) -> Settings:
        return Settings(
            tenant=self.keys.tenant, service=ServiceName("maker"), instance=instance,
            etcd=EtcdConfig([self.endpoint], deadline_seconds=deadline), ttl_seconds=ttl,
            service_ttl_seconds=service_ttl, host=1, capture=(), rules=None, journal=self.folder / instance,
            admin=Address("127.0.0.1", 0),
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def sidecar(
        self, host: OneHost | None = None, rules: tuple[Rule, ...] = (), *, crash: bool = False, **settings: Any
    ) -> AsyncIterator[Running]:
        """A sidecar that runs; leaves orderly, or as ``kill -9`` would."""
        chosen = self.settings(**settings)
        async with EtcdClient(chosen.etcd) as client:
            host = host or OneHost()
            holds = Holds(chosen, client, host, SidecarMetrics())
            holds.open()
            holds.tenure.apply_rules(RuleSet(rules=rules))
            task = asyncio.create_task(holds.run())
            await holds.tenure.begun.wait()
            try:
                yield Running(holds, host)
                if not crash:
                    await holds.flush()
            finally:
                if task.done():
                    await task
                task.cancel()
                await asyncio.wait([task])
                await holds.journal.close()

    async def family(self, family: Family) -> dict[tuple[str, ...], bytes]:
        found = await self.client.read(self.keys.family(family), deadline=5)
        return {key.parts: item.value for item in found.items if (key := self.keys.parse(item.key))}

    async def recorded(self) -> set[str]:
        return {parts[2] for parts in await self.family(Family.RESOURCES)}

    async def held_by(self, holder: str) -> set[str]:
        return {
            parts[2]
            for parts, value in (await self.family(Family.HOLDS)).items()
            if parts[3] == holder and b'"released":true' not in value
        }

    async def beacons(self) -> set[str]:
        return {parts[0] for parts in await self.family(Family.BEACONS)}

    async def roster(self) -> dict[str, bytes]:
        return {parts[0]: value for parts, value in (await self.family(Family.ROSTER)).items()}


class Running:
    """A sidecar's lease side that runs."""

    def __init__(self, holds: Holds, host: OneHost) -> None:
        self.holds = holds
        self.host = host
        self.registrar = holds.registrar

    @property
    def holder(self) -> Holder:
        assert self.holds.holders.process is not None
        return self.holds.holders.process

    def metric(self, name: str, **labels: str) -> float:
        return sum(
            sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == f"leasehold_sidecar_{name}" and labels.items() <= sample.labels.items()
        )

    @property
    def registry(self) -> Any:
        return self.holds.committer._metrics.registry  # type: ignore[attr-defined]

    def not_ready(self) -> Mapping[str, str]:
        holds = self.holds
        metrics: SidecarMetrics = holds.committer._metrics  # type: ignore[assignment]
        inside = Inside(holds.journal, holds.committer, holds.holders, holds.tenure, RulesHealth(), metrics)
        return inside.not_ready()

    async def attached(self) -> None:
        await eventually("attached", lambda: self.holds.holders.may_try(self.holder))


async def eventually(what: str, look: Callable[[], Any], within: float = PATIENCE) -> Any:
    """Look until something true is seen. The deadline only bounds a failure."""
    until = time.monotonic() + within
    while True:
        seen = look()
        found = await seen if isinstance(seen, Awaitable) else seen
        if found:
            return found
        assert time.monotonic() < until, f"not within {within} s: {what}"
        await asyncio.sleep(0.01)
