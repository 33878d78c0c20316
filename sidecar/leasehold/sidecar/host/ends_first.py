"""The host as a neighbour that ends before us: who stops us promises to do so only once it has ended.

So does Kubernetes with a native sidecar: it is told to stop when the pod's own containers are gone. Being told to stop
is then the news of the host's end, and this tells it. But a promise is no proof: a sidecar may also be restarted by
itself, for a new image or by hand. So there has to be silence, too: where the host has an address of its own, only a
refused connection bears the news out; where it has none, nobody else may have a socket (``neighbours``). What is
doubtful stays alive here, and the lease decides.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from leasehold.protocol.records import Ending
from leasehold.sidecar.host.port import UNTOLD, Host

REFUSED_WITHIN_SECONDS = 0.5
"""A refusal on the same machine comes at once; there are 4.5 s for all of the stopping."""

_T = TypeVar("_T")
Silent = Callable[[], Awaitable[bool]]
"""Whether nobody is there any more."""


class HostThatEndsFirst:
    """A ``Host`` for whose end ``leave`` is the news. ``inner`` may see it end and start again before."""

    def __init__(self, inner: Host | None, silent: Silent | None) -> None:
        self._inner = inner
        self._silent = silent
        self._asked = False
        self._left = asyncio.Event()

    async def started(self) -> str | None:
        """Without a probe: one run, from our start on. None begins once we were told to leave."""
        if self._left.is_set():
            return None
        if self._inner is not None:
            return await self._first(self._inner.started(), None)
        if self._asked:
            return None
        self._asked = True
        return UNTOLD

    async def ended(self, *, resumed: bool) -> Ending:
        if self._inner is None:
            await self._left.wait()
            return Ending.EXITED
        return await self._first(self._inner.ended(resumed=resumed), Ending.EXITED)

    async def leave(self) -> bool:
        """We were told to stop. Whether the host has ended, as far as can be seen; ``ended`` then says so, too."""
        if self._silent is not None and not await self._silent():
            return False
        self._left.set()
        return True

    async def _first(self, awaited: Awaitable[_T], otherwise: _T) -> _T:
        """What ``awaited`` says, or ``otherwise`` when we are told to leave before."""
        doing = asyncio.ensure_future(awaited)
        leaving = asyncio.ensure_future(self._left.wait())
        try:
            await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return doing.result() if doing.done() else otherwise
        finally:
            for task in (doing, leaving):
                task.cancel()


def refuses(host: str, port: int) -> Silent:
    """Nobody accepts connections there: they are refused. No answer at all is no refusal."""

    async def silent() -> bool:
        try:
            async with asyncio.timeout(REFUSED_WITHIN_SECONDS):
                _, writer = await asyncio.open_connection(host, port)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        with contextlib.suppress(OSError):
            writer.close()
        return False

    return silent
