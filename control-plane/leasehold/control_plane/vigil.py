"""Watches for what goes without a word, and trips the brake by itself.

Every replica sees everything, and any of them may stop everybody: first itself, in the moment it sees it, then all, by
taking ``control/armed`` away under the revision that it saw. The tenant's shard alone arms again, when so much of what
had vanished is back that it would not trip; after any other cause an operator has to.

The window survives a change of hands (S5): what it counts stands in ``control/window``, and who lived at that revision
can be read as of it. Whoever begins to look takes over both before it does anything else; where that past is compacted
away, everybody who is gone without a word counts as gone just now.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from leasehold.control_plane.core.brake_window import BrakeWindow, Thresholds
from leasehold.control_plane.core.departures import (
    Departures,
    carried_by,
    held_by_the_living,
    went_without_a_word,
)
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.lifecycle import Holding, State
from leasehold.control_plane.leadership import TenantsAuthority
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.ticking import Bell, written_now
from leasehold.protocol.errors import Compacted, StoreError
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import Holder, Instant, Resource, Revision
from leasehold.protocol.ports import Clock, Store
from leasehold.protocol.records import ArmedRecord, Cause, TrippedRecord, WindowRecord
from leasehold.protocol.transactions import Authority, committed
from leasehold.protocol.transactions_brake import note_window, rearm, trip_armed

RETRY_SECONDS = 0.5
NOTE_SECONDS = 1.0
"""How soon after another what changed is written down."""
log = structlog.get_logger()


class Vigil:
    """One replica's. ``on_index`` after every batch; ``seen`` is up to which revision the index knows etcd;
    ``on_change`` is called when what it forbids changes."""

    def __init__(
        self,
        store: Store,
        keys: Keyspace,
        index: Index,
        clock: Clock,
        authority: TenantsAuthority,
        metrics: Metrics,
        *,
        replica: str,
        thresholds: Thresholds,
        deadline: float,
        seen: Callable[[], Revision],
        on_change: Callable[[], None],
    ) -> None:
        self._store, self._keys, self._index, self._clock = store, keys, index, clock
        self._authority, self._metrics, self._replica = authority, metrics, replica
        self._deadline, self._seen, self._on_change = deadline, seen, on_change
        self.thresholds = thresholds
        self.window = BrakeWindow(thresholds.seconds)
        self._bell = Bell(clock)
        self._armed = Revision(0)
        self._found: tuple[Revision, WindowRecord | None] | None = None
        """What stood in etcd when it was first listed: the armed key, and what others had counted."""
        self._taken = False
        self._tripping: TrippedRecord | None = None
        self._noted: tuple[int, int, int, Revision] | None = None
        self._noted_at = Instant(float("-inf"))

    @property
    def why_not(self) -> str:
        """What forbids condemning and preparing, beside what stands in etcd; empty when nothing does."""
        if self._tripping is not None:
            return f"being tripped: {self._tripping.why}"
        return "" if self._taken else "what vanished before we looked is not known yet"

    # --- events -------------------------------------------------------------------------------------------------

    def on_index(self) -> None:
        """The index changed; everything of each revision it shows is there."""
        index, now = self._index, self._now()
        if self._found is None:
            self._found = (index.armed, index.window)
        if index.armed != self._armed:
            self._armed, self._tripping = index.armed, None
            if index.armed and not (index.armed_by is not None and index.armed_by.returned):
                self.window.clear()  # whoever armed knew
        self._take(now, index.departures.take())
        if index.armed:
            self.window.settle(now)
        self._judge()
        self._bell.ring()

    def on_rewind(self) -> None:
        """etcd's past is another: nothing that was counted counts."""
        self.window.clear()
        self._index.departures.clear()
        self._found, self._taken, self._tripping, self._noted = None, False, None, None

    def trip(self, cause: Cause, why: str) -> None:
        """Stop at once, and everybody as soon as etcd hears of it."""
        if self._index.armed and self._tripping is None:
            window = self.window
            self._tripping = TrippedRecord(
                self._replica, why, cause, written_now(), window.holders,
                window.losses if cause is Cause.LOST else window.carried, self.live(),
            )  # fmt: skip
            log.error("tripping", cause=cause, reason=why, alert=True)
            self._bell.ring()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            due: Instant | None = None
            try:
                due = await self._round()
            except StoreError as error:
                self._metrics.failed_rounds.labels("vigil").inc()
                log.warning("vigil_failed", error=str(error))
                due = Instant(self._now() + RETRY_SECONDS)
            await self._bell.wait(due)

    # --- what is seen -------------------------------------------------------------------------------------------

    def live(self) -> int:
        """How many resources were live before those of the window vanished."""
        return self._held() + sum(not self._is_held(one) for one in self.window.resources()) + self.window.inherited

    def _take(self, now: Instant, departed: Departures) -> None:
        index = self._index
        for holder in departed.rosters.keys() | departed.beacons.keys():
            found = index.holder(holder)
            if holder in self.window and found is not None and not went_without_a_word(found):
                self._explain(holder)
        for holder, there in departed.beacons.items():
            if not there:
                self._vanish(now, holder)
        self.window.lost(now, departed.lost(index.entry, index.holder))
        for missing, resource in departed.dire(index.entry):
            log.error("lost", missing=missing, resource=str(resource), alert=True)
            self.trip(Cause.LOST, f"the {missing} of {resource} went without a transaction of ours")

    def _vanish(self, now: Instant, holder: Holder) -> None:
        found = self._index.holder(holder)
        if found is None or not went_without_a_word(found):
            return
        carried = list(carried_by(found, self._index.entry, self._index.holder))
        if carried:
            self.window.vanished(now, holder, carried)
            log.warning("vanished", holder=holder, resources=len(carried), carried=self.window.carried)

    def _explain(self, holder: Holder) -> None:
        found = self._index.holder(holder)
        resources = found.resources if found is not None else ()
        self.window.explained(holder, resources, (one for one in resources if self._is_carried_by_others(one, holder)))

    def _is_carried_by_others(self, resource: Resource, holder: Holder) -> bool:
        entry = self._index.entry(resource)
        if entry is None or self._is_held_again(resource):
            return False
        return any(hold.holder != holder and hold.holder in self.window for hold in entry.holds)

    def _held(self) -> int:
        return sum(n for (_, _, _, state), n in self._index.counts.items() if state is State.HELD)

    def _is_held(self, resource: Resource) -> bool:
        entry = self._index.entry(resource)
        return entry is not None and bool(entry.record) and entry.facts.holding is Holding.HELD

    def _is_held_again(self, resource: Resource) -> bool:
        """By a holder that is alive: what is needed by another resource alone is carried as much as that one is."""
        entry = self._index.entry(resource)
        return entry is not None and bool(entry.record) and held_by_the_living(entry, self._index.holder)

    def _judge(self) -> None:
        window, limits = self.window, self.thresholds
        if not self._index.armed or self._tripping is not None:
            return
        if limits.lost_too_much(window.losses):
            self.trip(Cause.LOST, f"keys of {window.losses} resources went without a transaction of ours")
        # The first comparison costs nothing and can only be too strict.
        elif limits.vanished_too_much(window.carried, self._held()) and limits.vanished_too_much(
            window.carried, live := self.live()
        ):
            told = f"{window.holders} holders that carry {window.carried} of {live} live resources vanished"
            self.trip(Cause.VANISHED, f"{told} within {limits.seconds:g} s without a reported death")

    # --- what is done about it ----------------------------------------------------------------------------------

    async def _round(self) -> Instant | None:
        if self._found is None:
            return None
        if not self._taken:
            await self._take_over(*self._found)
        if self._tripping is not None:
            await self._trip(self._tripping)
            return Instant(self._now() + RETRY_SECONDS)
        by = self._authority()
        if by is None:
            return None
        if self._index.armed:
            return await self._note(by)
        await self._rearm(by)
        return None

    async def _take_over(self, armed: Revision, window: WindowRecord | None) -> None:
        """Learn what vanished before we looked."""
        index = self._index
        known = window if window is not None and armed and window.armed == armed else None
        alive = await self._alive_at(max(armed, Revision(known.revision)) if known else armed) if armed else None
        if self._found is None:
            return  # rewound meanwhile
        now = self._now()
        for holder, found in index.holders():
            if holder not in self.window and (alive is None or holder in alive) and went_without_a_word(found):
                self._vanish(now, holder)
        if known is not None:
            self.window.inherit(now, known.holders, known.carried, known.lost)
        self._taken = True
        log.info("window_taken_over", carried=self.window.carried, inherited=self.window.inherited)
        self._judge()
        self._on_change()

    async def _alive_at(self, revision: Revision) -> set[Holder] | None:
        """Who was alive then; ``None``: nobody can tell any more."""
        beacons = self._keys.family(Family.BEACONS)
        try:
            found = await self._store.read(beacons, deadline=self._deadline, revision=revision, keys_only=True)
        except Compacted:
            return None
        return {key.holder for item in found.items if (key := self._keys.parse(item.key)) is not None}

    async def _trip(self, tripped: TrippedRecord) -> None:
        if not self._index.armed:
            return  # somebody else was faster
        txn = trip_armed(self._keys, self._index.armed, tripped)
        if committed(await self._store.commit(txn, deadline=self._deadline)):
            self._metrics.brake_trips.labels(tripped.cause).inc()
            log.error(
                "tripped", cause=tripped.cause, reason=tripped.why, holders=tripped.holders,
                resources=tripped.resources, live=tripped.live, alert=True,
            )  # fmt: skip

    async def _rearm(self, by: Authority) -> None:
        seen, tripped = self._index.tripped
        if tripped is None or tripped.cause is not Cause.VANISHED:
            return
        missing = sum(not self._is_held_again(one) for one in self.window.resources()) + self.window.inherited
        # Of what was live then: what came into being since does not make what is missing any less.
        if self.thresholds.vanished_too_much(missing, min(self.live(), tripped.live)):
            return
        why = f"of {tripped.resources} resources that had vanished all but {missing} are held again"
        armed = ArmedRecord(self._replica, why, written_now(), returned=True)
        if committed(await self._store.commit(rearm(self._keys, by, seen, armed), deadline=self._deadline)):
            self._metrics.brake_arms.labels("returned").inc()
            log.warning("armed_again", reason=why, tripped_by=tripped.who)

    async def _note(self, by: Authority) -> Instant:
        """Write down what the window counts, when that changed or was long ago. Returns when to look again."""
        window, now = self.window, self._now()
        counts = (window.holders, window.carried, window.losses, self._index.armed)
        due = Instant(self._noted_at + (NOTE_SECONDS if counts != self._noted else self.thresholds.seconds))
        if now < due:
            return due
        record = WindowRecord(
            self._seen(), self._index.armed, window.holders, window.carried, window.losses, self.live(), written_now()
        )
        if committed(await self._store.commit(note_window(self._keys, by, record), deadline=self._deadline)):
            self._noted, self._noted_at = counts, now
        return Instant(now + NOTE_SECONDS)

    def _now(self) -> Instant:
        return Instant(self._clock.now())
