"""What parts really export: by name, kind and labels, as a scrape shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families


class Shown(NamedTuple):
    """One family of a scrape."""

    kind: str
    about: str
    labels: frozenset[str]
    """Those that were seen: none, where there is no series yet."""


def shown(text: str) -> dict[str, Shown]:
    """Every family of a scrape, by the name it is declared under."""
    found = {}
    for family in text_string_to_metric_families(text):
        if family.name.endswith("_created"):
            continue  # prometheus-client's own, until `health_routes` turns them off
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = Shown(family.type, family.documentation, frozenset(labels))
    return found


def values(text: str) -> Mapping[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    """The sum of the samples of that name that have these labels; 0 if there are none."""
    return sum(
        found for (one, theirs), found in values(text).items() if one == name and labels.items() <= dict(theirs).items()
    )


# --- in queries ---------------------------------------------------------------------------------------------------

_WORDS = {
    "absent", "and", "bottomk", "by", "count", "delta", "group_left", "histogram_quantile", "ignoring", "increase",
    "max", "max_over_time", "min", "min_over_time", "offset", "on", "or", "rate", "sum", "time", "topk", "unless",
    "without", "Inf",
}  # fmt: skip


def asked(expression: str) -> set[str]:
    """The series in an expression: words that are neither functions, nor labels, nor durations."""
    bare = re.sub(r'\{[^}]*\}|\[[^\]]*\]|"[^"]*"|\b(by|on|ignoring|without) \([^)]*\)|\boffset \w+', " ", expression)
    return set(re.findall(r"\b[a-zA-Z_:][a-zA-Z0-9_:]*", bare)) - _WORDS


def labels_asked(expression: str) -> set[str]:
    grouped = re.findall(r"\b(?:by|on|without) \(([^)]*)\)", expression)
    matched = re.findall(r"([a-z_]+)(?:=~|!=|!~|=)", " ".join(re.findall(r"\{([^}]*)\}", expression)))
    return {label.strip() for group in grouped for label in group.split(",")} | set(matched)
