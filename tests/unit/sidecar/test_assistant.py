"""Which leases the assistant renews for a loop that is late, and when it stops."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

import pytest

from leasehold.protocol.errors import LeaseNotFound, Unavailable
from leasehold.protocol.names import LeaseId
from leasehold.protocol.store import Grant, LeaseStatus
from leasehold.sidecar.holds.assistant import VOUCHED_SECONDS, Assistant, DueLeases

ONE, TWO = LeaseId(1), LeaseId(2)


def test_a_loop_that_renews_in_time_is_never_helped() -> None:
    leases = DueLeases()
    leases.kept(ONE, 6, 0.0)
    for now in range(2, 60, 2):
        assert leases.due(float(now)) == []
        leases.asks(ONE, float(now))
        leases.kept(ONE, 6, now + 0.1)


def test_a_lease_is_due_half_its_ttl_after_the_last_question_that_was_answered() -> None:
    leases = DueLeases()
    leases.kept(ONE, 6, 0.0)
    leases.asks(ONE, 2.0)
    leases.kept(ONE, 6, 4.9)
    assert leases.next_due() == 5.0
    assert leases.due(5.0) == [(ONE, 6)]


def test_a_question_without_an_answer_defers_nothing() -> None:
    leases = DueLeases()
    leases.kept(ONE, 6, 0.0)
    leases.asks(ONE, 2.9)
    assert leases.due(3.0) == [(ONE, 6)]


def test_what_is_helped_is_due_again_a_third_later_and_sooner_after_a_failure() -> None:
    leases = DueLeases()
    leases.kept(ONE, 6, 0.0)
    leases.helped(ONE, 3.0)
    assert leases.next_due() == 5.0
    leases.failed(ONE, 5.0)
    assert leases.next_due() == 6.0


def test_a_loop_without_a_sign_of_life_is_not_helped_for_ever() -> None:
    leases = DueLeases()
    leases.kept(ONE, 6, 0.0)
    assert leases.due(VOUCHED_SECONDS - 1) == [(ONE, 6)]
    assert leases.due(VOUCHED_SECONDS) == []
    assert leases.next_due() is None


def test_what_is_let_go_is_not_renewed_again() -> None:
    leases = DueLeases()
    leases.kept(ONE, 6, 0.0)
    leases.kept(TWO, 9, 0.0)
    leases.let_go(ONE)
    leases.helped(ONE, 3.0)
    leases.failed(ONE, 3.0)
    leases.asks(ONE, 3.0)
    assert leases.due(100.0) == [(TWO, 9)]


class CountedLeases:
    """``Leases`` that notes who renews what, on which thread; each renewal ends as the test says."""

    def __init__(self, *ends: Exception | None) -> None:
        self.ends = list(ends)
        self.renewed: list[tuple[LeaseId, str]] = []
        self.enough = threading.Event()

    async def keep_alive(self, lease: LeaseId, *, deadline: float) -> int:
        self.renewed.append((lease, threading.current_thread().name))
        end = self.ends.pop(0) if self.ends else None
        if not self.ends:
            self.enough.set()
        if end is not None:
            raise end
        return 1

    async def grant(self, ttl_seconds: int, *, deadline: float, lease: LeaseId = LeaseId(0)) -> Grant:
        raise AssertionError("an assistant grants nothing")

    async def revoke(self, lease: LeaseId, *, deadline: float) -> None:
        raise AssertionError("an assistant revokes nothing")

    async def time_to_live(self, lease: LeaseId, *, deadline: float, keys: bool = False) -> LeaseStatus:
        raise AssertionError("an assistant does not ask")


@contextlib.asynccontextmanager
async def connected(leases: CountedLeases) -> AsyncIterator[CountedLeases]:
    yield leases


def test_it_renews_while_the_loop_is_blocked_and_tries_again_after_a_failure() -> None:
    leases, results = CountedLeases(None, Unavailable("away"), None), []

    async def blocked() -> None:
        with Assistant(lambda: connected(leases), results.append) as assistant:
            assistant.kept(ONE, 1)
            assert leases.enough.wait(20), "the loop stands still here"

    asyncio.run(blocked())
    assert results[:3] == ["kept", "failed", "kept"]
    assert {lease for lease, _ in leases.renewed} == {ONE}
    assert {thread for _, thread in leases.renewed} == {"keepers' assistant"}


def test_a_lease_that_is_gone_is_left_to_the_keeper() -> None:
    leases, results = CountedLeases(LeaseNotFound("gone")), []
    with Assistant(lambda: connected(leases), results.append) as assistant:
        assistant.kept(ONE, 1)
        assert leases.enough.wait(20)
        while assistant._leases.next_due() is not None:
            threading.Event().wait(0.001)
    assert results == ["lost"]


@pytest.mark.parametrize("told", [True, False])
def test_it_leaves_at_once_when_told(told: bool) -> None:
    leases = CountedLeases()
    with Assistant(lambda: connected(leases), lambda _: None) as assistant:
        if told:
            assistant.kept(ONE, 600)
    assert not assistant._thread.is_alive()
    assert leases.renewed == []
