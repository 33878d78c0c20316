"""What the chart brings along: a README made of the values, alerts and a dashboard about metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from helm.readme import readme, values
from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.config import Config, HttpSection, ObjectsConfig
from leasehold.control_plane.config_webhook import WebhookSection, webhook_config
from leasehold.control_plane.kubernetes.api_server import Access
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.sidecar.metrics import SidecarMetrics
from tests.helm.chart import CHART, one, rendered
from tests.unit.injection.pods import settings

ALERTS = yaml.safe_load((CHART / "files/alerts.yaml").read_text())
DASHBOARD = json.loads((CHART / "files/dashboard.json").read_text())
SERVERS_OWN = {"namespace", "pod", "le"}
"""Labels that whoever scrapes adds, and that of histograms."""
_WORDS = {
    "sum", "max", "min", "by", "increase", "rate", "delta", "absent", "or", "and", "on", "topk", "histogram_quantile",
    "unless", "ignoring", "group_left", "time",
}  # fmt: skip


def test_the_readme_is_what_the_values_say() -> None:
    assert (CHART / "README.md").read_text() == readme(CHART), "run: make helm-docs"


def test_the_readme_tells_every_value() -> None:
    def leaves(node: object, path: str = "") -> Iterator[str]:
        if isinstance(node, dict) and node:
            for name, value in node.items():
                yield from leaves(value, f"{path}.{name}".removeprefix("."))
        else:
            yield path

    told = {value.path for value in values((CHART / "values.yaml").read_text())}
    for leaf in leaves(yaml.safe_load((CHART / "values.yaml").read_text())):
        assert any(leaf == path or leaf.startswith(path + ".") for path in told), leaf


# --- metrics ------------------------------------------------------------------------------------------------------


def exported(registry: CollectorRegistry) -> dict[str, set[str]]:
    """Every name that a scrape can show, with its labels; views are asked for theirs without being collected."""
    found: dict[str, set[str]] = {}
    for collector, names in registry._collector_to_names.items():
        labels = set(getattr(collector, "_labelnames", ())) | set(getattr(collector, "_labels", None) or ())
        for name in names or shown(collector):
            found[name] = labels | {"le"} if name.endswith("_bucket") else labels
    return found


def shown(collector: Any) -> Iterator[str]:
    """The names of what does not describe itself."""
    for family in collector.collect():
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        yield from (family.name + ending for ending in endings)


async def every_metric(folder: Path) -> dict[str, set[str]]:
    config = Config(
        "t", EtcdConfig(["http://127.0.0.1:1"]), HttpSection(), "r", 5, 300.0,
        objects=ObjectsConfig(Access("http://127.0.0.1:1"), "", 300.0),
        webhook=webhook_config(WebhookSection(certificates="files", namespaces="trust"), settings(), folder),
    )  # fmt: skip
    async with EtcdClient(config.etcd) as client:
        plane = ControlPlane(config, client)
        names = exported(plane.metrics.registry) | exported(SidecarMetrics().registry)
        await plane.stop()
    return names


def expressions() -> list[str]:
    alerts = [rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]]
    return alerts + [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def named(expression: str) -> set[str]:
    """The metrics in an expression: words that are neither functions nor labels."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|on|ignoring) \([^)]*\)", " ", expression)
    return set(re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", bare)) - _WORDS


def labels_of(expression: str) -> set[str]:
    grouped = re.findall(r"\bby \(([^)]*)\)", expression)
    matched = re.findall(r"([a-z_]+)=", " ".join(re.findall(r"\{([^}]*)\}", expression)))
    return {label.strip() for group in grouped for label in group.split(",")} | set(matched)


async def test_alerts_and_dashboard_ask_for_metrics_and_labels_that_exist(tmp_path: Path) -> None:
    known = await every_metric(tmp_path)
    assert len(expressions()) > 25
    for expression in expressions():
        names = named(expression)
        assert names, expression
        assert names <= known.keys(), (expression, names - known.keys())
        for label in labels_of(expression) - SERVERS_OWN:
            assert any(label in known[name] for name in names), (expression, label)


async def test_the_check_of_metrics_sees_a_name_that_does_not_exist(tmp_path: Path) -> None:
    known = await every_metric(tmp_path)
    assert named('max by (pod) (leasehold_nonsense{a="b"}[5m]) > 0') - known.keys() == {"leasehold_nonsense"}
    assert {"leasehold_swept_total", "leasehold_resources", "leasehold_sidecar_registrations_total"} <= known.keys()
    assert known["leasehold_resources"] == {"owner", "type", "state"}


def test_an_alert_says_what_it_is_about_and_how_bad_it_is() -> None:
    seen = set()
    for rule in ALERTS["groups"][0]["rules"]:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}, rule
        assert rule["annotations"]["summary"], rule
        assert rule["alert"] not in seen
        seen.add(rule["alert"])
        for label in re.findall(r"\$labels\.([a-z]+)", json.dumps(rule["annotations"])):
            assert label in labels_of(rule["expr"]), rule


def test_what_is_rendered_is_what_stands_in_the_files() -> None:
    things = rendered("monitored")
    assert one(things, "PrometheusRule")["spec"] == ALERTS
    assert json.loads(one(things, "ConfigMap", "leasehold-dashboard")["data"]["leasehold.json"]) == DASHBOARD


def test_prometheus_itself_takes_the_alerts(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here: it comes with the Debian package prometheus")
    file = tmp_path / "alerts.yaml"
    file.write_text(yaml.safe_dump(ALERTS))
    done = subprocess.run(
        [promtool, "check", "rules", str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
