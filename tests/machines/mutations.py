"""Guards taken out of the product's transactions, one at a time: the machine has to notice each."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from leasehold.protocol.store import Compare, KeyRange, Txn, Where
from tests.machines.world import Mutation


def family_of(where: Where) -> str:
    key = where.start if isinstance(where, KeyRange) else where
    return key.split(b"/")[4].decode()


def without(name: str, *families: str, also: Callable[[Compare], bool] = lambda _: True) -> Mutation:
    """``name`` without its compares on these families."""

    def mutate(transaction: str, txn: Txn) -> Txn:
        if transaction != name:
            return txn
        kept = [one for one in txn.compares if family_of(one.where) not in families or not also(one)]
        return replace(txn, compares=kept)

    return mutate


MUTATIONS: dict[str, Mutation] = {
    "condemn without looking for beacons and newer holds": without("condemn", "beacons", "holds"),
    "send without beacons and roster": without("send", "beacons", "roster"),
}
"""Those that a short run is sure to find; the model in ``tests/model`` searches for the need of every guard."""
