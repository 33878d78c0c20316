"""Notices when the event loop is late: then renewals are, too."""

from __future__ import annotations

from prometheus_client import Histogram

from leasehold.protocol.ports import Clock

TICK_SECONDS = 0.25


async def feel_pulse(clock: Clock, lag: Histogram) -> None:
    """Until cancelled."""
    while True:
        planned = clock.now() + TICK_SECONDS
        await clock.sleep_until(planned)
        lag.observe(max(clock.now() - planned, 0.0))
