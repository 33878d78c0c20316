"""One instant for everybody: moved by the test, read as a monotonic clock and as the wall's."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class WallClock:
    """``ports.Clock`` and the wall clock in one. Nobody waits on it."""

    def __init__(self) -> None:
        self.passed = timedelta()

    def now(self) -> float:
        return 1000.0 + self.passed.total_seconds()

    def wall(self) -> datetime:
        return START + self.passed

    async def sleep_until(self, instant: float) -> None:
        del instant
        await asyncio.Event().wait()
