"""Writes ``docs/metrics.md`` from the declarations in the code and from the alerts: ``python docs/metrics_page.py``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from leasehold.control_plane.telemetry import declared as control_plane
from leasehold.shell.declaring import PROCESS, Declared, Kind
from leasehold.sidecar import telemetry as sidecar

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/metrics.md"
ALERTS = ROOT / "helm/leasehold/files/alerts.yaml"

HEAD = """# Metrics

Written by `make metrics-docs` from the declarations in the code. Every replica of the control plane serves them at
`/metrics` of `http.listen`, every sidecar at `/metrics` of its admin port and of `health_port`. No label is ever an id.
Each control plane sees the whole tenant: what is a view of the tenant is the same on all of them, so take `max` over
them, not `sum`; what a replica counts of its own work is summed. Which is which: counters, `leasehold_backlog_*` and
`leasehold_shards_held` are its own work, the other gauges are views.

A near miss is `leasehold_aborted_total{reason="held"}`; `leasehold_late_returns_total` and
`leasehold_sidecar_late_returns_total` are what came too late. `leasehold_revived_total` is the grace doing its work.
"""


def kebab(alert: str) -> str:
    """The anchor of an alert in the runbook: ``LeaseholdLateReturn`` is ``leasehold-late-return``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", alert).lower()


def page() -> str:
    """The whole page."""
    own = [one for one in control_plane.EVERY if one not in PROCESS]
    beside = [one for one in sidecar.EVERY if one not in PROCESS]
    return "\n".join(
        [
            HEAD,
            *_section("The control plane", own),
            *_section("The sidecar", beside),
            *_section("The process, of both", PROCESS),
            *_alerts(yaml.safe_load(ALERTS.read_text())),
        ]
    )


def _section(title: str, metrics: Sequence[Declared]) -> Iterator[str]:
    yield f"## {title}\n"
    for one in metrics:
        yield f"### `{one.name}`\n"
        labels = ", ".join(f"`{label}`" for label in one.labels)
        kind = f"{one.kind.value}{f' by {labels}' if labels else ''}"
        bounds = f", up to {one.bounds[-1]:g}" if one.kind is Kind.HISTOGRAM else ""
        only = f", only where {one.only}" if one.only else ""
        yield f"{one.about}. {one.meaning} *({kind}{bounds}{only})*\n".replace(".. ", ". ")
        yield f"- normal: {one.normal}"
        yield f"- otherwise: {one.act}\n"


def _alerts(document: Any) -> Iterator[str]:
    yield "## Alerts\n"
    yield "They stand in [`alerts.yaml`](../helm/leasehold/files/alerts.yaml) of the chart, which makes a"
    yield "`PrometheusRule` of them (`monitoring.prometheusRule.enabled`); any Prometheus takes them as they are.\n"
    yield "| alert | severity | when | runbook |\n|---|---|---|---|"
    for group in document["groups"]:
        for rule in group["rules"]:
            name, told = (
                rule["alert"],
                " ".join(re.sub(r"\{\{ *(.*?) *\}\}", _value, rule["annotations"]["summary"]).split()),
            )
            yield f"| `{name}` | {rule['labels']['severity']} | {told} | `runbook.md#{kebab(name)}` |"
    yield ""


def _value(found: re.Match[str]) -> str:
    said = found[1].split("|")[0].strip()
    return f"<{said.removeprefix('$labels.').removeprefix('$')}>"


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}\n")
