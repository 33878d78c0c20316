"""How owners are connected to: plainly, marked for the firewall, or through TLS that we originate.

With TLS the app speaks plain HTTP to us and we speak TLS to the owner, so that calls can be read along which would
otherwise be blind. What is verified is the owner's certificate, always; against ``server_name``, else against the
host that is connected to.

The files are read again when they have changed: a rotated certificate needs no restart.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakValueDictionary

from leasehold.sidecar.capture.address import Address

SO_MARK: Final = 36
_ON_ITS_WAY: Final = frozenset({0, errno.EINPROGRESS})

Flow = tuple[Address, Address]
"""One TCP connection, seen from the side that opened it: from where, to where."""


class TlsFailed(ConnectionError):
    """The owner was reached, but TLS with it came to nothing."""


@dataclass(frozen=True, slots=True)
class OwnerTls:
    """Files in PEM. ``cert`` with ``key`` means mutual TLS; without ``ca`` the system's authorities count.

    ``alpn``: what to offer; nothing by default, which owners take for HTTP/1.1. For gRPC it is ``("h2",)``.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None
    alpn: tuple[str, ...] = ()


class Origination:
    """Contexts for an ``OwnerTls``; a new one whenever its files are new."""

    def __init__(self, tls: OwnerTls) -> None:
        self.tls = tls
        self._files = tuple(file for file in (tls.ca, tls.cert, tls.key) if file is not None)
        self._context: tuple[tuple[tuple[int, int], ...], ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """Raises ``OSError`` (``ssl.SSLError`` is one) when the files are of no use."""
        state = tuple((found.st_mtime_ns, found.st_size) for found in map(os.stat, self._files))
        if self._context is None or self._context[0] != state:
            self._context = state, self._fresh()
        return self._context[1]

    def _fresh(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.tls.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.tls.alpn:
            context.set_alpn_protocols(list(self.tls.alpn))
        if self.tls.cert is not None:
            context.load_cert_chain(self.tls.cert, self.tls.key)
        return context


class Dialler:
    """Connects to owners. ``mark`` needs ``CAP_NET_ADMIN``; ``remembers`` its flows if asked to."""

    def __init__(self, tls: OwnerTls | None = None, mark: int | None = None, *, remembers: bool = False) -> None:
        self._tls = None if tls is None else Origination(tls)
        self._mark = mark
        self._remembers = remembers
        self._flows: WeakValueDictionary[Flow, socket.socket] = WeakValueDictionary()

    def check(self) -> None:
        """Raises ``OSError`` for what no connection would get through: a mark that is not allowed, a file."""
        if self._tls is not None:
            self._tls.context()
        if self._mark is not None:
            with socket.socket() as sock:
                self._put_mark(sock)

    async def connect(self, make: Callable[[], asyncio.Protocol], to: Address) -> None:
        """Raises ``TlsFailed`` and whatever else ``OSError`` a connection may end in; ``ValueError`` for a bad name."""
        loop = asyncio.get_running_loop()
        if self._tls is None and self._mark is None and not self._remembers:
            await loop.create_connection(make, to.host, to.port)
            return
        sock = await self._reach(to)
        try:
            if self._tls is None:
                await loop.create_connection(make, sock=sock)
            else:
                await self._negotiate(self._tls, make, sock, to)
        except BaseException:
            sock.close()
            raise

    def opened(self, flow: Flow) -> bool:
        """Whether this is a connection of ours, perhaps one that is still being opened."""
        sock = self._flows.get(flow)
        return sock is not None and sock.fileno() != -1

    async def _negotiate(
        self, tls: Origination, make: Callable[[], asyncio.Protocol], sock: socket.socket, to: Address
    ) -> None:
        name = tls.tls.server_name or to.host
        try:
            context = tls.context()
            await asyncio.get_running_loop().create_connection(make, sock=sock, ssl=context, server_hostname=name)
        except OSError as error:
            raise TlsFailed(str(error) or type(error).__name__) from error

    async def _reach(self, to: Address) -> socket.socket:
        """The first of the host's addresses that accepts."""
        loop = asyncio.get_running_loop()
        failed: OSError = OSError(f"{to.host} has no address")
        for family, kind, protocol, _, address in await loop.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                self._put_mark(sock)
                if self._remembers:
                    self._remember(sock, address)
                await loop.sock_connect(sock, address)
            except OSError as error:
                sock.close()
                failed = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failed

    def _put_mark(self, sock: socket.socket) -> None:
        if self._mark is None:
            return
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, self._mark)
        except PermissionError as error:
            raise PermissionError(error.errno, f"mark {self._mark} needs CAP_NET_ADMIN") from error

    def _remember(self, sock: socket.socket, address: tuple[Any, ...]) -> None:
        # Begun here, because a connection has a local port only from then on, and if it comes back to us it may be
        # accepted before we hear that it is open. ``sock_connect`` then finds it on its way.
        status = sock.connect_ex(address)
        if status not in _ON_ITS_WAY:
            raise OSError(status, os.strerror(status))
        self._flows[Address(*sock.getsockname()[:2]), Address(*address[:2])] = sock
