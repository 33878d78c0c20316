"""No owner takes all the places of a crew."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leasehold.control_plane.core.shares import LATELY_SECONDS, Shares
from leasehold.protocol.names import Instant

T0 = Instant(0.0)


def fill(shares: Shares, held: dict[str, int], lane: str, now: Instant = T0) -> None:
    while shares.may_take(lane, held.get(lane, 0), sum(held.values()), now):
        shares.took(lane, now)
        held[lane] = held.get(lane, 0) + 1


def test_one_alone_may_have_half() -> None:
    held: dict[str, int] = {}
    fill(Shares(64), held, "a")
    assert held == {"a": 32}


def test_whoever_comes_after_any_number_of_greedy_ones_finds_room() -> None:
    shares, held = Shares(64), dict[str, int]()
    for lane in "abcdef":
        fill(shares, held, lane)
    assert sum(held.values()) < 64
    assert all(held.values())


def test_what_falls_free_for_a_moment_is_not_won_by_the_one_that_gives_nothing_back() -> None:
    shares, held = Shares(64), dict[str, int]()
    for _ in range(20):
        for lane in "abcdefg":
            if shares.may_take(lane, held.get(lane, 0), sum(held.values()), T0):
                shares.took(lane, T0)
                held[lane] = held.get(lane, 0) + 1
    held = {"a": held["a"]}
    fill(shares, held, "a")
    assert held == {"a": 8}


def test_those_that_were_not_served_lately_do_not_count() -> None:
    shares, held = Shares(64), dict[str, int]()
    for n in range(50):
        shares.took(f"tripped-{n}", T0)
    fill(shares, held, "a")
    assert held == {"a": 8}
    fill(shares, held, "a", Instant(LATELY_SECONDS + 1))
    assert held == {"a": 32}


@given(st.integers(1, 600), st.lists(st.sampled_from("abcdefgh"), max_size=700))
def test_there_are_never_more_in_hand_than_places_and_one_place_is_enough(places: int, asked: list[str]) -> None:
    shares, held = Shares(places), dict[str, int]()
    for lane in asked:
        if shares.may_take(lane, held.get(lane, 0), sum(held.values()), T0):
            shares.took(lane, T0)
            held[lane] = held.get(lane, 0) + 1
    assert sum(held.values()) <= places
    assert not asked or held
