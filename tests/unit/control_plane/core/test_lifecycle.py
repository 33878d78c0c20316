"""The table of the life cycle: total, and with the laws that keep resources alive."""

from __future__ import annotations

from itertools import product

import pytest

from leasehold.control_plane.core.lifecycle import (
    TABLE,
    Facts,
    Grace,
    Holding,
    State,
    Step,
    Sweeping,
    as_permitted,
    state_of,
    step_of,
)
from leasehold.protocol.rules import Mode

EVERYTHING = [Facts(*facts) for facts in product(Sweeping, Grace, Holding)]


def test_the_table_knows_every_combination() -> None:
    assert set(TABLE) == set(EVERYTHING)


@pytest.mark.parametrize("facts", EVERYTHING, ids=str)
def test_only_what_is_plainly_unheld_moves_towards_a_delete(facts: Facts) -> None:
    if step_of(facts) in {Step.CONDEMN, Step.PREPARE}:
        assert facts.holding is Holding.UNHELD or (facts.holding, facts.grace) == (Holding.RESTLESS, Grace.NONE)
        assert facts.sweep is Sweeping.NONE


def test_preparing_waits_for_a_whole_grace() -> None:
    prepares = {facts.grace for facts in EVERYTHING if step_of(facts) is Step.PREPARE}
    assert prepares == {Grace.OVER}


def test_a_tombstone_on_what_is_held_or_unaccounted_is_taken_away() -> None:
    for grace in set(Grace) - {Grace.NONE}:
        for holding in (Holding.HELD, Holding.RESTLESS, Holding.UNACCOUNTED):
            assert step_of(Facts(Sweeping.NONE, grace, holding)) is Step.REVIVE


def test_every_readable_sweep_is_taken_further_whatever_else_is_known() -> None:
    for facts in EVERYTHING:
        if facts.sweep not in {Sweeping.NONE, Sweeping.UNREADABLE}:
            assert step_of(facts) is Step.SWEEP


def test_unheld_without_permission_is_shown_as_observe_only() -> None:
    assert as_permitted(State.UNHELD, Mode.OBSERVE) is State.OBSERVE_ONLY
    assert as_permitted(State.UNHELD, None) is State.OBSERVE_ONLY
    assert as_permitted(State.UNHELD, Mode.CONDEMN) is State.UNHELD
    assert as_permitted(State.HELD, None) is State.HELD


def test_nothing_known_is_unaccounted() -> None:
    assert state_of(Facts(Sweeping.NONE, Grace.NONE, Holding.UNACCOUNTED)) is State.UNACCOUNTED
