"""The etcd client as the rest of Leasehold sees it: ``ports.Store``, ``ports.Leases`` and ``ports.Watches`` in one.

It owns every task it starts: ``close`` ends watches, renewals and calls, in this order, and returns when no socket is
left. It may be created outside, but must be used and closed inside one event loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from leasehold.protocol.etcd.channel import EtcdChannel
from leasehold.protocol.etcd.cluster import EtcdCluster, Member, Unreachable
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.key_value import PAGE_SIZE, KeyValues
from leasehold.protocol.etcd.leases import EtcdLeases
from leasehold.protocol.etcd.roles import EtcdRoles
from leasehold.protocol.etcd.watches import EtcdWatches
from leasehold.protocol.names import LeaseId, Revision
from leasehold.protocol.store import (
    Grant,
    KeyRange,
    KeyValue,
    LeaseStatus,
    MemberStatus,
    Snapshot,
    Txn,
    TxnResult,
    WatchBatch,
    Where,
)

if TYPE_CHECKING:
    from leasehold.protocol.ports import Leases, Store, Watches


class EtcdClient:
    """One cluster. What each method promises is written in ``ports``."""

    def __init__(self, config: EtcdConfig) -> None:
        """Connects to nothing yet. Raises ``ValueError`` for a malformed endpoint."""
        self.config = config
        self._channel = EtcdChannel(config)
        self._key_values = KeyValues(self._channel)
        self._leases = EtcdLeases(self._channel)
        self._watches = EtcdWatches(self._channel)
        self._cluster = EtcdCluster(self._channel)
        self.roles = EtcdRoles(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End everything that is under way. Closing twice is no error."""
        await self._watches.close()
        await self._leases.close()
        await self._channel.close()

    # --- Store ---

    async def get(self, key: bytes, *, deadline: float) -> KeyValue | None:
        return await self._key_values.get(key, deadline=deadline)

    async def read(
        self, where: Where, *, deadline: float, revision: Revision = Revision(0), keys_only: bool = False
    ) -> Snapshot:
        return await self._key_values.read(where, deadline=deadline, revision=revision, keys_only=keys_only)

    def pages(
        self, where: KeyRange, *, deadline: float, revision: Revision = Revision(0), page_size: int = PAGE_SIZE
    ) -> AsyncGenerator[Snapshot, None]:
        return self._key_values.pages(where, deadline=deadline, revision=revision, page_size=page_size)

    async def commit(self, txn: Txn, *, deadline: float) -> TxnResult:
        return await self._key_values.commit(txn, deadline=deadline)

    async def compact(self, revision: Revision, *, deadline: float) -> None:
        await self._key_values.compact(revision, deadline=deadline)

    # --- Leases ---

    async def grant(self, ttl_seconds: int, *, deadline: float, lease: LeaseId = LeaseId(0)) -> Grant:
        return await self._leases.grant(ttl_seconds, deadline=deadline, lease=lease)

    async def keep_alive(self, lease: LeaseId, *, deadline: float) -> int:
        return await self._leases.keep_alive(lease, deadline=deadline)

    async def revoke(self, lease: LeaseId, *, deadline: float) -> None:
        await self._leases.revoke(lease, deadline=deadline)

    async def time_to_live(self, lease: LeaseId, *, deadline: float, keys: bool = False) -> LeaseStatus:
        return await self._leases.time_to_live(lease, deadline=deadline, keys=keys)

    # --- Watches ---

    def watch(self, where: Where, *, start: Revision, progress_every: float = 10.0) -> AsyncGenerator[WatchBatch, None]:
        return self._watches.watch(where, start=start, progress_every=progress_every)

    # --- the cluster itself ---

    async def status(self, *, deadline: float | None = None) -> Sequence[MemberStatus | Unreachable]:
        """How each configured endpoint is, in the order of the configuration. Never raises for an endpoint."""
        return await self._cluster.status(deadline=deadline or self.config.deadline_seconds)

    async def members(self, *, deadline: float | None = None) -> Sequence[Member]:
        """Whom the cluster consists of."""
        return await self._cluster.members(deadline=deadline or self.config.deadline_seconds)


if TYPE_CHECKING:

    def _satisfies(client: EtcdClient) -> tuple[Store, Leases, Watches]:
        return client, client, client
