"""What ``why`` says happens next."""

from __future__ import annotations

import pytest

from leasehold.operating.explain import Explanation, explain, leases_of_interest
from leasehold.operating.states import resource_view
from leasehold.protocol.names import LeaseId
from leasehold.protocol.records import Ending, GraveRecord, HolderKind, SweepState, encode
from tests.unit.cli.pictures import BLOB, KEYS, OTHER, USER, Picture, abandoned


def explained(picture: Picture, **remaining: int) -> Explanation:
    taken = picture.taken()
    view = resource_view(taken, BLOB, taken.rules_or_none()) if BLOB in taken.resources else None
    leases = {LeaseId(int(lease.removeprefix("lease_"))): seconds for lease, seconds in remaining.items()}
    found = explain(taken, BLOB, view, leases)
    assert found is not None
    return found


def test_nothing_recorded_explains_nothing() -> None:
    assert explain(Picture().taken(), BLOB, None, {}) is None


def test_each_holder_is_told_with_how_it_stands() -> None:
    story = " ".join(explained(abandoned().hold(USER).alive(USER)).sentences)
    assert "Process maker@one~1 held it and has ended (crashed)" in story
    assert "user@two~2 holds it and is alive" in story


def test_a_vanished_holder_is_told_from_one_that_ended() -> None:
    assert "vanished" in " ".join(explained(Picture().rules().resource().hold().roster()).sentences)


@pytest.mark.parametrize(
    ("mode", "afterwards"),
    [
        ("sweep", "swept after a grace of 5s"),
        ("condemn", "rule create-blob does not sweep"),
        ("observe", "only observes"),
    ],
)
def test_held_means_nothing_happens_and_tells_what_would(mode: str, afterwards: str) -> None:
    (told,) = explained(Picture().rules(mode=mode).led().armed().resource().hold().alive()).next
    assert told.startswith("Nothing happens while anyone holds it. When the last holder has gone, ")
    assert afterwards in told


def test_of_a_resource_whose_rule_is_gone_no_delete_is_foretold() -> None:
    told = " ".join(explained(Picture().led().armed().resource().hold().roster(ended=Ending.CRASHED)).next)
    assert "it stays: rule create-blob, or its owner, is not known" in told
    assert "swept" not in told


def test_a_pin_is_told_while_it_is_still_held() -> None:
    picture = Picture().rules().led().armed().resource().hold().alive().pin()
    assert "it is pinned" in explained(picture).next[-1]


def test_a_grace_that_is_over_does_not_promise_a_delete_right_now() -> None:
    assert "warm-up" in explained(abandoned().tombstone().epoch(4, done=True)).next[0]


def test_the_time_left_of_a_timer_is_told() -> None:
    picture = Picture().rules().led().armed().resource().hold().alive(kind=HolderKind.TIMER)
    assert "runs out in 12 s" in " ".join(explained(picture, lease_7=12).sentences)


def test_grace_tells_its_epoch_and_the_earliest_end() -> None:
    picture = abandoned().tombstone().epoch(4)
    view = resource_view(picture.taken(), BLOB, None)
    assert leases_of_interest(view) == [LeaseId(99)]
    told = explained(picture, lease_99=3).next[0]
    assert "an epoch of class 5s that opens after revision" in told
    assert "epoch 4 opened at revision" in told
    assert "at the earliest in 3 s" in told


def test_a_tombstone_without_an_epoch_says_that_none_has_opened() -> None:
    assert "none has opened yet" in explained(abandoned().tombstone()).next[0]


def test_what_stops_the_collector_is_told() -> None:
    picture = Picture().rules().resource().hold().roster(ended=Ending.EXITED).pin()
    told = " ".join(explained(picture).next)
    assert "no control plane" in told
    assert "brake is tripped" in told
    assert "pinned" in told


def test_a_condemning_rule_is_never_said_to_delete() -> None:
    picture = Picture().rules(mode="condemn").led().armed().resource().hold().roster().tombstone().epoch(1)
    assert "condemns but does not sweep" in explained(picture).next[0]


def test_references_are_told_in_both_directions() -> None:
    picture = Picture().rules().resource(OTHER, references=(BLOB,)).resource(references=(OTHER,)).hold().alive()
    story = explained(picture).sentences
    assert "store/blob/other refers to it, and exists." in story
    assert "It refers to store/blob/other." in story


def test_a_grave_is_remembered() -> None:
    picture = Picture().put(KEYS.grave(BLOB), encode(GraveRecord("uid-1", "204, then 404")))
    assert explained(picture).sentences == ("store/blob/a/b c was swept: 204, then 404.",)


def test_a_quarantined_sweep_asks_for_an_operator() -> None:
    picture = abandoned().tombstone().sweep(SweepState.QUARANTINED, 9, "500")
    found = explained(picture)
    assert "attempt 9; last outcome: 500" in " ".join(found.sentences)
    assert "An operator should look" in found.next[0]
