"""The runbook as a page: every alert has its section, every symptom its way in, and every command is somebody's."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from docs.metrics_page import kebab
from tests.runbook.page import PAGE, Command, sections

ROOT = Path(__file__).parents[2]
TEXT = PAGE.read_text()
ALL = sections(TEXT)
ALERTS = [
    rule["alert"]
    for group in yaml.safe_load((ROOT / "helm/leasehold/files/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
SYMPTOMS = [one for one in ALL if one.depth == 2 and one.title != "Alerts"]


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_its_section_with_a_command(alert: str) -> None:
    [found] = [one for one in ALL if one.anchor == kebab(alert)]
    assert found.depth == 3
    assert found.blocks
    for said in ("**Do.**", "**Over when**"):
        assert said in " ".join(found.text.split())


@pytest.mark.parametrize("symptom", SYMPTOMS, ids=lambda one: one.anchor)
def test_every_symptom_is_in_the_table_and_says_all_an_operator_asks(symptom: object) -> None:
    [first, *_] = ALL
    [found] = [one for one in SYMPTOMS if one is symptom]
    assert f"](#{found.anchor})" in first.text
    for asked in ("**Means.**", "**Do", "**Undo", "**Over when**"):
        assert asked in " ".join(found.text.split()), asked


@pytest.mark.parametrize("symptom", SYMPTOMS, ids=lambda one: one.anchor)
def test_every_symptom_is_brought_about_by_a_test(symptom: object) -> None:
    [found] = [one for one in SYMPTOMS if one is symptom]
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert f'section("{found.title}")' in tests


def test_outside_of_symptoms_and_alerts_the_page_has_no_command_block() -> None:
    assert [one.title for one in ALL if one.blocks and one not in SYMPTOMS and one.depth != 3] == []


def test_what_is_expected_has_to_come_in_its_order() -> None:
    command = Command("x", ("one ... three", "four"))
    assert command.missing("one  two   three\nfour\n") is None
    assert command.missing("four\none two three\n") == "four"
    assert command.missing("one two\nfour\n") == "one ... three"
    assert Command("x", ()).missing("") is None
