"""The protocol searched to the end: no law breaks, and each guard is needed.

S1 and S2 are judged by ghosts in ``world``. Taking one guard out of the product's own transaction must yield a way to
break a law; if it does not, either the guard or the search is worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from leasehold.protocol.keyspace import Family
from leasehold.protocol.store import Compare, Delete, Put, Relation, Target, Txn
from tests.model.search import search
from tests.model.world import EPOCH, HOLDERS, KEYS, Adversary, World

WORLDS = {
    "comes back": Adversary(reattaches=1, late_releases=True),
    "created again": Adversary(incarnations=2, duplicated_deletes=True),
    "comes back to a namesake": Adversary(reattaches=1, incarnations=2),
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", WORLDS)
def test_no_law_breaks_in_any_state(name: str) -> None:
    states, counterexample = search(World(WORLDS[name]))
    print(f"{name}: {states} states")
    assert counterexample is None
    assert states > 1000, "the search went nowhere"


def _without(name: str, drop: Callable[[Compare], bool]) -> Callable[[str, Txn], Txn]:
    def mutate(transaction: str, txn: Txn) -> Txn:
        if transaction != name:
            return txn
        return msgspec.structs.replace(txn, compares=[compare for compare in txn.compares if not drop(compare)])

    return mutate


def _family(family: Family, target: Target | None = None) -> Callable[[Compare], bool]:
    where = KEYS.family(family)

    def of_family(compare: Compare) -> bool:
        key = compare.where if isinstance(compare.where, bytes) else compare.where.start
        return key in where and target in {None, compare.target}

    return of_family


def _keeping_the_tombstone(name: str) -> Callable[[str, Txn], Txn]:
    tombstones = KEYS.family(Family.TOMBSTONES)

    def mutate(transaction: str, txn: Txn) -> Txn:
        if transaction != name:
            return txn
        kept = [one for one in txn.success if not (isinstance(one, Delete) and one.where in tombstones)]  # type: ignore[operator]
        return msgspec.structs.replace(txn, success=kept)

    return mutate


def _attaching_without_roster(transaction: str, txn: Txn) -> Txn:
    if transaction != "attach":
        return txn
    rosters = {KEYS.roster(holder) for holder in HOLDERS}
    return msgspec.structs.replace(
        txn, success=[one for one in txn.success if not (isinstance(one, Put) and one.key in rosters)]
    )


def _opened_after(compare: Compare) -> bool:
    return compare.where == EPOCH and compare.relation is Relation.GREATER


RETURNING = Adversary(reattaches=1)
MUTATIONS = {
    "prepare without the roster's age": (RETURNING, _without("prepare", _family(Family.ROSTER, Target.MOD))),
    "attach without renewing the roster": (RETURNING, _attaching_without_roster),
    # The next two pairs overlap on purpose: each alone is backed by the other.
    "prepare without beacons and roster": (
        RETURNING, _without("prepare", lambda one: _family(Family.BEACONS)(one) or _family(Family.ROSTER)(one)),
    ),
    "prepare without tombstone and holds": (
        Adversary(second_holder=True),
        _without("prepare", lambda one: _family(Family.TOMBSTONES)(one) or _family(Family.HOLDS)(one)),
    ),
    "prepare without the order of epoch and tombstone": (RETURNING, _without("prepare", _opened_after)),
    "register without looking for a sweep": (
        Adversary(reattaches=1, incarnations=2), _without("register", _family(Family.SWEEPS)),
    ),
    "acquire without looking for a sweep": (RETURNING, _without("acquire", _family(Family.SWEEPS))),
    "acquire without deleting the tombstone": (
        Adversary(second_holder=True), _keeping_the_tombstone("acquire"),
    ),
    "release without deleting the tombstone": (RETURNING, _keeping_the_tombstone("release")),
    "an owner that ignores the precondition": (
        Adversary(incarnations=2, duplicated_deletes=True, conditional_delete=False), lambda _, txn: txn,
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", MUTATIONS)
def test_each_guard_is_needed(name: str) -> None:
    adversary, mutate = MUTATIONS[name]
    states, counterexample = search(World(adversary, mutate), limit=400_000)
    assert counterexample is not None, f"nothing broke in {states} states"
    print(f"{name}: {len(counterexample) - 1} steps: {'; '.join(counterexample)}")
