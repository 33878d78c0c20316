"""etcd as a value: an immutable map of keys, and ``commit`` as a pure function of it. For searching all states.

Only what the protocol's transactions use: compares on create, mod and value, puts, deletes of keys and ranges, nested
transactions. All compares see the state before the transaction, as in etcd.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from leasehold.protocol.store import Compare, Delete, KeyRange, Put, Relation, Target, Txn, Where


@dataclass(frozen=True, slots=True)
class Item:
    value: bytes
    create: int
    mod: int


ABSENT = Item(b"", 0, 0)
Keys = Mapping[bytes, Item]


def found(keys: Keys, where: Where) -> list[bytes]:
    if isinstance(where, KeyRange):
        return [key for key in keys if key in where]
    return [where] if where in keys else []


def holds(keys: Keys, compare: Compare) -> bool:
    items = [keys[key] for key in found(keys, compare.where)]
    if not items and compare.target is Target.VALUE:
        return False
    return all(_holds(item, compare) for item in items or [ABSENT])


def _holds(item: Item, compare: Compare) -> bool:
    value = {Target.CREATE: item.create, Target.MOD: item.mod, Target.VALUE: item.value}[compare.target]
    if compare.relation is Relation.EQUAL:
        return value == compare.operand
    assert isinstance(value, int)
    assert isinstance(compare.operand, int)
    return value > compare.operand if compare.relation is Relation.GREATER else value < compare.operand


def commit(keys: Keys, txn: Txn, revision: int) -> tuple[Keys, bool]:
    """The keys after the transaction, and whether all of it took place. ``revision`` is the one it writes at."""
    after = dict(keys)
    complete = True
    for operation, done in _path(keys, txn):
        complete = complete and done
        if isinstance(operation, Put):
            before = keys.get(operation.key)
            after[operation.key] = Item(operation.value, before.create if before else revision, revision)
        elif isinstance(operation, Delete):
            for key in found(keys, operation.where):
                after.pop(key, None)
    return after, complete


def _path(keys: Keys, txn: Txn) -> Iterator[tuple[Put | Delete | None, bool]]:
    succeeded = all(holds(keys, compare) for compare in txn.compares)
    yield None, succeeded
    for operation in txn.success if succeeded else txn.failure:
        if isinstance(operation, Txn):
            yield from _path(keys, operation)
        elif isinstance(operation, Put | Delete):
            yield operation, True
