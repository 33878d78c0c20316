"""Calls to a cluster: endpoints, failover, authentication, deadlines, and the one place where errors are translated.

Laws:

- A call goes to the next endpoint only when it surely did nothing at this one (``Unavailable``). What changes nothing
  (``Method.changes``) never does anything, so reads fail over whatever happened; a transaction only when its bytes
  did not leave.
- Each exchange runs in a task of its own, for the reason told in ``isolation``.
- Every request but ``Status`` requires a leader: an isolated member refuses instead of waiting.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from grpclib.client import Stream
from grpclib.exceptions import StreamTerminatedError

from leasehold.protocol.errors import AccessDenied, StoreError, Unavailable, Uncertain
from leasehold.protocol.etcd import rpc_pb2 as rpc
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.connection import Connection, Endpoint
from leasehold.protocol.etcd.credentials import Credentials
from leasehold.protocol.etcd.isolation import IsolatedTasks
from leasehold.protocol.etcd.methods import STATUS, Method, Reply, Request
from leasehold.protocol.etcd.translation import TROUBLE, StaleToken, translate

SILENCE_SECONDS = 3.0
"""A call that missed its deadline on a connection that said nothing for so long takes the connection with it."""


class EtcdChannel:
    """All connections of one client. ``deadline`` is in seconds everywhere."""

    def __init__(self, config: EtcdConfig) -> None:
        if not config.endpoints:
            raise ValueError("no etcd endpoint is given")
        self._tls = config.tls
        self.connect_deadline = config.deadline_seconds
        self._connections = [Connection(Endpoint.parse(url), config.tls) for url in config.endpoints]
        self._preferred = 0
        self._credentials = Credentials(config, self._exchange)
        self._exchanges = IsolatedTasks()
        self._closed = False

    @property
    def endpoints(self) -> list[str]:
        """As configured, in order."""
        return [str(connection.endpoint) for connection in self._connections]

    async def call(
        self, method: Method[Request, Reply], request: Request, *, deadline: float, member: int | None = None
    ) -> Reply:
        """One request, one reply; from the endpoint with index ``member``, else from the first that can.

        Raises the classes of ``errors``, and never sends what changes something twice.
        """
        until = monotonic() + deadline
        candidates = self._candidates() if member is None else [self._connections[member]]
        while True:
            connection = candidates.pop(0)
            # Leave time for the others: an endpoint that swallows everything must not cost the whole deadline.
            share = max(until - monotonic(), 0.0) / (len(candidates) + 1)
            try:
                return await self._authorized(connection, method, request, share, until)
            except (Unavailable, Uncertain) as error:
                self._avoid(connection)
                if type(error) is Uncertain or not candidates or monotonic() >= until:
                    raise

    @asynccontextmanager
    async def stream(
        self, method: Method[Request, Reply], *, own_connection: bool = False
    ) -> AsyncIterator[tuple[Stream[Request, Reply], Connection]]:
        """An open bidirectional stream; grpclib's errors leave it translated. Must run in a task of its own.

        With ``own_connection`` nothing that is not read here can hold up anything else. The body reads until it
        raises: a stream that the server ended is ``StreamTerminatedError``.
        """
        if self._closed:
            raise Unavailable(f"{method.name}: the client is closed")
        shared = self._candidates()[0]
        connection = Connection(shared.endpoint, self._tls) if own_connection else shared
        try:
            await connection.connect(deadline=self.connect_deadline)
            metadata = await self._metadata(method, shared, self.connect_deadline)
            async with connection.request(method, deadline=None, metadata=metadata) as stream:
                await stream.send_request()
                yield stream, connection
        except TROUBLE as error:
            self._avoid(shared)
            raised = translate(error, call=method.name, endpoint=str(shared.endpoint), sent=False)
            if isinstance(raised, StaleToken):
                self._credentials.forget()  # the next attempt authenticates first
                raise (Unavailable if self.authenticates else AccessDenied)(str(raised)) from error
            raise raised from error
        finally:
            if own_connection:
                await connection.aclose()

    async def version_of(self, endpoint: Endpoint) -> str:
        """The version of the member there, or nothing if it does not say."""
        index = next(i for i, connection in enumerate(self._connections) if connection.endpoint == endpoint)
        try:
            reply = await self.call(STATUS, rpc.StatusRequest(), deadline=self.connect_deadline, member=index)
        except StoreError:
            return ""
        return reply.version

    def forget_token(self) -> None:
        """Authenticate anew before the next request."""
        self._credentials.forget()

    @property
    def authenticates(self) -> bool:
        """Whether a token is sent at all."""
        return self._credentials.configured

    async def close(self) -> None:
        """End what is under way (it is ``Uncertain`` to its callers) and hang up."""
        self._closed = True
        await self._exchanges.close()
        for connection in self._connections:
            await connection.aclose()

    # --- one attempt ---------------------------------------------------------------------------------------------

    async def _authorized(
        self, connection: Connection, method: Method[Request, Reply], request: Request, share: float, until: float
    ) -> Reply:
        metadata = await self._metadata(method, connection, share)
        # What changes something gets all the time there is: after the send there is no second endpoint for it.
        limit = until - monotonic() if method.changes else share
        try:
            return await self._exchange(connection, method, request, share, limit, metadata)
        except StaleToken:
            self._credentials.forget(metadata.get("token"))
        try:
            metadata = await self._metadata(method, connection, share)
            return await self._exchange(connection, method, request, share, until - monotonic(), metadata)
        except StaleToken as error:
            raise AccessDenied(str(error)) from error

    async def _metadata(
        self, method: Method[Request, Reply], connection: Connection, deadline: float
    ) -> dict[str, str]:
        metadata = {"hasleader": "true"} if method.needs_leader else {}
        token = await self._credentials.token(connection, deadline)
        if token:
            metadata["token"] = token
        return metadata

    async def _exchange(
        self,
        connection: Connection,
        method: Method[Request, Reply],
        request: Request,
        connect_deadline: float,
        deadline: float,
        metadata: dict[str, str],
    ) -> Reply:
        if self._closed:
            raise Unavailable(f"{method.name}: the client is closed")
        exchange = _exchange(connection, method, request, connect_deadline, deadline, metadata)
        return await self._exchanges.run(exchange, name=f"etcd {method.name}")

    # --- which endpoint ------------------------------------------------------------------------------------------

    def _candidates(self) -> list[Connection]:
        return self._connections[self._preferred :] + self._connections[: self._preferred]

    def _avoid(self, connection: Connection) -> None:
        if self._connections[self._preferred] is connection:
            self._preferred = (self._preferred + 1) % len(self._connections)


async def _exchange(
    connection: Connection,
    method: Method[Request, Reply],
    request: Request,
    connect_deadline: float,
    deadline: float,
    metadata: dict[str, str],
) -> Reply:
    until = monotonic() + deadline
    sent = False
    try:
        await connection.connect(deadline=min(connect_deadline, deadline))
        remaining = max(until - monotonic(), 0.001)
        async with connection.request(method, deadline=remaining, metadata=metadata) as stream:
            await stream.send_request()
            sent = True
            await stream.send_message(request, end=True)
            reply = await stream.recv_message()
        if reply is None:
            raise StreamTerminatedError("the answer was empty")
        return reply
    except TROUBLE as error:
        if sent and isinstance(error, TimeoutError) and connection.silent_for() > SILENCE_SECONDS:
            connection.drop()
        raise translate(
            error, call=method.name, endpoint=str(connection.endpoint), sent=sent and method.changes
        ) from error
