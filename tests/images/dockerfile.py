"""A small reader of Dockerfiles: stages and instructions, with arguments filled in. Enough for ours, not for all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    word: str
    text: str

    @property
    def listed(self) -> list[str]:
        """The arguments of what is written as a JSON list."""
        found: list[str] = json.loads(self.text)
        return found

    @property
    def copied(self) -> tuple[str | None, list[str], str]:
        """Of a COPY: from which stage, what, and where to."""
        words = self.text.split()
        stage = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else None
        return stage, words[:-1], words[-1]


@dataclass
class Stage:
    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def all_of(self, word: str) -> list[Instruction]:
        return [instruction for instruction in self.instructions if instruction.word == word]


def read(path: Path) -> dict[str, Stage]:
    """The stages, in order."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    current: Stage | None = None
    for line in filter(str.strip, lines):
        word, _, rest = line.partition(" ")
        if word == "ARG" and current is None:
            name, _, value = rest.partition("=")
            arguments[name] = value
        elif word == "FROM":
            base, _, name = _filled(rest, arguments).partition(" AS ")
            current = stages[name] = Stage(name, base)
        else:
            assert current is not None, line
            current.instructions.append(Instruction(word, rest.strip()))
    return stages


def _filled(text: str, arguments: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], text)


def lineage(stages: Mapping[str, Stage], name: str) -> list[Stage]:
    """A stage and those it is made from, the oldest first."""
    found = [stages[name]]
    while found[0].base in stages:
        found.insert(0, stages[found[0].base])
    return found
