"""What real clients and real servers said to each other, byte by byte: connections written down by ``record``."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Turn:
    """Bytes that one side sent, as they were read at once."""

    by_client: bool
    data: bytes


@dataclass(frozen=True)
class Recorded:
    """One connection. ``rules``: ``store`` or ``grpc``; ``seen``: the rules and ids that are to be found in it."""

    name: str
    rules: str
    turns: tuple[Turn, ...]
    seen: tuple[tuple[str, str], ...]

    def side(self, *, client: bool) -> bytes:
        return b"".join(turn.data for turn in self.turns if turn.by_client is client)


@cache
def all_recorded() -> tuple[Recorded, ...]:
    return tuple(one for path in sorted(HERE.glob("*.json")) for one in load(path))


def load(path: Path) -> list[Recorded]:
    """The connections of one recording."""
    found = json.loads(path.read_text())
    return [
        Recorded(
            f"{path.stem} {n}",
            found["rules"],
            tuple(Turn(by == "client", base64.b64decode(data)) for by, data in one["turns"]),
            tuple((rule, id_) for rule, id_ in one["seen"]),
        )
        for n, one in enumerate(found["connections"])
    ]


def save(name: str, rules: str, connections: list[Recorded]) -> None:
    """As ``load`` reads it."""
    written = [
        {
            "seen": one.seen,
            "turns": [
                ("client" if turn.by_client else "server", base64.b64encode(turn.data).decode()) for turn in one.turns
            ],
        }
        for one in connections
    ]
    (HERE / f"{name}.json").write_text(json.dumps({"rules": rules, "connections": written}, indent=1) + "\n")
