"""Which replica should act for which shard: everybody alike, and as few moves as can be."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.control_plane.core.placement import Plan, plan, rightful

names = st.text("abc-1", min_size=1, max_size=8)
replicas = st.sets(names, min_size=1, max_size=6)
SHARDS = 64


@given(replicas, st.randoms(use_true_random=False))
def test_every_replica_works_out_the_same_in_whatever_order_it_knows_the_others(
    alive: set[str], rnd: random.Random
) -> None:
    shuffled = sorted(alive)
    rnd.shuffle(shuffled)
    assert [rightful(n, alive) for n in range(SHARDS)] == [rightful(n, shuffled) for n in range(SHARDS)]


@given(replicas, names)
def test_when_a_replica_joins_only_those_shards_move_that_become_its_own(alive: set[str], joining: str) -> None:
    for n in range(SHARDS):
        before, after = rightful(n, alive), rightful(n, alive | {joining})
        assert after in {before, joining}


@given(replicas, st.sets(st.integers(0, SHARDS - 1)))
def test_among_those_who_see_the_same_every_free_shard_is_claimed_by_exactly_one(
    alive: set[str], taken: set[int]
) -> None:
    claims = [n for me in alive for n in plan(me, SHARDS, alive, taken, ()).claim]
    assert sorted(claims) == sorted(set(range(SHARDS)) - taken)


@given(replicas, st.sets(st.integers(0, SHARDS - 1)))
def test_what_is_left_is_another_living_ones_and_nothing_is_left_and_claimed_at_once(
    alive: set[str], mine: set[int]
) -> None:
    me = min(alive)
    found = plan(me, SHARDS, alive, (), mine)
    assert all(rightful(n, alive) not in {me, None} for n in found.leave)
    assert set(found.leave) <= mine
    assert not set(found.claim) & mine


def test_alone_one_acts_for_all_even_before_it_sees_its_own_key() -> None:
    assert plan("me", 4, (), (), ()) == Plan(claim=(0, 1, 2, 3), leave=())


def test_a_shard_that_does_not_exist_is_left_whoever_is_alive() -> None:
    assert plan("me", 1, (), (), {0, 5}) == Plan(claim=(), leave=(5,))


def test_nobody_alive_nobody_acts() -> None:
    assert rightful(3, ()) is None


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_shares_are_fair(count: int) -> None:
    """Over many shards; of 64, the luckless get half of their share and the lucky one and a half."""
    shards = 8000
    shares = Counter(rightful(n, [f"replica-{k}" for k in range(count)]) for n in range(shards))
    assert all(abs(share - shards / count) < 0.1 * shards / count for share in shares.values())
