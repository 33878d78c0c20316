"""Questions beside the sweeps: what they cost an owner ends with them, and what they are answered stops no sweep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from leasehold.control_plane.core.policy import Policy
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.owners.http import HttpOwner
from leasehold.control_plane.owners.outcome import Answer, Fetched, Verdict
from leasehold.control_plane.owners.questions import Questions
from leasehold.control_plane.owners.register import Office, Owners
from leasehold.control_plane.ticking import MonotonicClock
from leasehold.protocol.names import Revision
from leasehold.protocol.records import encode
from leasehold.protocol.rules import Limits
from leasehold.protocol.rules import Owner as OwnerDocument
from tests.unit.control_plane.owners.test_http import document
from tests.unit.control_plane.world import Owner


class Asked:
    """One owner with room for a single call, which answers ``GET /list`` with ``status``."""

    def __init__(self, owner: Owner) -> None:
        owner.more_routes.append(web.get("/list", self._list))
        self.status, self.hangs, self.freed = 200, asyncio.Event(), 0
        self.hangs.set()
        self.reached = asyncio.Event()

    def described(self, owner: Owner) -> None:
        clock, policy = MonotonicClock(), Policy()
        described = document(owner, "never-reused", limits=Limits(concurrency=1, per_second=1000.0))
        policy.put(OwnerDocument, described.name, Revision(1), encode(described))
        self.owners = Owners(policy, clock, HttpOwner)
        self.owners.on_freed = self._freed
        self.questions = Questions(self.owners, clock, Metrics())
        office = self.owners.get(described.name)
        assert office is not None
        self.office: Office = office

    async def ask(self) -> Fetched | Answer | None:
        return await self.questions.ask(self.office.owner.name, "/list")

    @property
    def room(self) -> bool:
        return self.owners.room(self.office.owner.name, 0)

    async def _list(self, _: web.Request) -> web.Response:
        self.reached.set()
        await self.hangs.wait()
        return web.Response(status=self.status)

    def _freed(self) -> None:
        self.freed += 1


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    owner = Owner()
    it = Asked(owner)
    async with owner:
        it.described(owner)
        try:
            yield it
        finally:
            it.hangs.set()
            await it.owners.close()


@pytest.mark.parametrize("status", [200, 404, 400, 403, 412])
async def test_a_question_takes_its_room_with_it_whatever_is_answered(asked: Asked, status: int) -> None:
    asked.status = status
    for n in range(3):
        assert await asked.ask() is not None
        assert asked.room
        assert asked.freed == n + 1, "whoever waits for room may look again"
    assert asked.office.guard.state == "calling"


async def test_a_question_under_way_counts_as_a_call_and_its_end_frees_even_when_cut_off(asked: Asked) -> None:
    asked.hangs.clear()
    asking = asyncio.create_task(asked.ask())
    await asked.reached.wait()
    assert not asked.room
    asking.cancel()
    await asyncio.wait({asking})
    assert asked.room


async def test_what_is_about_the_owner_as_a_whole_is_heard_by_its_guard(asked: Asked) -> None:
    asked.status = 429
    answer = await asked.ask()
    assert isinstance(answer, Answer)
    assert answer.verdict is Verdict.WAIT
    assert not asked.room
