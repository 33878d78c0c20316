"""Says when what is created now may not be registered at once, and when it may again. Traffic flows all the same.

A garbage collector is never the reason why an app is down: so this is told (log, gauge, ``/readyz``) and nothing else
is done about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from leasehold.protocol.ports import Clock

LOOK_SECONDS = 1.0
LOOKS_BEFORE_TELLING = 3
"""A holder that is just being attached is no news."""
log = structlog.get_logger()


class DegradationMetrics(Protocol):
    """Where the state is shown."""

    def degraded_is(self, degraded: bool) -> None: ...


class Degradation:
    """Looks at the reasons, and tells of each change once."""

    def __init__(self, reasons: Callable[[], Mapping[str, str]], metrics: DegradationMetrics) -> None:
        self._reasons, self._metrics = reasons, metrics
        self._looks = 0

    def look(self) -> None:
        """To be called at intervals."""
        reasons = self._reasons()
        self._metrics.degraded_is(bool(reasons))
        if not reasons:
            if self._looks >= LOOKS_BEFORE_TELLING:
                log.info("recovered")
            self._looks = 0
            return
        self._looks += 1
        if self._looks == LOOKS_BEFORE_TELLING:
            log.warning(
                "degraded", reasons=dict(reasons), meaning="traffic flows; what is created may be registered late"
            )

    async def run(self, clock: Clock) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await clock.sleep_until(clock.now() + LOOK_SECONDS)
