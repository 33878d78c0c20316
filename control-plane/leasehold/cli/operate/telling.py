"""What ``rules test`` found, for people: whose call it is, a line per rule, and all about those that matched."""

from __future__ import annotations

from collections.abc import Iterator

import click

from leasehold.cli.render import show
from leasehold.protocol.trials import Explanation, Verdict


def print_explanation(found: Explanation) -> None:
    """The call, a line per rule, and all about those that matched. Remarks and warnings go to stderr."""
    for remark in found.remarks:
        click.echo(f"remark: {remark}", err=True)
    for line in headline(found):
        click.echo(line)
    if found.verdicts:
        click.echo("")
        rows = [(each.rule, each.on, _word(each), each.resource or each.why) for each in found.verdicts]
        show("table", found, ("rule", "on", "verdict", ""), rows)
    for verdict in found.verdicts:
        if verdict.matched:
            click.echo("")
            for line in details(verdict):
                click.echo(line)
        for warning in verdict.warnings if verdict.matched else ():
            click.echo(f"warning: {warning}", err=True)


def headline(found: Explanation) -> Iterator[str]:
    """Which call, and whose it is; or whom the rules know instead."""
    status = found.status if found.status or not found.trouble else "?"
    yield f"{found.method or '?'} {found.target or '?'} -> {status}"
    if found.trouble:
        yield f"No rule can match: {found.trouble}."
    if found.owner is not None:
        named = f"the host {found.authority}" if found.known_by == "authority" else f"the address {found.destination}"
        yield f"Owner {found.owner}, known by {named}."
    elif found.hosts:
        known = "; ".join(f"{name}: {', '.join(hosts)}" for name, hosts in found.hosts.items())
        yield f"Known are {known} (port 80 unless said)."


def details(verdict: Verdict) -> Iterator[str]:
    """What a matching rule does."""
    yield f"{verdict.rule}:"
    if verdict.resource is None:
        yield f"  nothing is registered ({verdict.reason}): {verdict.why}"
    else:
        yield f"  resource      {verdict.resource}"
    if verdict.incarnation is not None:
        own = verdict.incarnation.startswith("call:")
        yield f"  incarnation   {'our name for the call: the answer tells none' if own else verdict.incarnation}"
    if verdict.references:
        yield f"  needs         {', '.join(verdict.references)}"
    if verdict.doubt:
        yield f"                {verdict.doubt}"
    if verdict.held_by is not None:
        lasts = f" of {verdict.ttl_seconds:g} s" if verdict.ttl_seconds is not None else ""
        yield f"  held by       {verdict.held_by}{lasts}"
    if verdict.on == "create":
        less = f" ({verdict.mode_wanted} is not permitted)" if verdict.mode != verdict.mode_wanted else ""
        yield f"  mode          {verdict.mode}{less}"
    waits = " and ".join(f"the {side}" for side in verdict.holds)
    waiting = f"{waits} would wait, at most {verdict.hold_deadline_seconds:g} s" if waits else "nothing would wait"
    yield f"  commit        {verdict.commit}: {waiting}"


def _word(verdict: Verdict) -> str:
    if not verdict.matched:
        return f"no: {verdict.reason}"
    return "matched" if verdict.resource is not None else f"unusable: {verdict.reason}"
