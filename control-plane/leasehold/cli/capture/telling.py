"""What capture says of itself: tables and documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from leasehold.cli.capture.ruleset import Endpoint, Exempt, Installed, Plan
from leasehold.cli.render import show


def warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        click.echo(f"leasehold: warning: {warning}", err=True)


def print_dry_run(output: str, plan: Plan, text: str) -> None:
    if output == "table":
        click.echo(text, nl=False)
    else:
        show(output, {"table": text, "addresses": sorted(map(str, plan.owners))}, (), ())


def print_installed(output: str, plan: Plan, probed: Sequence[Endpoint]) -> None:
    if output == "table":
        told = f"verified at {', '.join(map(str, probed))}" if probed else "not verified"
        click.echo(f"installed: {len(plan.owners)} addresses to port {plan.listen_port}, {told}")
    else:
        verified = [str(endpoint) for endpoint in probed]
        addresses = sorted(map(str, plan.owners))
        show(output, {"addresses": addresses, "listen_port": plan.listen_port, "verified": verified}, (), ())


def rows_of(
    found: Mapping[Endpoint, Sequence[str]], wanted: Mapping[Endpoint, Sequence[str]] | None
) -> list[tuple[str, str, str]]:
    """Each endpoint with its owners and ``redirected``, ``missing`` or ``stale``."""
    rows = []
    for endpoint in sorted({**found, **(wanted or {})}, key=str):
        names = found.get(endpoint) or (wanted or {}).get(endpoint, ())
        state = "missing" if endpoint not in found else "redirected"
        if wanted is not None and endpoint not in wanted:
            state = "stale"
        rows.append((str(endpoint), " ".join(names), state))
    return rows


def print_status(found: Installed | None) -> None:
    if found is None:
        click.echo("not installed")
        return
    exempt = ", ".join(found.exempt.conditions()).replace("meta ", "") or "nobody"
    total = sum(found.redirected.values())
    click.echo(f"installed: to port {found.listen_port}, exempt: {exempt}, {total} connections redirected so far")


def as_status(found: Installed | None, rows: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    exempt = Exempt() if found is None else found.exempt
    return {
        "installed": found is not None,
        "listen_port": None if found is None else found.listen_port,
        "exempt": {"uid": exempt.uid, "gid": exempt.gid, "mark": exempt.mark},
        "redirected": 0 if found is None else sum(found.redirected.values()),
        "addresses": [{"address": address, "owners": names.split(), "state": state} for address, names, state in rows],
    }
