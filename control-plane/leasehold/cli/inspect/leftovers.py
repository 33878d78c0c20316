"""What ``get`` can list of leftovers: calls nobody can tell the outcome of, and what only an inventory knows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from leasehold.cli.inspect.listings import Listing
from leasehold.cli.render import Row
from leasehold.operating.states import HolderStatus, ResourceView, State, holder_status, resource_views
from leasehold.operating.survey import Survey
from leasehold.protocol.keyspace import Family
from leasehold.protocol.orphans import is_orphan_rule

NOT_ASKED = "not-asked-yet"


class SuspectView(msgspec.Struct, frozen=True):
    """A creating call whose holder has ended, and that was neither registered nor resolved."""

    holder: str
    call: str
    status: HolderStatus
    reason: str
    owner: str
    type: str
    rule: str
    method: str
    target: str
    resource: str | None
    since: str
    revision: int


def _suspects(picture: Survey) -> list[SuspectView]:
    rules = picture.rules_or_none()
    found_ones = []
    for (holder, call), found in picture.intents.items():
        record, status = found.record, holder_status(picture, holder)
        reason = record.suspect if record else "unreadable"
        if status is HolderStatus.ALIVE and not reason:
            continue
        rule = rules.rule(record.rule) if rules and record else None
        found_ones.append(
            SuspectView(
                holder=holder,
                call=call,
                status=status,
                reason=reason or NOT_ASKED,
                owner=rule.owner if rule else "",
                type=rule.type if rule else "",
                rule=record.rule if record else "",
                method=record.method if record else "",
                target=record.target if record else "",
                resource="/".join(record.resource) if record and record.resource else None,
                since=record.since if record else "",
                revision=found.revision,
            )
        )
    return found_ones


def _suspect_row(view: SuspectView) -> Row:
    call = f"{view.method} {view.target}"
    return view.reason, f"{view.owner}/{view.type}", call, view.resource or "-", view.holder, view.call, view.since


def _orphans(picture: Survey) -> list[ResourceView]:
    return [view for view in resource_views(picture) if is_orphan_rule(view.rule)]


def _orphan_row(view: ResourceView) -> Row:
    return f"{view.owner}/{view.type}/{view.id}", view.state.value, view.mode, view.grace_class, view.since


LEFTOVERS: Mapping[str, Listing[Any]] = {
    "suspects": Listing(
        (Family.INTENTS, Family.ROSTER, Family.BEACONS, Family.OWNERS, Family.RULES),
        ("reason", "type", "call", "resource", "holder", "call id", "since"),
        _suspects,
        _suspect_row,
    ),
    "orphans": Listing(
        (
            Family.RESOURCES, Family.HOLDS, Family.REFS, Family.TOMBSTONES, Family.SWEEPS, Family.PINS, Family.EPOCHS,
            Family.BEACONS, Family.ROSTER, Family.OWNERS, Family.RULES,
        ),
        ("resource", "state", "mode", "grace", "since"),
        _orphans,
        _orphan_row,
        states=tuple(state.value for state in State),
    ),
}  # fmt: skip
