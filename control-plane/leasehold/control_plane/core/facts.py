"""What the index keeps of each thing: slots and tuples, because there may be a million. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from leasehold.control_plane.core.lifecycle import Facts, Grace, Holding, State, Step, Sweeping
from leasehold.protocol.names import ClassName, Holder, LeaseId, Resource, Revision
from leasehold.protocol.records import Ending, HolderKind

ABSENT = Revision(0)
NOTHING = Facts(Sweeping.NONE, Grace.NONE, Holding.UNACCOUNTED)


class Hold(msgspec.Struct, gc=False):
    """A hold as last seen. ``released`` None: it cannot be read. ``called``: in which roll call it answered last."""

    holder: Holder
    revision: Revision
    released: bool | None
    called: int = 0


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


Filed = tuple[ClassName, State]


class Entry(msgspec.Struct, gc=False, eq=False):
    """Everything about one resource. It exists as long as any key below its name does.

    What many have in common (names, facts, where they are filed) is one object for all of them; nearly all have one
    hold and nothing that refers to them. No reference leads back here, so the garbage collector need not look.
    """

    resource: Resource
    record: Revision = ABSENT
    created: Revision = ABSENT
    readable: bool = False
    rule: str = ""
    grace_class: ClassName = ClassName("")
    incarnation: str = ""
    creator: str = ""
    held: Hold | tuple[Hold, ...] = ()
    sources: tuple[Source, ...] = ()
    pin: Revision = ABSENT
    tombstone: Revision = ABSENT
    sweep: Revision = ABSENT
    sweep_state: Sweeping = Sweeping.NONE
    facts: Facts = NOTHING
    step: Step | None = None
    filed: Filed | None = None
    """Under which class its tombstone, and under which state it itself, is counted."""
    called: int = 0
    """In which roll call its record answered last."""

    @property
    def holds(self) -> tuple[Hold, ...]:
        held = self.held
        return (held,) if type(held) is Hold else held  # type: ignore[return-value]

    @holds.setter
    def holds(self, holds: tuple[Hold, ...]) -> None:
        self.held = holds[0] if len(holds) == 1 else holds

    @property
    def is_plain(self) -> bool:
        """As nearly all are: recorded, with one hold, and nothing else about it."""
        plain = type(self.held) is Hold and self.record and self.readable
        return bool(plain) and not (self.sources or self.pin or self.tombstone or self.sweep)

    @property
    def empty(self) -> bool:
        return not (self.record or self.held or self.sources or self.pin or self.tombstone or self.sweep)


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
