"""Guarded transactions that put one key, with unknown outcomes read back.

"Not seen" after ``Uncertain`` does not mean "will not happen": the write may still be on its way. So it counts as
refused, nothing is done on the strength of it, and the next try starts from a fresh read.
"""

from __future__ import annotations

from dataclasses import dataclass

from leasehold.protocol.errors import Uncertain
from leasehold.protocol.names import Revision
from leasehold.protocol.ports import Store
from leasehold.protocol.store import Put, Txn
from leasehold.protocol.transactions import committed


@dataclass(frozen=True, slots=True)
class Written:
    """It took place; the key's mod_revision."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Refused:
    """It did not take place, as far as anyone can know."""


async def put_guarded(store: Store, txn: Txn, *, deadline: float) -> Written | Refused:
    """Commit a transaction whose success branch puts one key. Raises ``StoreError`` when nothing was done."""
    put = next(operation for operation in txn.success if isinstance(operation, Put))
    try:
        result = await store.commit(txn, deadline=deadline)
    except Uncertain:
        found = await store.get(put.key, deadline=deadline)
        return Written(found.mod_revision) if found is not None and found.value == put.value else Refused()
    return Written(result.revision) if committed(result) else Refused()


async def delete_guarded(store: Store, txn: Txn, key: bytes, *, deadline: float) -> bool:
    """Commit a transaction that deletes ``key`` (among others). Whether it is known to be gone."""
    try:
        return committed(await store.commit(txn, deadline=deadline))
    except Uncertain:
        return await store.get(key, deadline=deadline) is None
