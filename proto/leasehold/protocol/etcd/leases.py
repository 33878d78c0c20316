"""Leases: grant, renew, revoke, look at. All renewals of one client share one stream.

Laws of the stream:

- etcd answers renewals in the order in which they were asked, so answers are matched first in, first out, per lease.
  Every call sends a request of its own: joining one that was sent earlier would make the caller, who counts from his
  own send, believe in the lease for too long.
- A stream that ends fails whoever waits on it; the next renewal opens a new one, at another endpoint if there is one.
- A renewal that misses its deadline on a stream that said nothing since takes the stream with it.
- At most ``MAX_WAITING`` renewals wait; one more is ``Unavailable`` at once, which the caller's next beat repeats.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic

from grpclib.client import Stream
from grpclib.exceptions import StreamTerminatedError

from leasehold.protocol.errors import LeaseNotFound, StoreError, Unavailable, Uncertain
from leasehold.protocol.etcd import rpc_pb2 as rpc
from leasehold.protocol.etcd.channel import EtcdChannel
from leasehold.protocol.etcd.isolation import end
from leasehold.protocol.etcd.methods import LEASE_GRANT, LEASE_KEEP_ALIVE, LEASE_REVOKE, LEASE_TIME_TO_LIVE
from leasehold.protocol.names import LeaseId
from leasehold.protocol.store import Grant, LeaseStatus

MAX_WAITING = 10_000

_Stream = Stream[rpc.LeaseKeepAliveRequest, rpc.LeaseKeepAliveResponse]


class EtcdLeases:
    """``ports.Leases`` over a channel."""

    def __init__(self, channel: EtcdChannel) -> None:
        self._channel = channel
        self._renewals: _Renewals | None = None
        self._streams: set[asyncio.Task[None]] = set()

    async def grant(self, ttl_seconds: int, *, deadline: float, lease: LeaseId = LeaseId(0)) -> Grant:
        """A lease; with ``lease`` given, that very id. Raises ``LeaseExists`` if it is taken.

        Not to be repeated blindly when ``Uncertain``: without an id a second lease may come of it, which nobody keeps.
        """
        request = rpc.LeaseGrantRequest(TTL=ttl_seconds, ID=lease)
        reply = await self._channel.call(LEASE_GRANT, request, deadline=deadline)
        return Grant(LeaseId(reply.ID), reply.TTL)

    async def keep_alive(self, lease: LeaseId, *, deadline: float) -> int:
        """Renew once and return the new TTL in seconds. Raises ``LeaseNotFound``. Safe to retry."""
        if self._renewals is None or self._renewals.ended:
            self._renewals = _Renewals(self._channel)
            self._streams.add(self._renewals.task)
            self._renewals.task.add_done_callback(self._streams.discard)
        ttl = await self._renewals.renew(lease, deadline)
        if ttl <= 0:
            raise LeaseNotFound(f"LeaseKeepAlive: lease {lease:x} is not there")
        return ttl

    async def revoke(self, lease: LeaseId, *, deadline: float) -> None:
        """End it and delete its keys. A lease that is gone already is no error. Safe to retry."""
        try:
            await self._channel.call(LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=lease), deadline=deadline)
        except LeaseNotFound:
            return

    async def time_to_live(self, lease: LeaseId, *, deadline: float, keys: bool = False) -> LeaseStatus:
        """How etcd sees it. Never raises ``LeaseNotFound``: ``remaining_seconds`` is -1. Safe to retry."""
        request = rpc.LeaseTimeToLiveRequest(ID=lease, keys=keys)
        try:
            reply = await self._channel.call(LEASE_TIME_TO_LIVE, request, deadline=deadline)
        except LeaseNotFound:
            return LeaseStatus(lease, -1, 0)
        return LeaseStatus(lease, reply.TTL, reply.grantedTTL, list(reply.keys))

    async def close(self) -> None:
        """End the stream; renewals under way are ``Uncertain`` to their callers."""
        await end(*self._streams)


class _Waiting:
    """One renewal on its way."""

    __slots__ = ("answer", "lease", "sent")

    def __init__(self, lease: LeaseId, answer: asyncio.Future[int]) -> None:
        self.lease = lease
        self.answer = answer
        self.sent = False


class _Renewals:
    """One life of the shared stream, from its opening to its first error."""

    def __init__(self, channel: EtcdChannel) -> None:
        self._channel = channel
        self._unsent: deque[_Waiting] = deque()
        self._sent: dict[LeaseId, deque[_Waiting]] = {}
        self._count = 0
        self._work = asyncio.Event()
        self._heard_at = monotonic()
        self.ended = False
        self.task = asyncio.create_task(self._live(), name="etcd LeaseKeepAlive")

    async def renew(self, lease: LeaseId, deadline: float) -> int:
        """The TTL etcd answered, 0 when it does not know the lease."""
        if self._count >= MAX_WAITING:
            raise Unavailable(f"LeaseKeepAlive: {MAX_WAITING} renewals are waiting already")
        waiting = _Waiting(lease, asyncio.get_running_loop().create_future())
        self._unsent.append(waiting)
        self._count += 1
        self._work.set()
        began = monotonic()
        try:
            async with asyncio.timeout(deadline):
                return await waiting.answer
        except TimeoutError:
            if self._heard_at < began:
                self._end()
            kind = Uncertain if waiting.sent else Unavailable
            raise kind(f"LeaseKeepAlive: no answer for lease {lease:x} before the deadline") from None
        finally:
            self._count -= 1

    def _end(self) -> None:
        self.ended = True
        self.task.cancel()

    async def _live(self) -> None:
        trouble: StoreError = Unavailable("LeaseKeepAlive: the stream was closed")
        try:
            async with self._channel.stream(LEASE_KEEP_ALIVE) as (stream, _):
                sender = asyncio.create_task(self._send(stream), name="etcd LeaseKeepAlive sender")
                try:
                    await self._receive(stream)
                finally:
                    await end(sender)  # grpclib tells both sides of a stream how it ended; the receiver's word counts
        except StoreError as error:
            trouble = error
        finally:
            self.ended = True
            self._fail(trouble)

    async def _send(self, stream: _Stream) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._unsent:
                waiting = self._unsent.popleft()
                if waiting.answer.done():
                    continue  # its caller has given up before it was sent
                waiting.sent = True
                self._sent.setdefault(waiting.lease, deque()).append(waiting)
                await stream.send_message(rpc.LeaseKeepAliveRequest(ID=waiting.lease))

    async def _receive(self, stream: _Stream) -> None:
        while True:
            reply = await stream.recv_message()
            if reply is None:
                raise StreamTerminatedError("etcd ended the stream")
            self._heard_at = monotonic()
            queue = self._sent.get(LeaseId(reply.ID))
            if not queue:
                continue
            waiting = queue.popleft()
            if not queue:
                del self._sent[waiting.lease]
            if not waiting.answer.done():
                waiting.answer.set_result(reply.TTL)

    def _fail(self, trouble: StoreError) -> None:
        for waiting in [*self._unsent, *(w for queue in self._sent.values() for w in queue)]:
            if waiting.answer.done():
                continue
            unsure = waiting.sent and isinstance(trouble, Unavailable)
            error = Uncertain(str(trouble)) if unsure else type(trouble)(*trouble.args)
            error.__cause__ = trouble
            waiting.answer.set_exception(error)
        self._unsent.clear()
        self._sent.clear()
