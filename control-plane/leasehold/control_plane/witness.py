"""All evidence about a resource, as etcd held it at one revision.

One read-only transaction asks for everything the index expects to matter. What turns up beyond that (a holder the
index has not heard of) is read at the very same revision, so that the evidence is one consistent picture.
"""

from __future__ import annotations

from collections.abc import Sequence

from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.verdict import Evidence, read_evidence
from leasehold.protocol.errors import Uncertain
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Holder, Resource, Revision
from leasehold.protocol.ports import Store
from leasehold.protocol.store import Get, GetResult, KeyRange, KeyValue, Txn, Where
from leasehold.protocol.transactions import every

ASKED_AT_ONCE = 100
"""Of etcd's 128 operations; further keys are read one by one."""


class Witness:
    """Reads; never writes, never judges."""

    def __init__(self, store: Store, keys: Keyspace, index: Index, *, deadline: float) -> None:
        self._store, self._keys, self._index, self._deadline = store, keys, index, deadline

    async def look(self, resource: Resource) -> Evidence:
        """Safe to retry. Raises ``StoreError``."""
        keys = self._keys
        asked = [*self._fixed(resource), *self._expected(resource)][:ASKED_AT_ONCE]
        reading = Txn((), [Get(where) for where in asked])
        try:
            result = await self._store.commit(reading, deadline=self._deadline)
        except Uncertain:
            # The store never repeats a transaction; this one only reads.
            result = await self._store.commit(reading, deadline=self._deadline)
        found: dict[bytes, KeyValue] = {}
        for got in result.results:
            if isinstance(got, GetResult):
                found.update((item.key, item) for item in got.items)
        for key in self._still_needed(resource, found) - {where for where in asked if isinstance(where, bytes)}:
            found.update(await self._read(key, result.revision))
        return read_evidence(keys, resource, result.revision, found, found.get(keys.armed))

    async def look_together(self, resources: Sequence[Resource]) -> list[Evidence]:
        """The same of several, all at one revision. Cycles are rare and small, so each key is read by itself."""
        keys = self._keys
        revision = (await self._store.read(keys.armed, deadline=self._deadline)).revision
        looked = []
        for resource in resources:
            found: dict[bytes, KeyValue] = {}
            for where in self._fixed(resource):
                found.update(await self._read(where, revision))
            for key in self._still_needed(resource, found):
                found.update(await self._read(key, revision))
            looked.append(read_evidence(keys, resource, revision, found, found.get(keys.armed)))
        return looked

    async def _read(self, where: Where, revision: Revision) -> dict[bytes, KeyValue]:
        got = await self._store.read(where, deadline=self._deadline, revision=revision)
        return {item.key: item for item in got.items}

    def _fixed(self, resource: Resource) -> list[Where]:
        keys = self._keys
        return [
            keys.record(resource), keys.pin(resource), keys.tombstone(resource), keys.sweep(resource), keys.armed,
            keys.holds_of(resource), keys.refs_to(resource), keys.refs_to(every(resource)),
        ]  # fmt: skip

    def _expected(self, resource: Resource) -> list[bytes]:
        entry = self._index.entry(resource)
        if entry is None:
            return []
        about = [key for hold in entry.holds for key in self._about(hold.holder)]
        if self._index.hastes.hastened(entry):
            about.append(self._keys.haste(resource))
        return [*about, *(self._keys.record(source.resource) for source in entry.sources)]

    def _still_needed(self, resource: Resource, found: dict[bytes, KeyValue]) -> set[bytes]:
        keys, needed = self._keys, set[bytes]()
        holds: KeyRange = keys.holds_of(resource)
        refs: KeyRange = keys.refs_to(resource)
        general: KeyRange = keys.refs_to(every(resource))
        for key in found:
            is_hold = key in holds
            if not (is_hold or key in refs or key in general):
                continue
            parsed = keys.parse(key)
            if parsed is None:
                continue
            if is_hold:
                needed.update(self._about(parsed.holder))
            else:
                needed.add(keys.record(parsed.source))
        return needed

    def _about(self, holder: Holder) -> tuple[bytes, bytes]:
        return self._keys.beacon(holder), self._keys.roster(holder)
