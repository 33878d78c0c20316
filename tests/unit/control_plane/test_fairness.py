"""One dead owner of ten costs the others under 5 %: counted in rounds of the event loop, not in seconds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from leasehold.control_plane.crew import Crew, Done, Outcome
from leasehold.control_plane.owners.guard import TROUBLE, OwnerGuard
from leasehold.control_plane.owners.outcome import Verdict
from leasehold.protocol.configuration import Seconds
from leasehold.protocol.names import Instant, Resource
from leasehold.protocol.rules import Limits
from tests.fakes.etcd import FakeEtcd
from tests.unit.control_plane.standing_clock import StandingClock
from tests.unit.control_plane.world import blob

OWNERS = [f"o{n}" for n in range(10)]
DEAD = OWNERS[0]
LIMIT = 512
ROUNDS = 1000
CALL_ROUNDS = 5
"""How long a living owner takes."""


async def done_in_the_same_number_of_rounds(
    dead: str | None, *, room: Callable[[str, int], bool], head_start: bool = False
) -> Counter[str]:
    """What each owner got done. A dead one swallows every call."""
    clock, done = StandingClock(FakeEtcd()), Counter[str]()

    async def work(resource: Resource) -> Outcome:
        if resource.owner == dead:
            await asyncio.Event().wait()
        for _ in range(CALL_ROUNDS):
            await asyncio.sleep(0)
        done[resource.owner] += 1
        return Done()

    crew = Crew(
        "test", work, clock, limit=LIMIT, jitter=lambda: 1.0, gate=lambda: Instant(float("-inf")),
        admits=lambda _: Instant(float("-inf")), room=room,
    )  # fmt: skip
    for owner in OWNERS if not head_start else [DEAD]:
        offer(crew, owner)
    running = asyncio.create_task(crew.run())
    if head_start:
        for _ in range(20):
            await asyncio.sleep(0)
        for owner in OWNERS[1:]:
            offer(crew, owner)
        crew.nudge()
    for _ in range(ROUNDS):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})
    return done


def offer(crew: Crew, owner: str) -> None:
    for n in range(5000):
        crew.offer(blob(f"r{n}", owner=owner))


def of_the_others(done: Counter[str]) -> int:
    return sum(count for owner, count in done.items() if owner != DEAD)


def bears(concurrency: Callable[[str], int]) -> Callable[[str, int], bool]:
    return lambda lane, in_hand: in_hand < concurrency(lane)


@pytest.mark.parametrize("head_start", [False, True])
async def test_a_dead_owner_that_would_take_all_calls_leaves_the_others_theirs(head_start: bool) -> None:
    room = bears(lambda lane: 10_000 if lane == DEAD else 16)
    alive = await done_in_the_same_number_of_rounds(None, room=room, head_start=head_start)
    dead = await done_in_the_same_number_of_rounds(DEAD, room=room, head_start=head_start)
    assert of_the_others(alive) > 9 * 500
    assert of_the_others(dead) >= 0.95 * of_the_others(alive), (dead, alive)


async def test_among_owners_that_would_all_take_everything_a_dead_one_has_a_share_like_each() -> None:
    room = bears(lambda lane: 10_000)
    alive = await done_in_the_same_number_of_rounds(None, room=room)
    dead = await done_in_the_same_number_of_rounds(DEAD, room=room)
    assert of_the_others(dead) >= 0.95 * of_the_others(alive), (dead, alive)


def test_once_it_is_known_to_be_dead_it_costs_one_call_now_and_then() -> None:
    guard, now, calls = OwnerGuard(Limits(16, 1000.0, Seconds(10))), 0.0, 0
    while now < 3600:
        reopens = guard.reopens_at(Instant(now))
        now = max(now, reopens or now)
        begun = 0
        while guard.may_call(Instant(now), begun):
            guard.on_call(Instant(now))
            begun += 1
        calls += begun
        assert begun == 1 or calls <= 16
        now += 10  # each takes as long as it may
        for _ in range(begun):
            guard.on_answer(Instant(now), Verdict.UNKNOWN, first=True)
    assert TROUBLE <= calls <= 16 + 3600 / (30 + 10) + 10, "at most one each time that the longest trip is over"
