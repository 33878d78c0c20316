"""Owners and rules from Kubernetes objects into etcd, and what became of them back into the objects.

Every replica keeps the mirrors; only whoever does what is done once per tenant writes, under its fence. It is level
based: each round compares all objects with all of etcd, so a round that failed, or a leader that died in the middle of
one, is made good by the next. Statuses are written after etcd was, and only where they say something new.

The mirrors nominate, a look decides: a watch may be behind without knowing, and whoever took over with old news would
remove what is new, or set a rule to sweep again that was taken back. So a round that would write reads all objects
anew, under the fence, and decides by that.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import structlog

from leasehold.control_plane.kubernetes.api_server import ApiError, ApiServer, NotThere
from leasehold.control_plane.kubernetes.documents import Stored, read_stored, steps
from leasehold.control_plane.kubernetes.kinds import KINDS, Condition, Declared, Ref, status_patch
from leasehold.control_plane.kubernetes.mirror import Mirror
from leasehold.control_plane.kubernetes.reconcile import Plan, reconcile
from leasehold.control_plane.leadership import TenantsAuthority
from leasehold.control_plane.ticking import Bell
from leasehold.protocol.errors import StoreError
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Instant
from leasehold.protocol.ports import Clock, Store
from leasehold.protocol.records import Unreadable
from leasehold.protocol.transactions import Authority

GATHER_SECONDS = 0.2
"""What changes together is seen together."""
RETRY_SECONDS = 2.0
STATUSES_AT_ONCE = 4
log = structlog.get_logger()


class Controller:
    """One replica's. ``nudge`` it when leadership changed."""

    def __init__(
        self,
        api: ApiServer,
        store: Store,
        keys: Keyspace,
        clock: Clock,
        authority: TenantsAuthority,
        *,
        selector: str,
        resync_seconds: float,
        deadline: float,
        jitter: Callable[[], float],
    ) -> None:
        self._api, self._store, self._keys, self._clock, self._authority = api, store, keys, clock, authority
        self._resync, self._deadline = resync_seconds, deadline
        self._bell = Bell(clock)
        self.mirrors = [
            Mirror(api, kind, clock, selector=selector, jitter=jitter, on_change=self.nudge) for kind in KINDS
        ]
        self._stuck: Mapping[Ref, str] = {}
        self.trouble = ""
        """Why the last round failed; empty if it did not."""

    @property
    def why_not(self) -> str:
        """Why etcd may not say what the objects say; empty if nothing is known to be wrong."""
        return next((mirror.trouble for mirror in self.mirrors if mirror.trouble), self.trouble)

    def counts(self) -> list[tuple[tuple[str, ...], float]]:
        """How many objects there are, by kind and by what their status says of them."""
        counts: Counter[tuple[str, str]] = Counter()
        for mirror in self.mirrors:
            for thing in (mirror.things or {}).values():
                told = thing.told
                fresh = told is not None and told.generation == thing.generation
                counts[mirror.kind.name, "unknown" if told is None or not fresh else str(told.accepted).lower()] += 1
        return list(counts.items())

    async def close(self) -> None:
        """The connections to the API server. After ``run`` was cancelled."""
        await self._api.close()

    def nudge(self) -> None:
        self._bell.ring()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for mirror in self.mirrors:
                tasks.create_task(mirror.run())
            tasks.create_task(self._rounds())

    async def _rounds(self) -> None:
        while True:
            pause = RETRY_SECONDS if self.trouble else self._resync
            await self._bell.wait(Instant(self._clock.now() + pause))
            await self._clock.sleep_until(self._clock.now() + (RETRY_SECONDS if self.trouble else GATHER_SECONDS))
            before, self.trouble = self.trouble, ""
            try:
                await self.round()
            except (StoreError, ApiError, Unreadable) as error:
                self.trouble = str(error)
                if self.trouble != before:
                    log.warning("objects_not_in_force", error=self.trouble)

    async def round(self) -> None:
        """Once. Raises ``StoreError``, ``ApiError``, ``Unreadable``; safe to repeat."""
        by = self._authority()
        if by is None or any(mirror.things is None for mirror in self.mirrors):
            return
        things = [thing for mirror in self.mirrors for thing in (mirror.things or {}).values()]
        stored, plan = await self._plan(things)
        if any(steps(stored, plan)):
            things = [thing for mirror in self.mirrors for thing in await mirror.read_now()]
            stored, plan = await self._plan(things)
        if await self._write(by, stored, plan):
            self._tell_stuck(plan.stuck)
            await self._report(things, plan.verdicts)

    async def _plan(self, things: Sequence[Declared]) -> tuple[Stored, Plan]:
        stored = await read_stored(self._store, self._keys, deadline=self._deadline)
        return stored, reconcile(stored.models, things, stored.managed)

    async def _write(self, by: Authority, stored: Stored, plan: Plan) -> bool:
        """Whether etcd now says what the plan says. ``by``: from before anything was read."""
        seen = stored.managed_revision
        for step in steps(stored, plan):
            result = await self._store.commit(
                step.transaction(self._keys, by, stored, seen), deadline=self._deadline
            )  # fmt: skip
            if not result.succeeded:
                self._bell.ring()  # somebody else wrote meanwhile, or is the leader now: look again
                return False
            seen = result.revision
            for change in step.changes:
                what = "object_in_force" if change.model is not None else "object_removed"
                log.info(what, kind=change.ref.kind.name, name=change.ref.name)
        return True

    def _tell_stuck(self, stuck: Mapping[Ref, str]) -> None:
        if stuck != self._stuck:
            for ref, why in stuck.items():
                log.warning("object_gone_but_kept", kind=ref.kind.name, name=ref.name, reason=why)
        self._stuck = stuck

    async def _report(self, things: list[Declared], verdicts: Mapping[Ref, Condition]) -> None:
        news = [thing for thing in things if thing.told != verdicts[thing.ref]]
        for n in range(0, len(news), STATUSES_AT_ONCE):
            await asyncio.gather(*(self._tell(thing, verdicts[thing.ref]) for thing in news[n : n + STATUSES_AT_ONCE]))

    async def _tell(self, thing: Declared, verdict: Condition) -> None:
        mirror = next(mirror for mirror in self.mirrors if mirror.kind is thing.ref.kind)
        if not verdict.accepted:
            log.warning("object_not_accepted", object=str(thing.ref), reason=verdict.reason, message=verdict.message)
        try:
            await self._api.merge(
                f"{mirror.path}/{thing.ref.name}/status", status_patch(thing, verdict, _written_now())
            )
        except NotThere:
            return  # gone meanwhile; the watch will say so
        except ApiError as error:
            self.trouble = str(error)  # the others are told all the same, and this one by the next round


def _written_now() -> str:
    """As API servers write it: to the second. For people to read, never compared (S7)."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
