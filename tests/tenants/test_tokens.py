"""etcd's tokens run out (300 s by default); nobody may notice. Here they do after a second."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from grpclib import GRPCError
from grpclib.client import Channel

from leasehold.protocol.etcd import rpc_pb2 as rpc
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.rpc_grpc import KVStub
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import Holder, Tenant
from leasehold.protocol.store import Put, Txn
from tests.tenants.guarded import OURS, Guarded, guarded_etcd

pytestmark = pytest.mark.etcd
DEADLINE = 10.0
KEYS = Keyspace(Tenant(OURS))


async def until_it_is_forgotten(guarded: Guarded, token: str, key: bytes) -> None:
    """Look until etcd does not know the token any more; looking counts as using it, so not too often."""
    address = urlsplit(guarded.server.endpoint)
    async with Channel(address.hostname, address.port) as channel, asyncio.timeout(60):
        while True:
            await asyncio.sleep(2.5)
            try:
                await KVStub(channel).Range(rpc.RangeRequest(key=key), metadata={"token": token})
            except GRPCError as error:
                if "invalid auth token" in (error.message or ""):
                    return
                raise


async def test_an_expired_token_is_renewed_by_reads_writes_leases_and_watches(tmp_path: Path) -> None:
    beacon = KEYS.beacon(Holder("web@one"))
    async with (
        guarded_etcd(tmp_path, ["--auth-token-ttl", "1"]) as guarded,
        EtcdClient(guarded.config(f"{OURS}.sidecar")) as client,
    ):
        credentials = client._channel._credentials
        lease = (await client.grant(600, deadline=DEADLINE)).lease
        start = (await client.commit(Txn((), (Put(beacon, b"1", lease),)), deadline=DEADLINE)).revision
        for act in ("read", "write", "renew", "list"):
            old = credentials._token
            assert old is not None
            await until_it_is_forgotten(guarded, old, beacon)
            if act == "read":
                assert await client.get(beacon, deadline=DEADLINE) is not None
            elif act == "write":
                await client.commit(Txn((), (Put(beacon, b"2", lease),)), deadline=DEADLINE)
            elif act == "renew":
                assert await client.keep_alive(lease, deadline=DEADLINE) == 600
                continue  # renewals may well go on over a stream that was opened in time
            else:
                await client.read(KEYS.family(Family.RESOURCES), deadline=DEADLINE)
            assert credentials._token != old, act
        old = credentials._token
        assert old is not None
        await until_it_is_forgotten(guarded, old, beacon)
        async with aclosing(client.watch(beacon, start=start)) as batches, asyncio.timeout(30):
            assert (await anext(batches)).events[0].item.value == b"1"
