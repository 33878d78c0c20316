"""What the chart brings along: a README made of the values, alerts and dashboards as they stand in their files."""

from __future__ import annotations

import json
from collections.abc import Iterator

import yaml

from helm.dashboards.__main__ import FILES
from helm.readme import readme, values
from tests.helm.chart import CHART, one, rendered

ALERTS = yaml.safe_load((CHART / "files/alerts.yaml").read_text())


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


def test_what_is_rendered_is_what_stands_in_the_files() -> None:
    things = rendered("monitored")
    assert one(things, "PrometheusRule")["spec"] == ALERTS
    told = one(things, "ConfigMap", "leasehold-dashboards")["data"]
    assert {name: json.loads(text) for name, text in told.items()} == {
        f"leasehold-{name}": dashboard.as_json() for name, dashboard in FILES.items()
    }
