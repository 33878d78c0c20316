"""The one place where stages meet: nominations from the index go to the crews, news wake whom they concern.

Everything here is by event: a batch from the watch, shards gained or lost, a warm-up's end. The crews' backlogs hold
nothing of a shard that is not ours to act for; on gaining one, all that the index has nominated of it is offered anew,
after every gap, rule change or arming that of all our shards, and after every scan what the crews do not know of, so
nothing depends on an event that came at the wrong time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import structlog

from leasehold.control_plane.at_once import AtOnce
from leasehold.control_plane.brake import Brake
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.lifecycle import Step, Sweeping
from leasehold.control_plane.core.notices import Due
from leasehold.control_plane.crew import Admission, Crew, Gate
from leasehold.control_plane.graces import Graces
from leasehold.control_plane.informer import Informer
from leasehold.control_plane.leadership import TENANTS_SHARD, Leadership
from leasehold.control_plane.owners.register import Owners
from leasehold.control_plane.rations import Rations
from leasehold.control_plane.reaper import Reaper
from leasehold.control_plane.roster import Roster
from leasehold.control_plane.shadows import Shadows
from leasehold.control_plane.sweeper import Sweeper
from leasehold.control_plane.ticking import Bell
from leasehold.protocol.names import Instant, Resource, Revision
from leasehold.protocol.ports import Clock

TRANSACTIONS_AT_ONCE = 256
"""Several batches of ``grouping``: one that is judged while others are on their way."""
PREPARES_AT_ONCE = 512
"""More, because some of them ask an owner first."""
NOTICES_AT_ONCE = 64
SWEEPS_AT_ONCE = 512
"""Over all owners; each has its own limit besides."""
QUARANTINE_SPREAD_SECONDS = 60.0
CHECK_SECONDS = 0.5
ALWAYS = Instant(float("-inf"))
log = structlog.get_logger()


class Collector:
    """Feeds and wakes; decides nothing."""

    def __init__(
        self,
        index: Index,
        clock: Clock,
        leadership: Leadership,
        brake: Brake,
        reaper: Reaper,
        graces: Graces,
        sweeper: Sweeper,
        roster: Roster,
        owners: Owners,
        informer: Informer,
        rations: Rations,
        shadows: Shadows,
        at_once: AtOnce,
        *,
        hears: Callable[[], bool],
        jitter: Callable[[], float],
    ) -> None:
        self.hears = hears
        self._index, self._clock, self._leadership, self._brake = index, clock, leadership, brake
        self._graces, self._sweeper, self._roster, self._jitter = graces, sweeper, roster, jitter
        self._owners, self._rations, self._shadows, self._at_once = owners, rations, shadows, at_once
        self._acting: dict[int, Revision] = {}
        """The shards we act for, by what was announced, each with its fence."""
        self._shards: int | None = None
        self._armed = Revision(0)
        self._checked = False
        self._bell = Bell(clock)
        self.synced = False

        def crew(stage: str, work: Callable, gate: Gate, admits: Admission = self._admits, **more: Any) -> Crew:  # type: ignore[type-arg]
            more = {"limit": TRANSACTIONS_AT_ONCE, **more}
            return Crew(
                stage, work, clock, jitter=jitter, gate=gate, admits=admits, ended=leadership.on_ended, **more
            )  # fmt: skip

        self.crews = {
            Step.CONDEMN: crew(Step.CONDEMN, reaper.condemn, self._acting_and(brake.may_condemn)),
            Step.REVIVE: crew(Step.REVIVE, reaper.revive, self._acting_and(lambda: ALWAYS)),
            Step.PREPARE: crew(
                Step.PREPARE, reaper.prepare, self._may_prepare_any, self._admits_warm, limit=PREPARES_AT_ONCE,
                room=self._room_to_prepare, reopens=self._reopens,
            ),
            Step.SWEEP: crew(
                Step.SWEEP, sweeper.sweep, self._acting_and(brake.may_sweep), limit=SWEEPS_AT_ONCE, room=owners.room,
                reopens=owners.reopens,
            ),
        }  # fmt: skip
        owners.on_freed = self._on_freed
        at_once.on_left = self._on_left
        # One for each thing to be told, so that a restore never waits behind a thousand condemnations.
        self.notices = {
            due: crew(
                f"tell-{due}", informer.inform, self._acting_and(gate), limit=NOTICES_AT_ONCE, room=owners.room,
                reopens=owners.reopens,
            )
            for due, gate in ((Due.CONDEMN, brake.may_condemn), (Due.RESTORE, lambda: ALWAYS))
        }  # fmt: skip

    def may_prepare(self, resource: Resource) -> Instant | None:
        """From when on its sweep may be prepared and first sent; ``None``: not until something changes."""
        return self._opens(self._leadership.shard_of(resource))

    def may_tidy(self) -> Instant | None:
        """The same for what is done once per tenant."""
        return self._opens(TENANTS_SHARD)

    def is_busy(self, shard: int) -> bool:
        """Whether any work for a shard is under way."""
        in_hand = (resource for crew in self._all_crews() for resource in crew.in_hand())
        return any(self._leadership.shard_of(resource) == shard for resource in in_hand)

    def may_condemn(self) -> Instant | None:
        """The same for tombstones, in any shard of ours."""
        return self._acting_and(self._brake.may_condemn)()

    # --- events -------------------------------------------------------------------------------------------------

    def on_index(self) -> None:
        """The index changed (or the watch only progressed)."""
        self.synced = True
        self._brake.vigil.on_index()
        if self._index.placing_changed:
            self._rations.share(len(self._acting) / (self._index.shard_count or 1))
            self._index.placing_changed = False
            self._leadership.on_index()
        fresh = self._index.take_fresh()
        self._shadows.on_index(fresh, everything=self._index.policy_changed)
        # By what was announced, not by the belief of this instant: it may lapse unnoticed, and news come only once.
        if self._acting:
            if self._index.policy_changed or self._armed != self._index.armed or self._shards_changed():
                self._feed_everything()
            else:
                self._drop_overtaken(fresh)
                self._feed((resource, step) for resource, step in fresh.items() if step is not None)
        self._feed_notices(self._index.notices.take_fresh())
        self._index.policy_changed, self._armed = False, self._index.armed
        self._brake.seen()
        self._wake()

    def on_gap(self, reason: str) -> None:
        """Something may have been missed: warm up, and offer everything anew. Also after the first list."""
        self.synced = True
        self._brake.on_gap(reason)
        self._shadows.on_index((), everything=True)
        self._feed_everything()
        self._sweeper.forget_gone()

    def on_scan(self) -> None:
        """All was looked through: offer what is due and in nobody's backlog, having been declined or lost."""
        for step, resources in self._index.nominated.items():
            backlog = self.crews[step].backlog
            self._feed((resource, step) for resource in list(resources) if resource not in backlog)
        told = [crew.backlog for crew in self.notices.values()]
        owed = self._index.notices.due().items()
        self._feed_notices({one: due for one, due in owed if not any(one in backlog for backlog in told)})
        self._sweeper.forget_gone()
        self._wake()

    def on_rewind(self, reason: str) -> None:
        """etcd's past is another: nothing that was decided counts, and who serves us has to be found out anew."""
        self._checked = False
        self._brake.on_rewind(reason)
        self._shadows.on_rewind()
        for crew in self._all_crews():
            crew.backlog.clear()

    def on_leadership(self) -> None:
        """Shards were gained, left or lost, or belief in them was renewed."""
        self._sweeper.on_leadership()
        before, self._acting = self._acting, self._leadership.acting()
        if self._acting == before:
            self._wake()  # belief may have lapsed unannounced, and whoever found it so waits for us
            return
        self._rations.share(len(self._acting) / (self._index.shard_count or 1))
        gained = {shard for shard, fence in self._acting.items() if before.get(shard) != fence}
        if not before or TENANTS_SHARD in gained:
            self._checked = False
        self._brake.on_shards(gained, self._acting)
        if before.keys() - self._acting.keys():
            for crew in self._all_crews():
                crew.backlog.retain(self._is_ours)
        self._feed_shards(gained)
        self._wake()

    def _on_freed(self) -> None:
        """An owner answered: each of those that call owners may have been waiting for that."""
        for crew in (self.crews[Step.PREPARE], self.crews[Step.SWEEP], *self.notices.values()):
            crew.nudge()

    def _on_left(self, resource: Resource, at: Instant | None) -> None:
        """Who prepared and sent it leaves the rest to the sweeper."""
        if self._index.step_of(resource) is Step.SWEEP and self._is_ours(resource):
            self.crews[Step.SWEEP].offer(resource, at or Instant(self._clock.now() + self._jitter()))

    def wake(self) -> None:
        """Something else changed what is permitted."""
        self._wake()

    async def run(self) -> None:
        """All stages, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for crew in self._all_crews():
                tasks.create_task(crew.run())
            tasks.create_task(self._graces.run())
            tasks.create_task(self._roster.run())
            tasks.create_task(self._brake.vigil.run())
            tasks.create_task(self._shadows.run())
            tasks.create_task(self._check_cluster())

    async def _check_cluster(self) -> None:
        while True:
            if self._acting and self.synced and not self._checked:
                founding = TENANTS_SHARD in self._acting
                checked = await self._brake.keep_checking(founding=founding)
                # The tenant's shard may have become ours meanwhile: then it is ours to found, too.
                self._checked = checked and founding is (TENANTS_SHARD in self._acting)
                self._wake()
            waiting = self._acting and not self._checked
            await self._bell.wait(Instant(self._clock.now() + CHECK_SECONDS) if waiting else None)

    # --- parts --------------------------------------------------------------------------------------------------

    def _feed_everything(self) -> None:
        self._feed_shards(self._acting)

    def _feed_shards(self, shards: Collection[int]) -> None:
        if shards and self.synced:
            for step, resources in self._index.nominated.items():
                nominated = list(resources)
                self._feed((one, step) for one in nominated if self._leadership.shard_of(one) in shards)
            owed = self._index.notices.due()
            self._feed_notices({one: due for one, due in owed.items() if self._leadership.shard_of(one) in shards})

    def _feed_notices(self, owed: Mapping[Resource, Due | None]) -> None:
        for resource, due in owed.items():
            if not self._is_ours(resource):
                continue
            right = None if due is None else self.notices[Due.CONDEMN if due is Due.CONDEMN else Due.RESTORE]
            for crew in self.notices.values():
                if crew is right:
                    crew.offer(resource)
                else:
                    crew.backlog.discard(resource)

    def _all_crews(self) -> Iterator[Crew]:
        yield from self.crews.values()
        yield from self.notices.values()

    def _drop_overtaken(self, fresh: Mapping[Resource, Step | None]) -> None:
        for resource, step in fresh.items():
            for stage, crew in self.crews.items():
                if stage is not step:
                    crew.backlog.discard(resource)

    def _feed(self, due: Iterable[tuple[Resource, Step]]) -> None:
        if not self._acting:
            return
        now = Instant(self._clock.now())
        for resource, step in due:
            wait = self._wait(resource, step) if self._is_ours(resource) else None
            if wait is not None:
                self.crews[step].offer(resource, Instant(now + wait) if wait else None)

    def _wait(self, resource: Resource, step: Step) -> float | None:
        """Seconds until a nominated resource should be served; ``None``: not at all, its rule does not permit it."""
        entry = self._index.entry(resource)
        if entry is None or step is Step.REVIVE:
            return 0.0
        if step is Step.SWEEP:
            if self._at_once.is_sending(resource):
                return None
            # What was given up on by an earlier leader gets its chance soon, but not all of it at once.
            quarantined = entry.sweep_state is Sweeping.QUARANTINED
            return self._jitter() * QUARANTINE_SPREAD_SECONDS if quarantined else 0.0
        standing = self._index.policy.of(resource, entry.rule)
        if step is Step.CONDEMN:
            self._rations.know(resource.owner)
            return self._sweeper.patience(resource) if standing.may_condemn else None
        return 0.0 if standing.may_sweep else None

    def _is_ours(self, resource: Resource) -> bool:
        return self._leadership.shard_of(resource) in self._acting

    def _admits(self, resource: Resource) -> Instant | None:
        return ALWAYS if self._is_ours(resource) else None

    def _admits_warm(self, resource: Resource) -> Instant | None:
        # Only whether it is ours, and warm: what holds for all is the gate's, and no reason to drop anything.
        shard = self._leadership.shard_of(resource)
        return self._brake.opens(shard) if shard is not None and shard in self._acting else None

    def _room_to_prepare(self, owner: str, in_hand: int) -> bool:
        return self._rations.room(owner, in_hand) and self._owners.room_to_verify(owner, in_hand)

    def _reopens(self) -> Instant | None:
        return min((at for at in (self._owners.reopens(), self._rations.reopens()) if at is not None), default=None)

    def _shards_changed(self) -> bool:
        before, self._shards = self._shards, self._index.shard_count
        return before != self._shards

    def _acting_and(self, gate: Gate) -> Gate:
        def both() -> Instant | None:
            return gate() if self._leadership.believed and self._acting and self.synced and self._checked else None

        return both

    def _may_prepare_any(self) -> Instant | None:
        return self._acting_and(self._brake.may_prepare)() if self.hears() else None

    def _opens(self, shard: int | None) -> Instant | None:
        opens = self._may_prepare_any()
        return max(opens, self._brake.opens(shard)) if opens is not None and shard in self._acting else None

    def _wake(self) -> None:
        for crew in self._all_crews():
            crew.nudge()
        self._graces.nudge()
        self._bell.ring()
