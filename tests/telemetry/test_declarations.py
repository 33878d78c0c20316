"""Declarations, code, page, alerts and dashboards say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from docs.metrics_page import ALERTS, PAGE, kebab, page
from helm.dashboards.__main__ import FILES, written
from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.config import Config, HttpSection, ObjectsConfig
from leasehold.control_plane.kubernetes.api_server import Access
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.telemetry import declared as control_plane
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.shell.declaring import PROCESS, Declared, Kind
from leasehold.shell.exporting import export_view
from leasehold.sidecar import telemetry as sidecar
from leasehold.sidecar.metrics import SidecarMetrics
from tests.telemetry.exported import asked, labels_asked, shown

EVERY = {one.name: one for one in (*control_plane.EVERY, *sidecar.EVERY)}
SERIES = {series: one for one in EVERY.values() for series in one.samples()}
OF_THE_SCRAPER = {"namespace", "pod", "le"}
"""Labels that whoever scrapes adds, and that of histograms."""
DASHBOARDS = Path(__file__).parents[2] / "helm/leasehold/files/dashboards"
WIDTH = 24


def expressions() -> Iterator[str]:
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for dashboard in FILES.values():
        for panel in dashboard.as_json()["panels"]:
            yield from (target["expr"] for target in panel.get("targets", ()))


# --- code ---------------------------------------------------------------------------------------------------------


async def of_a_control_plane() -> str:
    """What one with everything exports, but for the webhook, which only a served one has."""
    config = Config(
        "t", EtcdConfig(["http://127.0.0.1:1"]), HttpSection(), "r", 5, 300.0,
        objects=ObjectsConfig(Access("http://127.0.0.1:1"), "", 300.0),
    )  # fmt: skip
    async with EtcdClient(config.etcd) as client:
        plane = ControlPlane(config, client)
        text = generate_latest(plane.metrics.registry).decode()
        await plane.stop()
    return text


def compare(text: str, declared: tuple[Declared, ...], *, but: set[str]) -> None:
    told = shown(text)
    wanted = {one.name: one for one in declared if one.name not in but}
    assert told.keys() == wanted.keys()
    for name, one in wanted.items():
        assert told[name].kind == one.kind.value, name
        assert told[name].about == one.about, name
        assert told[name].labels <= set(one.labels), name


async def test_a_control_plane_exports_what_is_declared_and_nothing_else() -> None:
    compare(
        await of_a_control_plane(), control_plane.EVERY, but={"leasehold_webhook_certificate_not_after_seconds"}
    )  # fmt: skip


def test_a_sidecar_exports_what_is_declared_and_nothing_else() -> None:
    compare(generate_latest(SidecarMetrics().registry).decode(), sidecar.EVERY, but=set())


def test_the_comparison_sees_what_nobody_declared() -> None:
    metrics = SidecarMetrics()
    export_view(metrics.registry, Declared("nonsense", Kind.GAUGE, "a", "b", "c", "d"), lambda: [((), 1)])
    with pytest.raises(AssertionError):
        compare(generate_latest(metrics.registry).decode(), sidecar.EVERY, but=set())


async def test_a_scrape_of_a_fresh_control_plane_needs_nothing_to_be_known_yet() -> None:
    assert "leasehold_watch_lag_seconds +Inf" in await of_a_control_plane()


def test_registering_a_view_does_not_read_it() -> None:
    def never() -> list[Any]:
        raise AssertionError("read before anybody asked")

    export_view(Metrics().registry, Declared("nonsense", Kind.GAUGE, "a", "b", "c", "d"), never)


# --- declarations -------------------------------------------------------------------------------------------------


def test_a_name_is_declared_once() -> None:
    both = [one.name for one in (*control_plane.EVERY, *sidecar.EVERY) if one not in PROCESS]
    assert len(both) == len(set(both))


@pytest.mark.parametrize("one", EVERY.values(), ids=EVERY)
def test_a_metric_is_named_by_the_rules(one: Declared) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", one.name)
    assert (one.kind is Kind.COUNTER) is one.name.endswith("_total")
    if one not in PROCESS:
        assert one.name.startswith("leasehold_sidecar_") is (one in sidecar.EVERY)
        assert one.name.startswith("leasehold_")
    # Base units, at the end.
    assert not re.search(r"_(ms|milliseconds|minutes|hours|kb|mb|percent)\b", one.name)
    assert not re.search(r"_(seconds|bytes)_(?!total)", one.name)
    assert list(one.bounds) == sorted(set(one.bounds))
    assert bool(one.bounds) is (one.kind is Kind.HISTOGRAM)


@pytest.mark.parametrize("one", EVERY.values(), ids=EVERY)
def test_a_metric_says_what_it_means_what_is_normal_and_what_to_do(one: Declared) -> None:
    for text in (one.about, one.meaning, one.normal, one.act):
        assert text
        assert text == text.strip()


def test_no_label_is_an_id() -> None:
    labels = {label for one in EVERY.values() for label in one.labels}
    assert labels <= {
        "accepted", "answer", "call", "cap", "cause", "commit", "direction", "how", "kind", "operation", "outcome",
        "owner", "reason", "result", "rule", "severity", "stage", "state", "step", "type", "verdict", "version", "why",
    }  # fmt: skip


TESTS = Path(__file__).parents[1]
NOT_OF_THEIR_CHANGES = {"test_declarations.py", "cases.py"}


def test_every_metric_is_looked_at_by_a_test_of_what_changes_it() -> None:
    """No proof that it does, but nobody forgets one."""
    sources = "\n".join(path.read_text() for path in TESTS.rglob("*.py") if path.name not in NOT_OF_THEIR_CHANGES)
    looked_at = set(re.findall(r"[a-z_]+", sources))
    for one in EVERY.values():
        bare = one.name.removeprefix("leasehold_sidecar_") if one in sidecar.EVERY else one.name
        names = {*one.samples(), bare, f"{bare}_count"}
        assert names & looked_at, f"{one.name}: no test looks at it"


# --- page, alerts, dashboards -------------------------------------------------------------------------------------


def test_the_page_is_what_the_code_declares() -> None:
    assert PAGE.read_text() == page(), "run: make metrics-docs"


def test_the_page_speaks_of_every_metric_and_alert() -> None:
    text = PAGE.read_text()
    assert re.findall(r"^### `(.*)`$", text, re.MULTILINE) == [
        one.name
        for one in (
            *(one for one in control_plane.EVERY if one not in PROCESS),
            *(one for one in sidecar.EVERY if one not in PROCESS),
            *PROCESS,
        )
    ]
    assert "`runbook.md#leasehold-late-return`" in text
    assert kebab("LeaseholdNoControlPlane") == "leasehold-no-control-plane"


def test_alerts_and_dashboards_ask_for_metrics_and_labels_that_exist() -> None:
    seen = list(expressions())
    assert len(seen) > 100
    for expression in seen:
        names = asked(expression)
        assert names, expression
        assert names <= SERIES.keys(), (expression, names - SERIES.keys())
        for label in labels_asked(expression) - OF_THE_SCRAPER:
            assert any(label in SERIES[name].labels for name in names), (expression, label)


def test_the_check_of_queries_sees_names_and_labels_that_do_not_exist() -> None:
    expression = 'max by (pod, colour) (leasehold_nonsense{a=~"b"}[5m] offset 1h) > 0 unless rate(x_total[1h:5m])'
    assert asked(expression) == {"leasehold_nonsense", "x_total"}
    assert labels_asked(expression) == {"pod", "colour", "a"}


def test_a_counter_is_asked_for_its_growth_and_a_gauge_is_not() -> None:
    for expression in expressions():
        for inner in re.findall(r"\b(?:rate|increase)\((\w+)", expression):
            assert SERIES[inner].kind is not Kind.GAUGE, expression


@pytest.mark.parametrize("name", FILES)
def test_a_dashboard_is_what_its_source_says(name: str) -> None:
    assert (DASHBOARDS / name).read_text() == written(FILES[name]), "run: make dashboards"
    assert {path.name for path in DASHBOARDS.iterdir()} == FILES.keys()


@pytest.mark.parametrize("name", FILES)
def test_a_dashboard_is_one_that_grafana_takes(name: str) -> None:
    told = FILES[name].as_json()
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", told["uid"])
    variables = {variable["name"]: variable for variable in told["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    panels = told["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["type"] in {"timeseries", "stat"}
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["targets"]
            references = [target["refId"] for target in panel["targets"]]
            assert len(set(references)) == len(references)
            for target in panel["targets"]:
                assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables.keys(), target["expr"]


@pytest.mark.parametrize("name", FILES)
def test_panels_lie_beside_each_other_and_never_over_each_other(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in FILES[name].as_json()["panels"]:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= WIDTH, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]


def test_the_dashboards_together_show_every_metric_that_tells_of_trouble() -> None:
    """What has an alert can be seen on a dashboard, but for what is asked only now and then."""
    alerted = {
        SERIES[name].name
        for group in yaml.safe_load(ALERTS.read_text())["groups"]
        for rule in group["rules"]
        for name in asked(rule["expr"])
    }
    pictured = {
        SERIES[name].name
        for dashboard in FILES.values()
        for panel in dashboard.as_json()["panels"]
        for target in panel.get("targets", ())
        for name in asked(target["expr"])
    }
    assert alerted - pictured == {
        "leasehold_inventory_braked", "leasehold_objects", "leasehold_objects_behind", "leasehold_version_gate",
        "leasehold_owner_misconfigured_total", "leasehold_scan_corrections_total", "leasehold_unreadable_records",
        "leasehold_webhook_certificate_not_after_seconds",
    }  # fmt: skip
