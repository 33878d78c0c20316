"""Operations on one resource never travel together and never overtake each other."""

from __future__ import annotations

import asyncio
import random

import pytest

from leasehold.protocol.names import CallId, Holder, Resource
from leasehold.sidecar.holds.entries import Acquire, Forget, Intend, Operation, Register
from leasehold.sidecar.holds.lanes import Item, Lanes
from tests.integration.sidecar_world import blob

H, OTHER = Holder("s@1~1"), Holder("s")


def item(operation: Operation) -> Item:
    return Item(operation, asyncio.get_running_loop().create_future(), 0.0)


def register(n: int, name: str, holder: Holder = H, *references: Resource, call: str | None = None) -> Register:
    return Register(
        n, blob(name), holder, "r", "uid", "1s", "now", references=references,
        call=CallId(call) if call else None,
    )  # fmt: skip


def everybody(_: Holder) -> bool:
    return True


def numbers(batch: list[Item]) -> list[int]:
    return [one.operation.n for one in batch]


async def test_two_operations_on_one_resource_go_one_after_the_other() -> None:
    lanes = Lanes()
    first, second = item(register(1, "a")), item(Forget(2, blob("a")))
    lanes.add(first)
    lanes.add(second)
    assert lanes.take(everybody, 100) == [first]
    assert lanes.take(everybody, 100) == []
    lanes.again(first)
    assert lanes.take(everybody, 100) == [first], "a second try keeps its place"
    lanes.remove(first)
    assert lanes.take(everybody, 100) == [second]
    lanes.remove(second)
    assert lanes.count == 0


async def test_a_creation_waits_for_the_intent_of_its_call() -> None:
    lanes = Lanes()
    intent, made = item(Intend(1, CallId("c"), H, "r", "POST", "/", "now")), item(register(2, "a", call="c"))
    lanes.add(intent)
    lanes.add(made)
    assert lanes.take(everybody, 100) == [intent]
    lanes.remove(intent)
    assert lanes.take(everybody, 100) == [made]


async def test_holders_without_a_beacon_hold_up_nobody_else() -> None:
    lanes = Lanes()
    for n in range(10):
        lanes.add(item(register(n, str(n), OTHER if n % 2 else H)))
    assert numbers(lanes.take(lambda holder: holder == H, 100)) == [0, 2, 4, 6, 8]
    assert lanes.count_of(OTHER) == 5
    assert numbers(lanes.take(everybody, 100)) == [1, 3, 5, 7, 9]


async def test_what_needs_nobody_alive_goes_without_a_beacon() -> None:
    lanes = Lanes()
    lanes.add(item(Forget(1, blob("a"))))
    assert len(lanes.take(lambda _: False, 100)) == 1


async def test_a_referenced_target_is_not_touched_twice_in_one_batch() -> None:
    lanes = Lanes()
    lanes.add(item(register(1, "a")))
    lanes.add(item(register(2, "b", H, blob("a"))))
    lanes.add(item(register(3, "c", H, blob("a"))))
    lanes.add(item(register(4, "d")))
    assert numbers(lanes.take(everybody, 100)) == [1, 4]
    assert numbers(lanes.take(everybody, 100)) == [2]
    assert numbers(lanes.take(everybody, 100)) == [3]


async def test_a_batch_is_never_longer_than_its_limit() -> None:
    lanes = Lanes()
    for n in range(250):
        lanes.add(item(register(n, str(n))))
    assert [len(lanes.take(everybody, 100)) for _ in range(4)] == [100, 100, 50, 0]


@pytest.mark.parametrize("seed", range(20))
async def test_any_interleaving_keeps_the_order_per_resource(seed: int) -> None:
    chance = random.Random(seed)
    lanes, under_way, done = Lanes(), [], []
    waiting = [item(Acquire(n, blob(chance.choice("abcd")), chance.choice([H, OTHER]), "r", "now")) for n in range(80)]
    total = len(waiting)
    while len(done) < total:
        step = chance.randrange(4)
        if step == 0 and waiting:
            lanes.add(waiting.pop(0))
        elif step == 1:
            batch = lanes.take(everybody, chance.randrange(1, 5))
            resources = [one.operation.resource for one in batch]
            assert len(set(resources)) == len(resources)
            under_way += batch
        elif under_way:
            one = under_way.pop(chance.randrange(len(under_way)))
            if step == 2:
                lanes.again(one)
            else:
                lanes.remove(one)
                done.append(one)
    for name in "abcd":
        order = [one.operation.n for one in done if one.operation.resource == blob(name)]
        assert order == sorted(order)
    assert lanes.count == 0
    assert lanes.count_of(H) == lanes.count_of(OTHER) == 0
