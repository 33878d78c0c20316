"""What programs believed, from their own logs. Pure.

A program believes to hold what it was told it created until it lets go, and what it was told it used for as long as the
rule's idle time after it *asked* for its last use (the sidecar saw that use later). Both end with its process.

What a timer holds is believed to be there for the timer's time after it was asked for last, whoever lives; what a
service holds until somebody deletes it or the last program of the service ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.history import Belief, Life, Referral, Told

Line = Mapping[str, Any]
Name = tuple[str, str, str]


def told_of(program: str, lines: Iterable[Line]) -> list[Told]:
    """Every success it was told."""
    return [
        Told(program, line["owner"], line["id"], line["uid"], line["how"], line["asked"], line["told"], line["audit"])
        for line in lines
        if line["event"] == "told"
    ]


def referrals_of(program: str, lines: Iterable[Line]) -> list[Referral]:
    """Every answer that told it what something needs."""
    return [
        Referral(
            program, line["owner"], line["id"], line["uid"], tuple(line["refers"]), line["asked"], line["told"]
        )
        for line in lines
        if line["event"] == "refers" and line["refers"]
    ]  # fmt: skip


def life_of(life: Life, lines: Iterable[Line]) -> Life:
    """When it said that it exits, that is when it ended."""
    ended = min((line["at"] for line in lines if line["event"] == "exit"), default=life.ended)
    return Life(life.program, life.began, min(ended, life.ended), life.how)


@dataclass(frozen=True, slots=True)
class Promises:
    """What rules promise to those who create and use. ``timers``: seconds, by owner; ``services``: the owners of what a
    service holds, which ``service_ends`` at that instant."""

    idle: float
    timers: Mapping[str, float] = field(default_factory=dict)
    services: frozenset[str] = frozenset()
    service_ends: float = 0.0


def beliefs_of(life: Life, lines: Iterable[Line], promises: Promises) -> list[Belief]:
    """Every stretch of believing."""
    mind = _Mind(life, promises.idle)
    shared = _Shared(promises)
    for line in lines:
        if line["event"] in {"told", "lets-go"} and shared.knows(line["owner"]):
            shared.hear(line)
        elif line["event"] == "lets-go":
            mind.let_go(_name(line), line["at"])
        elif line["event"] == "told" and line["how"] == "created":
            mind.made[_name(line)] = line["told"]
        elif line["event"] == "told":
            mind.use(_name(line), line["asked"], line["told"])
    for name in {*mind.made, *mind.used}:
        mind.let_go(name, life.ended)
    return mind.found + shared.end()


class _Shared:
    """What this program made or used, and others hold: timers and services."""

    def __init__(self, promises: Promises) -> None:
        self._promises = promises
        self._since: dict[Name, float] = {}
        self._until: dict[Name, float] = {}
        self._found: list[Belief] = []

    def knows(self, owner: str) -> bool:
        return owner in self._promises.timers or owner in self._promises.services

    def hear(self, line: Line) -> None:
        name = _name(line)
        if line["event"] == "lets-go":
            self._end(name, line["at"])
            return
        if self._until.get(name, 0.0) < line["asked"]:
            self._end(name, line["told"])
        self._since.setdefault(name, line["told"])
        timer = self._promises.timers.get(line["owner"])
        self._until[name] = self._promises.service_ends if timer is None else line["asked"] + timer

    def end(self) -> list[Belief]:
        for name in list(self._since):
            self._end(name, float("inf"))
        return self._found

    def _end(self, name: Name, at: float) -> None:
        if name in self._since:
            since, until = self._since.pop(name), min(at, self._until.pop(name))
            if until > since:
                self._found.append(Belief("", *name, since, until, "created"))


class _Mind:
    """What one program believes now. ``used``: since when, and until when unless it is used again."""

    def __init__(self, life: Life, idle: float) -> None:
        self._life, self._idle = life, idle
        self.made: dict[Name, float] = {}
        self.used: dict[Name, tuple[float, float]] = {}
        self.found: list[Belief] = []

    def use(self, name: Name, asked: float, told: float) -> None:
        if name in self.made:
            return  # held for life anyway
        since, until = self.used.get(name, (told, told))
        if until < told:
            self._end(name, since, until, "used")
            since = told
        self.used[name] = since, asked + self._idle

    def let_go(self, name: Name, at: float) -> None:
        if name in self.made:
            self._end(name, self.made.pop(name), at, "created")
        if name in self.used:
            since, until = self.used.pop(name)
            self._end(name, since, min(until, at), "used")

    def _end(self, name: Name, since: float, until: float, how: str) -> None:
        until = min(until, self._life.ended)
        if until > since:
            self.found.append(Belief(self._life.program, *name, since, until, how))


def _name(line: Line) -> Name:
    return line["owner"], line["id"], line["uid"]
