"""Calls to a cluster: endpoints, failover, authentication, deadlines, and the one place where errors are translated.

Laws:

- A call goes to the next endpoint only when it surely did nothing at this one (``Unavailable``). What changes nothing
  (``Method.changes``) never does anything, so reads fail over whatever happened; a transaction only when its bytes
  did not leave, or the server said that it left it alone.
- Calls run over connections of our own (``unary_connection``), streams over grpclib's (``connection``).
- Every request but ``Status`` requires a leader: an isolated member refuses instead of waiting.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import TypeVar

from google.protobuf.message import Message
from grpclib.client import Stream

from leasehold.protocol.errors import AccessDenied, StoreError, Unavailable, Uncertain
from leasehold.protocol.etcd import rpc_pb2 as rpc
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.connection import Connection, Endpoint
from leasehold.protocol.etcd.credentials import LEADER_REQUIRED, Credentials
from leasehold.protocol.etcd.methods import STATUS, Method
from leasehold.protocol.etcd.translation import TROUBLE, StaleToken, translate
from leasehold.protocol.etcd.unary_call import Broken
from leasehold.protocol.etcd.unary_connection import Metadata, UnaryConnection

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)


class EtcdChannel:
    """All connections of one client. ``deadline`` is in seconds everywhere."""

    def __init__(self, config: EtcdConfig) -> None:
        if not config.endpoints:
            raise ValueError("no etcd endpoint is given")
        self._tls = config.tls
        self.connect_deadline = config.deadline_seconds
        endpoints = [Endpoint.parse(url) for url in config.endpoints]
        self._connections = [
            UnaryConnection(endpoint, config.tls, connect_seconds=config.deadline_seconds) for endpoint in endpoints
        ]
        self._streams = {endpoint: Connection(endpoint, config.tls) for endpoint in endpoints}
        self._preferred = 0
        self._credentials = Credentials(config, self._exchange)
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
        preferred = self._candidates()[0]
        endpoint = preferred.endpoint
        connection = Connection(endpoint, self._tls) if own_connection else self._streams[endpoint]
        try:
            await connection.connect(deadline=self.connect_deadline)
            metadata = await self._metadata(method, preferred, self.connect_deadline)
            async with connection.request(method, deadline=None, metadata=dict(metadata)) as stream:
                await stream.send_request()
                yield stream, connection
        except TROUBLE as error:
            self._avoid(preferred)
            raised = translate(error, call=method.name, endpoint=str(endpoint), sent=False)
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
        for connection in self._connections:
            await connection.aclose()
        for stream in self._streams.values():
            await stream.aclose()

    # --- one attempt ---------------------------------------------------------------------------------------------

    async def _authorized(
        self, connection: UnaryConnection, method: Method[Request, Reply], request: Request, share: float, until: float
    ) -> Reply:
        metadata = await self._metadata(method, connection, share)
        # What changes something gets all the time there is: after the send there is no second endpoint for it.
        limit = until - monotonic() if method.changes else share
        try:
            return await self._exchange(connection, method, request, share, limit, metadata)
        except StaleToken:
            self._credentials.forget(dict(metadata).get("token"))
        try:
            metadata = await self._metadata(method, connection, share)
            return await self._exchange(connection, method, request, share, until - monotonic(), metadata)
        except StaleToken as error:
            raise AccessDenied(str(error)) from error

    async def _metadata(self, method: Method[Request, Reply], connection: UnaryConnection, deadline: float) -> Metadata:
        metadata = LEADER_REQUIRED if method.needs_leader else ()
        token = await self._credentials.token(connection, deadline)
        return (*metadata, ("token", token)) if token else metadata

    async def _exchange(
        self,
        connection: UnaryConnection,
        method: Method[Request, Reply],
        request: Request,
        connect_deadline: float,
        deadline: float,
        metadata: Metadata,
    ) -> Reply:
        try:
            answer = await connection.exchange(
                method.path, metadata, request.SerializeToString(), connect_deadline=connect_deadline, deadline=deadline
            )
            return method.reply.FromString(answer)
        except TROUBLE as error:
            sent = method.changes and not (isinstance(error, Broken) and error.untouched)
            raise translate(error, call=method.name, endpoint=str(connection.endpoint), sent=sent) from error

    # --- which endpoint ------------------------------------------------------------------------------------------

    def _candidates(self) -> list[UnaryConnection]:
        return self._connections[self._preferred :] + self._connections[: self._preferred]

    def _avoid(self, connection: UnaryConnection) -> None:
        if self._connections[self._preferred] is connection:
            self._preferred = (self._preferred + 1) % len(self._connections)
