"""What one read at one revision proves about a resource: nothing, or that nobody needs it. Pure.

``Evidence`` is raw: what etcd held at revision R. ``unheld`` and ``ripe`` judge it, and hand out the facts which the
guarded transactions compare again. Every doubt is a ``Keep`` with its reason: absence permits nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from leasehold.control_plane.core.epochs import Seen, grace_seconds, is_whole
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import ClassName, Holder, Resource, Revision
from leasehold.protocol.records import (
    HASTENED,
    HasteRecord,
    HoldRecord,
    ResourceRecord,
    RosterRecord,
    TombstoneRecord,
    Unreadable,
    decode,
)
from leasehold.protocol.store import KeyValue
from leasehold.protocol.transactions import PINNED, EpochFound, HoldFound, Unheld, every, resources

R = TypeVar("R", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything etcd held about a resource at ``revision``. Keys that were not there are ``None`` or missing."""

    resource: Resource
    revision: Revision
    record: KeyValue | None = None
    pin: KeyValue | None = None
    tombstone: KeyValue | None = None
    sweep: KeyValue | None = None
    armed: KeyValue | None = None
    haste: KeyValue | None = None
    holds: Mapping[Holder, KeyValue] = field(default_factory=dict)
    sources: Mapping[Resource, bool] = field(default_factory=dict)
    """Inbound references (to every resource of its type, too), and whether the referring resource's record is there."""
    beacons: Mapping[Holder, KeyValue] = field(default_factory=dict)
    rosters: Mapping[Holder, KeyValue] = field(default_factory=dict)
    strangers: Sequence[bytes] = ()
    """Keys below the resource's ranges that are not of this protocol."""


@dataclass(frozen=True, slots=True)
class Keep:
    """It stays as it is. ``reason`` is one of a few words (a metric label); ``detail`` is for people."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Condemnable:
    """Nobody holds it: ``facts`` are what the condemn transaction has to compare."""

    facts: Unheld
    record: ResourceRecord
    armed: Revision


@dataclass(frozen=True, slots=True)
class Ripe:
    """Nobody held it for a whole grace: what the prepare transaction has to compare."""

    facts: Unheld
    record: ResourceRecord
    armed: Revision
    tombstone: Revision
    epoch: EpochFound
    haste: Revision = Revision(0)
    """What lets a shorter epoch count, if it does."""


ALONE: frozenset[Resource] = frozenset()


def unheld(evidence: Evidence, within: frozenset[Resource] = ALONE) -> Condemnable | Keep:
    """May it be condemned? References from ``within``, its cycle, are judged with the others of it."""
    if evidence.tombstone is not None:
        return Keep("condemned", f"a tombstone of revision {evidence.tombstone.mod_revision}")
    return _abandoned(evidence, within)


def ripe(
    evidence: Evidence, epochs: Callable[[ClassName], Iterable[Seen]], within: frozenset[Resource] = ALONE
) -> Ripe | Keep:
    """May it be prepared for sweeping? ``epochs``: those of a class as the index has them."""
    tombstone = evidence.tombstone
    if tombstone is None:
        return Keep("not-condemned")
    found = _abandoned(evidence, within)
    if isinstance(found, Keep):
        return found
    try:
        condemned = decode(TombstoneRecord, tombstone.value)
    except Unreadable as error:
        return Keep("unreadable-tombstone", str(error))
    if frozenset(resources(condemned.cycle)) != within:
        # Somebody may have held it by way of a member that is no more: only all of them together tell.
        return Keep("broken-cycle", "it was condemned together with others that do not stand as they did")
    if condemned.incarnation != found.record.incarnation:
        return Keep("other-incarnation", f"condemned was {condemned.incarnation}")
    for hold in found.facts.holds:
        if not hold.released and hold.roster >= tombstone.mod_revision:
            return Keep("restless", f"{hold.holder} came back or ended after the tombstone")
    haste = _haste(evidence, tombstone.mod_revision) if not within else Revision(0)
    name = HASTENED if haste else ClassName(found.record.grace_class)
    epoch = _epoch_for(name, tombstone.mod_revision, epochs(name))
    if epoch is None:
        return Keep("in-grace")
    return Ripe(found.facts, found.record, found.armed, tombstone.mod_revision, epoch, haste)


def _haste(evidence: Evidence, tombstone: Revision) -> Revision:
    """Of what hastens this very tombstone; 0: nothing that can be read does, so it has its whole grace."""
    if evidence.haste is None:
        return Revision(0)
    try:
        known = decode(HasteRecord, evidence.haste.value)
    except Unreadable:
        return Revision(0)
    return evidence.haste.mod_revision if known.tombstone_revision == tombstone else Revision(0)


def _epoch_for(name: ClassName, tombstone: Revision, epochs: Iterable[Seen]) -> EpochFound | None:
    seconds = grace_seconds(name)
    if seconds is None:
        return None
    whole = [
        one.found for one in epochs if one.found.create_revision > tombstone and is_whole(one.found.record, seconds)
    ]  # fmt: skip
    # The newest is never dropped as dominated, so it is the one most likely still there.
    return max(whole, key=lambda epoch: epoch.create_revision, default=None)


MAX_SOURCES = 12
"""Dangling references compared one by one; finishing a source deletes its references, so there are hardly ever any."""


def _abandoned(evidence: Evidence, within: frozenset[Resource]) -> Condemnable | Keep:
    record = evidence.record
    if record is None:
        return Keep("no-record")
    sources = {one: there for one, there in evidence.sources.items() if one not in within and one != evidence.resource}
    keep = _why_not_now(evidence, sources)
    if keep is not None:
        return keep
    holds = _judge_holds(evidence)
    if isinstance(holds, Keep):
        return holds
    try:
        known = decode(ResourceRecord, record.value)
    except Unreadable as error:
        return Keep("unreadable", str(error))
    if grace_seconds(ClassName(known.grace_class)) is None:
        return Keep("unreadable", f"no grace period is called {known.grace_class!r}")
    if evidence.armed is None:
        # Last, so that whoever takes a tombstone away is told the other reasons even then.
        return Keep("not-armed")
    facts = Unheld(evidence.resource, record.mod_revision, evidence.revision, holds, tuple(sources))
    return Condemnable(facts, known, evidence.armed.mod_revision)


def _why_not_now(evidence: Evidence, sources: Mapping[Resource, bool]) -> Keep | None:
    if evidence.sweep is not None:
        return Keep("being-swept")
    if evidence.pin is not None:
        return Keep("pinned")
    if evidence.strangers:
        return Keep("unreadable", f"a key that is not of this protocol: {evidence.strangers[0]!r}")
    needed_by = [str(source) for source, there in sources.items() if there]
    if needed_by:
        return Keep("referenced", f"by {needed_by[0]}")
    if len(sources) > MAX_SOURCES:
        return Keep("unaccounted", f"{len(sources)} references by resources that are not there")
    if not evidence.holds:
        return Keep("unaccounted", "no hold at all: absence permits nothing")
    return None


def _judge_holds(evidence: Evidence) -> tuple[HoldFound, ...] | Keep:
    found = []
    for holder, item in evidence.holds.items():
        try:
            released = decode(HoldRecord, item.value).released
            roster = evidence.rosters.get(holder)
            if not released:
                keep = _why_keep(holder, evidence.beacons.get(holder), roster)
                if keep is not None:
                    return keep
        except Unreadable as error:
            return Keep("unreadable", str(error))
        found.append(HoldFound(holder, item.mod_revision, released, roster.mod_revision if roster else Revision(0)))
    return tuple(found)


def _why_keep(holder: Holder, beacon: KeyValue | None, roster: KeyValue | None) -> Keep | None:
    """Raises ``Unreadable``."""
    if beacon is not None:
        return Keep("held", f"by {holder}")
    if holder == PINNED:
        return Keep(
            "unaccounted", "an operator pinned it, and the pin is not there any more: pin it again, or unpin it"
        )
    if roster is None:
        return Keep("unaccounted", f"{holder} has no roster entry: nothing follows from its silence")
    decode(RosterRecord, roster.value)
    return None


def read_evidence(
    keys: Keyspace, resource: Resource, revision: Revision, found: Mapping[bytes, KeyValue], armed: KeyValue | None
) -> Evidence:
    """Sort what a read returned, by key."""
    holds, refs, general = keys.holds_of(resource), keys.refs_to(resource), keys.refs_to(every(resource))
    held: dict[Holder, KeyValue] = {}
    sources: dict[Resource, bool] = {}
    strangers = []
    for key, item in found.items():
        if key not in holds and key not in refs and key not in general:
            continue
        parsed = keys.parse(key)
        if parsed is None:
            strangers.append(key)
        elif key in holds:
            held[parsed.holder] = item
        else:
            sources[parsed.source] = keys.record(parsed.source) in found
    return Evidence(
        resource=resource,
        revision=revision,
        record=found.get(keys.record(resource)),
        pin=found.get(keys.pin(resource)),
        tombstone=found.get(keys.tombstone(resource)),
        sweep=found.get(keys.sweep(resource)),
        haste=found.get(keys.haste(resource)),
        armed=armed,
        holds=held,
        sources=sources,
        beacons={holder: found[key] for holder in held if (key := keys.beacon(holder)) in found},
        rosters={holder: found[key] for holder in held if (key := keys.roster(holder)) in found},
        strangers=tuple(strangers),
    )
