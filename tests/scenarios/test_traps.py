"""``docs/traps.md`` names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parents[2]


def named() -> list[str]:
    return re.findall(r"`(test_\w+)`", (HERE / "docs" / "traps.md").read_text())


def defined() -> set[str]:
    files = (HERE / "tests").rglob("test_*.py")
    return {
        name for file in files for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }


def test_every_trap_has_its_test() -> None:
    assert sorted(set(named()) - defined()) == []
    lines = (HERE / "docs" / "traps.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("|") and not re.fullmatch(r"\|[-|]+\|", line)]
    assert [row for row in rows if "`test_" not in row and row != "| trap | test |"] == []
    assert len(rows) > 30
