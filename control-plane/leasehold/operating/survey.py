"""One consistent picture of a tenant: what the asked-for families hold, decoded, all as of one revision.

``survey`` is pure: key-values in, picture out. A record that does not parse is still *there* (its key counts) and is
listed in ``unreadable``; nothing is guessed from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from leasehold.protocol.configuration import BadConfiguration
from leasehold.protocol.keyspace import Family, Key, Keyspace, shard_of
from leasehold.protocol.names import ClassName, Holder, Resource, Revision
from leasehold.protocol.ports import Store
from leasehold.protocol.records import (
    ArmedRecord,
    CanaryRecord,
    ClusterRecord,
    EpochRecord,
    GraveRecord,
    HasteRecord,
    HoldRecord,
    IntentRecord,
    NoticeRecord,
    PinRecord,
    ReplicaRecord,
    ResourceRecord,
    RosterRecord,
    ShadowRecord,
    ShardRecord,
    SweepRecord,
    TombstoneRecord,
    TrippedRecord,
    Unreadable,
    WindowRecord,
    decode,
)
from leasehold.protocol.rules import RuleSet, rules_from_documents
from leasehold.protocol.store import KeyValue
from leasehold.protocol.transactions import every

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Found(Generic[R]):
    """A key that is there. ``record`` is ``None`` when its value does not parse."""

    item: KeyValue
    record: R | None

    @property
    def revision(self) -> Revision:
        return self.item.mod_revision


@dataclass(slots=True)
class Survey:
    """The picture. Families that were not asked for are empty."""

    revision: Revision
    beacons: dict[Holder, KeyValue] = field(default_factory=dict)
    roster: dict[Holder, Found[RosterRecord]] = field(default_factory=dict)
    resources: dict[Resource, Found[ResourceRecord]] = field(default_factory=dict)
    holds: dict[Resource, dict[Holder, Found[HoldRecord]]] = field(default_factory=dict)
    refs: dict[Resource, list[Resource]] = field(default_factory=dict)
    intents: dict[tuple[Holder, str], Found[IntentRecord]] = field(default_factory=dict)
    tombstones: dict[Resource, Found[TombstoneRecord]] = field(default_factory=dict)
    epochs: dict[ClassName, dict[int, Found[EpochRecord]]] = field(default_factory=dict)
    notices: dict[Resource, Found[NoticeRecord]] = field(default_factory=dict)
    sweeps: dict[Resource, Found[SweepRecord]] = field(default_factory=dict)
    graves: dict[Resource, Found[GraveRecord]] = field(default_factory=dict)
    pins: dict[Resource, Found[PinRecord]] = field(default_factory=dict)
    hastes: dict[Resource, Found[HasteRecord]] = field(default_factory=dict)
    shards: dict[int, Found[ShardRecord]] = field(default_factory=dict)
    replicas: dict[str, Found[ReplicaRecord]] = field(default_factory=dict)
    armed: Found[ArmedRecord] | None = None
    cluster: Found[ClusterRecord] | None = None
    owner_documents: dict[str, Found[Any]] = field(default_factory=dict)
    rule_documents: dict[str, Found[Any]] = field(default_factory=dict)
    tripped: Found[TrippedRecord] | None = None
    window: Found[WindowRecord] | None = None
    canary: Found[CanaryRecord] | None = None
    shadows: dict[str, Found[ShadowRecord]] = field(default_factory=dict)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    @property
    def shard_count(self) -> int:
        """Into how many shards the tenant falls. One until it is founded; 0: nobody can tell."""
        if self.cluster is None:
            return 1
        return self.cluster.record.shards if self.cluster.record else 0

    def acting_for(self, resource: Resource) -> str | None:
        """The control plane that acts for a resource, if one does."""
        count = self.shard_count
        found = self.shards.get(shard_of(resource, count)) if count else None
        return found.record.replica if found and found.record else None

    def rules(self) -> RuleSet:
        """Owners and rules as stored. Raises ``BadConfiguration`` when they make no sense together."""
        owners = [found.record for found in self.owner_documents.values()]
        rules = [found.record for found in self.rule_documents.values()]
        return rules_from_documents(owners, rules, "etcd")

    def rules_or_none(self) -> RuleSet | None:
        """The same for those who only want to name a mode beside a resource."""
        try:
            return self.rules()
        except BadConfiguration:
            return None


def survey(keys: Keyspace, items: Iterable[KeyValue], revision: Revision) -> Survey:
    """Decode and index. Keys that the keyspace would not have built are listed as unreadable."""
    picture = Survey(revision)
    for item in items:
        key = keys.parse(item.key)
        if key is None:
            picture.unreadable.append((item.key.decode(errors="replace"), "not a key of this protocol"))
        else:
            _FILING[key.family](picture, key, item)
    return picture


async def take(store: Store, keys: Keyspace, families: Iterable[Family] | None = None, *, deadline: float) -> Survey:
    """Read the families (default: everything of the tenant) at one revision. Safe to retry."""
    if families is None:
        whole = await store.read(keys.everything, deadline=deadline)
        return survey(keys, whole.items, whole.revision)
    revision = Revision(0)
    items: list[KeyValue] = []
    for family in families:
        part = await store.read(keys.family(family), deadline=deadline, revision=revision)
        revision = revision or part.revision
        items += part.items
    return survey(keys, items, revision)


async def take_one(store: Store, keys: Keyspace, resource: Resource, *, deadline: float) -> Survey:
    """Everything that bears on one resource, at one revision. Safe to retry."""
    first = await store.read(keys.holds_of(resource), deadline=deadline)
    revision, items = first.revision, list(first.items)
    where: list[Any] = [keys.record(resource), keys.refs_to(resource), keys.tombstone(resource), keys.sweep(resource)]
    where += [keys.refs_to(every(resource)), keys.grave(resource), keys.pin(resource), keys.haste(resource)]
    where += [keys.armed, keys.cluster, keys.family(Family.SHARDS)]
    where += [keys.family(Family.EPOCHS), keys.family(Family.OWNERS), keys.family(Family.RULES)]
    for holder in [key.holder for item in first.items if (key := keys.parse(item.key))]:
        where += [keys.beacon(holder), keys.roster(holder)]
    for place in where:
        items += (await store.read(place, deadline=deadline, revision=revision)).items
    picture = survey(keys, items, revision)
    # Whether a source that refers to us still exists decides over us; whether a target exists is worth telling.
    found = picture.resources.get(resource)
    outward = [Resource(*ref) for ref in found.record.references] if found and found.record else []  # type: ignore[arg-type]
    inward = (*picture.refs.get(resource, ()), *picture.refs.get(every(resource), ()))
    for other in {*inward, *outward} - {resource}:
        items += (await store.read(keys.record(other), deadline=deadline, revision=revision)).items
    return survey(keys, items, revision)


# --- one filing function per family ---------------------------------------------------------------------------


def _found(picture: Survey, kind: type[msgspec.Struct], item: KeyValue) -> Found[Any]:
    try:
        return Found(item, decode(kind, item.value))
    except Unreadable as error:
        picture.unreadable.append((item.key.decode(errors="replace"), str(error)))
        return Found(item, None)


def _document(picture: Survey, item: KeyValue) -> Found[Any]:
    try:
        return Found(item, msgspec.json.decode(item.value))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        picture.unreadable.append((item.key.decode(errors="replace"), f"not JSON: {error}"))
        return Found(item, None)


def _file_hold(picture: Survey, key: Key, item: KeyValue) -> None:
    picture.holds.setdefault(key.resource, {})[key.holder] = _found(picture, HoldRecord, item)


def _file_ref(picture: Survey, key: Key, _: KeyValue) -> None:
    picture.refs.setdefault(key.resource, []).append(key.source)


def _is_number(picture: Survey, part: str, item: KeyValue) -> bool:
    number = part.isascii() and part.isdecimal() and len(part) < 20
    if not number:
        picture.unreadable.append((item.key.decode(errors="replace"), "expected a number at its end"))
    return number


def _file_epoch(picture: Survey, key: Key, item: KeyValue) -> None:
    if _is_number(picture, key.parts[1], item):
        found = _found(picture, EpochRecord, item)
        picture.epochs.setdefault(ClassName(key.parts[0]), {})[int(key.parts[1])] = found


def _file_shard(picture: Survey, key: Key, item: KeyValue) -> None:
    if _is_number(picture, key.parts[0], item):
        picture.shards[int(key.parts[0])] = _found(picture, ShardRecord, item)


def _file_replica(picture: Survey, key: Key, item: KeyValue) -> None:
    picture.replicas[key.parts[0]] = _found(picture, ReplicaRecord, item)


def _file_control(picture: Survey, key: Key, item: KeyValue) -> None:
    if key.parts[0] == "armed":
        picture.armed = _found(picture, ArmedRecord, item)
    elif key.parts[0] == "cluster":
        picture.cluster = _found(picture, ClusterRecord, item)
    elif key.parts[0] == "tripped":
        picture.tripped = _found(picture, TrippedRecord, item)
    elif key.parts[0] == "window":
        picture.window = _found(picture, WindowRecord, item)
    elif key.parts[0] == "canary":
        picture.canary = _found(picture, CanaryRecord, item)


def _by_resource(name: str, kind: type[msgspec.Struct]) -> Callable[[Survey, Key, KeyValue], None]:
    def file(picture: Survey, key: Key, item: KeyValue) -> None:
        getattr(picture, name)[key.resource] = _found(picture, kind, item)

    return file


def _file_beacon(picture: Survey, key: Key, item: KeyValue) -> None:
    picture.beacons[key.holder] = item


def _file_roster(picture: Survey, key: Key, item: KeyValue) -> None:
    picture.roster[key.holder] = _found(picture, RosterRecord, item)


def _file_intent(picture: Survey, key: Key, item: KeyValue) -> None:
    picture.intents[key.holder, key.parts[1]] = _found(picture, IntentRecord, item)


def _file_owner(picture: Survey, key: Key, item: KeyValue) -> None:
    picture.owner_documents[key.parts[0]] = _document(picture, item)


def _file_rule(picture: Survey, key: Key, item: KeyValue) -> None:
    picture.rule_documents[key.parts[0]] = _document(picture, item)


def _file_shadow(picture: Survey, key: Key, item: KeyValue) -> None:
    picture.shadows[key.parts[0]] = _found(picture, ShadowRecord, item)


def _ignore(_: Survey, __: Key, ___: KeyValue) -> None:
    """An epoch's leased key: the epoch record and its lease say more. Notices and the audit: not of this picture."""


_FILING: Mapping[Family, Callable[[Survey, Key, KeyValue], None]] = {
    Family.BEACONS: _file_beacon,
    Family.ROSTER: _file_roster,
    Family.RESOURCES: _by_resource("resources", ResourceRecord),
    Family.HOLDS: _file_hold,
    Family.REFS: _file_ref,
    Family.INTENTS: _file_intent,
    Family.TOMBSTONES: _by_resource("tombstones", TombstoneRecord),
    Family.EPOCHS: _file_epoch,
    Family.EPOCH_LEASES: _ignore,
    Family.NOTICES: _by_resource("notices", NoticeRecord),
    Family.SWEEPS: _by_resource("sweeps", SweepRecord),
    Family.GRAVES: _by_resource("graves", GraveRecord),
    Family.PINS: _by_resource("pins", PinRecord),
    Family.HASTES: _by_resource("hastes", HasteRecord),
    Family.NOTICES: _ignore,
    Family.AUDIT: _ignore,
    Family.SHARDS: _file_shard,
    Family.REPLICAS: _file_replica,
    Family.CONTROL: _file_control,
    Family.OWNERS: _file_owner,
    Family.RULES: _file_rule,
    Family.SHADOWS: _file_shadow,
}
