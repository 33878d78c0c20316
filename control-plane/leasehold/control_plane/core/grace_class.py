"""A grace class as the index has it: its epochs, and who is condemned in it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from leasehold.control_plane.core.epochs import Seen, grace_seconds, is_whole
from leasehold.control_plane.core.facts import ABSENT
from leasehold.control_plane.core.lifecycle import Grace
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import ClassName, Resource, Revision
from leasehold.protocol.records import EpochRecord
from leasehold.protocol.store import KeyValue
from leasehold.protocol.transactions import EpochFound


class GraceClass:
    """One class. ``opened`` and ``done`` are when its newest epoch, and its newest done one, were opened."""

    __slots__ = ("condemned", "done", "epochs", "leases", "name", "newest", "opened")

    def __init__(self, name: ClassName) -> None:
        self.name = name
        self.epochs: dict[int, tuple[Revision, Revision, EpochRecord | None]] = {}
        self.leases: dict[int, Revision] = {}
        self.condemned: dict[Resource, Revision] = {}
        self.newest = ABSENT
        self.opened = ABSENT
        self.done = ABSENT

    def revision_of(self, number: int) -> Revision:
        """When an epoch was last written; 0 if it is not there."""
        return self.epochs[number][1] if number in self.epochs else ABSENT

    def put_epoch(self, number: int, item: KeyValue, record: EpochRecord | None) -> list[Resource]:
        """``record`` None: it cannot be read. Whose grace changed by it."""
        self.epochs[number] = (item.create_revision, item.mod_revision, record)
        return self._measure()

    def drop_epoch(self, number: int) -> list[Resource]:
        """Whose grace changed by it."""
        self.epochs.pop(number, None)
        return self._measure()

    def condemn(self, resource: Resource, tombstone: Revision) -> bool:
        """File a tombstone. Whether it was news."""
        if self.condemned.get(resource) == tombstone:
            return False
        self.condemned[resource] = tombstone
        self.newest = max(self.newest, tombstone)
        return True

    def grace_of(self, tombstone: Revision) -> Grace:
        return _grace(tombstone, self.opened, self.done)

    def seen(self, keys: Keyspace) -> list[Seen]:
        """The epochs that can be read."""
        name = self.name
        return [
            Seen(EpochFound(name, n, keys.epoch(name, n), created, revision, record), n in self.leases)
            for n, (created, revision, record) in self.epochs.items()
            if record is not None
        ]

    def known(self, keys: Keyspace) -> Iterator[tuple[bytes, Revision]]:
        """Every key of the class with its mod_revision."""
        yield from [(keys.epoch(self.name, n), revision) for n, (_, revision, _) in self.epochs.items()]
        yield from [(keys.epoch_lease(self.name, n), revision) for n, revision in self.leases.items()]

    def _measure(self) -> list[Resource]:
        seconds = grace_seconds(self.name)
        if seconds is None:
            return []
        before = (self.opened, self.done)
        readable = [(created, record) for created, _, record in self.epochs.values() if record is not None]
        self.opened = max((created for created, _ in readable), default=ABSENT)
        self.done = max((created for created, record in readable if is_whole(record, seconds)), default=ABSENT)
        now = (self.opened, self.done)
        if now == before:
            return []
        # There may be hundreds of thousands, and most are as far as they were.
        return [
            one
            for one, tombstone in self.condemned.items()
            if _grace(tombstone, *now) is not _grace(tombstone, *before)
        ]


def _grace(tombstone: Revision, opened: Revision, done: Revision) -> Grace:
    if opened <= tombstone:
        return Grace.WAITING
    return Grace.OVER if done > tombstone else Grace.RUNNING
