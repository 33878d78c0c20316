"""The token that proves who we are: fetched when first needed, again when etcd no longer knows it.

etcd forgets simple tokens when it restarts and JWTs run out, so a refused token is normal; one renewal follows, and
only a second refusal is ``AccessDenied``. However many calls find the token stale, one of them renews it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from leasehold.protocol.errors import AccessDenied, Unavailable
from leasehold.protocol.etcd import rpc_pb2 as rpc
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.methods import AUTHENTICATE, Method
from leasehold.protocol.etcd.translation import AuthenticationOff
from leasehold.protocol.etcd.unary_connection import Metadata, UnaryConnection

LEADER_REQUIRED: Metadata = (("hasleader", "true"),)

Authenticate = Callable[
    [
        UnaryConnection,
        Method[rpc.AuthenticateRequest, rpc.AuthenticateResponse],
        rpc.AuthenticateRequest,
        float,
        float,
        Metadata,
    ],
    Awaitable[rpc.AuthenticateResponse],
]


class Credentials:
    """User and password in, token out."""

    def __init__(self, config: EtcdConfig, exchange: Authenticate) -> None:
        self._config = config
        self._exchange = exchange
        self._token: str | None = None
        self._renewing = asyncio.Lock()

    @property
    def configured(self) -> bool:
        """Whether there is a user at all."""
        return self._config.username is not None

    async def token(self, connection: UnaryConnection, deadline: float) -> str:
        """The current token, fetched over ``connection`` if there is none; empty when no user is configured."""
        if self._config.username is None:
            return ""
        token = self._token
        if token is None:
            try:
                async with asyncio.timeout(deadline), self._renewing:
                    token = self._token
                    if token is None:
                        token = self._token = await self._authenticate(connection, self._config.username, deadline)
            except TimeoutError as error:
                raise Unavailable(f"Authenticate at {connection.endpoint}: no answer before the deadline") from error
        return token

    def forget(self, token: str | None = None) -> None:
        """The token was refused. With ``token`` given, only if it is still the current one."""
        if token is None or token == self._token:
            self._token = None

    async def _authenticate(self, connection: UnaryConnection, user: str, deadline: float) -> str:
        try:
            password = await asyncio.to_thread(self._config.password)
        except (OSError, UnicodeDecodeError) as error:
            raise AccessDenied(f"the password of etcd user {user!r} cannot be read: {error}") from error
        request = rpc.AuthenticateRequest(name=user, password=password)
        try:
            reply = await self._exchange(connection, AUTHENTICATE, request, deadline, deadline, LEADER_REQUIRED)
        except AuthenticationOff:
            return ""
        return reply.token
