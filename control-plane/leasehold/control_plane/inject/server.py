"""Serves the webhook over TLS, and takes new certificates without a restart.

Each handshake is done with the certificate that is the latest then; connections that exist are not touched. A pair that
does not fit together is refused before anybody sees it, and the one in use stays.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable

import structlog
from aiohttp import web

from leasehold.control_plane.inject.webhook import MOST_BYTES

SHUTDOWN_SECONDS = 1.0
log = structlog.get_logger()


class BadPair(ValueError):
    """Certificate and key are not both PEM, or do not fit together."""


class TlsServer:
    """One listening port. It opens with the first certificate, because before it nobody could be answered."""

    def __init__(self, routes: Iterable[web.RouteDef], host: str, port: int) -> None:
        app = web.Application(client_max_size=MOST_BYTES)
        app.add_routes(routes)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        self._host, self._port = host, port
        self._latest: ssl.SSLContext | None = None
        self.address: tuple[str, int] | None = None
        """Where it listens; ``None``: not yet."""

    async def use(self, certificate: bytes, key: bytes) -> None:
        """PEM, with the chain if there is one. Raises ``BadPair``; ``OSError`` if the port cannot be had."""
        self._latest = context_of(certificate, key)
        if self.address is None:
            await self._open()

    async def close(self) -> None:
        await self._runner.cleanup()

    async def _open(self) -> None:
        face = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        face.minimum_version = ssl.TLSVersion.TLSv1_2
        face.sni_callback = self._choose
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port, ssl_context=face).start()
        host, port = self._runner.addresses[0][:2]
        self.address = (host, port)
        log.info("webhook_open", host=host, port=port)

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, face: ssl.SSLContext) -> None:
        """Called at the beginning of each handshake, whether a name was asked for or not."""
        del name, face
        if self._latest is not None:
            connection.context = self._latest


def context_of(certificate: bytes, key: bytes) -> ssl.SSLContext:
    """A server's context. Raises ``BadPair``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # OpenSSL takes files only; a key in memory is none, and may be no file that others could read.
    handles = [_in_memory(content) for content in (certificate, key)]
    try:
        context.load_cert_chain(*(f"/proc/self/fd/{handle}" for handle in handles))
    except (ssl.SSLError, OSError) as error:
        raise BadPair(f"expected a certificate and its key in PEM: {error}") from error
    finally:
        for handle in handles:
            os.close(handle)
    return context


def _in_memory(content: bytes) -> int:
    handle = os.memfd_create("leasehold", os.MFD_CLOEXEC)
    written = 0
    while written < len(content):
        written += os.write(handle, content[written:])
    os.lseek(handle, 0, os.SEEK_SET)
    return handle
