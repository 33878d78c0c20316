"""Writes each dashboard into the folder that is named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from helm.dashboards.collector import COLLECTOR
from helm.dashboards.grafana import Dashboard
from helm.dashboards.sidecars import SIDECARS

FILES: dict[str, Dashboard] = {"collector.json": COLLECTOR, "sidecars.json": SIDECARS}


def written(dashboard: Dashboard) -> str:
    """As it is committed."""
    return json.dumps(dashboard.as_json(), indent=1) + "\n"


def main(folder: Path) -> None:
    """Write all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, dashboard in FILES.items():
        (folder / name).write_text(written(dashboard))
        sys.stdout.write(f"{folder / name}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
