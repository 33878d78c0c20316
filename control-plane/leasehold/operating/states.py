"""What state a resource is in, by the glossary's words. Pure: a picture in, views out.

A view is an opinion as of one revision, good for reading. Nothing is deleted on its strength: that is decided by
transactions alone.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from leasehold.operating.survey import Found, Survey
from leasehold.protocol.names import ClassName, Holder, Resource
from leasehold.protocol.orphans import rule_in
from leasehold.protocol.records import HASTENED, EpochRecord, HolderKind, HoldRecord, SweepState
from leasehold.protocol.rules import Mode, RuleSet, permitted_mode
from leasehold.protocol.transactions import PINNED, every


class State(StrEnum):
    """Where a resource stands."""

    HELD = "held"
    UNHELD = "unheld"
    CONDEMNED = "condemned"
    IN_GRACE = "in-grace"
    PREPARED = "prepared"
    SENT = "sent"
    QUARANTINED = "quarantined"
    OBSERVE_ONLY = "observe-only"
    """Unheld, but its rule or owner permits no more than watching."""
    UNACCOUNTED = "unaccounted"
    """No hold key at all. Absence permits nothing: it is kept."""


class HolderStatus(StrEnum):
    """How a holder stands to a hold of its own."""

    ALIVE = "alive"
    ENDED = "ended"
    """Its sidecar saw it end, and said so; or it is a timer that ran out."""
    VANISHED = "vanished"
    """Its beacon is gone and nobody reported why."""
    RELEASED = "released"
    """It let go of this very resource."""
    UNKNOWN = "unknown"
    """No roster entry: nothing may be concluded from its silence."""


class HoldView(msgspec.Struct, frozen=True):
    """One hold and the one who has it."""

    holder: str
    status: HolderStatus
    kind: str
    ended: str | None
    why: str
    since: str
    revision: int
    beacon_lease: int


class TombstoneView(msgspec.Struct, frozen=True):
    """A tombstone and the epoch that measures its grace, if one has opened since."""

    reason: str
    evidence_revision: int
    revision: int
    since: str
    epoch: int | None
    epoch_opened_revision: int | None
    epoch_done: bool
    epoch_lease: int
    cycle: tuple[str, ...] = ()


class SweepView(msgspec.Struct, frozen=True):
    """The irreversible part."""

    state: str
    attempt: int
    outcome: str
    holders: tuple[str, ...]
    fence: int
    revision: int
    since: str
    cycle: tuple[str, ...] = ()


class ResourceView(msgspec.Struct, frozen=True):
    """Everything known of one resource, joined. Scripts read this as JSON: fields are only ever added."""

    owner: str
    type: str
    id: str
    state: State
    mode: str
    incarnation: str
    rule: str
    grace_class: str
    creator: str
    since: str
    created_revision: int
    revision: int
    holds: tuple[HoldView, ...]
    referenced_by: tuple[str, ...]
    references: tuple[str, ...]
    pinned: bool
    pin_who: str
    pin_why: str
    tombstone: TombstoneView | None
    sweep: SweepView | None
    labels: dict[str, str]
    trace: str

    @property
    def alive(self) -> tuple[HoldView, ...]:
        """The holds that keep it."""
        return tuple(hold for hold in self.holds if hold.status is HolderStatus.ALIVE)


def holder_status(picture: Survey, holder: Holder) -> HolderStatus:
    """How a holder is, whatever it holds."""
    if holder in picture.beacons:
        return HolderStatus.ALIVE
    found = picture.roster.get(holder)
    if found is None or found.record is None:
        return HolderStatus.UNKNOWN
    ended = found.record.ended is not None or found.record.kind is HolderKind.TIMER
    return HolderStatus.ENDED if ended else HolderStatus.VANISHED


def resource_views(picture: Survey) -> list[ResourceView]:
    """Every resource with a record, in key order of the picture."""
    rules = picture.rules_or_none()
    return [resource_view(picture, resource, rules) for resource in picture.resources]


def resource_view(picture: Survey, resource: Resource, rules: RuleSet | None) -> ResourceView:
    """One resource; its record must be in the picture."""
    found = picture.resources[resource]
    record = found.record
    pin = picture.pins.get(resource)
    holds = tuple(
        _hold_view(picture, holder, hold)
        for holder, hold in picture.holds.get(resource, {}).items()
        if pin is None or holder != PINNED
    )
    inbound = (*picture.refs.get(resource, ()), *picture.refs.get(every(resource), ()))
    sources = tuple(source for source in inbound if source in picture.resources and source != resource)
    grace_class = _grace_class(picture, resource, record.grace_class if record else "")
    tombstone = _tombstone_view(picture, resource, ClassName(grace_class) if grace_class else None)
    sweep = _sweep_view(picture, resource)
    mode = mode_of(rules, record.rule if record else "")
    return ResourceView(
        owner=resource.owner,
        type=resource.type,
        id=resource.id,
        state=_state(holds, sources, tombstone, sweep, mode),
        mode=mode or "unknown",
        incarnation=record.incarnation if record else "",
        rule=record.rule if record else "",
        grace_class=grace_class,
        creator=record.creator if record else "",
        since=record.since if record else "",
        created_revision=found.item.create_revision,
        revision=found.revision,
        holds=holds,
        referenced_by=tuple(str(source) for source in sources),
        references=tuple("/".join(target) for target in record.references) if record else (),
        pinned=pin is not None,
        pin_who=pin.record.who if pin and pin.record else "",
        pin_why=pin.record.why if pin and pin.record else "",
        tombstone=tombstone,
        sweep=sweep,
        labels=record.labels if record else {},
        trace=record.trace if record else "",
    )


def _grace_class(picture: Survey, resource: Resource, ordinary: str) -> str:
    """By which its grace is measured."""
    haste, tombstone = picture.hastes.get(resource), picture.tombstones.get(resource)
    if haste is None or haste.record is None or tombstone is None or not ordinary:
        return ordinary
    return HASTENED if haste.record.tombstone_revision == tombstone.revision else ordinary


def mode_of(rules: RuleSet | None, name: str) -> Mode | None:
    """How far the collector may go by this rule; ``None`` if the rule or its owner is not known (so: no further)."""
    rule = rule_in(rules, name) if rules else None
    owner = rules.owner(rule.owner) if rules and rule else None
    return permitted_mode(rule, owner) if rule and owner else None


def _state(
    holds: tuple[HoldView, ...],
    sources: tuple[Resource, ...],
    tombstone: TombstoneView | None,
    sweep: SweepView | None,
    mode: Mode | None,
) -> State:
    if sweep is not None:
        return {SweepState.SENT: State.SENT, SweepState.QUARANTINED: State.QUARANTINED}.get(
            SweepState(sweep.state), State.PREPARED
        )
    if tombstone is not None:
        return State.CONDEMNED if tombstone.epoch is None else State.IN_GRACE
    if sources or any(hold.status is HolderStatus.ALIVE for hold in holds):
        return State.HELD
    if not holds:
        return State.UNACCOUNTED
    return State.OBSERVE_ONLY if mode is Mode.OBSERVE else State.UNHELD


def _hold_view(picture: Survey, holder: Holder, found: Found[HoldRecord]) -> HoldView:
    record, roster = found.record, picture.roster.get(holder)
    released = record is not None and record.released
    beacon = picture.beacons.get(holder)
    return HoldView(
        holder=holder,
        status=HolderStatus.RELEASED if released else holder_status(picture, holder),
        kind=roster.record.kind.value if roster and roster.record else "unknown",
        ended=roster.record.ended.value if roster and roster.record and roster.record.ended else None,
        why=record.why if record else "",
        since=record.since if record else "",
        revision=found.revision,
        beacon_lease=beacon.lease if beacon else 0,
    )


def _tombstone_view(picture: Survey, resource: Resource, name: ClassName | None) -> TombstoneView | None:
    found = picture.tombstones.get(resource)
    if found is None:
        return None
    epoch = epoch_after(picture, name, found.revision) if name else None
    number, measured = epoch or (None, None)
    return TombstoneView(
        reason=found.record.reason if found.record else "",
        evidence_revision=found.record.revision if found.record else 0,
        revision=found.revision,
        since=found.record.since if found.record else "",
        epoch=number,
        epoch_opened_revision=measured.item.create_revision if measured else None,
        epoch_done=bool(measured and measured.record and measured.record.done),
        epoch_lease=measured.record.lease if measured and measured.record else 0,
        cycle=_named(found.record.cycle if found.record else ()),
    )


def epoch_after(picture: Survey, name: ClassName, revision: int) -> tuple[int, Found[EpochRecord]] | None:
    """The epoch of a class that counts for a tombstone: opened after it, the done one first, else the earliest."""
    later = [
        (number, found)
        for number, found in sorted(picture.epochs.get(name, {}).items())
        if found.item.create_revision > revision
    ]
    done = [entry for entry in later if entry[1].record and entry[1].record.done]
    return next(iter(done or later), None)


def _sweep_view(picture: Survey, resource: Resource) -> SweepView | None:
    found = picture.sweeps.get(resource)
    if found is None:
        return None
    record = found.record
    return SweepView(
        state=record.state.value if record else SweepState.PREPARED.value,
        attempt=record.attempt if record else 0,
        outcome=record.outcome if record else "",
        holders=record.holders if record else (),
        fence=record.fence if record else 0,
        revision=found.revision,
        since=record.since if record else "",
        cycle=_named(record.cycle if record else ()),
    )


def _named(cycle: tuple[tuple[str, str, str], ...]) -> tuple[str, ...]:
    return tuple(map("/".join, cycle))
