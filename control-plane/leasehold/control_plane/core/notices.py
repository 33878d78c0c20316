"""What owners have to be told: that something is condemned, and that it is not any more. Pure.

    tombstone there, owner wants to know --condemn--> notice (told) --tombstone gone--> restore --> (no notice)
    notice of something that is no more, or is another incarnation now --drop--> (no notice)

Everything is derived from keys in etcd, so a restart, or another leader, owes the same. A sweep overtakes it all: while
there is one, nothing is told, and its end takes the notice along.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from leasehold.control_plane.core.facts import ABSENT, Entry
from leasehold.control_plane.core.policy import Policy
from leasehold.protocol.names import Resource, Revision
from leasehold.protocol.records import NoticeRecord


class Due(StrEnum):
    """What is owed."""

    CONDEMN = "condemn"
    RESTORE = "restore"
    DROP = "drop"
    """Nothing is left to be told: the notice goes."""


class Notice(NamedTuple):
    """A notice as last seen. ``record`` None: it cannot be read, and is left to whoever mends it."""

    revision: Revision
    record: NoticeRecord | None


@dataclass(frozen=True, slots=True)
class Told:
    """What decides. ``incarnation``: of the record, ``None`` if there is none or it cannot be read."""

    recorded: bool
    incarnation: str | None
    tombstone: Revision
    sweeping: bool
    notice: Notice | None
    wants_notice: bool


def owed(told: Told) -> Due | None:
    """What the owner is owed, if anything."""
    if told.sweeping or (told.recorded and told.incarnation is None):
        return None
    condemned = told.wants_notice and told.recorded and bool(told.tombstone)
    if told.notice is None:
        return Due.CONDEMN if condemned else None
    notice = told.notice.record
    if notice is None:
        return None
    if notice.incarnation != told.incarnation:
        return Due.DROP
    if not told.tombstone:
        return Due.RESTORE
    known = notice.told and notice.tombstone_revision == told.tombstone
    return Due.CONDEMN if condemned and not known else None


class Notices:
    """What is owed, over a whole tenant. Single writer: the index."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._seen: dict[Resource, Notice] = {}
        self._due: dict[Resource, Due] = {}
        self._fresh: dict[Resource, Due | None] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def put(self, resource: Resource, notice: Notice | None) -> None:
        """Take a notice in, or out. ``reconsider`` follows."""
        if notice is None:
            self._seen.pop(resource, None)
        else:
            self._seen[resource] = notice

    def revision_of(self, resource: Resource) -> Revision:
        found = self._seen.get(resource)
        return found.revision if found else ABSENT

    def seen(self) -> list[Resource]:
        return list(self._seen)

    def reconsider(self, resource: Resource, entry: Entry | None) -> None:
        """Something about a resource changed. Costs next to nothing where nobody is told anything."""
        tombstone = entry.tombstone if entry is not None else ABSENT
        if not tombstone and resource not in self._seen and resource not in self._due:
            return
        owner = self._policy.owner(resource.owner)
        recorded = entry is not None and bool(entry.record)
        due = owed(
            Told(
                recorded,
                entry.incarnation if entry is not None and recorded and entry.readable else None,
                tombstone,
                entry is not None and bool(entry.sweep),
                self._seen.get(resource),
                owner is not None and owner.condemn_of(resource.type) is not None,
            )
        )
        if due is not self._due.get(resource):
            self._fresh[resource] = due
            self._owe(resource, due)

    def due_of(self, resource: Resource) -> Due | None:
        return self._due.get(resource)

    def due(self) -> dict[Resource, Due]:
        """All that is owed."""
        return dict(self._due)

    def counts(self) -> Counter[tuple[str, str]]:
        """How much is owed, by owner and kind."""
        return Counter(self._counts)

    def take_fresh(self) -> dict[Resource, Due | None]:
        """What became owed since the last call, or (``None``) is not any more."""
        fresh, self._fresh = self._fresh, {}
        return fresh

    def _owe(self, resource: Resource, due: Due | None) -> None:
        before = self._due.pop(resource, None)
        if before is not None:
            self._counts[resource.owner, before.value] -= 1
            if not self._counts[resource.owner, before.value]:
                del self._counts[resource.owner, before.value]
        if due is not None:
            self._due[resource] = due
            self._counts[resource.owner, due.value] += 1
