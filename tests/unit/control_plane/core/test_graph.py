"""Dead cycles in a picture of references: exactly those that nothing else leads to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leasehold.control_plane.core.graph import Cycle, Picture, unreached_cycles
from leasehold.protocol.names import Resource


def named(n: int) -> Resource:
    return Resource("o", "t", str(n))  # type: ignore[arg-type]


def picture(edges: dict[int, list[int]]) -> Picture:
    """Each number with what refers to it."""
    return [(named(n), [named(source) for source in sources]) for n, sources in edges.items()]


def ids(found: list[Cycle]) -> list[list[int]]:
    return sorted(sorted(int(member.id) for member in one.members) for one in found)


def test_a_cycle_that_nothing_leads_to_is_found_and_one_behind_it_is_not() -> None:
    assert ids(unreached_cycles(picture({1: [2], 2: [1], 3: [4, 1], 4: [3], 5: []}))) == [[1, 2]]


def test_a_chain_is_no_cycle_and_what_refers_to_itself_is_none() -> None:
    assert unreached_cycles(picture({1: [2], 2: [3], 3: [3]})) == []


def test_who_leads_there_from_outside_of_the_picture_is_told() -> None:
    (found,) = unreached_cycles(picture({1: [2, 9], 2: [1]}))
    assert found.outside == {named(9)}


def test_a_ring_of_a_hundred_thousand_needs_no_recursion() -> None:
    size = 100_000
    (found,) = unreached_cycles(picture({n: [(n + 1) % size] for n in range(size)}))
    assert len(found.members) == size


GRAPHS = st.integers(1, 9).flatmap(
    lambda size: st.fixed_dictionaries({n: st.lists(st.integers(0, size - 1), max_size=3) for n in range(size)})
)


@given(GRAPHS)
def test_what_is_found_is_what_reachability_says(edges: dict[int, list[int]]) -> None:
    leads: dict[int, set[int]] = {}  # whom one can come from, along any number of references
    for n in edges:
        met, waiting = set[int](), list(edges[n])
        while waiting:
            other = waiting.pop()
            if other not in met:
                met.add(other)
                waiting += edges[other]
        leads[n] = met
    expected = {
        tuple(sorted(leads[n])) for n in edges
        if len(leads[n]) > 1 and n in leads[n] and all(leads[other] == leads[n] for other in leads[n])
    }  # fmt: skip
    assert [tuple(one) for one in ids(unreached_cycles(picture(edges)))] == sorted(expected)
