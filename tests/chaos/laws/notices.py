"""N: an owner that wants to know is told of condemnations and of their ends: written first, in order, until it heard.

A notice is told while its tombstone may stand, a restore when it may be gone; between two machines a call may be on its
way for a while, so each judge allows for that. Nothing waits for a notice, so a sweep may overtake it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.history import COLLECTOR, Call, Event, History
from tests.chaos.judgement import Judgement
from tests.chaos.laws.sharding import is_held_up, is_hurt
from tests.chaos.state import State

FLIGHT_SECONDS = 3.0
"""How long after it was decided a call may arrive: the timeout of two seconds, and a busy machine."""
PATIENCE_SECONDS = 2.0
RESTORED_SECONDS = 90.0
"""A restore is tried at least once a minute while the owner is called at all."""
STOOD_SECONDS = 3.0
"""A tombstone that stood for so long in peace must have been told."""
TOLD_PART = 0.9
FEW = 10
"""Of fewer in peace no part is judged."""
Name = tuple[str, str]


@dataclass(slots=True)
class _Span:
    """A key that stood: from its first put to its end, and how that came about."""

    put: Event
    end: Event | None = None
    swept: bool = False

    def may_stand(self, at: float, flight: float) -> bool:
        return self.put.earliest <= at and (self.end is None or at <= self.end.latest + flight)

    def stands_for_sure(self, since: float, until: float) -> bool:
        return self.put.latest <= since and (self.end is None or until <= self.end.earliest)


@dataclass(slots=True)
class _Books:
    tombstones: dict[Name, list[_Span]] = field(default_factory=dict)
    notices: dict[Name, list[_Span]] = field(default_factory=dict)
    over: dict[Name, list[float]] = field(default_factory=dict)
    """When a resource's sweep was prepared, or its record ended."""


def owners_are_told(history: History) -> Judgement:
    """By the ledgers of owners that hear of it."""
    said = Judgement("N", "notices are written first, told in order, one at a time, and restores until they are heard")
    told: dict[Name, list[Call]] = {}
    for call in history.calls:
        if call.who == COLLECTOR and call.method in {"CONDEMN", "RESTORE"}:
            told.setdefault((call.owner, call.id), []).append(call)
    if not told:
        return said
    books = _books(history)
    for name, calls in told.items():
        for call in calls:
            _judge_call(said, history, books, name, call)
        _judge_order(said, history, calls)
        _judge_restores(said, history, books, name, calls)
    _judge_told(said, history, books, told)
    heard = [call for calls in told.values() for call in calls if 200 <= call.status < 300]
    restores = sum(call.method == "RESTORE" for call in heard)
    said.remarks.append(f"owners heard {len(heard) - restores} condemns and {restores} restores")
    return said


def _judge_call(said: Judgement, history: History, books: _Books, name: Name, call: Call) -> None:
    flight = FLIGHT_SECONDS * (2 if is_held_up(call, history.faults) else 1)
    noted = any(span.may_stand(call.arrived, flight) for span in books.notices.get(name, ()))
    said.expect(noted, f"{_at(call)}, and no notice was written")
    spans = books.tombstones.get(name, ())
    if call.method == "CONDEMN":
        standing = any(span.may_stand(call.arrived, flight) for span in spans)
        said.expect(standing, f"{_at(call)}, when nothing was condemned")
    else:
        stood = any(span.stands_for_sure(call.arrived - flight, call.arrived) for span in spans)
        said.expect(not stood, f"{_at(call)}, while it was condemned")


def _judge_order(said: Judgement, history: History, calls: Sequence[Call]) -> None:
    for one, other in pairwise(sorted(calls, key=lambda call: call.arrived)):
        apart = min(one.answered, one.arrived + PATIENCE_SECONDS) <= other.arrived
        excused = any(is_held_up(call, history.faults) for call in (one, other)) or is_hurt(one, other, history.faults)
        # What was given up because its connection was cut may be told again at once.
        said.expect(apart or excused or one.status == 0, f"{_at(other)}, while {one.request} was under way")


def _judge_restores(said: Judgement, history: History, books: _Books, name: Name, calls: Sequence[Call]) -> None:
    over = books.over.get(name, [])
    spans = books.tombstones.get(name, ())
    for number, span in enumerate(spans):
        if span.end is None or span.swept:
            continue
        heard = any(
            call.method == "CONDEMN" and span.put.earliest <= call.arrived <= span.end.earliest for call in calls
        )
        until = span.end.latest + RESTORED_SECONDS
        following = [*over[bisect_right(over, span.end.latest) :], *(one.put.earliest for one in spans[number + 1 :])]
        if not heard or any(at < until for at in following):
            continue
        restored = any(
            call.method == "RESTORE" and 200 <= call.status < 300 and span.end.earliest <= call.arrived <= until
            for call in calls
        )
        if restored or (history.ending.abandoned and until < history.ending.abandoned):
            said.expect(
                restored, f"{'/'.join(name)}: its condemnation ended at {span.end.latest:.3f}, and it heard nothing"
            )


def _judge_told(said: Judgement, history: History, books: _Books, told: dict[Name, list[Call]]) -> None:
    """By counts: of those that stood in peace, nearly all were told."""
    owners, stood, heard = {name[0] for name in told}, 0, 0
    for name, spans in books.tombstones.items():
        for span in spans if name[0] in owners else ():
            end = span.end.earliest if span.end else span.put.latest
            if end - span.put.latest < STOOD_SECONDS or _is_troubled(history, span.put.earliest, end):
                continue
            stood += 1
            heard += any(
                call.method == "CONDEMN" and span.put.earliest <= call.arrived <= end for call in told.get(name, ())
            )
    said.remarks.append(f"{heard} of {stood} condemnations that stood in peace were told")
    if stood >= FEW:
        said.expect(heard >= TOLD_PART * stood, f"only {heard} of {stood} condemnations that stood in peace were told")


def _is_troubled(history: History, begin: float, end: float) -> bool:
    return any(fault.began - STOOD_SECONDS <= end and begin <= fault.ended + STOOD_SECONDS for fault in history.faults)


def _books(history: History) -> _Books:
    books = _Books()
    for steps in State(history.terms.tenant).steps(history.events):
        ending = {step.resource for step in steps if step.family == "resources" and step.after is None}
        for step in steps:
            if step.family not in {"tombstones", "notices", "sweeps", "resources"}:
                continue
            name = step.resource[0], step.resource[2]
            if step.family in {"sweeps", "resources"}:
                began = step.family == "sweeps" and step.before is None
                if began or (step.family == "resources" and step.after is None):
                    books.over.setdefault(name, []).append(step.event.earliest)
                continue
            spans = (books.tombstones if step.family == "tombstones" else books.notices).setdefault(name, [])
            if step.after is None and spans:
                spans[-1].end, spans[-1].swept = step.event, step.resource in ending
            elif step.before is None:
                spans.append(_Span(step.event))
    return books


def _at(call: Call) -> str:
    return f"{call.owner}/{call.id}: {call.method} {call.request} by {call.caller or 'somebody'} at {call.arrived:.3f}"
