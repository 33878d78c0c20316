"""Which holders there are now: the host's process, its service, timers, and the dead whose end is still to be told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from leasehold.protocol.names import Boot, Holder, LeaseId, Revision
from leasehold.protocol.records import HolderKind
from leasehold.protocol.rules import Rule
from leasehold.protocol.session import NO_LEASE
from leasehold.sidecar.holds.entries import Life
from leasehold.sidecar.holds.etcd import Etcd
from leasehold.sidecar.holds.journal import Journal
from leasehold.sidecar.holds.keeper import Keeper, KeeperMetrics
from leasehold.sidecar.holds.timers import Timers


class Holders:
    """Keepers by holder, each with the task that runs it. What is asked of it never blocks."""

    def __init__(self, etcd: Etcd, journal: Journal, metrics: KeeperMetrics, wake: Callable[[], None]) -> None:
        self._etcd = etcd
        self._journal = journal
        self._metrics = metrics
        self._wake = wake
        self._keepers: dict[Holder, Keeper] = {}
        self._tasks: dict[Holder, asyncio.Task[None]] = {}
        self.timers: Timers | None = None
        self.process: Holder | None = None
        """The host's process while it lives; ``None``: nobody to hold for."""
        self.service: Holder | None = None
        """The service, while the host lives and the rules hold by it."""

    @property
    def keepers(self) -> Mapping[Holder, Keeper]:
        return self._keepers

    def holder_for(self, rule: Rule) -> Holder | None:
        """Who holds by this rule; ``None`` when the host has ended."""
        if self.process is None:
            return None
        if rule.held_by is HolderKind.SERVICE:
            return self.service
        if rule.held_by is HolderKind.TIMER:
            return self.timer_for(rule)
        return self.process

    def timer_for(self, rule: Rule) -> Holder | None:
        """The timer for what is created by this rule now; it asks for nobody alive."""
        return self.timers.current(rule.ttl) if self.timers is not None and rule.ttl is not None else None

    # --- Beacons ------------------------------------------------------------------------------------------------

    def may_try(self, holder: Holder) -> bool:
        """Whether a batch may try to speak for this holder: it is attached, or its end was told long ago."""
        keeper = self._keepers.get(holder)
        if keeper is not None:
            return keeper.attached
        if self.timers is not None and holder in self.timers:
            return self.timers.attached(holder)
        return holder not in self._journal.state.lives

    def boot_of(self, holder: Holder) -> Boot | None:
        life = self._journal.state.lives.get(holder)
        return life.boot if life is not None else None

    def missing(self, holder: Holder, revision: Revision) -> None:
        keeper = self._keepers.get(holder)
        if keeper is not None:
            keeper.gone(revision)
        elif self.timers is not None and holder in self.timers:
            self.timers.missing(holder)

    # --- keepers ------------------------------------------------------------------------------------------------

    def keep(
        self,
        life: Life,
        tasks: asyncio.TaskGroup,
        on_attached: Callable[[Keeper], None],
        *,
        shared: LeaseId = NO_LEASE,
    ) -> Keeper:
        """Start keeping a life's beacon, unless it is kept already."""
        keeper = self._keepers.get(life.holder)
        if keeper is None:

            def attached(one: Keeper) -> None:
                self._wake()
                on_attached(one)

            keeper = Keeper(life, self._etcd, self._journal, self._metrics, attached, shared=shared)
            self._keepers[life.holder] = keeper
            self._tasks[life.holder] = tasks.create_task(keeper.run(), name=f"keeper of {life.holder}")
        return keeper

    async def stop_keeping(self, holder: Holder) -> Life | None:
        """Stop renewing and watching; the beacon stays until its lease ends. The life as last known."""
        task = self._tasks.pop(holder, None)
        keeper = self._keepers.pop(holder, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        return keeper.life if keeper is not None else self._journal.state.lives.get(holder)
