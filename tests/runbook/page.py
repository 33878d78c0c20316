"""The runbook, read: its sections, and the console blocks in each. Imports nothing of the product.

In a ``console`` block a line that begins with ``$ `` is a command, and the lines after it are what has to be in its
output, in this order: ``...`` stands for anything within a line, and spaces count as one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/runbook.md"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the page, and what it is said to print."""

    text: str
    expected: tuple[str, ...]

    def missing(self, output: str) -> str | None:
        """The first expected line that is not there, after the ones before it."""
        lines = iter([" ".join(line.split()) for line in output.splitlines()])
        for want in self.expected:
            pattern = ".*".join(re.escape(" ".join(part.split())) for part in want.split("..."))
            if not any(re.search(pattern, line) for line in lines):
                return want
        return None


Block = tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """What stands under one heading, up to the next of any depth."""

    title: str
    depth: int
    text: str

    @property
    def anchor(self) -> str:
        """As a forge makes it of the heading."""
        return re.sub(r"[^\w\- ]", "", self.title.lower()).replace(" ", "-")

    @property
    def blocks(self) -> list[Block]:
        return [commands(body) for kind, body in _FENCE.findall(self.text) if kind == "console"]


def commands(body: str) -> Block:
    found: list[tuple[str, list[str]]] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip():
            found[-1][1].append(line)  # a block begins with a command
    return tuple(Command(text, tuple(expected)) for text, expected in found)


def sections(text: str) -> list[Section]:
    """All of them, in their order."""
    hidden = _FENCE.sub(lambda fence: re.sub(r"[^\n]", "x", fence[0]), text)
    heads = list(re.finditer(r"^(#+) (.+)$", hidden, re.MULTILINE))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return [
        Section(head[2], len(head[1]), text[head.end() : end]) for head, end in zip(heads, ends, strict=True)
    ]  # fmt: skip


def section(title: str) -> Section:
    """The one of this heading. Raises ``ValueError`` when there is none, or more than one."""
    [found] = [one for one in sections(PAGE.read_text()) if one.title == title]
    return found
