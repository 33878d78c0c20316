"""The one place where stages meet: nominations from the index go to the crews, news wake whom they concern.

Everything here is by event: a batch from the watch, leadership gained or lost, a warm-up's end. The crews' backlogs
hold nothing while we stand by; on gaining leadership (and after every gap, rule change or arming) all that the index
has nominated is offered anew, and after every scan what the crews do not know of, so nothing depends on an event that
came at the wrong time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping

import structlog

from leasehold.control_plane.brake import Brake
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.lifecycle import Step, Sweeping
from leasehold.control_plane.core.notices import Due
from leasehold.control_plane.crew import Crew, Gate
from leasehold.control_plane.graces import Graces
from leasehold.control_plane.informer import Informer
from leasehold.control_plane.leadership import Leadership
from leasehold.control_plane.owners.register import Owners
from leasehold.control_plane.reaper import Reaper
from leasehold.control_plane.roster import Roster
from leasehold.control_plane.sweeper import Sweeper
from leasehold.control_plane.ticking import Bell
from leasehold.protocol.names import Instant, Resource, Revision
from leasehold.protocol.ports import Clock

TRANSACTIONS_AT_ONCE = 32
PREPARES_AT_ONCE = 64
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
        *,
        hears: Callable[[], bool],
        jitter: Callable[[], float],
    ) -> None:
        self.hears = hears
        self._index, self._clock, self._leadership, self._brake = index, clock, leadership, brake
        self._graces, self._sweeper, self._roster, self._jitter = graces, sweeper, roster, jitter
        self._fence = Revision(0)
        self._armed = Revision(0)
        self._checked = False
        self._bell = Bell(clock)
        self.synced = False

        def crew(step: Step, work: Callable, gate: Gate, limit: int = TRANSACTIONS_AT_ONCE, **more: Callable) -> Crew:  # type: ignore[type-arg]
            return Crew(step, work, clock, limit=limit, jitter=jitter, gate=self._leading_and(gate), **more)

        self.crews = {
            Step.CONDEMN: crew(Step.CONDEMN, reaper.condemn, brake.may_condemn),
            Step.REVIVE: crew(Step.REVIVE, reaper.revive, lambda: ALWAYS),
            Step.PREPARE: Crew(
                Step.PREPARE, reaper.prepare, clock, limit=PREPARES_AT_ONCE, jitter=jitter, gate=self.may_prepare,
                room=owners.room_to_verify, reopens=owners.reopens,
            ),
            Step.SWEEP: crew(
                Step.SWEEP, sweeper.sweep, brake.may_sweep, SWEEPS_AT_ONCE, room=owners.room, reopens=owners.reopens
            ),
        }  # fmt: skip
        owners.on_freed = self._on_freed
        # One for each thing to be told, so that a restore never waits behind a thousand condemnations.
        self.notices = {
            due: Crew(
                f"tell-{due}", informer.inform, clock, limit=NOTICES_AT_ONCE, jitter=jitter,
                gate=self._leading_and(gate), room=owners.room, reopens=owners.reopens,
            )
            for due, gate in ((Due.CONDEMN, brake.may_condemn), (Due.RESTORE, lambda: ALWAYS))
        }  # fmt: skip

    def may_prepare(self) -> Instant | None:
        """From when on sweeps may be prepared and first sent; ``None``: not until something changes."""
        return self._leading_and(self._brake.may_prepare)() if self.hears() else None

    def may_condemn(self) -> Instant | None:
        """The same for tombstones."""
        return self._leading_and(self._brake.may_condemn)()

    # --- events -------------------------------------------------------------------------------------------------

    def on_index(self) -> None:
        """The index changed (or the watch only progressed)."""
        self.synced = True
        fresh = self._index.take_fresh()
        # By what was announced, not by the belief of this instant: it may lapse unnoticed, and news come only once.
        if self._fence:
            if self._index.policy_changed or self._armed != self._index.armed:
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
        for crew in self._all_crews():
            crew.backlog.clear()

    def on_leadership(self) -> None:
        """Gained, lost or renewed."""
        self._sweeper.on_leadership()
        fence = self._leadership.fence
        if fence == self._fence:
            return
        self._fence, self._checked = fence, False
        for crew in self._all_crews():
            crew.backlog.clear()
        if fence and self.synced:
            self._brake.on_gap("leadership was gained")
            self._feed_everything()
        self._wake()

    def _on_freed(self) -> None:
        """An owner answered: each of those that call owners may have been waiting for that."""
        for crew in (self.crews[Step.PREPARE], self.crews[Step.SWEEP], *self.notices.values()):
            crew.nudge()

    async def run(self) -> None:
        """All stages, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for crew in self._all_crews():
                tasks.create_task(crew.run())
            tasks.create_task(self._graces.run())
            tasks.create_task(self._roster.run())
            tasks.create_task(self._check_cluster())

    async def _check_cluster(self) -> None:
        while True:
            if self._fence and self.synced and not self._checked:
                self._checked = await self._brake.keep_checking(self._leadership.leading)
                self._wake()
            waiting = self._fence and not self._checked
            await self._bell.wait(Instant(self._clock.now() + CHECK_SECONDS) if waiting else None)

    # --- parts --------------------------------------------------------------------------------------------------

    def _feed_everything(self) -> None:
        if self._fence and self.synced:
            for step, resources in self._index.nominated.items():
                self._feed((resource, step) for resource in list(resources))
            self._feed_notices(self._index.notices.due())

    def _feed_notices(self, owed: Mapping[Resource, Due | None]) -> None:
        for resource, due in owed.items() if self._fence else ():
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
        if not self._fence:
            return
        now = Instant(self._clock.now())
        for resource, step in due:
            wait = self._wait(resource, step)
            if wait is not None:
                self.crews[step].offer(resource, Instant(now + wait) if wait else None)

    def _wait(self, resource: Resource, step: Step) -> float | None:
        """Seconds until a nominated resource should be served; ``None``: not at all, its rule does not permit it."""
        entry = self._index.entry(resource)
        if entry is None or step is Step.REVIVE:
            return 0.0
        if step is Step.SWEEP:
            # What was given up on by an earlier leader gets its chance soon, but not all of it at once.
            quarantined = entry.sweep_state is Sweeping.QUARANTINED
            return self._jitter() * QUARANTINE_SPREAD_SECONDS if quarantined else 0.0
        standing = self._index.policy.of(resource, entry.rule)
        if step is Step.CONDEMN:
            return self._sweeper.patience(resource) if standing.may_condemn else None
        return 0.0 if standing.may_sweep else None

    def _leading_and(self, gate: Gate) -> Gate:
        def both() -> Instant | None:
            return gate() if self._leadership.leading and self.synced and self._checked else None

        return both

    def _wake(self) -> None:
        for crew in self._all_crews():
            crew.nudge()
        self._graces.nudge()
        self._bell.ring()
