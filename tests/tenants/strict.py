"""A fake etcd that holds to its roles to the letter, nested transactions included, as real ones do since 3.5.28.

Old versions look at the outermost level only (CVE-2026-33343), and our parts nest much of what they do: with those
alone, a right that is missing in a role would show up only after an upgrade.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from grpclib import Status
from grpclib.events import RecvMessage, RecvRequest, listen
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from leasehold.protocol.etcd import rpc_grpc
from leasehold.protocol.etcd import rpc_pb2 as rpc
from leasehold.protocol.roles import Access, Grant
from tests.fakes.etcd import FakeEtcd

_user: ContextVar[str] = ContextVar("user", default="")
Asked = tuple[bool, bytes, bytes]
"""Whether it writes; the key; the range's end, empty for a single key."""


class StrictEtcd(FakeEtcd):
    """``users``: what each may do. Its clock runs with the real one."""

    def __init__(self, users: Mapping[str, Iterable[Grant]]) -> None:
        super().__init__()
        self.users = {user: tuple(grants) for user, grants in users.items()}
        self.denied: list[str] = []
        """Who asked for what in vain."""
        self._server = Server([*self.services, _Auth()])
        listen(self._server, RecvRequest, self._who)
        listen(self._server, RecvMessage, self._may_they)
        self._ticking: asyncio.Task[None] | None = None

    async def start(self, port: int = 0) -> None:
        await super().start(port)
        self._ticking = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
        await super().stop()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            self.advance(0.1)

    async def _who(self, event: RecvRequest) -> None:
        _user.set(str(event.metadata.get("token", "")))

    async def _may_they(self, event: RecvMessage) -> None:
        grants = self.users.get(_user.get(), ())
        for asked in _asked(event.message):
            if not any(_covers(grant, *asked) for grant in grants):
                what = f"{_user.get()}: {'write' if asked[0] else 'read'} {asked[1:]!r}"
                self.denied.append(what)
                raise GRPCError(Status.PERMISSION_DENIED, "etcdserver: permission denied")


class _Auth(rpc_grpc.AuthBase):
    """Whoever says a name is believed: who is who is etcd's, and tested with a real one."""

    async def Authenticate(self, stream: Stream[rpc.AuthenticateRequest, rpc.AuthenticateResponse]) -> None:
        request = await stream.recv_message()
        assert request is not None
        await stream.send_message(rpc.AuthenticateResponse(token=request.name))

    async def _no(self, stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED, "not in this fake")

    AuthEnable = UserAdd = UserGrantRole = RoleAdd = RoleGet = RoleGrantPermission = RoleRevokePermission = _no


def _covers(grant: Grant, writes: bool, key: bytes, end: bytes) -> bool:
    if grant.access not in (Access.READWRITE, Access.WRITE if writes else Access.READ):
        return False
    if not grant.end:
        return key == grant.start and not end
    return grant.start <= key and (end <= grant.end if end else key < grant.end)


def _asked(message: Any) -> Iterator[Asked]:
    if isinstance(message, rpc.RangeRequest):
        yield False, message.key, message.range_end
    elif isinstance(message, rpc.PutRequest):
        yield True, message.key, b""
    elif isinstance(message, rpc.DeleteRangeRequest):
        yield True, message.key, message.range_end
    elif isinstance(message, rpc.TxnRequest):
        yield from _asked_by(message)
    elif isinstance(message, rpc.WatchRequest) and message.HasField("create_request"):
        yield False, message.create_request.key, message.create_request.range_end


def _asked_by(txn: rpc.TxnRequest) -> Iterator[Asked]:
    for compare in txn.compare:
        yield False, compare.key, compare.range_end
    for operation in (*txn.success, *txn.failure):
        yield from _asked(getattr(operation, operation.WhichOneof("request") or ""))
