"""The reference of rules says what the model says, all of it."""

from __future__ import annotations

import runpy
from pathlib import Path

import msgspec
import pytest

from leasehold.protocol.rules.interception import Mode, Rule
from leasehold.protocol.rules.owners import Owner

DOCS = Path(__file__).parents[2] / "docs"
MADE = runpy.run_path(str(DOCS / "rules_reference.py"))


def test_the_page_is_as_the_model_is_now() -> None:
    assert MADE["page"]() == (DOCS / "rules-reference.md").read_text(), "`make rules-docs` writes it again"


@pytest.mark.parametrize("model", [Owner, Rule])
def test_every_field_has_a_line(model: type[msgspec.Struct]) -> None:
    section = MADE["section"](model)
    assert [name for name in model.__struct_encode_fields__ if f"| `{name}` |" not in section] == []


def test_a_field_that_is_added_shows() -> None:
    class Wider(Owner, frozen=True):
        colour: tuple[Mode, ...] = (Mode.OBSERVE,)

    assert "| `colour` | list of [Mode](#mode) | `[observe]` |" in MADE["section"](Wider)
    assert Mode in set(MADE["models"](Wider))
