"""Accepts connections and keeps them: every link and every connecting task has its owner here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from leasehold.sidecar.capture.acceptor import Acceptor
from leasehold.sidecar.capture.arrival import Arrival, Refusals
from leasehold.sidecar.capture.listener import Address, RelaySettings
from leasehold.sidecar.capture.relay import Link, Links


class RelayServer:
    """One listening socket and the links that came in by it. ``make_link`` may raise ``arrival.Refused``."""

    def __init__(
        self, listen: Address, relay: RelaySettings, make_link: Callable[[Links, asyncio.Transport], Link]
    ) -> None:
        self._listen = listen
        self._relay = relay
        self._make_link = make_link
        self._acceptor: Acceptor | None = None
        self._links: set[Link] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()

    async def start(self) -> tuple[str, int]:
        refusals = Refusals(self._relay.metrics, str(self._listen))

        def arrive() -> Arrival:
            return Arrival(self._relay.budget, refusals, lambda transport: self._make_link(self, transport))

        self._acceptor = Acceptor(self._listen.host, self._listen.port, arrive)
        return await self._acceptor.start()

    async def close(self) -> None:
        if self._acceptor is None:
            return
        acceptor, self._acceptor = self._acceptor, None
        acceptor.close()
        for link in tuple(self._links):
            link.drain()
        try:
            await self._wait_until_empty(self._relay.drain_deadline)
        finally:
            for link in tuple(self._links):
                link.abort()
            for task in self._connecting:
                task.cancel()
        await self._wait_until_empty(1.0)
        await asyncio.gather(*self._connecting, return_exceptions=True)

    async def _wait_until_empty(self, deadline: float) -> None:
        self._empty.clear()
        if not self._links:
            return
        try:
            async with asyncio.timeout(deadline):
                await self._empty.wait()
        except TimeoutError:
            return

    # --- Links ------------------------------------------------------------------------------------------------

    def opened(self, link: Link) -> None:
        self._links.add(link)
        self._relay.budget.connections += 1

    def closed(self, link: Link) -> None:
        self._links.discard(link)
        self._relay.budget.connections -= 1
        if not self._links:
            self._empty.set()

    def run(self, link: Link, to: Address) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(link.reach(to), name=f"connect to {to}")
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return task
