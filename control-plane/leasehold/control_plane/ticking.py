"""Instants, and waiting for them: the clock of this process, and a bell that ends a wait early."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from leasehold.protocol.names import Instant

if TYPE_CHECKING:
    from leasehold.protocol.ports import Clock


class MonotonicClock:
    """``ports.Clock`` by the system's monotonic clock."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep_until(self, instant: float) -> None:
        await asyncio.sleep(max(0.0, instant - time.monotonic()))


class Bell:
    """Ends a wait. Rung while nobody waits, the next wait ends at once; rung twice, it ends once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, until: Instant | None = None) -> None:
        """Return when rung, or at ``until``."""
        if not self._rung.is_set():
            waits: set[asyncio.Future[object]] = {asyncio.ensure_future(self._rung.wait())}
            if until is not None and until < float("inf"):
                waits.add(asyncio.ensure_future(self._clock.sleep_until(until)))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
        else:
            # Whoever is rung all the time must still let the others run.
            await asyncio.sleep(0)
        self._rung.clear()


def written_now() -> str:
    """The wall clock, for people to read. Never compared (S7)."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
