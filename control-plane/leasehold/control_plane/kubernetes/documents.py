"""What etcd holds of owners and rules, which of it came from objects, and the transactions that change it.

Each change is guarded by the fence of whoever does what is done once per tenant, and by what was read of it, so that
nobody's work is overwritten unseen. The record of what came from objects is written with the documents themselves: it
never says less than is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from leasehold.control_plane.kubernetes.kinds import OWNER, RULE, Kind, Ref
from leasehold.control_plane.kubernetes.reconcile import Change, Model, Plan
from leasehold.control_plane.loading import document
from leasehold.protocol.configuration import BadConfiguration, convert
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import OwnerName, Revision, RuleName
from leasehold.protocol.ports import Store
from leasehold.protocol.records import ObjectsRecord, decode, encode
from leasehold.protocol.store import Compare, Delete, KeyValue, Operation, Put, Txn, created_at, unchanged
from leasehold.protocol.transactions import Authority

CHANGES_AT_A_TIME = 100
ABSENT = Revision(0)


@dataclass(frozen=True, slots=True)
class Stored:
    """As it was read. ``models`` holds ``None`` for what cannot be read."""

    models: Mapping[Ref, Model | None]
    revisions: Mapping[Ref, Revision]
    managed: frozenset[Ref]
    managed_revision: Revision


async def read_stored(store: Store, keys: Keyspace, *, deadline: float) -> Stored:
    """Raises ``StoreError``, and ``Unreadable`` for the record of what came from objects. Safe to retry."""
    record = await store.get(keys.objects, deadline=deadline)
    models: dict[Ref, Model | None] = {}
    revisions: dict[Ref, Revision] = {}
    for family, kind in ((Family.OWNERS, OWNER), (Family.RULES, RULE)):
        for item in (await store.read(keys.family(family), deadline=deadline)).items:
            if (key := keys.parse(item.key)) is not None:
                ref = Ref(kind, key.parts[0])
                models[ref], revisions[ref] = _model(kind, ref.name, item), item.mod_revision
    managed = _managed(record) if record is not None else frozenset()
    return Stored(models, revisions, managed, record.mod_revision if record is not None else ABSENT)


def _model(kind: Kind, name: str, item: KeyValue) -> Model | None:
    try:
        model: Model = convert(kind.model, msgspec.json.decode(item.value), "etcd")
    except (BadConfiguration, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return model if model.name == name else None


def _managed(item: KeyValue) -> frozenset[Ref]:
    record = decode(ObjectsRecord, item.value)
    return frozenset({*(Ref(OWNER, name) for name in record.owners), *(Ref(RULE, name) for name in record.rules)})


def _record(managed: frozenset[Ref]) -> bytes:
    def names(kind: Kind) -> tuple[str, ...]:
        return tuple(sorted(ref.name for ref in managed if ref.kind is kind))

    return encode(ObjectsRecord(names(OWNER), names(RULE)))


@dataclass(frozen=True, slots=True)
class Step:
    """Some changes, and what is ours once they are made."""

    changes: Sequence[Change]
    managed: frozenset[Ref]

    def transaction(self, keys: Keyspace, by: Authority, stored: Stored, managed_revision: Revision) -> Txn:
        """IF fence; documents and record as read THEN documents and record. Read back after ``Uncertain``."""
        compares: list[Compare] = [
            created_at(keys.shard(by.shard), by.fence),
            unchanged(keys.objects, managed_revision),
        ]
        operations: list[Operation] = [Put(keys.objects, _record(self.managed))]
        for change in self.changes:
            key = _key(keys, change.ref)
            compares.append(unchanged(key, stored.revisions.get(change.ref, ABSENT)))
            operations.append(Delete(key) if change.model is None else Put(key, document(change.model)))
        return Txn(compares, operations)


def steps(stored: Stored, plan: Plan) -> Iterator[Step]:
    """One, as a rule; more only beyond etcd's limit of operations; none where nothing differs."""
    managed = stored.managed
    for n in range(0, len(plan.changes), CHANGES_AT_A_TIME):
        part = plan.changes[n : n + CHANGES_AT_A_TIME]
        managed |= {change.ref for change in part if change.model is not None}
        managed -= {change.ref for change in part if change.model is None}
        last = n + CHANGES_AT_A_TIME >= len(plan.changes)
        yield Step(part, plan.managed if last else managed)
    if not plan.changes and plan.managed != stored.managed:
        yield Step((), plan.managed)


def _key(keys: Keyspace, ref: Ref) -> bytes:
    return keys.owner(OwnerName(ref.name)) if ref.kind is OWNER else keys.rule(RuleName(ref.name))
