"""The commands ``get``, ``why`` and ``graph``: they read, at one revision, and change nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from leasehold import v1
from leasehold.cli.inspect.leftovers import LEFTOVERS
from leasehold.cli.inspect.listings import LISTINGS, Listing, StoredView
from leasehold.cli.remote.client import ask, name_of
from leasehold.cli.remote.listings import DOCUMENTS, Wanted, collect, document, plain
from leasehold.cli.remote.listings import LISTINGS as REMOTE
from leasehold.cli.render import Row, output_option, show, warn_unreadable
from leasehold.cli.target import RESOURCE, Failure, Target, pass_target
from leasehold.operating.explain import Explanation, look_into
from leasehold.operating.graph import COLUMNS, Graph, Node, dot, graph, row
from leasehold.operating.survey import take
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.names import Resource

ALL: Mapping[str, Listing[Any]] = {**LISTINGS, **LEFTOVERS}


@dataclass(frozen=True, slots=True)
class Filters:
    """What ``get`` leaves out. Empty means: nothing."""

    owner: str | None
    kind: str | None
    state: str | None

    def keeps(self, value: Mapping[str, Any]) -> bool:
        """Whether a value passes: a field it does not have never excludes it."""
        wanted = (("owner", self.owner), ("type", self.kind), ("state", self.state))
        return all(want is None or value.get(field, want) == want for field, want in wanted)


@click.command(
    epilog="""\b
Examples:
  leasehold get resources --owner blob-store --state in-grace
  leasehold get holders -o json | jq '.[] | select(.status == "vanished")'
  leasehold get sweeps --state quarantined
  leasehold get suspects
"""
)
@click.argument("what", type=click.Choice(sorted(ALL)))
@click.option("--owner", help="Only of this owner.")
@click.option("--type", "kind", help="Only of this type.")
@click.option(
    "--state",
    help="Only in this state. "
    + "; ".join(f"Of {what}: {', '.join(LISTINGS[what].states)}" for what in ("resources", "holders", "rules"))
    + ".",
)
@output_option
@pass_target
def get(target: Target, what: str, owner: str | None, kind: str | None, state: str | None, output: str) -> None:
    """List RESOURCES, HOLDERS, TOMBSTONES, SWEEPS, RULES, OWNERS, INTENTS, SUSPECTS or ORPHANS as etcd has them.

    SUSPECTS are creating calls of ended holders of which nobody knows what they created; ORPHANS are resources that no
    rule saw created, but that an owner lists as ours.

    Everything printed was true together, at one revision of etcd.
    """
    listing = ALL[what]
    if state is not None and state not in listing.states:
        expected = f"one of {', '.join(listing.states)}" if listing.states else f"none: {what} have no state"
        raise click.BadParameter(f"expected {expected}; got {state!r}", param_hint="--state")
    if target.server is not None:
        _get_remotely(target, what, Wanted(owner or "", kind or "", state or ""), output)
        return
    filters = Filters(owner, kind, state)

    async def work(client: EtcdClient) -> Any:
        return await take(client, target.keys, listing.families, deadline=target.deadline)

    picture = target.run(work)
    warn_unreadable(picture.unreadable)
    values = [value for value in listing.values(picture) if filters.keeps(listing.fields(value))]
    _show_all(target, what, output, values, [listing.row(value) for value in values])


def _get_remotely(target: Target, what: str, wanted: Wanted, output: str) -> None:
    documents = DOCUMENTS.get(what)
    if documents is not None:
        found = ask(target, lambda api: collect(api, documents, wanted))
        stored = [StoredView(one.name, one.mode or None, one.revision, document(one)) for one in found]
        _show_all(target, what, output, stored, [ALL[what].row(one) for one in stored])
        return
    listing = REMOTE.get(what)
    if listing is None:
        raise Failure(f"the operator API does not list {what}; leave --server out, and name etcd with --etcd")
    found = ask(target, lambda api: collect(api, listing.ask, wanted))
    _show_all(target, what, output, [plain(one) for one in found], [listing.row(one) for one in found])


def _show_all(target: Target, what: str, output: str, values: Sequence[Any], rows: Sequence[Row]) -> None:
    show(output, values, ALL[what].columns, rows)
    if not values and output == "table":
        # On stderr, so that a pipe sees only rows: an empty table may be the wrong tenant.
        click.echo(f"leasehold: no such {what} in tenant {target.tenant} at {target.where}", err=True)


@click.command(
    epilog="""\b
Examples:
  leasehold why blob-store/blob/4711
  leasehold why objects/object/photos/2024/cat.jpg      (ids may contain slashes)
  leasehold why blob-store/blob/4711 -o json | jq .facts.holds
"""
)
@click.argument("resource", type=RESOURCE)
@output_option
@pass_target
def why(target: Target, resource: Resource, output: str) -> None:
    """Why is RESOURCE (<owner>/<type>/<id>) still there, and what happens to it next, and when?"""

    if target.server is not None:
        told = ask(target, lambda api: api.why(v1.WhyRequest(name=name_of(resource))))
        if output == "table":
            _tell(told.sentences, told.next, told.revision, told.acting, armed=told.armed)
        else:
            show(output, plain(told), (), ())
        return

    async def work(client: EtcdClient) -> Explanation | None:
        return await look_into(client, target.keys, resource, deadline=target.deadline)

    found = target.run(work)
    if found is None:
        raise Failure(
            f"{resource}: nothing is recorded in tenant {target.tenant} (no rule saw it created, or it was deleted "
            "and forgotten); expected one of `leasehold get resources`"
        )
    if output == "table":
        _tell(found.sentences, found.next, found.revision, found.leader or "", armed=found.armed)
    else:
        show(output, found, (), ())


def _tell(sentences: Sequence[str], following: Sequence[str], revision: int, acting: str, *, armed: bool) -> None:
    for sentence in sentences:
        click.echo(sentence)
    click.echo("")
    for sentence in following:
        click.echo(f"Next: {sentence}")
    leader = f"control plane {acting} acts for it" if acting else "no control plane acts for it"
    click.echo(f"(as of revision {revision}; {leader}, the brake is {'armed' if armed else 'tripped'})")


@click.command(
    name="graph",
    epilog="""\b
Examples:
  leasehold graph --resource blob-store/blob/4711
  leasehold graph -o dot | dot -Tsvg > graph.svg
  leasehold graph -o json | jq '.resources[] | select(.cycle != [])'
""",
)
@click.option("--resource", type=RESOURCE, help="Only what is connected with this resource by references.")
@click.option(
    "-o", "--output", type=click.Choice(("table", "dot", "json")), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
@pass_target
def graph_command(target: Target, resource: Resource | None, output: str) -> None:
    """Who holds what, and which resources need each other? Everything printed was true together."""

    drawn = _drawn(target, resource) if target.server is None else _drawn_remotely(target, resource)
    if output == "dot":
        click.echo(dot(drawn))
    else:
        show(output, drawn, COLUMNS, [row(node) for node in drawn.resources])


def _drawn(target: Target, resource: Resource | None) -> Graph:
    async def work(client: EtcdClient) -> Any:
        return await take(client, target.keys, LISTINGS["resources"].families, deadline=target.deadline)

    picture = target.run(work)
    if resource is not None and resource not in picture.resources:
        raise Failure(f"{resource}: there is no record of it in tenant {target.tenant}")
    warn_unreadable(picture.unreadable)
    return graph(picture, resource)


def _drawn_remotely(target: Target, resource: Resource | None) -> Graph:
    around = name_of(resource) if resource is not None else None
    told = ask(target, lambda api: api.graph(v1.GraphRequest(around=around, max_nodes=MOST_NODES)))
    if told.truncated:
        click.echo(f"leasehold: warning: only the first {MOST_NODES} resources are drawn", err=True)
    nodes = (
        Node(one.resource, one.state, *map(tuple, (one.held_by, one.needed_by, one.needs, one.cycle)))
        for one in told.resources
    )
    return Graph(told.revision, tuple(nodes))


MOST_NODES = 5000
COMMANDS: Sequence[click.Command] = (get, why, graph_command)
