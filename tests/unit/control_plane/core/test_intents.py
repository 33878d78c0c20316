"""When intents of ended holders are asked about, and when a "not there" counts: by table and by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.control_plane.core.facts import HolderEntry
from leasehold.control_plane.core.intents import OUTLIVED_FACTOR, Inquiries, Intent, Intents, Over, over
from leasehold.protocol.names import CallId, Holder, Instant, Revision
from leasehold.protocol.records import HolderKind, IntentRecord

H, CALL, FENCE = Holder("a@1~1"), CallId("c"), Revision(7)
RECORD = IntentRecord("make", "POST", "/", "c")


def case(revision: int = 3, roster: int = 2, *, alive: bool = False) -> Over:
    return Over(H, CALL, Intent(Revision(revision), RECORD), Revision(roster), alive, alive)


def at(seconds: float) -> Instant:
    return Instant(seconds)


@pytest.mark.parametrize(
    ("beacon", "roster", "kind", "seen"),
    [
        (0, 5, HolderKind.PROCESS, (5, False, False)),
        (9, 5, HolderKind.PROCESS, None),
        (0, 0, HolderKind.PROCESS, (0, False, False)),
        (9, 5, HolderKind.SERVICE, (5, True, True)),
        (0, 5, HolderKind.SERVICE, (5, False, True)),
        (9, 5, HolderKind.TIMER, (5, True, True)),
        (9, 0, HolderKind.SERVICE, None),
    ],
)
def test_whose_call_may_be_over(
    beacon: int, roster: int, kind: HolderKind, seen: tuple[int, bool, bool] | None
) -> None:
    intents = Intents()
    intents.put(H, CALL, Revision(3), RECORD)
    holder = HolderEntry()
    holder.beacon, holder.roster, holder.kind, holder.readable = Revision(beacon), Revision(roster), kind, roster > 0
    cases = [(one.roster, one.alive, one.outlived) for one in over(intents, lambda _: holder)]
    assert cases == ([] if seen is None else [seen])


def test_a_holder_nobody_knows_leaves_intents_that_are_shown() -> None:
    intents = Intents()
    intents.put(H, CALL, Revision(3), None)
    assert [one.roster for one in over(intents, lambda _: None)] == [0]


def test_a_call_is_given_its_time_and_ten_times_as_long_while_its_service_lives() -> None:
    for alive in (False, True):
        inquiries = Inquiries()
        inquiries.look([case(alive=alive)], FENCE, at(0))
        needed = 4 * OUTLIVED_FACTOR if alive else 4
        assert not inquiries.is_due(case(alive=alive), 4, at(needed - 0.1))
        assert inquiries.is_due(case(alive=alive), 4, at(needed))


@pytest.mark.parametrize("change", ["intent", "roster", "fence", "forgotten", "away"])
def test_whatever_changes_the_time_begins_anew(change: str) -> None:
    inquiries = Inquiries()
    inquiries.look([case()], FENCE, at(0))
    later = case(4 if change == "intent" else 3, 4 if change == "roster" else 2)
    if change == "forgotten":
        inquiries.forget()
    if change == "away":
        inquiries.look([], FENCE, at(2))
    inquiries.look([later], Revision(8) if change == "fence" else FENCE, at(3))
    assert not inquiries.is_due(later, 4, at(6.9))
    assert inquiries.is_due(later, 4, at(7))


def test_what_we_wrote_ourselves_is_no_news() -> None:
    inquiries = Inquiries()
    inquiries.look([case()], FENCE, at(0))
    inquiries.on_written(case(), Revision(10))
    inquiries.on_roster_written(H, Revision(2), Revision(11))
    inquiries.look([case()], FENCE, at(2))  # the index is still behind
    inquiries.look([case(10, 11)], FENCE, at(3))
    assert inquiries.is_due(case(10, 11), 4, at(4))
    assert inquiries.knows(case(), Revision(11))
    assert not inquiries.knows(case(), Revision(12))


@given(st.lists(st.tuples(st.sampled_from(["absent", "unclear"]), st.floats(0.0, 10.0))))
def test_a_dismissal_needs_two_answers_apart_and_nothing_else_between(answers: list[tuple[str, float]]) -> None:
    inquiries, now = Inquiries(), at(0)
    inquiries.look([case()], FENCE, now)
    first: float | None = None
    for answer, pause in answers:
        now = Instant(now + pause)
        if answer == "unclear":
            inquiries.on_unclear(case(), now, 0.5)
            first = None
            continue
        final = inquiries.on_absent(case(), 4, now)
        assert final == (first is not None and now - first >= 4)
        first = now if first is None else first


def test_an_unclear_answer_is_asked_about_ever_more_slowly() -> None:
    inquiries = Inquiries()
    inquiries.look([case()], FENCE, at(0))
    waits = []
    for _ in range(14):
        inquiries.on_unclear(case(), at(100), 1.0)
        wait = 0.0
        while not inquiries.is_due(case(), 4, at(100 + wait)):
            wait += 1
        waits.append(wait)
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (2, 3600)
