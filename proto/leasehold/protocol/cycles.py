"""Condemning and preparing the members of a reference cycle: all at once, or not at all. Pure.

What keeps one member alive keeps all of them: each is needed by another. So the transaction of a cycle is the
transactions of its members taken together, every compare of every member, in one ``Txn`` of etcd. Each member's
``Unheld.sources`` must leave out the members and nothing else: an inbound reference is then gone, or from within.

- Tombstones of one cycle share one revision. Whatever a living holder does to a member deletes that member's, and
  then ``prepare_cycle`` is refused for all of them.
- Once prepared, no member can be held or referred to any more, and they are sent one after another, the last-created
  first (``transactions.send`` sees to the order). If one of them is given up, so are all that were not sent.
- A set that is no cycle does no harm here: the compares alone decide. What does not fit into one transaction is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leasehold.protocol import transactions
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Resource, Revision
from leasehold.protocol.records import SweepRecord, TombstoneRecord
from leasehold.protocol.store import MAX_OPERATIONS, Txn
from leasehold.protocol.transactions import Authority, EpochFound, Unheld

MAX_MEMBERS = 17
"""With one dead holder of all of them. More holders, and references by what is gone, leave room for fewer."""


def condemn_cycle(
    keys: Keyspace, by: Authority, members: Sequence[Unheld], tombstones: Mapping[Resource, TombstoneRecord]
) -> Txn:
    """IF everything of *condemn* for every member THEN put all tombstones.

    After ``Uncertain`` simply look again: the tombstones tell. Raises ``ValueError`` for what does not fit.
    """
    return _together([transactions.condemn(keys, by, one, tombstones[one.resource]) for one in members])


def prepare_cycle(
    keys: Keyspace,
    by: Authority,
    members: Sequence[Unheld],
    tombstone: Revision,
    epochs: Mapping[Resource, EpochFound],
    sweeps: Mapping[Resource, SweepRecord],
) -> Txn:
    """IF everything of *prepare* for every member THEN put all sweeps. ``epochs``: of each member's own class.

    After ``Uncertain`` read the sweeps back. Raises ``ValueError`` for what does not fit.
    """
    return _together(
        [transactions.prepare(keys, by, one, tombstone, epochs[one.resource], sweeps[one.resource]) for one in members]
    )


def fits(members: Sequence[Unheld], classes: int) -> bool:
    """Whether both transactions have room, with ``classes`` different graces. What has not is never condemned."""
    holders = {holder for one in members for holder in one.holders}
    kinds = {transactions.every(one.resource) for one in members}
    sources = {source for one in members for source in one.sources}
    each = sum(6 + len(one.holds) for one in members)
    return 2 + 2 * classes + len(kinds) + each + 3 * len(holders) + len(sources) <= MAX_OPERATIONS


def _together(parts: Sequence[Txn]) -> Txn:
    """Distinct compares are compared once."""
    compares = list(dict.fromkeys(compare for part in parts for compare in part.compares))
    then = [operation for part in parts for operation in part.success]
    if max(len(compares), len(then)) > MAX_OPERATIONS:
        raise ValueError(f"{len(parts)} members need {len(compares)} compares, and etcd takes {MAX_OPERATIONS}")
    return Txn(compares, then)
