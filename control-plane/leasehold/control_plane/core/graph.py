"""Which reference cycles nothing leads to: a picture of who refers to whom in, candidates out. Pure.

The picture holds only resources that nobody holds and that some other resource refers to: whatever is in a dead cycle
is among them, and most resources are not. Edges run from a resource to what refers to it, as the index has them. In
that direction Tarjan's algorithm meets a component only after everything that leads to it, so one pass tells both:
which resources form a cycle, and whether anything outside of it still leads there.

Arrays of numbers and no recursion, for a picture may have a million nodes and one path through all of them
(docs/decisions/0015-references-and-cycles.md has the measurements). What comes out only nominates.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from leasehold.protocol.names import Resource

Picture = Sequence[tuple[Resource, Sequence[Resource]]]
"""Of one instant: each merely referenced resource once, with what refers to it."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """Resources that lead to each other. ``outside``: referrers that are not in the picture; should one of them still
    exist, somebody may need the cycle."""

    members: tuple[Resource, ...]
    outside: frozenset[Resource]


def unreached_cycles(picture: Picture) -> list[Cycle]:
    """Every cycle of two or more that no other resource of the picture leads to. Linear in nodes and edges."""
    starts, edges = _edges(picture)
    return [
        Cycle(
            tuple(picture[node][0] for node in members),
            frozenset(_outside(picture, members)),
        )
        for members in _components(starts, edges)
        if len(members) > 1 and _is_closed(members, starts, edges)
    ]


def _edges(picture: Picture) -> tuple[array[int], array[int]]:
    """Node n's edges are ``edges[starts[n]:starts[n + 1]]``: the numbers of what refers to it."""
    number = {resource: n for n, (resource, _) in enumerate(picture)}
    starts, edges = array("q", [0]), array("q")
    for _, sources in picture:
        edges.extend(number[source] for source in sources if source in number)
        starts.append(len(edges))
    return starts, edges


def _components(starts: array[int], edges: array[int]) -> Iterator[list[int]]:
    """Tarjan's strongly connected components, with the call stack kept by hand: ``path`` are the nodes being looked
    at, ``cursor`` is where in its edges each of them is, ``low`` the earliest node on the stack that it leads to."""
    size = len(starts) - 1
    order, low = array("q", bytes(8 * size)), array("q", bytes(8 * size))  # order 0: not met yet
    settled = bytearray(size)
    cursor = array("q", starts)
    stack: list[int] = []
    met = 0
    for root in range(size):
        if order[root]:
            continue
        path = [root]
        while path:
            node = path[-1]
            if not order[node]:
                met += 1
                order[node] = low[node] = met
                stack.append(node)
            at, end = cursor[node], starts[node + 1]
            while at < end:
                other = edges[at]
                if not order[other]:
                    break
                if not settled[other] and low[other] < low[node]:
                    low[node] = low[other]
                at += 1
            cursor[node] = at
            if at < end:
                path.append(edges[at])  # and back here afterwards, to take its ``low`` over
                continue
            path.pop()
            if low[node] == order[node]:
                yield _taken(stack, node, settled)


def _taken(stack: list[int], root: int, settled: bytearray) -> list[int]:
    members = []
    while True:
        node = stack.pop()
        settled[node] = 1
        members.append(node)
        if node == root:
            return members


def _is_closed(members: Sequence[int], starts: array[int], edges: array[int]) -> bool:
    inside = set(members)
    return all(edges[at] in inside for node in members for at in range(starts[node], starts[node + 1]))


def _outside(picture: Picture, members: Sequence[int]) -> Iterator[Resource]:
    inside = {picture[node][0] for node in members}
    return (source for node in members for source in picture[node][1] if source not in inside)
