"""A world on a fake etcd, with a clock that moves when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from leasehold.control_plane.app import ControlPlane
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.rules import RuleSet
from tests.fakes.etcd import FakeEtcd
from tests.unit.control_plane.standing_clock import StandingClock
from tests.unit.control_plane.world import Owner, World, eventually, rules

GRACE = 8.0


class Stage(World):
    """A world on a fake etcd, with a standing clock."""

    def __init__(self, fake: FakeEtcd, stack: AsyncExitStack, client: EtcdClient, owner: Owner) -> None:
        super().__init__(fake.endpoint, stack, client, owner)
        self.fake = fake
        self.clock = StandingClock(fake)

    async def plane(self, rule_set: RuleSet | None, **more: object) -> ControlPlane:  # type: ignore[override]
        client = more.pop("client", None) or await self.stack.enter_async_context(EtcdClient(self.fake.config))
        config = self.config(rule_set, **more)  # type: ignore[arg-type]
        return await self.stack.enter_async_context(ControlPlane(config, client, self.clock))  # type: ignore[arg-type]


def rule_set(stage: Stage) -> RuleSet:
    return rules(stage.owner, grace="8s")


async def abandoned(stage: Stage, *names: str, says_ttl: int = 1) -> None:
    a = await stage.hand.attach("a", ttl=10**6, says_ttl=says_ttl)
    for name in names:
        stage.owner.add(name)
    await stage.hand.register(a, *names, grace_class="8s")
    await stage.hand.vanish(a)


async def passing(stage: Stage, what: str, look: Callable[[], bool]) -> None:
    """Let time pass until something true is seen."""

    async def looked() -> bool:
        await stage.clock.advance(0.5)
        return look()

    await eventually(what, looked)
