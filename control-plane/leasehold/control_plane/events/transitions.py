"""What a batch of changes in etcd means for resources: registered, condemned, revived and so on. Pure.

A transaction's changes share one revision, and the watch never splits a revision. So what a deletion meant is told by
what else became of the same resource at the same revision: a tombstone that goes with the record was no revival.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import groupby

import msgspec

from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import Resource, Revision
from leasehold.protocol.records import (
    GraveRecord,
    ResourceRecord,
    SweepRecord,
    SweepState,
    TombstoneRecord,
    Unreadable,
    decode,
)
from leasehold.protocol.store import Change, Event
from leasehold.protocol.transactions_intents import LISTED

OURS = "!"
"""What the owners begin with that are our own self-test's: no owner of anybody's can be called so."""


class What(StrEnum):
    """The transitions that are told."""

    REGISTERED = "registered"
    ORPHAN_FOUND = "orphan-found"
    CONDEMNED = "condemned"
    REVIVED = "revived"
    SWEPT = "swept"
    QUARANTINED = "quarantined"
    FORGOTTEN = "forgotten"
    """Its record is gone, and not by a sweep: the app deleted it itself, or the owner did not have it any more."""


class Transition(msgspec.Struct, frozen=True):
    """One resource, at one revision. ``record`` and ``incarnation`` are there if that change itself tells them."""

    what: What
    resource: Resource
    revision: Revision
    incarnation: str = ""
    since: str = ""
    detail: str = ""
    record: ResourceRecord | None = None


_TOLD = (Family.RESOURCES, Family.TOMBSTONES, Family.SWEEPS, Family.GRAVES)
Changes = dict[Family, Event]


def transitions(keys: Keyspace, events: Iterable[Event]) -> list[Transition]:
    """In the order of revisions; what cannot be read is left out, as it permits nothing either."""
    starts = tuple(keys.family(family).start for family in _TOLD)
    concerned = (event for event in events if event.item.key.startswith(starts))
    found: list[Transition] = []
    for revision, at_once in groupby(concerned, key=lambda event: event.item.mod_revision):
        of_resources: dict[Resource, Changes] = {}
        for event in at_once:
            key = keys.parse(event.item.key)
            if key is not None and not key.resource.owner.startswith(OURS):
                of_resources.setdefault(key.resource, {})[key.family] = event
        for resource, changes in of_resources.items():
            found += _of_one(resource, revision, changes)
    return found


def _of_one(resource: Resource, revision: Revision, changes: Changes) -> Iterator[Transition]:
    try:
        yield from _read(resource, revision, changes)
    except Unreadable:
        return


def _read(resource: Resource, revision: Revision, changes: Changes) -> Iterator[Transition]:
    if (grave := _put(changes, Family.GRAVES)) is not None:
        buried = decode(GraveRecord, grave)
        yield Transition(What.SWEPT, resource, revision, buried.incarnation, buried.since, buried.outcome)
        return
    if _gone(changes, Family.RESOURCES):
        yield Transition(What.FORGOTTEN, resource, revision)
        return
    if _gone(changes, Family.TOMBSTONES):
        yield Transition(What.REVIVED, resource, revision)
    if (record := _put(changes, Family.RESOURCES)) is not None:
        made = decode(ResourceRecord, record)
        what = What.ORPHAN_FOUND if made.creator == LISTED else What.REGISTERED
        yield Transition(what, resource, revision, made.incarnation, made.since, record=made)
    if (tombstone := _put(changes, Family.TOMBSTONES)) is not None:
        condemned = decode(TombstoneRecord, tombstone)
        yield Transition(
            What.CONDEMNED, resource, revision, condemned.incarnation, condemned.since, condemned.reason
        )  # fmt: skip
    if (sweep := _put(changes, Family.SWEEPS)) is not None:
        swept = decode(SweepRecord, sweep)
        if swept.state is SweepState.QUARANTINED:
            yield Transition(What.QUARANTINED, resource, revision, swept.incarnation, swept.since, swept.outcome)


def _put(changes: Changes, family: Family) -> bytes | None:
    event = changes.get(family)
    return event.item.value if event is not None and event.change is Change.PUT else None


def _gone(changes: Changes, family: Family) -> bool:
    event = changes.get(family)
    return event is not None and event.change is Change.DELETE
