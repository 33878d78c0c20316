"""List and watch etcd into the index, and check now and then that nothing was missed.

Laws:

- A list is read at one revision and the watch starts right behind it: nothing falls between.
- Silence is told from health by etcd's progress reports. A gap (silence, compaction, a list anew, something the scan
  had to mend) means that holders may look dead who are not: ``on_gap`` says so, and nothing is prepared for a while.
- A linearizable read never shows an older revision than one that was seen before. If it does, etcd's past is another
  (a restored snapshot, a wiped disk): everything known is dropped, ``on_rewind`` says so, and we list anew.
- The scan (L2) lists again beside the running watch. What it finds is compared only once the watch has caught up with
  its revision, so that a late event is not taken for a lost one. It takes its time: nobody waits for it, and renewals
  share the loop and etcd with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

import structlog

from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.roll_call import RollCall
from leasehold.control_plane.ticking import Bell
from leasehold.protocol.errors import Compacted, LeaseholdError, StoreError
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Instant, LeaseId, Revision
from leasehold.protocol.ports import Clock, Store, Watches
from leasehold.protocol.store import Change, Event, KeyValue, Snapshot, WatchBatch

PROGRESS_SECONDS = 1.0
SILENCE_SECONDS = 3.5
"""Longer than a few missed progress reports: from here on what is known may be stale."""
PAGE_DEADLINE_SECONDS = 10.0
RETRY_SECONDS = 0.5
REWIND_CHECK_SECONDS = 10.0
REWIND_DEADLINE_SECONDS = 2.0
PAGE_KEYS = 5000
AT_ONCE_KEYS = 1000
"""So many are taken in before others have their turn: a few milliseconds."""
SCAN_PAGE_KEYS = 1000
"""A scan is not to be felt: a few milliseconds at a time, here and in etcd."""
NEVER_HEARD = Instant(float("-inf"))
log = structlog.get_logger()


class _Rewound(LeaseholdError):
    """etcd is at an older revision than what was seen of it."""


@dataclass
class Sight:
    """How well we see. ``synced``: the index is what etcd holds, up to what is on its way."""

    synced: bool = False
    revision: Revision = Revision(0)
    heard_at: Instant = NEVER_HEARD
    trouble: str = "etcd has not been listed yet"
    corrections: int = 0
    lists: int = 0
    compared_at: Instant = NEVER_HEARD
    """When all keys were last compared with what is known."""


class Observer:
    """Keeps the index. ``on_change`` after every batch, ``on_scan`` after every scan; ``on_blind(reason)`` when a gap
    begins and ``on_gap(reason)`` when one is over: something may have been missed. ``filling`` surrounds the reading of
    everything into a blank index."""

    def __init__(
        self,
        store: Store,
        watches: Watches,
        keys: Keyspace,
        index: Index,
        clock: Clock,
        *,
        scan_seconds: float,
        on_change: Callable[[], None],
        on_scan: Callable[[], None],
        on_rewind: Callable[[str], None],
        on_blind: Callable[[str], None],
        on_gap: Callable[[str], None],
        filling: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._store, self._watches, self._keys, self._index, self._clock = store, watches, keys, index, clock
        self._scan_seconds = scan_seconds
        self._on_change, self._on_scan, self._on_rewind = on_change, on_scan, on_rewind
        self._on_blind, self._on_gap, self._filling = on_blind, on_gap, filling
        self._advanced = Bell(clock)
        self._scanning = False
        self._checked_at = NEVER_HEARD
        self._latest: KeyValue | None = None
        """What the watch saw written last."""
        self.sight = Sight()

    async def run(self) -> None:
        """List, follow, and list again when the watch's past is gone. Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._scan_for_ever())
            while True:
                try:
                    await self._list("listed")
                    await self._follow()
                except Compacted as error:
                    self.sight.synced = False
                    self.sight.trouble = "the watch fell behind a compaction; listing again"
                    self._on_blind(self.sight.trouble)
                    log.warning("watch_compacted", revision=error.compact_revision)
                except _Rewound as error:
                    self._start_over(str(error))
                except StoreError as error:
                    self.sight.trouble = f"etcd: {error}"
                    log.warning("list_failed", error=str(error))
                    await self._clock.sleep_until(self._clock.now() + RETRY_SECONDS)

    @property
    def silence(self) -> float:
        """Seconds since etcd was last heard from."""
        return self._clock.now() - self.sight.heard_at

    @property
    def scan_age(self) -> float:
        """Seconds since all keys were last compared with what is known."""
        return self._clock.now() - self.sight.compared_at

    @property
    def hears(self) -> bool:
        """Whether what is known is fresh. False: the next thing heard will be the end of a gap."""
        return self.sight.synced and self.silence <= SILENCE_SECONDS

    # --- list ---------------------------------------------------------------------------------------------------

    async def _list(self, reason: str) -> None:
        await self._check_for_rewind()
        began = self._clock.now()
        revision = await self._load() if self._index.blank else (await self._compare(watching=False, at_ease=False))[0]
        self.sight.revision = revision
        self.sight.heard_at = Instant(self._clock.now())
        self.sight.synced = True
        self.sight.trouble = ""
        self.sight.lists += 1
        self.sight.compared_at = self.sight.heard_at
        self._advanced.ring()
        log.info(
            "listed", revision=revision, resources=len(self._index), seconds=round(self._clock.now() - began, 3)
        )  # fmt: skip
        self._on_gap(reason)
        self._on_change()

    async def _load(self) -> Revision:
        """Read all keys at one revision into a blank index."""
        revision = Revision(0)
        with self._filling():
            filling = self._index.loading()
            try:
                async for page in self._pages(PAGE_KEYS):
                    revision = page.revision
                    for n in range(0, len(page.items), AT_ONCE_KEYS):
                        filling.take(page.items[n : n + AT_ONCE_KEYS])
                        await asyncio.sleep(0)  # and the next page comes in
                for _ in self._index.loaded():
                    await asyncio.sleep(0)
            except StoreError:
                for _ in self._index.loaded():
                    pass  # what came, came: the next list compares with it
                raise
        return revision

    async def _compare(self, *, watching: bool, at_ease: bool) -> tuple[Revision, int]:
        """Read all keys at one revision and mend the index by them; drop what is not there any more. Returns what was
        news. ``at_ease``: others are to have as much time as this takes."""
        revision, news, roll = Revision(0), 0, RollCall(self._index)
        async for page in self._pages(SCAN_PAGE_KEYS):
            revision = page.revision
            if watching:
                # What the watch has yet to deliver is no mistake: compare with what it had to know at this revision.
                await self._caught_up(revision)
            began = self._clock.now()
            news += sum(map(roll.call, page.items))
            worked = self._clock.now() - began
            await (self._clock.sleep_until(began + 2 * worked) if at_ease else asyncio.sleep(0))
        for absent in roll.absentees(revision):
            news += sum(self._index.apply(_deleted(key, revision)) for key in absent)
            await asyncio.sleep(0)
        return revision, news

    def _pages(self, page_size: int) -> AsyncGenerator[Snapshot, None]:
        return self._store.pages(self._keys.everything, deadline=PAGE_DEADLINE_SECONDS, page_size=page_size)

    # --- watch --------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        start = Revision(self.sight.revision + 1)
        async for batch in self._watches.watch(self._keys.everything, start=start, progress_every=PROGRESS_SECONDS):
            silence = self.silence
            self._take(batch)
            if silence > SILENCE_SECONDS:
                log.warning("watch_was_silent", seconds=round(silence, 1))
                self._on_gap("the watch was silent")
            self._on_change()
            if self._clock.now() - self._checked_at >= REWIND_CHECK_SECONDS:
                # A rewound etcd goes on reporting progress, and nothing else until it is past where it was.
                with suppress(StoreError):
                    await self._check_for_rewind()

    async def _check_for_rewind(self) -> None:
        self._checked_at = Instant(self._clock.now())
        seen = self.sight.revision
        now = (await self._store.read(self._keys.cluster, deadline=REWIND_DEADLINE_SECONDS)).revision
        if now < seen:
            raise _Rewound(f"etcd went back from revision {seen} to {now}: a snapshot was restored, or it was wiped")
        if self._latest is not None:
            await self._check_the_past(self._latest)

    async def _check_the_past(self, latest: KeyValue) -> None:
        """A restored etcd may be past where it was before anybody looks: then its past is another."""
        try:
            then = await self._store.read(
                latest.key, deadline=REWIND_DEADLINE_SECONDS, revision=latest.mod_revision
            )  # fmt: skip
        except Compacted:
            self._latest = None  # nothing to compare with, until the next event
            return
        if latest not in then.items:
            raise _Rewound(
                f"etcd's past is another: what was seen written at revision {latest.mod_revision} was never "
                "written there; a snapshot was restored"
            )

    def _start_over(self, reason: str) -> None:
        log.error("rewound", reason=reason, alert=True)
        self.sight.synced = False
        self.sight.trouble = reason
        self.sight.revision = Revision(0)
        self._latest = None
        self._index.forget_everything()
        self._on_blind(reason)
        self._on_rewind(reason)

    def _take(self, batch: WatchBatch) -> None:
        for event in batch.events:
            self._index.apply(event)
            if event.change is Change.PUT:
                self._latest = event.item
        self.sight.revision = max(self.sight.revision, batch.revision)
        self.sight.heard_at = Instant(self._clock.now())
        if not self._scanning:
            self._index.settle(self.sight.revision)
        self._advanced.ring()

    # --- scan ---------------------------------------------------------------------------------------------------

    async def _scan_for_ever(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now() + self._scan_seconds)
            if self.sight.synced:
                await self.scan()

    async def scan(self) -> int:
        """Compare etcd with the index and mend it. Returns how many keys were wrong; 0 is what to expect."""
        began = self._clock.now()
        self._scanning = True  # from here on deletions are remembered, so that a page cannot undo them
        try:
            _, wrong = await self._compare(watching=True, at_ease=True)
        except StoreError as error:
            log.warning("scan_failed", error=str(error))
            return 0
        finally:
            self._scanning = False
        self.sight.compared_at = Instant(began)
        if wrong:
            self.sight.corrections += wrong
            log.error("scan_corrected", keys=wrong)
            self._on_gap("the scan found what the watch had missed")
        log.info("scanned", seconds=round(self._clock.now() - began, 3), wrong=wrong)
        self._on_change()
        self._on_scan()
        return wrong

    async def _caught_up(self, revision: Revision) -> None:
        """Return once the watch has delivered everything up to ``revision``."""
        while self.sight.revision < revision:
            await self._advanced.wait()


def _deleted(key: bytes, revision: Revision) -> Event:
    return Event(Change.DELETE, KeyValue(key, b"", Revision(0), revision, 0, LeaseId(0)))
