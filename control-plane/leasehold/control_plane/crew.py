"""Carries out what a backlog holds, a bounded number at a time. Every piece of work is a task of its own.

A gate says from when on anything may begin at all (armed, warm-up over); ``admits`` says it for one resource (is its
shard ours, has it warmed up), ``room`` for one lane, which then shares the places with the others. What fails backs
off; what must wait waits; a mistake of ours in one piece of work is logged and backs off like a failure, so that one
resource cannot stop the others (L5).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog

from leasehold.control_plane.core.backlog import Backlog
from leasehold.control_plane.core.shares import Shares
from leasehold.control_plane.ticking import Bell
from leasehold.protocol.errors import StoreError
from leasehold.protocol.names import Instant, Resource
from leasehold.protocol.ports import Clock

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to do for this item."""


@dataclass(frozen=True, slots=True)
class Again:
    """Not done: later, after a random part of a growing ceiling."""


@dataclass(frozen=True, slots=True)
class At:
    """Not done, as agreed: at this instant."""

    instant: Instant


Outcome = Done | Again | At
Gate = Callable[[], Instant | None]
"""From when on work may begin; ``None``: not until somebody calls ``nudge``."""
Admission = Callable[[Resource], Instant | None]
"""From when on work on one resource may begin; ``None``: it is not ours, and whoever has it will see to it."""


def nobody_asked() -> None:
    """Nobody is told that work ended."""


def always_room(_: str, __: int) -> bool:
    return True


def never_reopens() -> Instant | None:
    return None


class Crew:
    """The workers of one stage."""

    def __init__(
        self,
        stage: str,
        work: Callable[[Resource], Awaitable[Outcome]],
        clock: Clock,
        *,
        limit: int,
        jitter: Callable[[], float],
        gate: Gate,
        admits: Admission,
        ended: Callable[[], None] = nobody_asked,
        room: Callable[[str, int], bool] = always_room,
        reopens: Callable[[], Instant | None] = never_reopens,
    ) -> None:
        self.stage = stage
        self.backlog: Backlog[Resource] = Backlog()
        self.failures = 0
        self._full = False
        self._work, self._clock, self._limit, self._jitter = work, clock, limit, jitter
        self._gate, self._admits, self._ended = gate, admits, ended
        self._room, self._reopens = room, reopens
        # Where nobody's work can take longer than another's, nothing needs sharing.
        self._shares = Shares(limit) if room is not always_room else None
        self._bell = Bell(clock)
        self._in_hand: set[Resource] = set()

    def nudge(self) -> None:
        """Something changed: work, gate or room."""
        self._bell.ring()

    def offer(self, resource: Resource, at: Instant | None = None) -> None:
        """Take it in, now or for ``at``. What does not fit is offered again with the next scan."""
        if self.backlog.offer(resource, resource.owner, self._now(), at=at):
            return
        if not self._full:  # said once, not for each of a million
            log.warning("backlog_full", stage=self.stage, capacity=self.backlog.capacity)
        self._full = True

    def in_hand(self) -> Iterable[Resource]:
        """What is being worked on at this moment."""
        return self._in_hand

    async def run(self) -> None:
        """Until cancelled; work in hand is cancelled with it."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                opens = self._gate()
                if opens is not None and opens <= self._now():
                    self._begin(tasks)
                await self._bell.wait(self._next(opens))

    def _begin(self, tasks: asyncio.TaskGroup) -> None:
        while len(self._in_hand) < self._limit:
            resource = self.backlog.take(self._now(), self._has_room)
            if resource is None:
                return
            self._full = False
            opens = self._admits(resource)
            if opens is None:
                self.backlog.done(resource, self._now())
            elif opens > self._now():
                self.backlog.wait(resource, opens)
            else:
                self._in_hand.add(resource)
                if self._shares is not None:
                    self._shares.took(resource.owner, self._now())
                tasks.create_task(self._carry_out(resource))

    def _has_room(self, lane: str, in_hand: int) -> bool:
        if self._shares is not None and not self._shares.may_take(lane, in_hand, len(self._in_hand), self._now()):
            return False
        return self._room(lane, in_hand)

    def _next(self, opens: Instant | None) -> Instant | None:
        if opens is None or opens > self._now():
            return opens
        if len(self._in_hand) >= self._limit:
            return None  # nothing can begin, whatever is due, until somebody comes back: that rings
        return min((at for at in (self.backlog.next_due(), self._reopens()) if at is not None), default=None)

    async def _carry_out(self, resource: Resource) -> None:
        outcome: Outcome = Again()
        try:
            outcome = await self._work(resource)
        except StoreError as error:
            self.failures += 1
            log.warning("step_failed", stage=self.stage, resource=str(resource), error=str(error))
        except Exception:
            # The supervisor of one piece of work: a mistake in it must not end the others.
            self.failures += 1
            log.exception("step_broken", stage=self.stage, resource=str(resource))
        finally:
            self._in_hand.discard(resource)
            self._settle(resource, outcome)
            self._ended()

    def _settle(self, resource: Resource, outcome: Outcome) -> None:
        match outcome:
            case Done():
                self.backlog.done(resource, self._now())
            case Again():
                self.backlog.failed(resource, self._now(), self._jitter())
            case At(instant):
                self.backlog.wait(resource, instant)
        self._bell.ring()

    def _now(self) -> Instant:
        return Instant(self._clock.now())
