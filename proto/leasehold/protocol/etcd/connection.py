"""A connection for streams: grpclib's channel, with what we need beyond its public face. All of that is here.

- TLS files are read anew for every connection, so that rotated certificates count.
- Windows are large: a page of a list and a burst of events arrive without waiting for window updates.
- ``aclose`` waits until the transport is really gone, so that nothing outlives the client.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from grpclib.client import Channel, Handler, Stream
from grpclib.config import Configuration
from grpclib.protocol import H2Protocol
from h2.config import H2Configuration

from leasehold.protocol.etcd.config import TlsConfig
from leasehold.protocol.etcd.methods import Method, Reply, Request
from leasehold.protocol.etcd.unary import CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES

CLOSE_SECONDS = 1.0
"""How long a TLS peer may take to say goodbye before we hang up on it."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an etcd member listens."""

    url: str
    host: str
    port: int
    secure: bool

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """``http://host:port`` or ``https://host:port`` (the port defaults to 2379). Raises ``ValueError``."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(f"{url!r} is not an etcd endpoint: expected http://<host>:<port> or https://<host>:<port>")
        return cls(url.rstrip("/"), parts.hostname, parts.port or 2379, parts.scheme == "https")

    @property
    def authority(self) -> str:
        """As HTTP names it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return self.url


class _Protocol(H2Protocol):
    """grpclib's protocol, which keeps hold of its transport and tells when that is gone."""

    transport: asyncio.Transport

    def __init__(self, config: Configuration, h2_config: H2Configuration) -> None:
        super().__init__(Handler(), config, h2_config)
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self.gone.set()


class FreshChannel(Channel):
    """grpclib's channel, which reads its TLS files for each connection."""

    stream_window_bytes = STREAM_WINDOW_BYTES
    connection_window_bytes = CONNECTION_WINDOW_BYTES

    def __init__(self, endpoint: Endpoint, tls: TlsConfig | None) -> None:
        config = Configuration(
            http2_connection_window_size=self.connection_window_bytes,
            http2_stream_window_size=self.stream_window_bytes,
            ssl_target_name_override=tls.server_name if tls and endpoint.secure else None,
        )
        super().__init__(endpoint.host, endpoint.port, config=config)
        self._scheme = "https" if endpoint.secure else "http"
        self._tls = (tls or TlsConfig()) if endpoint.secure else None

    def _protocol_factory(self) -> _Protocol:
        return _Protocol(self._config, self._h2_config)

    async def _create_connection(self) -> _Protocol:
        self._ssl = self._tls.context() if self._tls is not None else None
        protocol = cast(_Protocol, await super()._create_connection())
        if protocol.connection.is_closing():
            # grpclib would go on with it, and stumble over what it has deleted on closing: no error of a connection.
            raise ConnectionResetError("lost as soon as it was made")
        return protocol


class Connection:
    """Connects when first used and again after it was lost. ``channel`` is another kind of it."""

    def __init__(
        self, endpoint: Endpoint, tls: TlsConfig | None, *, channel: type[FreshChannel] = FreshChannel
    ) -> None:
        self.endpoint = endpoint
        self._channel = channel(endpoint, tls)
        self._protocol: _Protocol | None = None

    async def connect(self, *, deadline: float) -> None:
        """Raises ``OSError`` (a ``TimeoutError`` is one) when it does not succeed in ``deadline`` seconds."""
        async with asyncio.timeout(deadline):
            self._protocol = cast(_Protocol, await self._channel.__connect__())

    def request(
        self, method: Method[Request, Reply], *, deadline: float | None, metadata: dict[str, str]
    ) -> Stream[Request, Reply]:
        """A call, not yet sent. Must run in a task of its own: grpclib wakes a call up by cancelling its task."""
        stream: Stream[Request, Reply] = self._channel.request(
            method.path, method.cardinality, method.request, method.reply, timeout=deadline, metadata=metadata
        )
        return stream

    def drop(self) -> None:
        """Hang up at once, unsent bytes or not; what runs over it ends with an error, the next call connects anew."""
        self._channel.close()
        if self._protocol is not None:
            self._protocol.transport.abort()

    async def aclose(self) -> None:
        """Hang up and wait until the transport is gone."""
        self._channel.close()
        if self._protocol is None:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._protocol.gone.wait()
        except TimeoutError:  # a peer that reads nothing, or does not answer the goodbye of TLS
            self._protocol.transport.abort()
            await self._protocol.gone.wait()
