"""What the index keeps of each thing: slots and tuples, because there may be a million. Pure."""

from __future__ import annotations

from typing import NamedTuple

from leasehold.control_plane.core.lifecycle import Facts, Grace, Holding, State, Step, Sweeping
from leasehold.protocol.names import ClassName, Holder, LeaseId, Resource, Revision
from leasehold.protocol.records import Ending, HolderKind

ABSENT = Revision(0)
NOTHING = Facts(Sweeping.NONE, Grace.NONE, Holding.UNACCOUNTED)


class Hold(NamedTuple):
    """A hold as last seen. ``released`` None: it cannot be read."""

    holder: Holder
    revision: Revision
    released: bool | None


class Source(NamedTuple):
    """An inbound reference as last seen."""

    resource: Resource
    revision: Revision


class ShardEntry(NamedTuple):
    """A shard that somebody acts for. ``replica`` empty: the record cannot be read."""

    revision: Revision
    fence: Revision
    replica: str
    lease: LeaseId


class Entry:
    """Everything about one resource. It exists as long as any key below its name does."""

    __slots__ = (
        "created", "creator", "facts", "filed", "grace_class", "holds", "incarnation", "pin", "readable", "record",
        "resource", "rule", "sources", "step", "sweep", "sweep_state", "tombstone",
    )  # fmt: skip

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.record = ABSENT
        self.created = ABSENT
        self.readable = False
        self.rule = ""
        self.grace_class = ClassName("")
        self.incarnation = ""
        self.creator = ""
        self.holds: tuple[Hold, ...] = ()
        self.sources: tuple[Source, ...] = ()
        self.pin = ABSENT
        self.tombstone = ABSENT
        self.sweep = ABSENT
        self.sweep_state = Sweeping.NONE
        self.facts = NOTHING
        self.step: Step | None = None
        self.filed: tuple[ClassName, State] | None = None
        """Under which class its tombstone, and under which state it itself, is counted."""

    @property
    def empty(self) -> bool:
        return not (self.record or self.holds or self.sources or self.pin or self.tombstone or self.sweep)


class HolderEntry:
    """A holder, and what it may be holding."""

    __slots__ = (
        "beacon", "ended", "instance", "kind", "lease", "protocol", "readable", "resources", "roster", "service",
        "ttl_seconds",
    )  # fmt: skip

    def __init__(self) -> None:
        self.beacon = ABSENT
        self.lease = LeaseId(0)
        self.roster = ABSENT
        self.readable = False
        self.service = ""
        self.instance = ""
        self.kind = HolderKind.PROCESS
        self.ttl_seconds = 0
        self.protocol = 1
        self.ended: Ending | None = None
        self.resources: set[Resource] = set()

    @property
    def empty(self) -> bool:
        return not (self.beacon or self.roster or self.resources)

    @property
    def status(self) -> str:
        """``alive``, ``ended`` (reported), ``vanished`` (nobody knows why) or ``unknown`` (no roster entry)."""
        if self.beacon:
            return "alive"
        if not self.roster or not self.readable:
            return "unknown"
        return "ended" if self.ended else "vanished"
