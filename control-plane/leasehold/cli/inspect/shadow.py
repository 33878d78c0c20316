"""``leasehold shadow``: what rules that only observe or condemn would have swept, and how often that had been wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from leasehold import v1
from leasehold.cli.remote.client import ask
from leasehold.cli.remote.listings import plain
from leasehold.cli.render import output_option, show
from leasehold.cli.target import Target, pass_target
from leasehold.operating.survey import Found, take
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.keyspace import Family
from leasehold.protocol.records import ShadowRecord

SHOWN = 3


@click.command(
    epilog="""\b
Examples:
  leasehold shadow
  leasehold shadow -o json | jq '.[] | select(.wrong == 0 and .would_have_deleted > 100) | .rule'
"""
)
@output_option
@pass_target
def shadow(target: Target, output: str) -> None:
    """What would have been deleted if every rule were allowed to sweep, and was that right?

    Of what a rule with `mode: observe` or `condemn` would have deleted, some was needed afterwards (WRONG, with who
    came back after how long), some was deleted by its app itself, and some nobody has missed yet. A rule that is never
    wrong for a while may sweep; one that is wants a longer grace, or another `held_by`.
    """

    async def work(client: EtcdClient) -> Mapping[str, Found[ShadowRecord]]:
        return (await take(client, target.keys, (Family.SHADOWS,), deadline=target.deadline)).shadows

    if target.server is not None:
        report = ask(target, lambda api: api.shadow_report(v1.ShadowReportRequest()))
        found = [plain(one) for one in report.rules]
    else:
        found = [told(rule, one.record) for rule, one in sorted(target.run(work).items()) if one.record is not None]
    columns = ("rule", "mode", "would have deleted", "wrong", "by app", "unheld", "who came back")
    show(output, found, columns, [_row(one) for one in found])
    if not found and output == "table":
        click.echo("leasehold: no rule would have deleted anything yet", err=True)


def told(rule: str, record: ShadowRecord) -> dict[str, Any]:
    """One rule's report."""
    return {
        "rule": rule, "mode": record.mode, "would_have_deleted": record.wrong + record.by_app + record.unheld,
        "wrong": record.wrong, "by_app": record.by_app, "unheld": record.unheld,
        "examples": [
            {"resource": one.resource, "who": one.who, "seconds": one.seconds} for one in record.examples
        ],
        "since": record.since,
    }  # fmt: skip


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    who = "; ".join(f"{e['who']} for {e['resource']} after {e['seconds']:g} s" for e in one["examples"][:SHOWN])
    numbers = (str(one[name]) for name in ("would_have_deleted", "wrong", "by_app", "unheld"))
    return (one["rule"], one["mode"], *numbers, who)
