"""What a service holds as a whole (``held_by: service``) ends with its last instance, and not before."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial

from leasehold.control_plane.core.lifecycle import State
from leasehold.sidecar.holds.registrar import Outcome
from tests.scenarios.house import House, OneHost, Running, held_by_service, making
from tests.unit.control_plane.world import blob, eventually, state

SERVICE_TTL = 2


def instance(house: House, rule_set: object, name: str):  # type: ignore[no-untyped-def]
    return house.sidecar(rule_set, host=OneHost(f"{name}.1.abc"), instance=name, service_ttl=SERVICE_TTL)  # type: ignore[arg-type]


async def serving(one: Running) -> None:
    await eventually("it speaks for the service", lambda: one.holds.holders.may_try(one.holds.holders.service))


def _nobody_speaks_for(one: Running) -> bool:
    return not one.holds.holders.keepers


async def test_a_rollout_that_replaces_every_instance_costs_nothing(house: House) -> None:
    rules = held_by_service(house.owner, grace="1s")
    plane = await house.leading(rules)
    house.owner.add("x")
    async with AsyncExitStack() as running:
        old = await running.enter_async_context(instance(house, rules, "old"))
        await serving(old)
        assert await old.registrar.observed(making(rules, "x")) is Outcome.REGISTERED
        for name in ("new-1", "new-2"):
            new = await running.enter_async_context(instance(house, rules, name))
            await serving(new)
            old.host.die()
            await eventually("the older one is gone", partial(_nobody_speaks_for, old))
            await asyncio.sleep(1.5 * SERVICE_TTL)  # what the older one renewed last is over by now
            assert state(plane, "x") is State.HELD
            old = new
    assert house.owner.ledger == []


async def test_a_service_scaled_to_zero_and_back_within_the_grace_keeps_what_it_had(house: House) -> None:
    rules = held_by_service(house.owner, grace="60s")
    plane = await house.leading(rules)
    house.owner.add("x")
    async with instance(house, rules, "one") as one:
        await serving(one)
        assert await one.registrar.observed(making(rules, "x")) is Outcome.REGISTERED
        one.host.die()
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    async with instance(house, rules, "two") as two:
        await serving(two)
        await eventually("it is held again", lambda: state(plane, "x") is State.HELD)
        assert await house.hand.get(house.keys.tombstone(blob("x"))) is None, "all grace would start anew"
    assert house.owner.ledger == []


async def test_a_service_scaled_to_zero_for_good_is_collected_and_starts_afresh_when_it_is_back(house: House) -> None:
    rules = held_by_service(house.owner, grace="1s")
    plane = await house.leading(rules)
    house.owner.add("x", uid="first")
    async with instance(house, rules, "one") as one:
        await serving(one)
        assert await one.registrar.observed(making(rules, "x")) is Outcome.REGISTERED
        one.host.die()
    await eventually("it is gone", lambda: not house.owner.things)
    await eventually("it is forgotten", lambda: not len(plane.index))
    house.owner.add("x", uid="second")
    async with instance(house, rules, "two") as two:
        await serving(two)
        assert await two.registrar.observed(making(rules, "x", "call:2")) is Outcome.REGISTERED
        await eventually("it is held", lambda: state(plane, "x") is State.HELD)
    assert house.owner.things["x"].uid == "second"
