"""What programs believed, from their own logs. Pure.

A program believes to hold what it was told it created until it lets go, and what it was told it used for as long as the
rule's idle time after it *asked* for its last use (the sidecar saw that use later). Both end with its process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.chaos.history import Belief, Life, Told

Line = Mapping[str, Any]
Name = tuple[str, str, str]


def told_of(program: str, lines: Iterable[Line]) -> list[Told]:
    """Every success it was told."""
    return [
        Told(program, line["owner"], line["id"], line["uid"], line["how"], line["asked"], line["told"], line["audit"])
        for line in lines
        if line["event"] == "told"
    ]


def life_of(life: Life, lines: Iterable[Line]) -> Life:
    """When it said that it exits, that is when it ended."""
    ended = min((line["at"] for line in lines if line["event"] == "exit"), default=life.ended)
    return Life(life.program, life.began, min(ended, life.ended), life.how)


def beliefs_of(life: Life, lines: Iterable[Line], idle: float) -> list[Belief]:
    """Every stretch of believing."""
    mind = _Mind(life, idle)
    for line in lines:
        if line["event"] == "lets-go":
            mind.let_go(_name(line), line["at"])
        elif line["event"] == "told" and line["how"] == "created":
            mind.made[_name(line)] = line["told"]
        elif line["event"] == "told":
            mind.use(_name(line), line["asked"], line["told"])
    for name in {*mind.made, *mind.used}:
        mind.let_go(name, life.ended)
    return mind.found


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
