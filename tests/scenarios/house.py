"""A whole installation in one process: an owner, control planes, and the lease sides of sidecars, in one tenant.

The sidecars' lease sides are the product's own (attach, renew, put back what vanished, go their rounds); only the
bytes they would read along are replaced by events.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from leasehold.control_plane.config import Config, HttpSection
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.names import CallId
from leasehold.protocol.records import HolderKind
from leasehold.protocol.rules import Rule, RuleSet
from leasehold.sidecar.observe.events import Creation, Use
from tests.integration.sidecar_world import OneHost, Running
from tests.integration.sidecar_world import World as Sidecars
from tests.unit.control_plane.world import Owner, World, blob, rules

TTL_SECONDS = 60


class House(World):
    """``World`` (a control plane's place, a hand in etcd) with sidecars beside it."""

    def __init__(
        self, endpoints: Sequence[str], stack: AsyncExitStack, client: EtcdClient, owner: Owner, folder: Path
    ) -> None:
        super().__init__(endpoints[0], stack, client, owner)
        self.endpoints = list(endpoints)
        self.sidecars = sidecars_beside(self, folder)

    def config(self, rule_set: RuleSet | None, *, name: str = "one", ttl: int = 2, scan: float = 300.0) -> Config:
        etcd = EtcdConfig(endpoints=self.endpoints, deadline_seconds=1.0)
        return Config(self.tenant, etcd, HttpSection("127.0.0.1:0"), name, ttl, scan, rule_set)

    async def plane(self, rule_set: RuleSet | None, *, client: EtcdClient | None = None, **more: Any) -> Any:
        if client is None:
            client = await self.stack.enter_async_context(EtcdClient(EtcdConfig(endpoints=self.endpoints)))
        return await super().plane(rule_set, client=client, **more)

    @asynccontextmanager
    async def sidecar(self, rule_set: RuleSet, **settings: Any) -> AsyncIterator[Running]:
        """A sidecar's lease side, running under these rules."""
        async with self.sidecars.sidecar(rules=rule_set.rules, **settings) as one:
            one.holds.rounds.apply_rules(rule_set)
            yield one


class _Sidecars(Sidecars):
    def settings(self, *args: Any, **more: Any) -> Any:
        import dataclasses

        settings = super().settings(*args, **more)
        return dataclasses.replace(settings, etcd=EtcdConfig(self.endpoints, deadline_seconds=1.0))

    endpoints: list[str]


def sidecars_beside(world: World, folder: Path) -> Sidecars:
    """Sidecars of that world's tenant; their journals in ``folder``."""
    sidecars = _Sidecars(world.endpoint, folder)
    sidecars.endpoints = getattr(world, "endpoints", [world.endpoint])
    sidecars.keys = world.keys
    return sidecars


@asynccontextmanager
async def house_at(endpoints: Sequence[str], folder: Path) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(Owner())
        client = await stack.enter_async_context(EtcdClient(EtcdConfig(endpoints=list(endpoints))))
        it = House(endpoints, stack, client, owner, folder)
        stack.push_async_callback(it.sidecars.client.close)
        yield it


def making(rule_set: RuleSet, name: str, incarnation: str = "call:1") -> Creation:
    """The owner's answer, as a sidecar read along: it was created."""
    [rule] = rule_set.rules
    return Creation(rule, blob(name), incarnation, CallId(uuid4().hex))


def held_by_service(owner: Owner, *, grace: str) -> RuleSet:
    """What is created belongs to the service as a whole."""
    import msgspec

    rule_set = rules(owner, grace=grace)
    [rule] = rule_set.rules
    return msgspec.structs.replace(rule_set, rules=(msgspec.structs.replace(rule, held_by=HolderKind.SERVICE),))


__all__ = ["House", "OneHost", "Rule", "Running", "Use", "held_by_service", "house_at", "making", "sidecars_beside"]
