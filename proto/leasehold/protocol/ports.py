"""What the two sides need from a store. The etcd client offers it; so does the fake in the tests.

Every method takes a ``deadline`` in seconds and raises the classes of ``errors``. Reads are linearizable unless a
revision is given.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from leasehold.protocol.names import LeaseId, Revision
from leasehold.protocol.store import (
    Grant,
    KeyRange,
    KeyValue,
    LeaseStatus,
    Snapshot,
    Txn,
    TxnResult,
    WatchBatch,
    Where,
)


class Store(Protocol):
    """Reads and transactions."""

    async def get(self, key: bytes, *, deadline: float) -> KeyValue | None:
        """One key, or ``None``. Safe to retry."""
        ...

    async def read(
        self, where: Where, *, deadline: float, revision: Revision = Revision(0), keys_only: bool = False
    ) -> Snapshot:
        """Everything there at one revision (0: now), paged by key inside. ``deadline`` is per page. Safe to retry.

        Raises ``Compacted`` when the revision disappears while paging.
        """
        ...

    def pages(
        self, where: KeyRange, *, deadline: float, revision: Revision = Revision(0), page_size: int = 5000
    ) -> AsyncGenerator[Snapshot, None]:
        """The same, page by page, for ranges that should not be held in memory at once."""
        ...

    async def commit(self, txn: Txn, *, deadline: float) -> TxnResult:
        """Run one transaction. Never retried inside: raises ``Unavailable`` when it surely did not happen and
        ``Uncertain`` when it may have."""
        ...


class Leases(Protocol):
    """Leases, with etcd's verbs."""

    async def grant(self, ttl_seconds: int, *, deadline: float, lease: LeaseId = LeaseId(0)) -> Grant:
        """A lease; with ``lease`` given, that very id. Raises ``LeaseExists`` if it is taken."""
        ...

    async def keep_alive(self, lease: LeaseId, *, deadline: float) -> int:
        """Renew once and return the new TTL in seconds. Raises ``LeaseNotFound``. Safe to retry.

        All renewals of one client share one stream. Believe the lease until TTL after the *send*, not the receipt.
        """
        ...

    async def revoke(self, lease: LeaseId, *, deadline: float) -> None:
        """End it and delete its keys. A lease that is gone already is no error. Safe to retry."""
        ...

    async def time_to_live(self, lease: LeaseId, *, deadline: float, keys: bool = False) -> LeaseStatus:
        """How etcd sees it. Never raises ``LeaseNotFound``: ``remaining_seconds`` is -1. Safe to retry."""
        ...


class Watches(Protocol):
    """Changes as they happen."""

    def watch(self, where: Where, *, start: Revision, progress_every: float = 10.0) -> AsyncGenerator[WatchBatch, None]:
        """Every change from revision ``start`` on, over reconnections and leader changes, none twice, none missed.

        Yields an empty batch at least about every ``progress_every`` seconds while etcd answers, so that silence
        can be told from health. Raises ``Compacted`` when ``start`` is gone (list again), ``AccessDenied`` when
        not permitted; every other trouble is retried inside, with backoff, for ever. ``start`` 0 means from now on.
        Close the generator (``contextlib.aclosing``) to cancel the watch.
        """
        ...


class Clock(Protocol):
    """Where instants come from; tests bring their own."""

    def now(self) -> float:
        """Seconds, monotonic."""
        ...

    async def sleep_until(self, instant: float) -> None:
        """Return when ``now() >= instant``."""
        ...
