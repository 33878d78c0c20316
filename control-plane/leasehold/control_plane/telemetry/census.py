"""Looks at the age of everything that is condemned, now and then, in slices that nobody feels.

It rests twenty times as long as it worked, so it takes at most a twentieth of the loop however much there is. What a
scrape shows is the last whole look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from leasehold.control_plane.core.epochs import grace_seconds
from leasehold.control_plane.core.facts import Entry
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.lifecycle import State
from leasehold.control_plane.metrics import Metrics, Sample
from leasehold.control_plane.telemetry.ages import STAGES, Ages, Timeline
from leasehold.control_plane.telemetry.declared import sweeping as told
from leasehold.protocol.errors import StoreError
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Instant, Resource, Revision
from leasehold.protocol.ports import Clock, Store
from leasehold.protocol.records import TombstoneRecord, Unreadable, decode

LOOK_SECONDS = 10.0
REST = 20.0
AT_A_TIME = 1000
"""About a millisecond."""
BOUNDS = told.OVERDUE_AGE.bounds
log = structlog.get_logger()


class Census:
    """One replica's. ``seen``: up to which revision etcd is known."""

    def __init__(
        self, store: Store, keys: Keyspace, index: Index, clock: Clock, *, deadline: float,
        seen: Callable[[], Revision],
    ) -> None:  # fmt: skip
        self._store, self._keys, self._index, self._clock = store, keys, index, clock
        self._deadline, self._seen = deadline, seen
        self._timeline = Timeline()
        self._seen_last = Revision(0)
        self._asked = Revision(0)
        self.last = Ages(self._timeline, Instant(clock.now()), BOUNDS)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            worked = await self.look()
            await self._clock.sleep_until(self._clock.now() + max(LOOK_SECONDS, REST * worked))

    async def look(self) -> float:
        """One look at everything. Returns how many seconds of work it was."""
        self._note(self._seen())
        ages, worked = Ages(self._timeline, self._now(), BOUNDS), 0.0
        for name in self._index.classes():
            grace = grace_seconds(name)
            if grace is None:
                continue
            condemned = self._index.condemned_in(name)
            for start in range(0, len(condemned), AT_A_TIME):
                began = self._clock.now()
                for resource in condemned[start : start + AT_A_TIME]:
                    _see(ages, self._index.entry(resource), grace)
                worked += self._clock.now() - began
                await asyncio.sleep(0)
        self.last = ages
        await self._learn_the_past(ages)
        return worked

    def show(self, metrics: Metrics) -> None:
        metrics.view(told.CLEANUP_OLDEST, self._oldest)
        metrics.spread(told.OVERDUE_AGE, lambda: self.last.overdue)

    # --- parts --------------------------------------------------------------------------------------------------

    def _oldest(self) -> list[Sample]:
        return [((stage.value,), age) for stage, age in self.last.oldest(self._now()).items()]

    def _note(self, seen: Revision) -> None:
        if seen < self._seen_last:
            self._timeline.clear()  # rewound
        self._seen_last = seen
        if seen:
            self._timeline.note(seen, self._now())

    async def _learn_the_past(self, ages: Ages) -> None:
        """What was condemned before we came tells itself when that was: the oldest is asked, once."""
        first, known = ages.first, self._timeline.first
        if first is None or known is None or first >= known or first == self._asked:
            return
        self._asked = first
        resource = await self._whose(first)
        if resource is None:
            return
        try:
            item = await self._store.get(self._keys.tombstone(resource), deadline=self._deadline)
            if item is not None and item.mod_revision == first:
                age = _seconds_since(decode(TombstoneRecord, item.value).since)
                self._timeline.learn(first, Instant(self._clock.now() - age))
        except StoreError as error:
            self._asked = Revision(0)
            log.debug("census_could_not_ask", error=str(error))
        except (Unreadable, ValueError):
            pass  # listed by the index as unreadable; its age stays "since we look"

    async def _whose(self, tombstone: Revision) -> Resource | None:
        for name in self._index.classes():
            for number, resource in enumerate(self._index.condemned_in(name)):
                if number % AT_A_TIME == 0:
                    await asyncio.sleep(0)
                entry = self._index.entry(resource)
                if entry is not None and entry.tombstone == tombstone:
                    return resource
        return None

    def _now(self) -> Instant:
        return Instant(self._clock.now())


def _see(ages: Ages, entry: Entry | None, grace: int) -> None:
    if entry is None or entry.filed is None:
        return  # gone meanwhile
    state: State = entry.filed[1]
    if state in STAGES:
        ages.see(entry.resource.owner, state, entry.tombstone, grace)


def _seconds_since(written: str) -> float:
    """By the wall clock, for people to see. Raises ``ValueError`` for what is no time."""
    then = datetime.fromisoformat(written)
    return max(0.0, (datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds())
