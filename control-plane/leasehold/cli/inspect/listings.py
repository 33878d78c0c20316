"""What ``get`` can list: from a picture to values (complete, for scripts) and rows (short, for people). Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from leasehold.cli.render import Row, structured
from leasehold.operating.rule_plan import without_secrets
from leasehold.operating.states import (
    HolderStatus,
    ResourceView,
    State,
    SweepView,
    TombstoneView,
    holder_status,
    mode_of,
    resource_views,
)
from leasehold.operating.survey import Survey
from leasehold.protocol.keyspace import Family
from leasehold.protocol.rules import Mode, On

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Listing(Generic[V]):
    """One thing that can be listed. ``families`` are all it reads."""

    families: tuple[Family, ...]
    columns: tuple[str, ...]
    values: Callable[[Survey], list[V]]
    row: Callable[[V], Row]
    fields: Callable[[V], Mapping[str, Any]] = structured
    """What filters look at."""
    states: tuple[str, ...] = ()
    """What ``--state`` may ask for here; empty: nothing."""


class HolderView(msgspec.Struct, frozen=True):
    """A holder, from the roster and its beacon."""

    holder: str
    status: HolderStatus
    kind: str
    service: str
    instance: str
    ended: str | None
    ttl_seconds: int
    since: str
    holds: int
    lease: int
    revision: int

    @property
    def state(self) -> str:
        return self.status.value


class CondemnedView(msgspec.Struct, frozen=True):
    """A tombstone with its resource."""

    owner: str
    type: str
    id: str
    state: State
    tombstone: TombstoneView
    grace_class: str


class SweptView(msgspec.Struct, frozen=True):
    """A sweep with its resource."""

    owner: str
    type: str
    id: str
    state: State
    sweep: SweepView


class IntentView(msgspec.Struct, frozen=True):
    """A creating call whose outcome is not known yet."""

    holder: str
    call: str
    status: HolderStatus
    rule: str
    method: str
    target: str
    resource: str | None
    since: str
    revision: int


class StoredView(msgspec.Struct, frozen=True):
    """An owner or rule as stored, and what came of it."""

    name: str
    mode: str | None
    revision: int
    document: Any


def _holders(picture: Survey) -> list[HolderView]:
    counts: dict[str, int] = {}
    for holds in picture.holds.values():
        for holder, hold in holds.items():
            if hold.record is None or not hold.record.released:
                counts[holder] = counts.get(holder, 0) + 1
    views = []
    for holder in sorted({*picture.roster, *picture.beacons}):
        found, beacon = picture.roster.get(holder), picture.beacons.get(holder)
        record = found.record if found else None
        views.append(
            HolderView(
                holder=holder,
                status=holder_status(picture, holder),
                kind=record.kind.value if record else "unknown",
                service=record.service if record else "",
                instance=record.instance if record else "",
                ended=record.ended.value if record and record.ended else None,
                ttl_seconds=record.ttl_seconds if record else 0,
                since=record.since if record else "",
                holds=counts.get(holder, 0),
                lease=beacon.lease if beacon else 0,
                revision=found.revision if found else 0,
            )
        )
    return views


def _holder_row(view: HolderView) -> Row:
    status = f"{view.status} ({view.ended})" if view.ended else view.status.value
    return view.holder, status, view.kind, str(view.holds), f"{view.ttl_seconds}s", view.since


def _resource_row(view: ResourceView) -> Row:
    alive = ", ".join(hold.holder for hold in view.alive)
    state = f"{view.state} (pinned)" if view.pinned else view.state.value
    return f"{view.owner}/{view.type}/{view.id}", state, alive or "-", view.rule, view.grace_class


def _condemned(picture: Survey) -> list[CondemnedView]:
    return [
        CondemnedView(view.owner, view.type, view.id, view.state, view.tombstone, view.grace_class)
        for view in resource_views(picture)
        if view.tombstone is not None
    ]


def _condemned_row(view: CondemnedView) -> Row:
    tombstone = view.tombstone
    epoch = "not yet open" if tombstone.epoch is None else f"{tombstone.epoch}{' done' if tombstone.epoch_done else ''}"
    name = f"{view.owner}/{view.type}/{view.id}"
    return name, view.state.value, view.grace_class, epoch, str(tombstone.revision), tombstone.reason


def _swept(picture: Survey) -> list[SweptView]:
    return [
        SweptView(view.owner, view.type, view.id, view.state, view.sweep)
        for view in resource_views(picture)
        if view.sweep is not None
    ]


def _swept_row(view: SweptView) -> Row:
    name = f"{view.owner}/{view.type}/{view.id}"
    return name, view.state.value, str(view.sweep.attempt), view.sweep.outcome or "-", view.sweep.since


def _intents(picture: Survey) -> list[IntentView]:
    return [
        IntentView(
            holder=holder,
            call=call,
            status=holder_status(picture, holder),
            rule=found.record.rule if found.record else "",
            method=found.record.method if found.record else "",
            target=found.record.target if found.record else "",
            resource="/".join(found.record.resource) if found.record and found.record.resource else None,
            since=found.record.since if found.record else "",
            revision=found.revision,
        )
        for (holder, call), found in picture.intents.items()
    ]


def _intent_row(view: IntentView) -> Row:
    return view.holder, view.status.value, view.rule, f"{view.method} {view.target}", view.resource or "-", view.since


def _owners(picture: Survey) -> list[StoredView]:
    return [
        StoredView(name, None, found.revision, without_secrets(found.record))
        for name, found in picture.owner_documents.items()
    ]


def _rules(picture: Survey) -> list[StoredView]:
    rules = picture.rules_or_none()
    return [
        StoredView(name, mode_of(rules, name) if _creates(found.record) else None, found.revision, found.record)
        for name, found in picture.rule_documents.items()
    ]


def _creates(document: Any) -> bool:
    """A mode says how far the collector may go with what was *created*; elsewhere it means nothing."""
    return isinstance(document, dict) and document.get("on") == On.CREATE


def _owner_row(view: StoredView) -> Row:
    document = view.document if isinstance(view.document, dict) else {}
    delete = document.get("delete") or {}
    precondition = delete.get("precondition", "none") if delete else "no delete"
    return view.name, str(document.get("endpoint", "")), precondition, ", ".join(document.get("hosts", ()))


def _rule_row(view: StoredView) -> Row:
    document = view.document if isinstance(view.document, dict) else {}
    match = document.get("match") or {}
    method = match.get("method", "")
    methods = method if isinstance(method, str) else "|".join(method)
    kind = f"{document.get('owner', '')}/{document.get('type', '')}"
    call = f"{methods} {match.get('path', '')}"
    return view.name, str(document.get("on", "")), kind, call, str(document.get("held_by") or "-"), view.mode or "-"


def _stored_fields(view: StoredView) -> Mapping[str, Any]:
    return {**(view.document if isinstance(view.document, dict) else {}), "state": view.mode}


def _owner_fields(view: StoredView) -> Mapping[str, Any]:
    return {"owner": view.name}


def _status_fields(view: HolderView | IntentView) -> Mapping[str, Any]:
    return {"state": view.status.value}


_JOINED = (
    Family.RESOURCES, Family.HOLDS, Family.REFS, Family.TOMBSTONES, Family.SWEEPS, Family.PINS, Family.EPOCHS,
    Family.BEACONS, Family.ROSTER, Family.OWNERS, Family.RULES,
)  # fmt: skip

_STATES = tuple(state.value for state in State)
_STATUSES = tuple(status.value for status in HolderStatus if status is not HolderStatus.RELEASED)

LISTINGS: Mapping[str, Listing[Any]] = {
    "resources": Listing(
        _JOINED, ("resource", "state", "alive holders", "rule", "grace"), resource_views, _resource_row, states=_STATES
    ),
    "holders": Listing(
        (Family.ROSTER, Family.BEACONS, Family.HOLDS),
        ("holder", "status", "kind", "holds", "ttl", "since"),
        _holders,
        _holder_row,
        _status_fields,
        _STATUSES,
    ),
    "tombstones": Listing(
        _JOINED,
        ("resource", "state", "grace", "epoch", "revision", "reason"),
        _condemned,
        _condemned_row,
        states=_STATES,
    ),
    "sweeps": Listing(
        _JOINED, ("resource", "state", "attempt", "outcome", "since"), _swept, _swept_row, states=_STATES
    ),
    "intents": Listing(
        (Family.INTENTS, Family.ROSTER, Family.BEACONS),
        ("holder", "status", "rule", "call", "resource", "since"),
        _intents,
        _intent_row,
        _status_fields,
        _STATUSES,
    ),
    "owners": Listing((Family.OWNERS,), ("owner", "endpoint", "delete", "hosts"), _owners, _owner_row, _owner_fields),
    "rules": Listing(
        (Family.OWNERS, Family.RULES),
        ("rule", "on", "type", "call", "held by", "mode"),
        _rules,
        _rule_row,
        _stored_fields,
        tuple(mode.value for mode in Mode),
    ),
}
