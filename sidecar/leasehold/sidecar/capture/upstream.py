"""Fixed upstream: whoever connects to ``listen`` is relayed to ``to``, over TLS if asked to."""

from __future__ import annotations

from dataclasses import replace

from leasehold.sidecar.capture.dialler import Dialler, OwnerTls
from leasehold.sidecar.capture.listener import Address, RelaySettings
from leasehold.sidecar.capture.relay import Link, Links
from leasehold.sidecar.capture.server import RelayServer


class UpstreamLink(Link):
    """Connects as soon as the app has."""

    __slots__ = ("_to",)

    def __init__(self, relay: RelaySettings, links: Links, to: Address) -> None:
        super().__init__(relay, links, to)
        self._to = to

    def app_connected(self) -> None:
        super().app_connected()
        self.connect(self._to)


class UpstreamListener:
    """One configured destination. ``tls`` and ``mark`` are for the connections to it."""

    def __init__(
        self,
        listen: Address,
        to: Address,
        relay: RelaySettings,
        tls: OwnerTls | None = None,
        mark: int | None = None,
    ) -> None:
        self._dialler = Dialler(tls, mark)
        relay = replace(relay, dialler=self._dialler)
        self._server = RelayServer(listen, relay, lambda links, _: UpstreamLink(relay, links, to))

    async def start(self) -> tuple[str, int]:
        """The address really bound. Raises ``OSError``, also for files that are of no use."""
        self._dialler.check()
        return await self._server.start()

    async def close(self) -> None:
        """Accept no more; let unfinished calls end within the drain deadline, then reset what is left."""
        await self._server.close()
