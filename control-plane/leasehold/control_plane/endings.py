"""When holders were seen to end, for whoever tells it afterwards. Only where traces are told; decides nothing.

A watch of the beacons alone: few keys, and no event for a renewal. What ended while nobody watched is not known, and
nothing is made up for it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from contextlib import aclosing

import structlog

from leasehold.protocol.errors import StoreError
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import Holder, Revision
from leasehold.protocol.ports import Clock, Watches
from leasehold.protocol.store import Change

REMEMBERED = 20_000
"""The oldest are forgotten first: those that were of use are told of long since."""
RETRY_SECONDS = 1.0
log = structlog.get_logger()


class Endings:
    """``run`` it; then ``at`` knows."""

    def __init__(self, watches: Watches, keys: Keyspace, clock: Clock) -> None:
        self._watches, self._keys, self._clock = watches, keys, clock
        self._seen: OrderedDict[Holder, int] = OrderedDict()

    def at(self, holder: Holder) -> int | None:
        """Nanoseconds since 1970; ``None``: nobody saw it."""
        return self._seen.get(holder)

    async def run(self) -> None:
        """Watch, until cancelled."""
        while True:
            try:
                await self._follow()
            except StoreError as error:
                log.warning("endings_not_seen", error=str(error))
                await self._clock.sleep_until(self._clock.now() + RETRY_SECONDS)

    async def _follow(self) -> None:
        async with aclosing(self._watches.watch(self._keys.family(Family.BEACONS), start=Revision(0))) as batches:
            async for batch in batches:
                for event in batch.events:
                    key = self._keys.parse(event.item.key)
                    if key is not None:
                        self._note(key.holder, ended=event.change is Change.DELETE)

    def _note(self, holder: Holder, *, ended: bool) -> None:
        self._seen.pop(holder, None)
        if ended:
            self._seen[holder] = time.time_ns()
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
