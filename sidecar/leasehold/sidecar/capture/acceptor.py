"""Listening sockets that accept a few connections in each turn of the event loop.

The loop's own servers accept all that the backlog has in one turn. A thousand connections are a third of a second in
which nothing else happens, beacons not renewed included; this bounds it to some milliseconds (decision 0009).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Final

import structlog

AT_ONCE: Final = 16
BACKLOG: Final = 1024
PAUSE: Final = 0.2
"""Seconds to wait where the kernel is out of descriptors or memory."""

log = structlog.get_logger()


class Acceptor:
    """Everybody who connects to ``host`` and ``port`` gets a protocol from ``arrive``."""

    def __init__(self, host: str, port: int, arrive: Callable[[], asyncio.Protocol]) -> None:
        self._host = host
        self._port = port
        self._arrive = arrive
        self._sockets: list[socket.socket] = []
        self._arriving: set[asyncio.Task[object]] = set()

    async def start(self) -> tuple[str, int]:
        """Bind every address of the host and accept; the first address bound. Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        flags = socket.AI_PASSIVE
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=flags)
        try:
            for family, _, protocol, _, address in dict.fromkeys(found):
                self._sockets.append(_listening(family, protocol, address))
        except OSError:
            self.close()
            raise
        for sock in self._sockets:
            loop.add_reader(sock, self._accept, sock)
        host, port = self._sockets[0].getsockname()[:2]
        return host, port

    def close(self) -> None:
        """Accept no more. What is in the backlog is reset by the kernel."""
        loop = asyncio.get_running_loop()
        sockets, self._sockets = self._sockets, []
        for sock in sockets:
            loop.remove_reader(sock)
            sock.close()

    def _accept(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(AT_ONCE):
            try:
                connection, _ = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("cannot_accept", error=str(error))
                loop.remove_reader(sock)
                loop.call_later(PAUSE, self._resume, sock)
                return
            connection.setblocking(False)
            task = loop.create_task(self._hand_over(connection), name="arrival")
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    def _resume(self, sock: socket.socket) -> None:
        if sock in self._sockets:
            asyncio.get_running_loop().add_reader(sock, self._accept, sock)

    async def _hand_over(self, connection: socket.socket) -> None:
        # An arrival that is reset at once may be gone before the loop has finished introducing it.
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(self._arrive, connection)


def _listening(family: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        text = f"cannot listen on {address[:2]}: {os.strerror(error.errno or 0).lower()}"
        raise OSError(error.errno, text) from error
    return sock
