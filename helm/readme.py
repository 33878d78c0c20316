"""The chart's README, made of the comments in ``values.yaml``: ``python helm/readme.py helm/leasehold``.

``## `` begins a section; ``# -- `` says what the value below it does, and goes on in the comments that follow. A value
without a comment is listed with its default only; one whose default is a mapping, only if it is empty or has a comment.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

_KEY = re.compile(r"( *)([A-Za-z][A-Za-z0-9]*):(?: (.*))?$")


@dataclass(frozen=True)
class Value:
    """One value: where it stands, what it is by default, what it does."""

    section: str
    path: str
    default: str
    about: str


def values(text: str) -> Iterator[Value]:
    """Every value that is worth a line, in order."""
    section, about, outer = "", "", []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("## "):
            section = stripped[3:]
        elif stripped.startswith("# -- "):
            about = stripped[5:]
        elif stripped.startswith("# ") and about:
            about += " " + stripped[2:]
        elif found := _KEY.match(line):
            depth, name, default = len(found[1]) // 2, found[2], found[3]
            outer = [*outer[:depth], name]
            if default is not None or about:
                yield Value(section, ".".join(outer), _default(default), about)
            about = ""
        else:
            about = ""


def _default(text: str | None) -> str:
    return "" if text is None else json.dumps(yaml.safe_load(text))


def readme(chart: Path) -> str:
    """The whole text."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    lines = [
        "<!-- Made by `make helm-docs` from the comments in values.yaml. Do not edit. -->",
        f"# {about['name']} {about['version']}",
        "",
        about["description"],
        "",
        "How to install, upgrade and remove it: [docs/kubernetes-install.md](../../docs/kubernetes-install.md).",
        "What to begin with in production: [values-ha.yaml](values-ha.yaml).",
    ]
    section = None
    for value in values((chart / "values.yaml").read_text()):
        if value.section != section:
            section = value.section
            lines += ["", f"## {section}", "", "| value | default | what it does |", "|---|---|---|"]
        default = f"`{value.default}`" if value.default else ""
        lines.append(f"| `{value.path}` | {default} | {value.about.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (Path(sys.argv[1]) / "README.md").write_text(readme(Path(sys.argv[1])), encoding="utf-8")
