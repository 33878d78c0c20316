"""The work queue: fair, without duplicates, patient, and it loses nothing it accepted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.control_plane.core.backlog import Backlog, attempts_within, backoff_ceiling
from leasehold.protocol.names import Instant

T0 = Instant(0.0)


def any_room(_: str, __: int) -> bool:
    return True


def take_all(backlog: Backlog[str], now: float = 0.0) -> list[str]:
    taken = []
    while (item := backlog.take(Instant(now), any_room)) is not None:
        taken.append(item)
    return taken


def test_lanes_take_turns() -> None:
    backlog = Backlog[str]()
    for item in ("a1", "a2", "a3", "a4", "b1", "b2"):
        backlog.offer(item, item[0], T0)
    assert take_all(backlog) == ["a1", "b1", "a2", "b2", "a3", "a4"]


def test_an_item_is_there_once_and_comes_back_once_if_offered_while_in_hand() -> None:
    backlog = Backlog[str]()
    for _ in range(3):
        backlog.offer("x", "a", T0)
    assert take_all(backlog) == ["x"]
    for _ in range(3):
        backlog.offer("x", "a", T0)
    assert take_all(backlog) == []
    backlog.done("x", T0)
    assert take_all(backlog) == ["x"]
    backlog.done("x", T0)
    assert take_all(backlog) == []
    assert len(backlog) == 0


def test_a_lane_without_room_does_not_hold_up_the_others() -> None:
    backlog = Backlog[str]()
    for item in ("a1", "a2", "b1"):
        backlog.offer(item, item[0], T0)
    assert backlog.take(T0, lambda lane, in_hand: lane == "b") == "b1"
    assert backlog.take(T0, lambda lane, in_hand: in_hand < 1) == "a1"
    assert backlog.take(T0, lambda lane, in_hand: in_hand < 1) is None


def test_failures_wait_longer_and_longer_up_to_an_hour() -> None:
    assert [backoff_ceiling(n) for n in (1, 2, 3, 12, 13, 1000)] == [1, 2, 4, 2048, 3600, 3600]
    backlog = Backlog[str]()
    backlog.offer("x", "a", T0)
    now = 0.0
    for expected in (0.5, 1.0, 2.0):
        assert take_all(backlog, now) == ["x"]
        assert backlog.failed("x", Instant(now), 0.5) == expected
        assert take_all(backlog, now + expected * 0.99) == []
        assert backlog.next_due() == now + expected
        now += expected


def test_waiting_as_agreed_is_no_failure() -> None:
    backlog = Backlog[str]()
    backlog.offer("x", "a", T0)
    take_all(backlog)
    backlog.wait("x", Instant(10))
    assert take_all(backlog, 9) == []
    assert take_all(backlog, 10) == ["x"]
    assert backlog.failures("x") == 0


def test_a_full_backlog_declines_what_it_does_not_know() -> None:
    backlog = Backlog[str](capacity=1)
    assert backlog.offer("x", "a", T0)
    assert backlog.offer("x", "a", T0)
    assert not backlog.offer("y", "a", T0)
    take_all(backlog)
    backlog.done("x", T0)
    assert backlog.offer("y", "a", T0)


def test_offered_again_an_item_is_served_at_the_earlier_time_and_discarded_never() -> None:
    backlog = Backlog[str]()
    for item in ("x", "y", "z"):
        backlog.offer(item, "a", T0, at=Instant(100))
    backlog.offer("x", "a", T0)
    backlog.discard("y")
    backlog.offer("z", "a", T0, at=Instant(200))
    assert take_all(backlog) == ["x"]
    assert take_all(backlog, 99) == []
    assert take_all(backlog, 100) == ["z"]
    assert backlog.next_due() is None


def test_news_of_an_item_in_hand_are_not_lost_to_a_wait_that_was_agreed_before_them() -> None:
    backlog = Backlog[str]()
    for item in ("x", "y", "z"):
        backlog.offer(item, "a", T0)
    assert take_all(backlog) == ["x", "y", "z"]
    for item in ("x", "y"):
        backlog.offer(item, "a", T0)
    backlog.offer("z", "a", T0, at=Instant(60))
    backlog.wait("x", Instant(3600))
    backlog.failed("y", T0, 1.0)
    backlog.wait("z", Instant(3600))
    assert take_all(backlog) == ["x", "y"]
    assert take_all(backlog, 59) == []
    assert take_all(backlog, 60) == ["z"]
    backlog.wait("x", Instant(3600))
    assert take_all(backlog, 3599) == [], "and once is enough"


def test_the_age_is_that_of_the_oldest_however_often_it_failed() -> None:
    backlog = Backlog[str]()
    backlog.offer("x", "a", T0)
    take_all(backlog)
    backlog.failed("x", Instant(5), 1.0)
    assert backlog.oldest_age(Instant(50)) == 50
    assert dict(backlog.lanes()) == {"a": 1}


class Model:
    """What a backlog owes us, next to a real one."""

    def __init__(self) -> None:
        self.backlog = Backlog[str]()
        self.now = 0.0
        self.in_hand: list[str] = []
        self.owed: set[str] = set()
        self.again: set[str] = set()

    def offer(self, item: str) -> None:
        self.backlog.offer(item, item[0], Instant(self.now))
        self.owed.add(item)
        if item in self.in_hand:
            self.again.add(item)

    def take(self, _: str) -> None:
        taken = self.backlog.take(Instant(self.now), any_room)
        if taken is not None:
            assert taken not in self.in_hand
            self.in_hand.append(taken)

    def clear(self, _: str) -> None:
        self.backlog.clear()
        self.owed = set(self.in_hand)

    def pass_time(self, _: str) -> None:
        self.now += 4000.0

    def done(self, _: str) -> None:
        if self.in_hand:
            item = self.in_hand.pop(0)
            self.backlog.done(item, Instant(self.now))
            if item not in self.again:
                self.owed.discard(item)
            self.again.discard(item)

    def failed(self, _: str) -> None:
        if self.in_hand:
            item = self.in_hand.pop(0)
            self.backlog.failed(item, Instant(self.now), 1.0)

    def wait(self, _: str) -> None:
        if self.in_hand:
            item = self.in_hand.pop(0)
            self.backlog.wait(item, Instant(self.now + 1))


MOVES = st.lists(
    st.tuples(
        st.sampled_from([Model.offer, Model.take, Model.clear, Model.pass_time, Model.done, Model.failed, Model.wait]),
        st.sampled_from(["a1", "a2", "b1", "b2", "c1"]),
    )
)


@given(MOVES)
def test_nothing_accepted_is_lost_and_nothing_is_in_two_hands(moves: list[tuple[Callable[..., None], str]]) -> None:
    model = Model()
    for move, item in moves:
        move(model, item)
    while model.in_hand:
        model.failed("")
    assert set(take_all(model.backlog, model.now + 10_000)) == model.owed


@pytest.mark.parametrize(
    ("seconds", "first", "longest", "attempts"),
    [(172800, 1, 3600, 108), (36000, 3600, 3600, 21), (0, 1, 3600, 1), (3600, 3600, 3600, 3), (3, 1, 64, 4)],
)
def test_a_budget_of_time_is_a_number_of_attempts(seconds: float, first: float, longest: float, attempts: int) -> None:
    assert attempts_within(seconds, first, longest) == attempts
    waits = [backoff_ceiling(n, first, longest) / 2 for n in range(1, attempts)]
    assert sum(waits) >= seconds > sum(waits[:-1]) or attempts == 1


def test_what_is_in_hand_does_not_wait() -> None:
    backlog: Backlog[str] = Backlog()
    for item in ("a", "b", "c"):
        backlog.offer(item, "lane", Instant(0))
    assert backlog.take(Instant(1), lambda *_: True) == "a"
    assert dict(backlog.lanes()) == {"lane": 3}
    assert dict(backlog.waiting()) == {"lane": 2}


def test_the_oldest_is_the_one_offered_first_however_often_it_failed() -> None:
    backlog: Backlog[str] = Backlog()
    backlog.offer("a", "lane", Instant(0))
    backlog.offer("b", "lane", Instant(5))
    assert backlog.take(Instant(6), lambda *_: True) == "a"
    backlog.failed("a", Instant(6), 1.0)
    assert backlog.oldest_age(Instant(10)) == 10
    assert backlog.take(Instant(10), lambda *_: True) == "b"
    backlog.done("b", Instant(10))
    backlog.retain(lambda item: item != "a")
    assert backlog.oldest_age(Instant(10)) == 0
