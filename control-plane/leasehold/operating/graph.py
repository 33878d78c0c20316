"""Who holds and needs what, as one picture: of everything, or of what one resource is connected with. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from leasehold.operating.states import HolderStatus, ResourceView, resource_views
from leasehold.operating.survey import Survey
from leasehold.protocol.names import Resource
from leasehold.protocol.transactions import EVERY

COLUMNS = ("resource", "state", "held by", "needed by", "needs", "condemned with")


class Node(msgspec.Struct, frozen=True):
    """A resource. ``held_by`` are the living; ``cycle`` is with whom it was condemned, itself included."""

    resource: str
    state: str
    held_by: tuple[str, ...]
    needed_by: tuple[str, ...]
    needs: tuple[str, ...]
    cycle: tuple[str, ...]


class Graph(msgspec.Struct, frozen=True):
    """All as of one revision. Scripts read this as JSON: fields are only ever added."""

    revision: int
    resources: tuple[Node, ...]


def graph(picture: Survey, around: Resource | None) -> Graph:
    """``around``: only what can be reached from it, along references in either direction; of what it holds nothing else
    is shown, for one holder connects everything."""
    nodes = {node.resource: node for node in map(_node, resource_views(picture))}
    shown = nodes if around is None else _connected(nodes, str(around))
    return Graph(picture.revision, tuple(node for name, node in nodes.items() if name in shown))


def row(node: Node) -> tuple[str, ...]:
    """For a table."""
    others = tuple(one for one in node.cycle if one != node.resource)
    lists = (node.held_by, node.needed_by, node.needs, others)
    return (node.resource, node.state, *(", ".join(one) or "-" for one in lists))


def dot(drawn: Graph) -> str:
    """For Graphviz: resources are boxes, holders are ellipses, a dead cycle is dashed."""
    return "\n".join(["digraph leasehold {", "  rankdir=LR;", *_lines(drawn.resources), "}"])


def _lines(nodes: Sequence[Node]) -> Iterator[str]:
    for holder in sorted({holder for node in nodes for holder in node.held_by}):
        yield f"  {_quoted(holder)} [shape=ellipse];"
    for node in nodes:
        style = ", style=dashed" if node.cycle else ""
        yield f"  {_quoted(node.resource)} [shape=box, label={_quoted(f'{node.resource} ({node.state})')}{style}];"
    for node in nodes:
        for holder in node.held_by:
            yield f"  {_quoted(holder)} -> {_quoted(node.resource)};"
        for target in node.needs:
            yield f"  {_quoted(node.resource)} -> {_quoted(target)};"


def _node(view: ResourceView) -> Node:
    return Node(
        f"{view.owner}/{view.type}/{view.id}",
        view.state.value,
        tuple(hold.holder for hold in view.holds if hold.status is HolderStatus.ALIVE),
        view.referenced_by,
        view.references,
        view.tombstone.cycle if view.tombstone else (),
    )


def _connected(nodes: dict[str, Node], start: str) -> set[str]:
    met: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        node = nodes.get(name)
        if node is not None and name not in met:
            met.add(name)
            waiting += (*node.needed_by, *_without_general(node.needs))
    return met


def _without_general(targets: Iterable[str]) -> Iterator[str]:
    return (target for target in targets if not target.endswith(f"/{EVERY}"))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
