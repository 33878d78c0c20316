"""Open, close and drop epochs as ``core.epochs`` decides, one transaction each.

The epochs of a class are measured by one replica: the holder of the shard that the class's name falls into. A fence of
ours that is new means new timing: what was measured before, by us or another, does not count. Belief that lapses and
comes back under the same fence changes nothing, or a long grace would never end where that happens now and then.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import structlog

from leasehold.control_plane.core.backlog import backoff_ceiling
from leasehold.control_plane.core.epochs import Close, Command, Drop, Epochs, LookAt, Open, grace_seconds
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.ticking import Bell, written_now
from leasehold.control_plane.writing import Written, put_guarded
from leasehold.protocol import transactions
from leasehold.protocol.errors import StoreError
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import ClassName, Instant, LeaseId, Revision
from leasehold.protocol.ports import Clock, Leases, Store
from leasehold.protocol.records import EpochRecord
from leasehold.protocol.transactions import Authority

RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 10.0
log = structlog.get_logger()


class Graces:
    """All classes of a tenant. Commands are carried out one after another: classes are few, epochs rare."""

    def __init__(
        self,
        store: Store,
        leases: Leases,
        keys: Keyspace,
        index: Index,
        clock: Clock,
        authority: Callable[[ClassName], Authority | None],
        *,
        deadline: float,
    ) -> None:
        self._store, self._leases, self._keys, self._index, self._clock = store, leases, keys, index, clock
        self._authority, self._deadline = authority, deadline
        self._bell = Bell(clock)
        self._fences: dict[ClassName, Revision] = {}
        """Under which fence each class was timed last."""
        self._put_off: set[ClassName] = set()
        """What was not ours when it had to be looked at: if it is again under the same fence, it is owed that look."""
        self._classes: dict[ClassName, Epochs] = {}
        self._due: dict[ClassName, Instant] = {}
        self._failures: dict[ClassName, int] = {}

    def nudge(self) -> None:
        """The index or the leadership changed."""
        self._bell.ring()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._measure()
            await self._bell.wait(min(self._due.values(), default=None))

    async def _measure(self) -> None:
        stale = self._index.take_stale_classes() | self._newly_ours() | self._put_off
        self._put_off = set()
        now = self._now()
        stale.update(name for name, due in self._due.items() if due <= now)
        for name in stale:
            self._due.pop(name, None)
            if name not in self._fences:
                continue  # never ours, or no class that can be measured; should it become ours, all begins anew
            by = self._authority(name)
            if by is None or by.fence != self._fences[name]:
                self._put_off.add(name)
                continue
            try:
                await self._decide(by, name)
                self._failures.pop(name, None)
            except StoreError as error:
                log.warning("epoch_failed", grace_class=name, error=str(error))
                failures = self._failures[name] = self._failures.get(name, 0) + 1
                wait = backoff_ceiling(failures, RETRY_SECONDS, LONGEST_RETRY_SECONDS)
                self._due[name] = Instant(self._now() + wait)

    def _newly_ours(self) -> set[ClassName]:
        """The classes that are ours to measure under another fence than before: all begins anew for them."""
        measurable = [name for name in self._index.classes() if grace_seconds(name) is not None]
        found = {name: by.fence for name in measurable if (by := self._authority(name)) is not None}
        new = {name for name, fence in found.items() if self._fences.get(name) != fence}
        for name in new:
            self._classes.pop(name, None)
            self._due.pop(name, None)
            self._failures.pop(name, None)
            self._fences[name] = found[name]
        return new

    async def _decide(self, by: Authority, name: ClassName) -> None:
        seconds = grace_seconds(name)
        if seconds is None:
            return
        epochs = self._classes.setdefault(name, Epochs(name, seconds))
        newest, highest = self._index.newest_tombstone(name), self._index.highest_epoch(name)
        for command in epochs.decide(self._now(), self._index.epochs_of(name), newest, highest):
            await self._carry_out(by, epochs, command)

    async def _carry_out(self, by: Authority, epochs: Epochs, command: Command) -> None:
        match command:
            case LookAt(instant):
                self._look_again(epochs.name, instant)
            case Open():
                await self._open(by, epochs, command)
            case Close(epoch):
                done = EpochRecord(epoch.record.seconds, epoch.record.lease, done=True, since=epoch.record.since)
                txn = transactions.close_epoch(self._keys, by, epoch, done)
                if isinstance(await put_guarded(self._store, txn, deadline=self._deadline), Written):
                    log.info("epoch_done", grace_class=epoch.name, number=epoch.number, opened=epoch.create_revision)
                else:
                    self._look_again(epochs.name, Instant(self._now() + RETRY_SECONDS))
            case Drop(old, newer):
                await self._store.commit(
                    transactions.drop_epoch(self._keys, by, old, newer), deadline=self._deadline
                )  # fmt: skip

    async def _open(self, by: Authority, epochs: Epochs, command: Open) -> None:
        grant = await self._leases.grant(command.seconds, deadline=self._deadline)
        record = EpochRecord(float(command.seconds), grant.lease, since=written_now())
        txn = transactions.open_epoch(self._keys, by, command.name, command.number, record)
        try:
            written = await put_guarded(self._store, txn, deadline=self._deadline)
        except StoreError:
            await self._give_back(grant.lease)
            raise
        if isinstance(written, Written):
            epochs.opened(self._now())
            log.info(
                "epoch_opened", grace_class=command.name, number=command.number, seconds=command.seconds,
                revision=written.revision,
            )  # fmt: skip
            return
        await self._give_back(grant.lease)
        # Somebody else's number, or the index is behind: look again soon.
        self._look_again(command.name, Instant(self._now() + RETRY_SECONDS))

    async def _give_back(self, lease: LeaseId) -> None:
        # Should the epoch have been opened under it after all, then our own clock alone measures it, which is enough.
        with suppress(StoreError):
            await self._leases.revoke(lease, deadline=self._deadline)

    def _look_again(self, name: ClassName, instant: Instant) -> None:
        self._due[name] = min(self._due.get(name, instant), instant)

    def _now(self) -> Instant:
        return Instant(self._clock.now())
