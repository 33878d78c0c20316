"""The work queue: fair, without duplicates, patient, and it loses nothing it accepted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from leasehold.control_plane.core.backlog import Backlog, backoff_ceiling
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


def test_hastened_items_are_served_now_and_discarded_ones_never() -> None:
    backlog = Backlog[str]()
    backlog.offer("x", "a", T0, at=Instant(100))
    backlog.offer("y", "a", T0, at=Instant(100))
    backlog.hasten("x")
    backlog.discard("y")
    assert take_all(backlog) == ["x"]
    assert take_all(backlog, 1000) == []
    assert backlog.next_due() is None


def test_the_age_is_that_of_the_oldest_however_often_it_failed() -> None:
    backlog = Backlog[str]()
    backlog.offer("x", "a", T0)
    take_all(backlog)
    backlog.failed("x", Instant(5), 1.0)
    assert backlog.oldest_age(Instant(50)) == 50
    assert dict(backlog.lanes()) == {"a": 1}


ITEMS = st.sampled_from(["a1", "a2", "b1", "b2", "c1"])
MOVES = st.lists(st.tuples(st.sampled_from(["offer", "take", "done", "failed", "wait", "clear", "time"]), ITEMS))


@given(MOVES)
def test_nothing_accepted_is_lost_and_nothing_is_in_two_hands(moves: list[tuple[str, str]]) -> None:
    backlog, in_hand, accepted, now = Backlog[str](), list[str](), set[str](), 0.0
    again: set[str] = set()
    for move, item in moves:
        if move == "offer":
            backlog.offer(item, item[0], Instant(now))
            accepted.add(item)
            if item in in_hand:
                again.add(item)
        elif move == "take":
            taken = backlog.take(Instant(now), any_room)
            if taken is not None:
                assert taken not in in_hand
                in_hand.append(taken)
        elif move == "clear":
            backlog.clear()
            accepted = set(in_hand)
        elif move == "time":
            now += 4000.0
        elif in_hand:
            item = in_hand.pop(0)
            if move == "done":
                backlog.done(item, Instant(now))
                if item not in again:
                    accepted.discard(item)
            elif move == "failed":
                backlog.failed(item, Instant(now), 1.0)
            else:
                backlog.wait(item, Instant(now + 1))
            again.discard(item)
    for item in in_hand:
        backlog.failed(item, Instant(now), 1.0)
    assert set(take_all(backlog, now + 10_000)) == accepted
