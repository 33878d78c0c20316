"""Transparent: the kernel redirected a connection to us, and knows where it was meant to go.

The app believes that it talks to the owner. Its packets were turned round by a rule of nftables (``leasehold capture
install``); conntrack remembers the destination, which becomes ours.

Two kinds of connections are reset. Who connected to this port by himself (``not-redirected``) named no destination;
relayed, he would come back to us for ever. And what we opened ourselves (``loop``) means that the rule does not exempt
us: going on would make two connections of each, until there are no descriptors left.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import replace
from typing import Final

from leasehold.sidecar.capture.address import Address
from leasehold.sidecar.capture.arrival import Refused
from leasehold.sidecar.capture.dialler import Dialler, OwnerTls
from leasehold.sidecar.capture.listener import RelaySettings
from leasehold.sidecar.capture.relay import Link, Links
from leasehold.sidecar.capture.server import RelayServer
from leasehold.sidecar.capture.upstream import UpstreamLink

ORIGINAL_DESTINATION: Final = 80
"""``SO_ORIGINAL_DST`` of IPv4 and ``IP6T_SO_ORIGINAL_DST`` of IPv6 happen to be the same number."""
_IPV4: Final = struct.Struct("!2xH4s8x")
_IPV6: Final = struct.Struct("!2xH4x16s4x")


def original_destination(sock: socket.socket) -> Address | None:
    """Where the app wanted to go; ``None`` when it wanted to come here, or conntrack does not know it."""
    try:
        if sock.family == socket.AF_INET6:
            port, host = _IPV6.unpack(sock.getsockopt(socket.IPPROTO_IPV6, ORIGINAL_DESTINATION, _IPV6.size))
        else:
            port, host = _IPV4.unpack(sock.getsockopt(socket.SOL_IP, ORIGINAL_DESTINATION, _IPV4.size))
    except OSError:
        return None
    found = Address(socket.inet_ntop(sock.family, host), port)
    return None if found == Address(*sock.getsockname()[:2]) else found


class TransparentListener:
    """Any destination, named by the kernel. ``tls`` and ``mark`` are for the connections to the owners."""

    def __init__(
        self, listen: Address, relay: RelaySettings, tls: OwnerTls | None = None, mark: int | None = None
    ) -> None:
        self._dialler = Dialler(tls, mark, remembers=True)
        self._relay = replace(relay, dialler=self._dialler)
        self._server = RelayServer(listen, self._relay, self._link)

    async def start(self) -> tuple[str, int]:
        """The address really bound. Raises ``OSError``, also for a mark that we may not set."""
        self._dialler.check()
        return await self._server.start()

    async def close(self) -> None:
        """Accept no more; let unfinished calls end within the drain deadline, then reset what is left."""
        await self._server.close()

    def _link(self, links: Links, transport: asyncio.Transport) -> Link:
        to = original_destination(transport.get_extra_info("socket"))
        if to is None:
            raise Refused("not-redirected")
        if self._dialler.opened((Address(*transport.get_extra_info("peername")[:2]), to)):
            raise Refused("loop")
        return UpstreamLink(self._relay, links, to)
