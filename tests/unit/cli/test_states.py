"""The state words, by what is in etcd."""

from __future__ import annotations

import pytest

from leasehold.operating.states import HolderStatus, State, resource_view, resource_views
from leasehold.protocol.records import HolderKind, SweepState
from tests.unit.cli.pictures import BLOB, KEYS, MAKER, OTHER, USER, Picture, abandoned


def state(picture: Picture) -> State:
    taken = picture.taken()
    return resource_view(taken, BLOB, taken.rules_or_none()).state


def test_a_resource_with_a_living_holder_is_held() -> None:
    assert state(Picture().rules().resource().hold().alive()) is State.HELD


def test_a_resource_with_two_holders_is_held_while_one_lives() -> None:
    assert state(abandoned().hold(USER).alive(USER)) is State.HELD


def test_a_resource_is_held_by_an_existing_resource_that_refers_to_it() -> None:
    assert state(abandoned().resource(OTHER, references=(BLOB,))) is State.HELD


def test_a_reference_from_what_is_gone_holds_nothing() -> None:
    picture = abandoned().resource(OTHER, references=(BLOB,))
    del picture.items[KEYS.record(OTHER)]
    assert state(picture) is State.UNHELD


def test_a_resource_whose_holder_ended_vanished_or_let_go_is_unheld() -> None:
    assert state(abandoned()) is State.UNHELD
    assert state(Picture().rules().resource().hold().roster()) is State.UNHELD
    assert state(Picture().rules().resource().hold(released=True).alive()) is State.UNHELD


def test_no_hold_key_at_all_is_unaccounted_and_not_unheld() -> None:
    assert state(Picture().rules().resource()) is State.UNACCOUNTED


def test_an_unheld_resource_of_an_observing_rule_is_observe_only() -> None:
    assert state(Picture().rules(mode="observe").resource().hold().roster()) is State.OBSERVE_ONLY


def test_a_tombstone_is_condemned_until_an_epoch_opens_after_it() -> None:
    assert state(abandoned().epoch(1).tombstone()) is State.CONDEMNED
    assert state(abandoned().tombstone().epoch(1)) is State.IN_GRACE


def test_an_epoch_done_counts_before_one_still_open() -> None:
    taken = abandoned().tombstone().epoch(1, done=True).epoch(2).taken()
    tombstone = resource_view(taken, BLOB, None).tombstone
    assert tombstone is not None
    assert (tombstone.epoch, tombstone.epoch_done) == (1, True)


@pytest.mark.parametrize("sweep", list(SweepState))
def test_a_sweep_outranks_everything_else(sweep: SweepState) -> None:
    assert state(abandoned().tombstone().epoch(1, done=True).sweep(sweep)) == sweep.value


def test_a_timer_without_its_beacon_has_run_out_and_is_no_mystery() -> None:
    taken = Picture().rules().resource().hold().roster(kind=HolderKind.TIMER).taken()
    [hold] = resource_view(taken, BLOB, None).holds
    assert hold.status is HolderStatus.ENDED


def test_a_holder_without_a_roster_entry_is_unknown_and_not_dead() -> None:
    taken = Picture().rules().resource().hold().taken()
    [hold] = resource_view(taken, BLOB, None).holds
    assert hold.status is HolderStatus.UNKNOWN


def test_an_unreadable_record_is_still_there_and_is_reported() -> None:
    picture = abandoned()
    picture.put(KEYS.record(BLOB), b"not json")
    taken = picture.taken()
    assert [view.state for view in resource_views(taken)] == [State.UNHELD]
    assert "not a ResourceRecord" in taken.unreadable[0][1]


def test_an_unreadable_hold_is_not_mistaken_for_a_released_one() -> None:
    picture = abandoned().beacon()
    picture.put(KEYS.hold(BLOB, MAKER), b"\xff")
    assert state(picture) is State.HELD


def test_a_foreign_key_in_the_tenants_range_is_reported() -> None:
    picture = Picture().put(b"/leasehold/1/default/nonsense/x", b"")
    assert picture.taken().unreadable == [("/leasehold/1/default/nonsense/x", "not a key of this protocol")]
