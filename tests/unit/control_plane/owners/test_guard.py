"""When an owner may be called."""

from __future__ import annotations

from leasehold.control_plane.owners.guard import SUSPECT_CALLS, TROUBLE, OwnerGuard
from leasehold.control_plane.owners.outcome import Verdict
from leasehold.protocol.configuration import Seconds
from leasehold.protocol.names import Instant
from leasehold.protocol.rules import Limits

T0 = Instant(0.0)


def guard(concurrency: int = 4, per_second: float = 1000.0) -> OwnerGuard:
    return OwnerGuard(Limits(concurrency, per_second, Seconds(1)))


def test_no_more_calls_at_once_than_the_owner_bears() -> None:
    it = guard(concurrency=2)
    assert it.may_call(T0, 1)
    assert not it.may_call(T0, 2)
    assert it.reopens_at(T0) is None, "no time will help, an answer will"


def test_calls_of_all_purposes_count_together() -> None:
    it = guard(concurrency=2)
    it.on_call(T0)
    it.on_call(T0)
    assert not it.may_call(T0, 0), "both may be questions; there is no room for a delete"
    it.on_answer(T0, Verdict.IN_USE, first=False)
    assert it.may_call(T0, 0)
    for _ in range(TROUBLE):
        it.on_answer(T0, Verdict.UNKNOWN, first=False)
    it.on_call(Instant(3))
    assert not it.may_call(Instant(3), 0), "one probe, whatever it is for"


def test_no_more_calls_per_second_than_the_owner_bears() -> None:
    it, now, calls = guard(per_second=10.0), 0.0, 0
    while now < 10:
        while it.may_call(Instant(now), 0):
            it.on_call(Instant(now))
            it.on_answer(Instant(now), Verdict.GONE, first=True)
            calls += 1
        now += 0.01
    assert 90 <= calls <= 102
    it.on_call(Instant(now))
    it.on_answer(Instant(now), Verdict.GONE, first=True)
    reopens = it.reopens_at(Instant(now))
    assert reopens is not None
    assert it.may_call(reopens, 0)


def test_a_misconfigured_owner_is_left_alone_for_longer_and_longer_with_one_probe() -> None:
    it, now, waits = guard(), 0.0, []
    for _ in range(7):
        it.on_answer(Instant(now), Verdict.MISCONFIGURED, first=True)
        assert it.state == "misconfigured"
        assert not it.may_call(Instant(now), 0)
        reopens = it.reopens_at(Instant(now))
        assert reopens is not None
        waits.append(reopens - now)
        now = reopens
        assert it.may_call(Instant(now), 0)
        assert not it.may_call(Instant(now), 1), "one probe at a time"
    assert waits == [30, 60, 120, 240, 480, 900, 900]
    it.on_answer(Instant(now), Verdict.GONE, first=True)
    assert it.state == "calling"
    assert it.may_call(Instant(now), 3)


def test_an_unreachable_owner_trips_only_after_several_failures_in_a_row() -> None:
    it = guard()
    for _ in range(TROUBLE - 1):
        it.on_answer(T0, Verdict.UNKNOWN, first=True)
    assert it.may_call(T0, 0)
    it.on_answer(T0, Verdict.UNKNOWN, first=True)
    assert it.state == "unreachable"
    assert it.reopens_at(T0) == 2
    it.on_answer(Instant(0.5), Verdict.UNKNOWN, first=True)
    assert it.reopens_at(T0) == 2, "what was under way together counts once"


def test_an_owner_that_says_when_is_called_then() -> None:
    it = guard()
    it.on_answer(T0, Verdict.WAIT, first=True, wait=7.0)
    assert not it.may_call(Instant(6.9), 0)
    assert it.reopens_at(Instant(1)) == 7
    assert it.may_call(Instant(7), 0)
    assert it.state == "calling"


def test_an_owner_that_answers_not_there_to_most_first_deletes_is_suspect() -> None:
    it = guard()
    for _ in range(SUSPECT_CALLS - 1):
        it.on_answer(T0, Verdict.ABSENT, first=True)
    assert it.may_call(T0, 0)
    it.on_answer(T0, Verdict.ABSENT, first=True)
    assert it.suspect
    assert it.state == "suspect"
    assert not it.may_call(Instant(1e9), 0)
    assert it.reopens_at(T0) is None, "time does not make it trustworthy"


def test_an_owner_that_mostly_deletes_is_not_suspect_nor_one_whose_retries_find_nothing() -> None:
    it = guard()
    for n in range(200):
        it.on_answer(T0, Verdict.GONE if n % 4 == 0 else Verdict.ABSENT, first=True)
        it.on_answer(T0, Verdict.ABSENT, first=False)
    assert not it.suspect
