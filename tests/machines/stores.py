"""Where a machine's transactions go: one store, or two that have to agree on every answer and every key.

Each is behind the product's own client. Leases are ended on purpose, never waited for, so that a run is the same
whatever the machine is busy with.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from grpclib import GRPCError

from leasehold.protocol.errors import LeaseNotFound, Rejected
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.key_value import KeyValues
from leasehold.protocol.etcd.methods import TXN
from leasehold.protocol.etcd.translation import translate
from leasehold.protocol.names import LeaseId, Revision
from leasehold.protocol.store import KeyValue, Snapshot, Txn, TxnResult, Where
from tests.etcd_process import running_etcd
from tests.fakes.etcd import FakeEtcd
from tests.fakes.etcd_store import FakeStore

DEADLINE = 10.0
TTL_SECONDS = 36_000
"""Longer than any run: leases end when the machine says so."""


class OneStore:
    """``ports.Store``, and leases, of one etcd, be it real or not."""

    def __init__(self, client: EtcdClient) -> None:
        self._client = client

    async def commit(self, txn: Txn, *, deadline: float = DEADLINE) -> TxnResult:
        return await self._client.commit(txn, deadline=deadline)

    async def read(self, where: Where, *, deadline: float = DEADLINE, revision: Revision = Revision(0)) -> Snapshot:
        return await self._client.read(where, deadline=deadline, revision=revision)

    async def get(self, key: bytes, *, deadline: float = DEADLINE) -> KeyValue | None:
        return await self._client.get(key, deadline=deadline)

    async def grant(self, lease: LeaseId) -> None:
        await self._client.grant(TTL_SECONDS, deadline=DEADLINE, lease=lease)

    async def revoke(self, lease: LeaseId) -> None:
        await self._client.revoke(lease, deadline=DEADLINE)


class Disagreement(AssertionError):
    """The fake etcd and the real one answered differently."""


class TwoStores(OneStore):
    """Does everything in both. They began at the same revision and nobody else writes, so revisions are the same."""

    def __init__(self, fake: EtcdClient, real: EtcdClient) -> None:
        super().__init__(fake)
        self._real = OneStore(real)

    async def commit(self, txn: Txn, *, deadline: float = DEADLINE) -> TxnResult:
        return _agreed(txn, *[await _outcome(store.commit(txn)) for store in (super(), self._real)])

    async def read(self, where: Where, *, deadline: float = DEADLINE, revision: Revision = Revision(0)) -> Snapshot:
        both = [await _outcome(store.read(where, revision=revision)) for store in (super(), self._real)]
        return _agreed(where, *both)

    async def get(self, key: bytes, *, deadline: float = DEADLINE) -> KeyValue | None:
        return _agreed(key, *[await _outcome(store.get(key)) for store in (super(), self._real)])

    async def grant(self, lease: LeaseId) -> None:
        await super().grant(lease)
        await self._real.grant(lease)

    async def revoke(self, lease: LeaseId) -> None:
        await super().revoke(lease)
        await self._real.revoke(lease)


async def _outcome(doing: Any) -> Any:
    try:
        return await doing
    except (LeaseNotFound, Rejected) as error:
        return error


def _agreed(what: object, fake: Any, real: Any) -> Any:
    if isinstance(fake, Exception) and type(fake) is type(real):
        raise fake
    if fake != real:
        raise Disagreement(f"{what}: the fake says {fake}, etcd says {real}")
    return fake


class InProcess(OneStore):
    """The product's ``KeyValues`` over the fake's store with nothing between them: a hundred times as many steps."""

    def __init__(self) -> None:
        self._store = FakeStore()
        self._client = KeyValues(self)  # type: ignore[arg-type,assignment]

    async def call(self, method: object, request: Any, *, deadline: float) -> Any:
        """As ``EtcdChannel`` has it."""
        try:
            reply = self._store.txn(request) if method is TXN else self._store.range(request)
        except GRPCError as error:
            raise translate(error, call="Txn", endpoint="here", sent=True) from error
        reply.header.revision = self._store.revision
        return reply

    async def grant(self, lease: LeaseId) -> None:
        self._store.grant(lease, TTL_SECONDS, 0.0)

    async def revoke(self, lease: LeaseId) -> None:
        self._store.end_lease(lease)


def straight(doing: Coroutine[Any, Any, Any]) -> Any:
    """Runs what waits for nothing."""
    try:
        doing.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits for something")


@asynccontextmanager
async def real_store(folder: Path) -> AsyncIterator[OneStore]:
    async with running_etcd(folder) as [server], EtcdClient(EtcdConfig([server.endpoint])) as client:
        yield OneStore(client)


@asynccontextmanager
async def both_stores(folder: Path) -> AsyncIterator[OneStore]:
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(FakeEtcd())
        [server] = await stack.enter_async_context(running_etcd(folder))
        clients = [
            await stack.enter_async_context(EtcdClient(config))
            for config in (fake.config, EtcdConfig([server.endpoint]))
        ]
        fake.store.revision = (await clients[1].read(b"/", deadline=DEADLINE)).revision
        yield TwoStores(*clients)
