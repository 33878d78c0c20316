"""Health and metrics for whoever is outside of the pod or machine: a port of its own, on every address.

The admin port stays local, because it names what is held; this one names nothing. Whoever probes a container comes
from outside, with its address, of either family: a family that this machine does not have is left out.
"""

from __future__ import annotations

import errno
import socket

import structlog
from aiohttp import web

BACKLOG = 64
NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What the kernel says of an address family, or an address, that is not on this machine."""
log = structlog.get_logger()


def every_address(port: int) -> list[socket.socket]:
    """Bound sockets, one for each family there is. Raises ``OSError`` if there is none, or the port is taken."""
    bound: list[socket.socket] = []
    try:
        for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104 - it is what is meant
            sock = _bound(family, host, bound[0].getsockname()[1] if bound else port)
            if sock is not None:
                bound.append(sock)
    except OSError:
        for sock in bound:
            sock.close()
        raise
    if not bound:
        raise OSError(errno.EADDRNOTAVAIL, f"port {port} can be had in no address family")
    return bound


def _bound(family: int, host: str, port: int) -> socket.socket | None:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno in NOT_HERE:
            return None
        raise
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        if error.errno in NOT_HERE:
            return None
        raise
    return sock


async def serve_everywhere(runner: web.AppRunner, port: int) -> int:
    """Serve what ``runner`` has on every address; the port. Raises ``OSError``."""
    sockets = every_address(port)
    for sock in sockets:
        await web.SockSite(runner, sock, shutdown_timeout=1.0, backlog=BACKLOG).start()
    return int(sockets[0].getsockname()[1])
