"""One connection to an owner that speaks gRPC: a request's bytes go, a status and an answer's bytes come.

Laws:

- A call is sent once. Neither grpclib nor we repeat it, not even when the other side refused to look at it.
- OK is what trailers said. An answer without them, however whole it looks, is an error.
- An answer is bounded before it is read.
- A call that was given up on a connection that answered nothing meanwhile takes the connection with it: the next call
  would be lost in the same hole.
- TLS means h2: an owner that does not agree on it is not spoken to.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from grpclib.client import Stream
from grpclib.const import Cardinality, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.metadata import Deadline
from multidict import MultiDict

from leasehold.control_plane.owners.outcome_grpc import wait_seconds
from leasehold.protocol.etcd.config import TlsConfig
from leasehold.protocol.etcd.connection import Connection, Endpoint, FreshChannel
from leasehold.protocol.etcd.isolation import IsolatedTasks
from leasehold.protocol.etcd.methods import Method

LARGEST_ANSWER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Said:
    """How a call ended. ``message`` is empty unless the status is OK; ``retry_after`` is in seconds, if told."""

    status: Status
    message: bytes = b""
    retry_after: float | None = None


class Wire:
    """Connects when first used and again after the connection was lost. One per set of TLS files."""

    def __init__(self, endpoint: str, tls: TlsConfig | None) -> None:
        """Raises ``OSError`` when the TLS files cannot be used."""
        address = _address(endpoint)
        if address.secure:
            (tls or TlsConfig()).context()  # it is read again for each connection; what is wrong with it shows here
        self._connection = Connection(address, tls, channel=_Channel)
        self._exchanges = IsolatedTasks()
        self._heard_at = float("-inf")

    async def call(self, path: str, request: bytes, metadata: Mapping[str, str], *, until: float) -> Said:
        """Send one request, once. ``until``: by the event loop's clock.

        Raises ``TimeoutError``, what ``translation.TROUBLE`` lists, ``ValueError`` for an answer that cannot be read,
        ``Uncertain`` when closed meanwhile. After any of them the call may or may not have happened.
        """
        began = _now()
        try:
            said = await self._exchanges.run(self._exchange(path, request, metadata, until), name=f"owner {path}")
        except (TimeoutError, asyncio.CancelledError):
            if self._heard_at < began:
                self._connection.drop()
            raise
        self._heard_at = _now()
        return said

    async def close(self) -> None:
        """End what is under way and hang up."""
        await self._exchanges.close()
        await self._connection.aclose()

    async def _exchange(self, path: str, request: bytes, metadata: Mapping[str, str], until: float) -> Said:
        await self._connection.connect(deadline=until - _now())
        stream: Stream[bytes, bytes] = self._connection.request(
            Method(path, bytes, bytes), deadline=until - _now(), metadata=dict(metadata)
        )
        try:
            async with stream:
                await stream.send_message(request, end=True)
                message = await stream.recv_message()
                await stream.recv_trailing_metadata()
        except GRPCError as error:
            return Said(error.status, retry_after=_told(stream))
        if message is None:
            raise StreamTerminatedError("OK without an answer")
        return Said(Status.OK, message)


class _Raw(CodecBase):
    """Messages are the bytes they are: they were made and are read by the owner's schema, elsewhere."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:  # noqa: ARG002 - grpclib's port
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:  # noqa: ARG002
        return data


class _Stream(Stream[bytes, bytes]):
    """grpclib reads as much as a message claims to be long."""

    async def recv_message(self) -> bytes | None:
        if not self._recv_initial_metadata_done:
            await self.recv_initial_metadata()
        with self._wrapper:
            prefix = await self._stream.recv_data(5)
            if not prefix:
                return None
            size = int.from_bytes(prefix[1:], "big")
            if prefix[0] or size > LARGEST_ANSWER_BYTES:
                raise ValueError(f"expected an answer of at most {LARGEST_ANSWER_BYTES} bytes, not compressed")
            message: bytes = await self._stream.recv_data(size)
            return message


class _Channel(FreshChannel):
    stream_window_bytes = LARGEST_ANSWER_BYTES
    connection_window_bytes = 4 * LARGEST_ANSWER_BYTES

    async def _create_connection(self) -> Any:
        protocol = await super()._create_connection()
        tls = protocol.transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            protocol.transport.abort()
            raise ssl.SSLError("expected an owner that agrees on h2 (ALPN)")
        return protocol

    def request(
        self,
        name: str,
        cardinality: Cardinality,
        request_type: Any,
        reply_type: Any,
        *,
        timeout: float | None = None,
        deadline: Deadline | None = None,
        metadata: Any = None,
    ) -> Any:
        return _Stream(
            self, name, cast(Any, MultiDict(metadata or ())), cardinality, request_type, reply_type, codec=_Raw(),
            status_details_codec=None, dispatch=self.__dispatch__,
            deadline=deadline if timeout is None else Deadline.from_timeout(timeout),
        )  # fmt: skip


def _address(endpoint: str) -> Endpoint:
    url = urlsplit(endpoint)
    secure = url.scheme == "https"
    return Endpoint(endpoint, url.hostname or "", url.port or (443 if secure else 80), secure)


def _told(stream: Stream[bytes, bytes]) -> float | None:
    """How long to wait, out of the fields that grpclib keeps to itself."""
    inner = stream._stream
    fields = dict(inner.trailers or inner.headers or ())
    details = fields.get("grpc-status-details-bin", "")
    try:
        decoded = base64.b64decode(details + "=" * (-len(details) % 4))
    except ValueError:
        decoded = b""
    return wait_seconds(fields.get("grpc-retry-pushback-ms"), decoded)


def _now() -> float:
    return asyncio.get_running_loop().time()
