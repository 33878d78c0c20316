"""A clock that stands still until it is moved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.fakes.etcd import FakeEtcd


class StandingClock:
    """``ports.Clock``; moves only by ``advance``, and the fake etcd's clock with it."""

    def __init__(self, etcd: FakeEtcd, start: float = 1000.0) -> None:
        self._etcd = etcd
        self._now = start
        self._waiting: dict[asyncio.Future[None], float] = {}

    def now(self) -> float:
        return self._now

    async def sleep_until(self, instant: float) -> None:
        if instant <= self._now:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[wake] = instant
        try:
            await wake
        finally:
            del self._waiting[wake]

    async def advance_until(self, what: str, look: Callable[[], object], *, within: float, step: float = 0.25) -> None:
        """Let time pass until something is seen, and no longer. A busy machine may need more time than ours passes for
        what has to happen in between: where a test counts on it, it waits for it."""
        end = self._now + within
        while not look():
            assert self._now < end, f"not within {within} s: {what}"
            await self.advance(step, step=step)

    async def advance(self, seconds: float, *, step: float = 0.25, both: bool = True) -> None:
        """Let time pass in small steps, so that renewals are made in between."""
        end = self._now + seconds
        while self._now < end - 1e-9:
            moved = min(step, end - self._now)
            self._now += moved
            if both:
                self._etcd.advance(moved)
            for wake, instant in list(self._waiting.items()):
                if instant <= self._now and not wake.done():
                    wake.set_result(None)
            await asyncio.sleep(0.02)  # what follows goes over real sockets
