"""The alerts as Prometheus itself judges them: each fires in its story, and is silent in the one beside it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.metrics_page import kebab
from tests.alerts.cases import STORIES, Story

FILE = Path(__file__).parents[2] / "helm/leasehold/files/alerts.yaml"
RULES: list[dict[str, Any]] = [rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]]
BY_NAME = {rule["alert"]: rule for rule in RULES}
PROMTOOL = shutil.which("promtool")
SECONDS = 60


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    if PROMTOOL is None:
        assert not os.environ.get("CI"), "no promtool: it comes with the Debian package prometheus"
        pytest.skip("no promtool here: it comes with the Debian package prometheus")
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False)


def written(text: str, story: Story) -> str:
    """An annotation as it is told of this alert."""
    text = re.sub(r"\{\{ \$labels\.([a-z]+) \}\}", lambda found: story.labels[found[1]], text)
    return text.replace("{{ $value }}", story.value)


def question(name: str, folder: Path, *, fires: bool) -> Path:
    """One story, as a file for promtool."""
    story, rule = STORIES[name], BY_NAME[name]
    expected = {
        "exp_labels": {"severity": rule["labels"]["severity"], **story.labels},
        "exp_annotations": {key: written(text, story) for key, text in rule["annotations"].items()},
    }
    series = story.fires if fires else story.silent
    alone = folder / "alert.yaml"  # by itself, as every other one would be evaluated over hours of minutes as well
    alone.write_text(yaml.safe_dump({"groups": [{"name": "alone", "rules": [rule]}]}))
    asked = {
        "rule_files": [str(alone)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": key, "values": values} for key, values in series.items()],
                "alert_rule_test": [
                    {"eval_time": story.at, "alertname": name, "exp_alerts": [expected] if fires else []}
                ],
            }
        ],
    }
    path = folder / "story.yaml"
    path.write_text(yaml.safe_dump(asked, width=1000))
    return path


def test_every_alert_has_its_two_stories() -> None:
    assert STORIES.keys() == BY_NAME.keys()
    assert len(BY_NAME) == len(RULES), "two of one name"


@pytest.mark.parametrize("name", BY_NAME)
def test_an_alert_fires_when_it_should_and_says_what_is_wrong(name: str, tmp_path: Path) -> None:
    done = promtool("test", "rules", str(question(name, tmp_path, fires=True)))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", BY_NAME)
def test_an_alert_is_silent_when_nothing_is_wrong(name: str, tmp_path: Path) -> None:
    done = promtool("test", "rules", str(question(name, tmp_path, fires=False)))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_story_with_another_end_is_told_as_wrong(tmp_path: Path) -> None:
    path = question("LeaseholdStopped", tmp_path, fires=True)
    path.write_text(path.read_text().replace("0x60", "1x60"))
    assert promtool("test", "rules", str(path)).returncode != 0


def test_prometheus_itself_takes_the_alerts() -> None:
    done = promtool("check", "rules", str(FILE))
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_alert_says_how_bad_it_is_what_it_is_about_and_where_help_is() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}, rule
        told = rule["annotations"]
        assert told["summary"], rule
        assert told["description"], rule
        assert told["runbook_url"] == f"docs/runbook.md#{kebab(rule['alert'])}", rule
