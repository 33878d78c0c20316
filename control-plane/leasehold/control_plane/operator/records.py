"""Lists whose items need what only etcd has: the page is chosen from the index, its records are read by their keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from leasehold import v1
from leasehold.control_plane.core.facts import Entry
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.operator import views
from leasehold.control_plane.operator.detail import sweep_of, tombstone_of
from leasehold.control_plane.operator.lists import SWEEPING, Lists, expect_states
from leasehold.control_plane.operator.ports import EtcdPort
from leasehold.operating.survey import take
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.records import SweepRecord, TombstoneRecord, Unreadable, decode
from leasehold.protocol.store import Get, GetResult, KeyValue, Txn

AT_ONCE = 100
R = TypeVar("R", bound=msgspec.Struct)


class Records:
    """Reads. Every method raises ``StoreError``, and is safe to retry."""

    def __init__(self, etcd: EtcdPort, keys: Keyspace, index: Index, lists: Lists, *, deadline: float) -> None:
        self._etcd, self._keys, self._index, self._lists, self._deadline = etcd, keys, index, lists, deadline

    async def sweeps(self, asked: v1.ListSweepsRequest, revision: int) -> v1.ListSweepsResponse:
        """Also raises ``BadPage``, ``Problem``."""
        states = [asked.state] if asked.state else []
        expect_states(states, SWEEPING, "state")
        wanted = v1.ResourceFilter(owner=asked.owner, type=asked.type, text=asked.text, states=states)
        entries, total, following = await self._lists.page(
            wanted, asked.page_size, asked.page_token, only=lambda entry: bool(entry.sweep)
        )
        found = await self._read([self._keys.sweep(entry.resource) for entry in entries])
        shown = [
            v1.SweepInfo(resource=self._short(entry), sweep=sweep_of(_decoded(SweepRecord, item), item.mod_revision))
            for entry, item in zip(entries, found, strict=True)
            if item is not None
        ]
        return v1.ListSweepsResponse(sweeps=shown, next_page_token=following, total=total, revision=revision)

    async def tombstones(self, asked: v1.ListTombstonesRequest, revision: int) -> v1.ListTombstonesResponse:
        """Also raises ``BadPage``, ``Problem``."""
        wanted = v1.ResourceFilter(owner=asked.owner, type=asked.type, text=asked.text)
        entries, total, following = await self._lists.page(
            wanted, asked.page_size, asked.page_token, only=lambda entry: bool(entry.tombstone)
        )
        found = await self._read([self._keys.tombstone(entry.resource) for entry in entries])
        shown = [
            v1.TombstoneInfo(
                resource=self._short(entry), tombstone=tombstone_of(_decoded(TombstoneRecord, item), item.mod_revision)
            )
            for entry, item in zip(entries, found, strict=True)
            if item is not None
        ]
        return v1.ListTombstonesResponse(tombstones=shown, next_page_token=following, total=total, revision=revision)

    async def shadows(self) -> v1.ShadowReportResponse:
        found = (await take(self._etcd, self._keys, (Family.SHADOWS,), deadline=self._deadline)).shadows
        records = [(rule, one.record) for rule, one in sorted(found.items()) if one.record is not None]
        return v1.ShadowReportResponse(
            rules=[
                v1.Shadow(
                    rule=rule, mode=record.mode, would_have_deleted=record.wrong + record.by_app + record.unheld,
                    wrong=record.wrong, by_app=record.by_app, unheld=record.unheld, since=record.since,
                    examples=[
                        v1.ShadowCase(resource=one.resource, who=one.who, seconds=one.seconds)
                        for one in record.examples
                    ],
                )
                for rule, record in records
            ]
        )  # fmt: skip

    def _short(self, entry: Entry) -> v1.Resource:
        return views.in_short(self._index, entry)

    async def _read(self, keys: Sequence[bytes]) -> list[KeyValue | None]:
        """What is under each, in their order; ``None``: gone meanwhile."""
        found: dict[bytes, KeyValue] = {}
        for n in range(0, len(keys), AT_ONCE):
            reading = Txn((), [Get(key) for key in keys[n : n + AT_ONCE]])
            result = await self._etcd.commit(reading, deadline=self._deadline)
            for got in result.results:
                if isinstance(got, GetResult):
                    found.update((item.key, item) for item in got.items)
        return [found.get(key) for key in keys]


def _decoded(kind: type[R], item: KeyValue) -> R | None:
    try:
        return decode(kind, item.value)
    except Unreadable:
        return None
