"""Keeps one beacon: drives ``protocol.session``, one command at a time, and watches the beacon itself.

- A renewal's answer proves a lease, not a beacon (S8): the watch tells when it is gone, and it is put back at once.
- A batch that did not find the beacon is news of the same kind.
- A lease id is journalled before anything hangs on it, so that a successor can go on with it or revoke it.
- A beacon with another boot is somebody else's; we wait for its lease to end and say so.
- Revisions tell which of two things was first, within one past. A restored etcd counts anew from where its snapshot
  was, so what seems older than our attachment proves nothing: then the beacon itself is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from leasehold.protocol.errors import AccessDenied, Compacted, LeaseExists, LeaseNotFound, StoreError
from leasehold.protocol.names import Instant, LeaseId, Revision
from leasehold.protocol.session import NO_LEASE, Attach, Command, Grant, KeepAlive, Phase, Session, WakeAt
from leasehold.protocol.store import Change
from leasehold.sidecar.holds.entries import Life
from leasehold.sidecar.holds.etcd import Etcd
from leasehold.sidecar.holds.journal import Journal

log = structlog.get_logger()


class KeeperMetrics(Protocol):
    """What keepers have counted; ``kind`` is the holder's."""

    def renewed(self, kind: str, result: str) -> None:
        """``kept``, ``failed`` or ``lost``."""
        ...

    def renewal_late(self, kind: str) -> None:
        """A renewal began later than planned by a sixth of the TTL: the event loop stalled."""
        ...

    def reattached(self, kind: str) -> None:
        """A beacon had gone and was put back."""
        ...


class Keeper:
    """One life's lease and beacon. ``run`` until cancelled; the beacon then lasts as long as its lease."""

    def __init__(
        self,
        life: Life,
        etcd: Etcd,
        journal: Journal,
        metrics: KeeperMetrics,
        on_attached: Callable[[Keeper], None],
        *,
        shared: LeaseId = NO_LEASE,
    ) -> None:
        self.life = life
        self.session = Session(life.ttl_seconds, shared_lease=shared, resumed=life.lease)
        self._resumed = life.lease != NO_LEASE
        self.trouble = "not attached yet"
        self.attachments = 0
        self._etcd = etcd
        self._journal = journal
        self._metrics = metrics
        self._on_attached = on_attached
        self._gone_at = Revision(0)
        self._attached_at = Revision(0)
        self._news = asyncio.Event()
        self._watched_from = Revision(0)
        self._watching: asyncio.Task[None] | None = None
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def attached(self) -> bool:
        """Whether, as far as anyone can know, the beacon is there. Every batch asks etcd itself."""
        return self.session.phase is Phase.ATTACHED and self._gone_at <= self._attached_at

    @property
    def was_away(self) -> bool:
        """Whether the latest attachment came after a time without a beacon: not the first of a new life."""
        return self.attachments > 1 or self._resumed

    def seconds_of_belief(self) -> float:
        return self.session.seconds_of_belief(self._now())

    def gone(self, revision: Revision) -> None:
        """The beacon was not there at ``revision``: gone since, if that is newer than our attachment; else it is from
        before that, or of another past."""
        self._gone_at = max(self._gone_at, revision)
        self._news.set()

    async def run(self) -> None:
        """Keep the beacon until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                commands = deque(self.session.start())
                while True:
                    commands.extend(await self._carry_out(commands.popleft()))
        finally:
            self._etcd.assistant.let_go(self.life.lease)

    # --- commands -----------------------------------------------------------------------------------------------

    async def _carry_out(self, command: Command) -> list[Command]:
        if isinstance(command, WakeAt):
            return await self._wait(command.instant)
        try:
            if isinstance(command, Grant):
                return await self._grant(command)
            if isinstance(command, Attach):
                return await self._attach(command.lease)
            return await self._keep_alive(command)
        except LeaseNotFound as error:
            self._in_trouble(str(error))
            return self.session.on_lease_lost()
        except StoreError as error:
            self._in_trouble(str(error))
            return self.session.on_failed(self._now())

    async def _grant(self, command: Grant) -> list[Command]:
        sent_at = self._now()
        try:
            grant = await self._etcd.leases.grant(
                command.ttl_seconds, deadline=self._etcd.deadline, lease=command.lease
            )
        except LeaseExists:
            # Another instance granted it. What is left of it nobody knows: a renewal tells, or that it is gone.
            sent_at = self._now()
            ttl = await self._etcd.leases.keep_alive(command.lease, deadline=self._etcd.deadline)
            return self.session.on_granted(sent_at, command.lease, ttl)
        return self.session.on_granted(sent_at, grant.lease, grant.ttl_seconds)

    async def _attach(self, lease: LeaseId) -> list[Command]:
        if lease != self.life.lease:
            self.life = msgspec.structs.replace(self.life, lease=lease)
            self._journal.note(self.life)
            self._journal.flush()
        self._gone_at = Revision(0)  # what is heard from here on may be about what is put now
        revision = await self._etcd.attach(self.life, self.session.ttl_seconds)
        if revision is None:
            self._in_trouble("another sidecar's beacon is in the way; its lease has to end first")
            return self.session.on_failed(self._now())
        commands = self.session.on_attached(self._now(), revision)
        self._etcd.assistant.kept(lease, self.session.ttl_seconds)
        if revision < self._attached_at:
            log.warning("etcd_went_back", holder=self.life.holder, was=self._attached_at, revision=revision)
        self._attached_at = revision
        self._watch_from(Revision(revision + 1))
        self.attachments += 1
        if self.attachments > 1:
            self._metrics.reattached(self.life.kind)
        log.info("attached", holder=self.life.holder, lease=f"{lease:x}", times=self.attachments)
        self.trouble = ""
        self._on_attached(self)
        return commands

    async def _keep_alive(self, command: KeepAlive) -> list[Command]:
        sent_at = self._now()
        self._etcd.assistant.asks(command.lease)
        # A third of the TTL each, so that a silent etcd does not cost all the tries there are.
        deadline = min(self._etcd.deadline, max(self.session.ttl_seconds / 3, 0.5))
        try:
            ttl = await self._etcd.leases.keep_alive(command.lease, deadline=deadline)
        except LeaseNotFound:
            self._metrics.renewed(self.life.kind, "lost")
            self._etcd.assistant.let_go(command.lease)
            raise
        except StoreError:
            self._metrics.renewed(self.life.kind, "failed")
            raise
        self._metrics.renewed(self.life.kind, "kept")
        self._etcd.assistant.kept(command.lease, ttl)
        if self.attached:
            self.trouble = ""
        return self.session.on_kept(sent_at, ttl)

    async def _wait(self, until: Instant) -> list[Command]:
        sleep = asyncio.ensure_future(self._etcd.clock.sleep_until(until))
        news = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({sleep, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            news.cancel()
        if self._news.is_set():
            self._news.clear()
            commands = await self._told_gone()
            if commands:
                self._in_trouble("the beacon is gone")
            return commands or [WakeAt(until)]
        if self._now() - until > self.session.ttl_seconds / 6:
            self._metrics.renewal_late(self.life.kind)
        return self.session.on_wake()

    async def _told_gone(self) -> list[Command]:
        if self._gone_at > self._attached_at:
            return self.session.on_beacon_gone(self._gone_at)
        try:
            found = await self._etcd.store.get(self._etcd.keys.beacon(self.life.holder), deadline=self._etcd.deadline)
        except StoreError:
            await self._etcd.pause(3)
            self._news.set()
            return []
        return self.session.on_beacon_missing() if found is None else []

    def _in_trouble(self, reason: str) -> None:
        if reason != self.trouble:
            log.warning("keeper_in_trouble", holder=self.life.holder, reason=reason)
        self.trouble = reason

    def _now(self) -> Instant:
        return Instant(self._etcd.clock.now())

    # --- the watch ----------------------------------------------------------------------------------------------

    def _watch_from(self, start: Revision) -> None:
        """Watch from here, unless the watch is there already and is not ahead: it would wait in a future that, once
        etcd's past is another, comes without what happens until then."""
        if self._watching is not None and self._watched_from <= start:
            return
        if self._watching is not None:
            self._watching.cancel()
        if self._tasks is None:
            raise RuntimeError("a keeper that does not run")
        self._watched_from = start
        self._watching = self._tasks.create_task(self._watch(), name=f"watch on {self.life.holder}")

    async def _watch(self) -> None:
        beacon = self._etcd.keys.beacon(self.life.holder)
        while True:
            try:
                batches = self._etcd.watches.watch(beacon, start=self._watched_from)
                async with contextlib.aclosing(batches):
                    async for batch in batches:
                        self._watched_from = Revision(batch.revision + 1)
                        for event in batch.events:
                            if event.change is Change.DELETE:
                                self.gone(event.item.mod_revision)
            except Compacted:
                await self._look()
            except AccessDenied as error:
                self._in_trouble(str(error))
                await self._etcd.clock.sleep_until(self._etcd.clock.now() + 5)

    async def _look(self) -> None:
        try:
            found = await self._etcd.store.read(self._etcd.keys.beacon(self.life.holder), deadline=self._etcd.deadline)
        except StoreError:
            await self._etcd.pause(10)
            return
        if not found.items:
            self.gone(found.revision)
        self._watched_from = Revision(found.revision + 1)
