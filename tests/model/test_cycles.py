"""A cycle searched to the end: no law breaks, and each of its guards is needed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leasehold.protocol.keyspace import Family
from leasehold.protocol.store import Compare, Delete, KeyRange, Txn
from tests.model import cycle_world as model
from tests.model.cycle_world import KEYS, Adversary, Weakness, World, X, Y
from tests.model.search import search

WORLDS = {
    "held again": Adversary(acquires=1, releases=True),
    "comes back": Adversary(reattaches=1),
    "referred to from outside": Adversary(outsider=True),
    "members and referrers are deleted by the app": Adversary(acquires=1, releases=True, outsider=True, forgets=True),
    "comes back to what another holds": Adversary(reattaches=1, acquires=1),
    # All of it at once is 146,426 states and took minutes; it is written down in docs/decisions/0015.
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", WORLDS)
def test_no_law_breaks_in_any_state(name: str) -> None:
    states, counterexample = search(World(WORLDS[name]), start=model.start(), violation=model.Violation)
    print(f"{name}: {states} states")
    assert counterexample is None
    assert states > 500, "the search went nowhere"


def _without(name: str, drop: Callable[[Compare], bool]) -> Callable[[str, Txn], Txn]:
    def mutate(transaction: str, txn: Txn) -> Txn:
        if transaction != name:
            return txn
        return Txn([compare for compare in txn.compares if not drop(compare)], txn.success, txn.failure)

    return mutate


def _about(resource: model.Resource, *families: Family) -> Callable[[Compare], bool]:
    """Compares below a resource's keys in these families."""
    path = KEYS.record(resource).removeprefix(KEYS.family(Family.RESOURCES).start)

    def about(compare: Compare) -> bool:
        key = compare.where.start if isinstance(compare.where, KeyRange) else compare.where
        return any(key in KEYS.family(one) and key[len(KEYS.family(one).start) :].startswith(path) for one in families)

    return about


def _family(family: Family) -> Callable[[Compare], bool]:
    def of_family(compare: Compare) -> bool:
        key = compare.where.start if isinstance(compare.where, KeyRange) else compare.where
        return key in KEYS.family(family)

    return of_family


def _registering_keeps_the_tombstone(transaction: str, txn: Txn) -> Txn:
    if transaction != "register":
        return txn
    kept = [one for one in txn.success if not (isinstance(one, Delete) and one.where == KEYS.tombstone(Y))]
    return Txn(txn.compares, kept, txn.failure)


def _nothing(_: str, txn: Txn) -> Txn:
    return txn


HELD = Adversary(acquires=1, releases=True)
MUTATIONS = {
    "condemn without the other member's holds": (
        Adversary(acquires=1), _without("condemn", _about(X, Family.HOLDS)), Weakness(),
    ),
    # Overlap on purpose: each alone is backed by the other.
    "prepare without the other member's tombstone and holds": (
        HELD, _without("prepare", _about(X, Family.TOMBSTONES, Family.HOLDS)), Weakness(),
    ),
    "prepare without references and tombstone": (
        Adversary(outsider=True), _without("prepare", _about(Y, Family.TOMBSTONES, Family.REFS)), Weakness(),
    ),
    "register keeping the tombstone of what it refers to": (
        Adversary(outsider=True, forgets=True), _registering_keeps_the_tombstone, Weakness(),
    ),
    "register without looking for a sweep of what it refers to": (
        Adversary(outsider=True), _without("register", _family(Family.SWEEPS)), Weakness(),
    ),
    "send without its turn": (HELD, _without("send", _about(Y, Family.SWEEPS)), Weakness()),
    "members prepared one by one": (HELD, _nothing, Weakness(one_by_one=True)),
    "sweeps that name their own holders only": (
        Adversary(acquires=1, reattaches=1), _nothing, Weakness(own_holders=True),
    ),
    "a member given up alone": (HELD, _nothing, Weakness(aborts_alone=True)),
    "the grace of a cycle counted for one that is left of it": (
        Adversary(acquires=1, forgets=True), _nothing, Weakness(trusts_broken_cycles=True),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", MUTATIONS)
def test_each_guard_is_needed(name: str) -> None:
    adversary, mutate, weakness = MUTATIONS[name]
    world = World(adversary, mutate, weakness)
    states, counterexample = search(world, start=model.start(), violation=model.Violation, limit=400_000)
    assert counterexample is not None, f"nothing broke in {states} states"
    print(f"{name}: {len(counterexample) - 1} steps: {'; '.join(counterexample)}")
