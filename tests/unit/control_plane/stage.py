"""A world on a fake etcd, with a clock that moves when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import count

from leasehold.control_plane.app import ControlPlane
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.rules import RuleSet
from tests.fakes.etcd import FakeEtcd
from tests.unit.control_plane.standing_clock import StandingClock
from tests.unit.control_plane.world import Owner, World, eventually, has_all, rules

GRACE = 8.0
LOOKS_BEFORE_MOVING = 100
"""At 50 a second, or fewer."""


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

    async def leading(self, rule_set: RuleSet | None, **more: object) -> ControlPlane:  # type: ignore[override]
        plane, looks = await self.plane(rule_set, **more), count(1)

        async def leads() -> bool:
            if next(looks) % LOOKS_BEFORE_MOVING == 0:
                # Calls have deadlines in real time, a third of the lease's: a busy machine misses one now and then.
                # What did is tried again a while later, by this clock, which nobody else moves.
                await self.clock.advance(1.0)
            return has_all(plane) and not plane.brake.why_not

        await eventually("it has all shards and is armed", leads, within=60.0)
        return plane


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
