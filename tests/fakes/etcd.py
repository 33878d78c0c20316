"""A fake etcd: ``etcd_store`` behind a real gRPC server, so that the real client is what runs against it.

``async with FakeEtcd() as fake:`` serves at ``fake.endpoint``. Its clock stands still until ``advance``. The switches
for trouble:

- ``fake.drop_after_apply(n)``  the next n writes take effect, their answers never arrive: ``Uncertain``
- ``fake.refuse(n)``            the next n calls are refused before anything is done: ``Unavailable``
- ``fake.stall()``              everything hangs until ``resume()``
- ``fake.disconnect()``         every connection breaks; the server goes on listening
- ``fake.lose_lease(lease)``    the lease ends early, with its keys
- ``fake.no_space = True``      writes and grants fail with NOSPACE
- ``fake.compact(revision)``    the history before ``revision`` is gone
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

from grpclib import Status
from grpclib.server import Server, Stream

from leasehold.protocol.etcd import rpc_grpc
from leasehold.protocol.etcd import rpc_pb2 as rpc
from leasehold.protocol.etcd.config import EtcdConfig
from tests.fakes.etcd_store import FakeStore, compacted, refused

CLUSTER_ID = 0xFACE
MEMBER_ID = 0xFA
VERSION = "3.5.99"
WATCH_MAX_REVISIONS = 1000


class FakeEtcd(AbstractAsyncContextManager["FakeEtcd"]):
    """One member, alone."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        """``sock``: a bound socket to listen on, perhaps of another network namespace."""
        self.store = FakeStore()
        self._sock = sock
        self.now = 0.0
        self.no_space = False
        self.calls: list[str] = []
        """The names of the methods called so far."""
        self.watches_created = 0
        self._drops = 0
        self._refusals = 0
        self._running = asyncio.Event()
        self._running.set()
        self._changed: set[asyncio.Event] = set()
        self._connections: set[Any] = set()
        self.services = [_KV(self), _Watch(self), _Lease(self), _Cluster(self), _Maintenance(self)]
        self._server = Server(self.services)
        self.endpoint = ""

    @property
    def config(self) -> EtcdConfig:
        """For a client of this fake."""
        return EtcdConfig(endpoints=[self.endpoint])

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        if self._sock is None:
            await self._server.start("127.0.0.1", port)
        else:
            await self._server.start(sock=self._sock)
        assert self._server._server is not None
        host, port = self._server._server.sockets[0].getsockname()[:2]
        self.endpoint = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop listening and break every connection; the store stays as it is."""
        self.resume()
        self._server.close()
        self.disconnect()
        await self._server.wait_closed()
        await asyncio.sleep(0)

    # --- trouble ---

    def drop_after_apply(self, times: int = 1) -> None:
        self._drops = times

    def refuse(self, times: int = 1) -> None:
        self._refusals = times

    def stall(self) -> None:
        self._running.clear()

    def resume(self) -> None:
        self._running.set()

    def disconnect(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def lose_lease(self, lease: int) -> None:
        self.store.end_lease(lease)
        self.announce()

    def compact(self, revision: int) -> None:
        self.store.compact(revision)
        self.announce()

    def advance(self, seconds: float) -> None:
        """Let time pass; leases that run out in it end, the earliest first, each in a revision of its own."""
        self.now += seconds
        due = [
            (lease.expires_at, number) for number, lease in self.store.leases.items() if lease.expires_at <= self.now
        ]
        for _, number in sorted(due):
            self.store.end_lease(number)
        self.announce()

    # --- what the services share ---

    def header(self) -> rpc.ResponseHeader:
        return rpc.ResponseHeader(cluster_id=CLUSTER_ID, member_id=MEMBER_ID, revision=self.store.revision, raft_term=2)

    def announce(self) -> None:
        for event in self._changed:
            event.set()

    async def enter(self, stream: Stream[Any, Any], name: str) -> None:
        """At the beginning of every call."""
        self.calls.append(name)
        self._connections.add(stream._stream.connection)
        await self._running.wait()
        if self._refusals:
            self._refusals -= 1
            raise refused(Status.UNAVAILABLE, "no leader")

    async def answer(
        self, name: str, stream: Stream[Any, Any], act: Callable[[Any], Any], *, writes: bool = False
    ) -> None:
        """One unary call."""
        await self.enter(stream, name)
        request = await stream.recv_message()
        assert request is not None
        if writes and self.no_space:
            raise refused(Status.RESOURCE_EXHAUSTED, "mvcc: database space exceeded")
        reply = act(request)
        reply.header.CopyFrom(self.header())
        if writes:
            self.announce()
            if self._drops:
                self._drops -= 1
                await stream.cancel()
                return
        await stream.send_message(reply)


class _KV(rpc_grpc.KVBase):
    def __init__(self, fake: FakeEtcd) -> None:
        self._fake = fake

    async def Range(self, stream: Stream[rpc.RangeRequest, rpc.RangeResponse]) -> None:
        await self._fake.answer("Range", stream, self._fake.store.range)

    async def Put(self, stream: Stream[rpc.PutRequest, rpc.PutResponse]) -> None:
        def act(request: rpc.PutRequest) -> rpc.PutResponse:
            operation = rpc.RequestOp(request_put=request)
            return self._fake.store.txn(rpc.TxnRequest(success=[operation])).responses[0].response_put

        await self._fake.answer("Put", stream, act, writes=True)

    async def DeleteRange(self, stream: Stream[rpc.DeleteRangeRequest, rpc.DeleteRangeResponse]) -> None:
        def act(request: rpc.DeleteRangeRequest) -> rpc.DeleteRangeResponse:
            operation = rpc.RequestOp(request_delete_range=request)
            return self._fake.store.txn(rpc.TxnRequest(success=[operation])).responses[0].response_delete_range

        await self._fake.answer("DeleteRange", stream, act, writes=True)

    async def Txn(self, stream: Stream[rpc.TxnRequest, rpc.TxnResponse]) -> None:
        await self._fake.answer("Txn", stream, self._fake.store.txn, writes=True)

    async def Compact(self, stream: Stream[rpc.CompactionRequest, rpc.CompactionResponse]) -> None:
        def act(request: rpc.CompactionRequest) -> rpc.CompactionResponse:
            self._fake.compact(request.revision)
            return rpc.CompactionResponse()

        await self._fake.answer("Compact", stream, act)


class _Lease(rpc_grpc.LeaseBase):
    def __init__(self, fake: FakeEtcd) -> None:
        self._fake = fake

    async def LeaseGrant(self, stream: Stream[rpc.LeaseGrantRequest, rpc.LeaseGrantResponse]) -> None:
        def act(request: rpc.LeaseGrantRequest) -> rpc.LeaseGrantResponse:
            return self._fake.store.grant(request.ID, request.TTL, self._fake.now)

        await self._fake.answer("LeaseGrant", stream, act, writes=True)

    async def LeaseRevoke(self, stream: Stream[rpc.LeaseRevokeRequest, rpc.LeaseRevokeResponse]) -> None:
        def act(request: rpc.LeaseRevokeRequest) -> rpc.LeaseRevokeResponse:
            self._fake.lose_lease(request.ID)
            return rpc.LeaseRevokeResponse()

        await self._fake.answer("LeaseRevoke", stream, act)

    async def LeaseTimeToLive(self, stream: Stream[rpc.LeaseTimeToLiveRequest, rpc.LeaseTimeToLiveResponse]) -> None:
        def act(request: rpc.LeaseTimeToLiveRequest) -> rpc.LeaseTimeToLiveResponse:
            lease = self._fake.store.leases.get(request.ID)
            if lease is None:
                return rpc.LeaseTimeToLiveResponse(ID=request.ID, TTL=-1)
            return rpc.LeaseTimeToLiveResponse(
                ID=request.ID,
                TTL=int(lease.expires_at - self._fake.now),
                grantedTTL=lease.ttl,
                keys=sorted(lease.keys) if request.keys else (),
            )

        await self._fake.answer("LeaseTimeToLive", stream, act)

    async def LeaseKeepAlive(self, stream: Stream[rpc.LeaseKeepAliveRequest, rpc.LeaseKeepAliveResponse]) -> None:
        await self._fake.enter(stream, "LeaseKeepAlive")
        async for request in stream:
            await self._fake._running.wait()
            lease = self._fake.store.leases.get(request.ID)
            if lease is not None:
                lease.expires_at = self._fake.now + lease.ttl
            ttl = lease.ttl if lease is not None else 0
            await stream.send_message(rpc.LeaseKeepAliveResponse(header=self._fake.header(), ID=request.ID, TTL=ttl))


class _Watcher:
    def __init__(self, create: rpc.WatchCreateRequest, next_revision: int) -> None:
        self.key = create.key
        self.end = create.range_end
        self.next_revision = next_revision


class _Watch(rpc_grpc.WatchBase):
    def __init__(self, fake: FakeEtcd) -> None:
        self._fake = fake

    async def Watch(self, stream: Stream[rpc.WatchRequest, rpc.WatchResponse]) -> None:
        await self._fake.enter(stream, "Watch")
        changed = asyncio.Event()
        watchers: dict[int, _Watcher] = {}
        sender = asyncio.create_task(self._send_events(stream, watchers, changed))
        self._fake._changed.add(changed)
        try:
            async for request in stream:
                await self._fake._running.wait()
                await self._on_request(stream, request, watchers)
                changed.set()
        finally:
            self._fake._changed.discard(changed)
            sender.cancel()
            await asyncio.wait((sender,))
            if not sender.cancelled():
                sender.exception()

    async def _on_request(
        self,
        stream: Stream[rpc.WatchRequest, rpc.WatchResponse],
        request: rpc.WatchRequest,
        watchers: dict[int, _Watcher],
    ) -> None:
        kind = request.WhichOneof("request_union")
        if kind == "create_request":
            create = request.create_request
            number = create.watch_id or len(watchers)
            self._fake.watches_created += 1
            await stream.send_message(rpc.WatchResponse(header=self._fake.header(), watch_id=number, created=True))
            watchers[number] = _Watcher(create, create.start_revision or self._fake.store.revision + 1)
        elif kind == "cancel_request":
            number = request.cancel_request.watch_id
            watchers.pop(number, None)
            await stream.send_message(rpc.WatchResponse(header=self._fake.header(), watch_id=number, canceled=True))
        else:
            for number, watcher in watchers.items():
                await self._catch_up(stream, number, watcher)  # answers are ordered with events: etcd 3.5.8
            await stream.send_message(rpc.WatchResponse(header=self._fake.header(), watch_id=-1))

    async def _send_events(
        self,
        stream: Stream[rpc.WatchRequest, rpc.WatchResponse],
        watchers: dict[int, _Watcher],
        changed: asyncio.Event,
    ) -> None:
        while True:
            await changed.wait()
            changed.clear()
            await self._fake._running.wait()
            for number, watcher in list(watchers.items()):
                if watcher.next_revision < self._fake.store.compacted:
                    del watchers[number]
                    await stream.send_message(
                        rpc.WatchResponse(
                            header=self._fake.header(),
                            watch_id=number,
                            canceled=True,
                            compact_revision=self._fake.store.compacted,
                            cancel_reason=compacted().message or "",
                        )
                    )
                else:
                    await self._catch_up(stream, number, watcher)

    async def _catch_up(
        self, stream: Stream[rpc.WatchRequest, rpc.WatchResponse], number: int, watcher: _Watcher
    ) -> None:
        store = self._fake.store
        events = store.events_since(watcher.next_revision, watcher.key, watcher.end)
        watcher.next_revision = max(watcher.next_revision, store.revision + 1)
        header = self._fake.header()
        while events:
            last = sorted({event.kv.mod_revision for event in events})[:WATCH_MAX_REVISIONS][-1]
            batch = [event for event in events if event.kv.mod_revision <= last]
            events = events[len(batch) :]
            await stream.send_message(rpc.WatchResponse(header=header, watch_id=number, events=batch))


class _Cluster(rpc_grpc.ClusterBase):
    def __init__(self, fake: FakeEtcd) -> None:
        self._fake = fake

    async def MemberList(self, stream: Stream[rpc.MemberListRequest, rpc.MemberListResponse]) -> None:
        def act(_: rpc.MemberListRequest) -> rpc.MemberListResponse:
            member = rpc.Member(ID=MEMBER_ID, name="fake", clientURLs=[self._fake.endpoint])
            return rpc.MemberListResponse(members=[member])

        await self._fake.answer("MemberList", stream, act)


class _Maintenance(rpc_grpc.MaintenanceBase):
    def __init__(self, fake: FakeEtcd) -> None:
        self._fake = fake

    async def Alarm(self, stream: Stream[rpc.AlarmRequest, rpc.AlarmResponse]) -> None:
        def act(_: rpc.AlarmRequest) -> rpc.AlarmResponse:
            alarms = [rpc.AlarmMember(memberID=MEMBER_ID, alarm=rpc.NOSPACE)] if self._fake.no_space else []
            return rpc.AlarmResponse(alarms=alarms)

        await self._fake.answer("Alarm", stream, act)

    async def Status(self, stream: Stream[rpc.StatusRequest, rpc.StatusResponse]) -> None:
        def act(_: rpc.StatusRequest) -> rpc.StatusResponse:
            return rpc.StatusResponse(version=VERSION, dbSize=4096, leader=MEMBER_ID, raftTerm=2)

        await self._fake.answer("Status", stream, act)
