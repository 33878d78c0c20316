"""Tells one sink of everything, in order, from where the last one stopped. One per sink; of all replicas one tells.

Laws:

- Collecting never waits for this: it has a watch of its own, on a connection of its own, and writes nothing but its
  cursor. What is not delivered waits in etcd's history; here wait at most the watch's few batches.
- At least once: the cursor moves only after everything before it was confirmed. What a crash repeats has the same ids.
- Nothing is passed over in silence: what compaction took is told as ``leasehold.gap``, what a receiver calls wrong is
  counted and logged. Anything else is sent again for ever.
- Everything about one resource is sent one after another; different resources beside each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing

import structlog

from leasehold.control_plane.events.cloudevents import CloudEvent, gap, told
from leasehold.control_plane.events.cursor import Cursor, Cursors
from leasehold.control_plane.events.histories import Histories
from leasehold.control_plane.events.port import Refused, Sink, Undelivered
from leasehold.control_plane.events.transitions import transitions
from leasehold.control_plane.leadership import TenantsAuthority
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.ticking import written_now
from leasehold.protocol.errors import Compacted, StoreError
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Revision
from leasehold.protocol.ports import Clock, Store, Watches
from leasehold.protocol.store import WatchBatch

LOOK_SECONDS = 0.5
"""How often a replica that does not tell looks whether it has to."""
PROGRESS_SECONDS = 1.0
SAVE_SECONDS = 1.0
"""What a crash repeats at most, beside what is under way."""
SAVE_IDLE_SECONDS = 60.0
"""Also when there was nothing to tell: compaction must not pass a cursor that only had no news."""
LANES = 16
"""Resources that are told of at once."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
BROKEN_SECONDS = 5.0
log = structlog.get_logger()


class Emitter:
    """``run`` it beside everything else."""

    def __init__(
        self,
        store: Store,
        watches: Watches,
        keys: Keyspace,
        clock: Clock,
        sink: Sink,
        authority: TenantsAuthority,
        metrics: Metrics,
        *,
        deadline: float,
        jitter: Callable[[], float],
    ) -> None:
        self._watches, self._keys, self._clock, self._sink = watches, keys, clock, sink
        self._authority, self._metrics, self._jitter = authority, metrics, jitter
        self._cursors = Cursors(store, keys, sink.name, deadline=deadline)
        self._histories = Histories(store, keys, deadline=deadline)
        self._cursor = Cursor(Revision(0), Revision(0))
        self._position, self._unsaved, self._saved_at = Revision(0), False, float("-inf")
        self._since: float | None = None
        self.telling = False

    @property
    def sink(self) -> str:
        return self._sink.name

    @property
    def lag_seconds(self) -> float:
        """How long the oldest that is here waits for its confirmation; 0: nothing is here."""
        return self._clock.now() - self._since if self._since is not None else 0.0

    def behind(self, revision: Revision) -> int:
        """How many revisions are between what was delivered and this one; 0 for a replica that does not tell."""
        return max(revision - self._position, 0) if self.telling else 0

    async def run(self) -> None:
        """Tell, whenever that is ours to do. Until cancelled."""
        try:
            while True:
                if self._authority() is not None:
                    await self._supervised()
                await self._clock.sleep_until(self._clock.now() + LOOK_SECONDS)
        finally:
            await self._sink.close()

    async def _supervised(self) -> None:
        try:
            await self._tell()
        except StoreError as error:
            log.warning("events_interrupted", sink=self.sink, error=str(error))
        except Exception:
            # A supervisor: a mistake in here must not end the collecting.
            log.exception("events_broken", sink=self.sink)
            await self._clock.sleep_until(self._clock.now() + BROKEN_SECONDS)
        finally:
            self.telling, self._since = False, None

    async def _tell(self) -> None:
        """From the cursor on; returns when it is not ours any more, or the cursor has to be read anew."""
        standing = await self._cursors.find()
        self._cursor = standing.cursor
        if standing.lost_until:
            ours = await self._pass_over(standing.cursor.revision, standing.lost_until, standing.why)
        else:
            ours = bool(standing.cursor.seen) or await self._move(standing.cursor.revision)
        while ours:
            self._position, self.telling = self._cursor.revision, True
            try:
                await self._follow()
                return
            except Compacted as error:
                ours = await self._pass_over(
                    self._position, Revision(error.compact_revision), "etcd's history was compacted"
                )

    async def _follow(self) -> None:
        start = Revision(self._position + 1)
        watch = self._watches.watch(self._keys.everything, start=start, progress_every=PROGRESS_SECONDS)
        async with aclosing(watch) as batches:
            async for batch in batches:
                if batch.revision < self._position:
                    return  # etcd's past is another: so may be the cursor's
                if not await self._take(batch):
                    return
                if self._save_is_due() and not await self._move(self._position):
                    return

    async def _take(self, batch: WatchBatch) -> bool:
        """Deliver what a batch means. ``False``: it is not ours to do any more, and not all was."""
        found = transitions(self._keys, batch.events)
        if found:
            self._since = self._clock.now()
            records = await self._histories.records(found)
            events = [told(self._keys.tenant, one, of) for one, of in zip(found, records, strict=True)]
            if not await self._deliver_all(events):
                return False
            self._since, self._unsaved = None, True
        self._position = max(self._position, batch.revision)
        return self._authority() is not None

    async def _pass_over(self, after: Revision, until: Revision, why: str) -> bool:
        """Tell of a gap, and go on behind it. ``False``: it is not ours to do any more."""
        log.error("events_gap", sink=self.sink, after=after, until=until, reason=why, alert=True)
        self._metrics.event_gaps.labels(self.sink).inc()
        if not await self._deliver(gap(self._keys.tenant, after, until, why)):
            return False
        return await self._move(Revision(until - 1))

    # --- delivering ---------------------------------------------------------------------------------------------

    async def _deliver_all(self, events: Sequence[CloudEvent]) -> bool:
        lanes: dict[str, list[CloudEvent]] = {}
        for event in events:
            lanes.setdefault(event.partitionkey or "", []).append(event)
        room = asyncio.Semaphore(LANES)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._lane(room, lane)) for lane in lanes.values()]
        return all(lane.result() for lane in running)

    async def _lane(self, room: asyncio.Semaphore, lane: Sequence[CloudEvent]) -> bool:
        for event in lane:
            async with room:
                if not await self._deliver(event):
                    return False
        return True

    async def _deliver(self, event: CloudEvent) -> bool:
        """Until it is confirmed or refused. ``False``: somebody else is to do it now."""
        attempt = 0
        while self._authority() is not None:
            began = self._clock.now()
            try:
                await self._sink.deliver(event)
            except Refused as error:
                self._metrics.events_failed.labels(self.sink, "refused").inc()
                log.error("event_refused", **self._about(event, began), error=str(error), alert=True)
                return True
            except Undelivered as error:
                attempt += 1
                self._metrics.events_failed.labels(self.sink, error.reason).inc()
                if attempt & (attempt - 1) == 0:  # the 1st, 2nd, 4th ...: an outage is told, not counted in lines
                    log.warning("event_not_delivered", **self._about(event, began), error=str(error), attempt=attempt)
                await self._pause(attempt, error.retry_after)
            else:
                self._metrics.events_delivered.labels(self.sink, event.type).inc()
                log.debug("event_delivered", **self._about(event, began))
                return True
        return False

    def _about(self, event: CloudEvent, began: float) -> dict[str, object]:
        return {
            "sink": self.sink, "id": event.id, "correlation_id": event.correlationid,
            "latency_ms": round((self._clock.now() - began) * 1000, 3),
        }  # fmt: skip

    async def _pause(self, attempt: int, told_seconds: float | None) -> None:
        longest = min(FIRST_PAUSE_SECONDS * 2 ** min(attempt - 1, 10), LONGEST_PAUSE_SECONDS)
        pause = min(told_seconds, LONGEST_PAUSE_SECONDS) if told_seconds is not None else longest * self._jitter()
        await self._clock.sleep_until(self._clock.now() + pause)

    # --- the cursor ---------------------------------------------------------------------------------------------

    def _save_is_due(self) -> bool:
        return self._clock.now() - self._saved_at >= (SAVE_SECONDS if self._unsaved else SAVE_IDLE_SECONDS)

    async def _move(self, revision: Revision) -> bool:
        by = self._authority()
        moved = await self._cursors.move(by, self._cursor, revision, written_now()) if by is not None else None
        if moved is None:
            return False
        self._cursor, self._unsaved, self._saved_at = moved, False, self._clock.now()
        return True
