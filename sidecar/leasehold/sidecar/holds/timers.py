"""Timers: beacons that nobody renews. A strict TTL is one more holder and no second mechanism.

What is created in the same short window shares one timer. Its lease lasts ``ttl + window`` from a grant that is sent
after the window opened, so nothing is held for less than its ttl.

- A timer that vanishes before it is due (an operator, an etcd that lost leases) is put back for the time that is left:
  a false expiry must not start a grace. A look at all of them every ``LOOK_SECONDS`` tells.
- One that is due, with registrations still pending after an outage, is put back for a moment: what was created has to
  be *recorded*, held by a holder that has ended, or nobody would ever find it.
- After a restart the open windows are not used any more; their leases say how long they still last.

One task tends all of them, one after the other: a day's worth of half-minute windows is some 3,000.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import structlog

from leasehold.protocol.errors import LeaseNotFound, StoreError
from leasehold.protocol.names import Boot, Holder, Instant, ServiceName, timer_holder
from leasehold.protocol.records import HolderKind
from leasehold.protocol.session import NO_LEASE
from leasehold.protocol.store import Get, GetResult, Txn
from leasehold.protocol.transactions import MAX_BATCH
from leasehold.sidecar.holds.entries import Life, Over
from leasehold.sidecar.holds.etcd import Etcd
from leasehold.sidecar.holds.journal import Journal

log = structlog.get_logger()

MOMENT_SECONDS = 5
LOOK_SECONDS = 5.0
NEVER = Instant(math.inf)


def window_seconds(ttl: float) -> float:
    """How long a window stays open: a tenth of the ttl, but at least 1 s and at most 30 s."""
    return min(max(ttl / 10, 1.0), 30.0)


@dataclass(slots=True)
class Timer:
    """One beacon nobody renews. ``due`` is when its lease ends at the latest, once that is known."""

    life: Life
    attached: bool = False
    due: Instant = NEVER


@dataclass(frozen=True, slots=True)
class _Window:
    holder: Holder
    open_until: Instant


class Timers:
    """All timers of this sidecar."""

    def __init__(
        self,
        etcd: Etcd,
        journal: Journal,
        service: ServiceName,
        on_attached: Callable[[], None],
        pending_of: Callable[[Holder], int],
        since: Callable[[], str],
    ) -> None:
        self._etcd = etcd
        self._journal = journal
        self._service = service
        self._on_attached = on_attached
        self._pending_of = pending_of
        self._since = since
        self._windows: dict[float, _Window] = {}
        self._timers: dict[Holder, Timer] = {}
        self._work = asyncio.Event()
        self._looked_at = etcd.clock.now()
        self.trouble = ""

    def __contains__(self, holder: Holder) -> bool:
        return holder in self._timers

    def __len__(self) -> int:
        return len(self._timers)

    def current(self, ttl: float) -> Holder:
        """The timer for what is created now; opens a window if none is open."""
        now = self._now()
        window = self._windows.get(ttl)
        if window is not None and now < window.open_until:
            return window.holder
        length = window_seconds(ttl)
        holder = timer_holder(self._service, secrets.token_hex(8))
        boot = Boot(secrets.token_hex(8))
        life = Life(holder, HolderKind.TIMER, boot, math.ceil(ttl + length), self._since())
        self._journal.note(life)
        self._timers[holder] = Timer(life)
        self._windows[ttl] = _Window(holder, Instant(now + length))
        self._work.set()
        return holder

    def attached(self, holder: Holder) -> bool:
        return self._timers[holder].attached

    def missing(self, holder: Holder) -> None:
        """A batch did not find this beacon."""
        self._timers[holder].attached = False
        self._work.set()

    async def run(self) -> None:
        """Tend them until cancelled."""
        tries = 0
        await self._resume()
        while True:
            self._work.clear()
            try:
                for timer in list(self._timers.values()):
                    await self._tend(timer)
                await self._look_at_all()
            except StoreError as error:
                if not self.trouble:
                    log.warning("timers_in_trouble", error=str(error))
                self.trouble = str(error)
                tries += 1
                await self._etcd.pause(tries)
                continue
            self.trouble, tries = "", 0
            await self._until_something_is_due()

    # --- parts --------------------------------------------------------------------------------------------------

    async def _resume(self) -> None:
        lives = [life for life in self._journal.state.lives.values() if life.kind is HolderKind.TIMER]
        tries = 0
        while lives:
            life = lives[-1]
            try:
                asked_at = self._now()
                status = await self._etcd.leases.time_to_live(life.lease, deadline=self._etcd.deadline)
            except StoreError as error:
                self.trouble = str(error)
                tries += 1
                await self._etcd.pause(tries)
                continue
            lives.pop()
            if life.holder not in self._timers:
                remains = status.remaining_seconds if life.lease else life.ttl_seconds
                due = Instant(asked_at + max(remains, 0) + 1)
                self._timers[life.holder] = Timer(life, attached=bool(life.lease) and remains > 0, due=due)
        self._on_attached()

    async def _tend(self, timer: Timer) -> None:
        now = self._now()
        pending = self._pending_of(timer.life.holder)
        if now >= timer.due and not pending:
            del self._timers[timer.life.holder]
            self._journal.note(Over(timer.life.holder))
        elif not timer.attached:
            await self._attach(timer, now)

    async def _attach(self, timer: Timer, now: Instant) -> None:
        life = timer.life
        if not life.lease:
            left = life.ttl_seconds if timer.due == NEVER else max(math.ceil(timer.due - now), MOMENT_SECONDS)
            grant = await self._etcd.leases.grant(left, deadline=self._etcd.deadline)
            # One second more than etcd counts, so that we never call over what may still be believed.
            due = Instant(now + grant.ttl_seconds + 1)
            timer.due = due if timer.due == NEVER else max(timer.due, due)
            timer.life = life = msgspec.structs.replace(life, lease=grant.lease)
            self._journal.note(life)
            self._journal.flush()
        try:
            revision = await self._etcd.attach(life, life.ttl_seconds)
        except LeaseNotFound:
            timer.life = msgspec.structs.replace(life, lease=NO_LEASE)
            self._work.set()
            return
        if revision is None:
            raise StoreError(f"{life.holder}: another beacon is in the way")
        timer.attached = True
        self._on_attached()

    async def _look_at_all(self) -> None:
        now = self._now()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        # What is nearly due may end between the look and the repair: that would be no false expiry.
        timers = [timer for timer in self._timers.values() if timer.attached and timer.due - now > MOMENT_SECONDS]
        for start in range(0, len(timers), MAX_BATCH):
            await self._look(timers[start : start + MAX_BATCH])

    async def _look(self, timers: Sequence[Timer]) -> None:
        beacons = [Get(self._etcd.keys.beacon(timer.life.holder), keys_only=True) for timer in timers]
        result = await self._etcd.store.commit(Txn((), beacons), deadline=self._etcd.deadline)
        for timer, found in zip(timers, result.results, strict=True):
            if isinstance(found, GetResult) and not found.items:
                log.warning("timer_vanished", holder=timer.life.holder)
                self.missing(timer.life.holder)

    async def _until_something_is_due(self) -> None:
        now = self._now()
        due = (timer.due for timer in self._timers.values() if timer.due > now)
        wake = min(min(due, default=NEVER), Instant(self._looked_at + LOOK_SECONDS))
        sleep = asyncio.ensure_future(self._etcd.clock.sleep_until(max(wake, now)))
        work = asyncio.ensure_future(self._work.wait())
        try:
            await asyncio.wait({sleep, work}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            work.cancel()

    def _now(self) -> Instant:
        return Instant(self._etcd.clock.now())
