"""The brake's window: what is too much, to the very number, and for how long it counts."""

from __future__ import annotations

from fractions import Fraction

import pytest

from leasehold.control_plane.core.brake_window import BrakeWindow, Thresholds
from leasehold.protocol.names import Holder, Instant
from tests.unit.control_plane.world import blob

A, B = Holder("a@1~1"), Holder("b@1~1")
AT = Instant(1000.0)


def blobs(count: int, first: int = 0) -> list:  # type: ignore[type-arg]
    return [blob(f"r{n}") for n in range(first, first + count)]


@pytest.mark.parametrize(
    ("carried", "live", "trips"),
    [
        (50, 100, False),  # exactly the count, however large a part
        (51, 100, True),
        (51, 340, False),  # exactly 15 %
        (51, 339, True),
        (150, 1000, False),
        (151, 1000, True),
        (151, 1007, False),
        (0, 0, False),
    ],
)
def test_only_more_than_both_count_and_fraction_is_too_much(carried: int, live: int, trips: bool) -> None:
    assert Thresholds().vanished_too_much(carried, live) is trips


@pytest.mark.parametrize("percent", range(1, 100))
def test_no_rounding_decides_at_the_fraction(percent: int) -> None:
    limits = Thresholds(fraction=Fraction(repr(percent / 100)), count=0)
    assert not limits.vanished_too_much(percent * 7, 700)
    assert limits.vanished_too_much(percent * 7 + 1, 700)


def test_losses_need_no_fraction() -> None:
    assert not Thresholds(losses=10).lost_too_much(10)
    assert Thresholds(losses=10).lost_too_much(11)


def test_what_vanished_counts_until_the_window_is_over_and_no_longer() -> None:
    window = BrakeWindow(300.0)
    window.vanished(AT, A, blobs(3))
    window.settle(Instant(AT + 299.9))
    assert (window.holders, window.carried) == (1, 3)
    window.settle(Instant(AT + 300.0))
    assert (window.holders, window.carried) == (0, 0)


def test_a_resource_that_two_holders_carried_counts_once_and_as_of_the_later() -> None:
    window = BrakeWindow(300.0)
    window.vanished(AT, A, blobs(3))
    window.vanished(Instant(AT + 200), B, blobs(3))
    assert window.carried == 3
    window.settle(Instant(AT + 400))
    assert (window.holders, window.carried) == (1, 3)


def test_who_is_back_takes_out_what_it_carries_but_not_what_others_carry_all_the_same() -> None:
    window = BrakeWindow(300.0)
    window.vanished(AT, A, blobs(4))
    window.vanished(AT, B, blobs(2, first=2))
    window.explained(B, blobs(2, first=2), also=blobs(1, first=3))
    assert window.carried == 3
    window.explained(A, blobs(4))
    assert (window.holders, window.carried) == (0, 0)


def test_what_others_had_counted_counts_for_a_whole_window_again() -> None:
    window = BrakeWindow(300.0)
    window.inherit(AT, 2, 40, 3)
    window.vanished(Instant(AT + 1), A, blobs(11))
    assert (window.holders, window.carried, window.losses) == (3, 51, 3)
    window.settle(Instant(AT + 299))
    assert window.carried == 51
    window.settle(Instant(AT + 300))
    assert (window.carried, window.losses) == (11, 0)


def test_an_operator_who_armed_knew_of_all_of_it() -> None:
    window = BrakeWindow(300.0)
    window.inherit(AT, 2, 40, 3)
    window.vanished(AT, A, blobs(11))
    window.lost(AT, blobs(2))
    window.clear()
    assert (window.holders, window.carried, window.losses) == (0, 0, 0)
