"""How old a revision is, as far as anybody can know, and what is overdue."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leasehold.control_plane.core.lifecycle import State
from leasehold.control_plane.telemetry.ages import MOST_POINTS, STAGES, Ages, Timeline
from leasehold.protocol.names import Instant, Revision

STEPS = st.lists(st.tuples(st.integers(1, 50), st.floats(0.1, 100)), min_size=1, max_size=40)


def timeline(*points: tuple[int, float]) -> Timeline:
    line = Timeline()
    for revision, at in points:
        line.note(Revision(revision), Instant(at))
    return line


@given(STEPS, st.data())
def test_an_age_is_never_more_than_the_truth_and_wrong_by_no_more_than_one_step(
    steps: list[tuple[int, float]], data: st.DataObject
) -> None:
    """``written[r]`` is when revision r was really written: at some time since the look before."""
    line, revision, now, written, longest = Timeline(), 0, 0.0, {}, 0.0
    line.note(Revision(0), Instant(0.0))
    for news, seconds in steps:
        for n in range(1, news + 1):
            written[revision + n] = now + seconds * data.draw(st.floats(0, 1))
        revision, now, longest = revision + news, now + seconds, max(longest, seconds)
        line.note(Revision(revision), Instant(now))
    for one, at in written.items():
        age = line.age(Revision(one), Instant(now))
        assert now - at - longest - 1e-6 <= age <= now - at + 1e-6


def test_of_what_is_older_than_the_first_look_at_least_that_much_is_known() -> None:
    assert timeline((100, 10.0), (200, 20.0)).age(Revision(5), Instant(50.0)) == 40.0


def test_of_what_was_written_since_the_last_look_nothing_is_known_yet() -> None:
    assert timeline((100, 10.0)).age(Revision(101), Instant(50.0)) == 0.0
    assert Timeline().age(Revision(1), Instant(50.0)) == 0.0


def test_what_an_old_record_says_of_itself_counts_for_it_and_for_what_is_older() -> None:
    line = timeline((100, 1000.0))
    line.learn(Revision(50), Instant(400.0))
    assert line.age(Revision(50), Instant(1100.0)) == 700.0
    assert line.age(Revision(40), Instant(1100.0)) == 700.0
    assert line.age(Revision(51), Instant(1100.0)) == 100.0, "of this one no more is known than before"


def test_a_record_that_claims_to_be_of_the_future_makes_nothing_younger() -> None:
    line = timeline((100, 1000.0))
    line.learn(Revision(50), Instant(5000.0))
    assert line.age(Revision(50), Instant(1100.0)) == 100.0
    line.learn(Revision(150), Instant(0.0))
    assert line.age(Revision(150), Instant(1100.0)) == 0.0, "that is not from before we looked"


@given(st.integers(1, 5 * MOST_POINTS))
def test_it_is_bounded_and_keeps_the_first_and_the_last(count: int) -> None:
    line = timeline(*((n, float(n)) for n in range(count)))
    assert len(line._revisions) <= MOST_POINTS + 1
    assert line.first == 0
    assert line.age(Revision(count - 1), Instant(float(count - 1))) == 0.0
    assert line._revisions == sorted(set(line._revisions))


def test_the_oldest_of_each_stage_is_told_and_empty_ones_are_0() -> None:
    ages = Ages(timeline((10, 10.0), (20, 20.0), (30, 30.0)), Instant(100.0), (60.0,))
    ages.see("a", State.IN_GRACE, Revision(20), 3600)
    ages.see("b", State.IN_GRACE, Revision(10), 3600)
    ages.see("b", State.SENT, Revision(30), 3600)
    assert ages.oldest(Instant(100.0)) == {**dict.fromkeys(STAGES, 0.0), State.IN_GRACE: 90.0, State.SENT: 70.0}
    assert ages.first == 10
    assert ages.overdue == {}


def test_what_outlived_two_graces_is_overdue_by_the_rest() -> None:
    ages = Ages(timeline((10, 0.0)), Instant(100.0), (10.0, 60.0))
    for grace in (50, 49, 20, 1):  # overdue by 0, 2, 60 and 98 seconds
        ages.see("store", State.SENT, Revision(10), grace)
    assert ages.overdue == {("store",): ([1, 1, 1], 160.0)}
