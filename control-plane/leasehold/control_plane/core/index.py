"""Everything etcd holds about a tenant, folded into facts: keys and values in, nominations out. Pure.

Laws:

- The index only nominates. Nobody deletes anything because of what stands here.
- An older event never overrides a newer one, in whatever order they come: every fact keeps its mod_revision, and
  deletions are remembered until ``settle`` says that nothing older can arrive. So a list, a scan and a watch may
  overlap freely.
- An event costs what it touches: a holder's end touches the resources it holds, an epoch those condemned in its class.
- What cannot be read is listed in ``unreadable`` and blocks what depends on it, nothing else.
- A reference counts when its key is there or its source's record names it: losing one of the two frees nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from sys import intern
from typing import TypeVar

import msgspec

from leasehold.control_plane.core.departures import Departures
from leasehold.control_plane.core.epochs import Seen
from leasehold.control_plane.core.facts import ABSENT, Entry, Hold, HolderEntry, ShardEntry, Source
from leasehold.control_plane.core.grace_class import GraceClass
from leasehold.control_plane.core.graph import Picture
from leasehold.control_plane.core.intents import Intents
from leasehold.control_plane.core.lifecycle import SWEEPING, Facts, Grace, Holding, State, Step, Sweeping
from leasehold.control_plane.core.lifecycle import TABLE as LIFECYCLE
from leasehold.control_plane.core.notices import Notice, Notices
from leasehold.control_plane.core.policy import Policy
from leasehold.control_plane.core.versions import why_foreign
from leasehold.control_plane.core.warmup import Attendance
from leasehold.protocol.cycles import MAX_MEMBERS
from leasehold.protocol.keyspace import Family, Key, Keyspace
from leasehold.protocol.names import (
    CallId,
    ClassName,
    Holder,
    LeaseId,
    OwnerName,
    Resource,
    Revision,
    RuleName,
    TypeName,
)
from leasehold.protocol.records import (
    ArmedRecord,
    CanaryRecord,
    ClusterRecord,
    EpochRecord,
    HoldRecord,
    IntentRecord,
    NoticeRecord,
    ReplicaRecord,
    ResourceRecord,
    RosterRecord,
    ShardRecord,
    SweepRecord,
    TombstoneRecord,
    TrippedRecord,
    Unreadable,
    WindowRecord,
    decode,
)
from leasehold.protocol.rules import Owner, Rule
from leasehold.protocol.store import Change, Event, KeyValue
from leasehold.protocol.transactions import EVERY, references, resources

R = TypeVar("R", bound=msgspec.Struct)
Handler = Callable[[Key, KeyValue, bool], bool]
"""Takes a parsed key, the item, and whether it is there. Returns whether this was news."""


class Index:
    """One tenant. Single writer: ``observe``."""

    def __init__(self, keys: Keyspace) -> None:
        self.keys = keys
        self.policy = Policy()
        self.intents = Intents()
        self.policy_changed = False
        self.notices = Notices(self.policy)
        self.departures = Departures()
        self.armed = ABSENT
        self.armed_by: ArmedRecord | None = None
        self.controls: dict[str, tuple[Revision, msgspec.Struct | None]] = {}
        """Of ``control/``, what is only told: each with what it says, if it can be read."""
        self.cluster: tuple[Revision, ClusterRecord | None] = (ABSENT, None)
        self.shards: dict[int, ShardEntry] = {}
        self.replicas: dict[str, Revision] = {}
        """Control planes that are alive, each with the revision of its key."""
        self.understood: dict[str, int] = {}
        """The newest protocol that each of them understands."""
        self.placing_changed = False
        """Whether shards, replicas or the number of shards did."""
        self.unreadable: dict[bytes, str] = {}
        self.counts: Counter[tuple[str, str, str, State]] = Counter()
        self.nominated: dict[Step, dict[Resource, None]] = {step: {} for step in Step}
        self._entries: dict[Resource, Entry] = {}
        self._holders: dict[Holder, HolderEntry] = {}
        self._targets: dict[Resource, set[Resource]] = {}
        self._declared: dict[Resource, frozenset[Resource]] = {}
        self._general: dict[tuple[OwnerName, TypeName], frozenset[Resource]] = {}
        self._cycles: dict[Resource, tuple[Resource, ...]] = {}
        self._merely_referenced: dict[Resource, Entry] = {}
        self._classes: dict[ClassName, GraceClass] = {}
        self._deleted: dict[bytes, Revision] = {}
        self._fresh: dict[Resource, Step | None] = {}
        self._stale_classes: set[ClassName] = set()
        self._handlers: dict[Family, Handler] = {
            Family.BEACONS: self._on_beacon,
            Family.ROSTER: self._on_roster,
            Family.RESOURCES: self._on_record,
            Family.HOLDS: self._on_hold,
            Family.REFS: self._on_ref,
            Family.INTENTS: self._on_intent,
            Family.TOMBSTONES: self._on_tombstone,
            Family.SWEEPS: self._on_sweep,
            Family.NOTICES: self._on_notice,
            Family.PINS: self._on_pin,
            Family.EPOCHS: self._on_epoch,
            Family.EPOCH_LEASES: self._on_epoch_lease,
            Family.CONTROL: self._on_control,
            Family.SHARDS: self._on_shard,
            Family.REPLICAS: self._on_replica,
            Family.OWNERS: self._on_document,
            Family.RULES: self._on_document,
        }  # graves are nobody's evidence: not kept

    # --- events in ----------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> bool:
        """Take one change in. False: it was no news (older than what is known, or of no interest)."""
        item, there = event.item, event.change is Change.PUT
        key = self.keys.parse(item.key)
        if key is None or _is_misnumbered(key):
            self._note(item.key, "not a key of this protocol" if there else "")
            return False
        handler = self._handlers.get(key.family)
        if handler is None or item.mod_revision <= self._deleted.get(item.key, ABSENT):
            return False
        news = handler(key, item, there)
        if not there:
            self._deleted[item.key] = item.mod_revision
        if news and there:
            self._deleted.pop(item.key, None)
        elif news:
            self.unreadable.pop(item.key, None)
        return news

    def settle(self, revision: Revision) -> None:
        """Nothing older than ``revision`` can arrive any more: deletions up to it need not be remembered."""
        if self._deleted:
            self._deleted = {key: deleted for key, deleted in self._deleted.items() if deleted > revision}

    def forget_everything(self) -> None:
        """What is known is of a past that etcd does not share any more. Whoever was offered something is told."""
        for key, known in list(self.known()):
            if known:
                self.apply(Event(Change.DELETE, KeyValue(key, b"", ABSENT, Revision(known + 1), 0, LeaseId(0))))
        self._deleted.clear()
        self._classes.clear()
        self.departures.clear()
        self.unreadable.clear()

    # --- nominations out ----------------------------------------------------------------------------------------

    def take_fresh(self) -> dict[Resource, Step | None]:
        """What became due since the last call, or (``None``) is due no more."""
        fresh, self._fresh = self._fresh, {}
        return fresh

    def step_of(self, resource: Resource) -> Step | None:
        """What is due for this resource now, as far as the index knows."""
        entry = self._entries.get(resource)
        return entry.step if entry else None

    def picture(self) -> Picture:
        """What nobody holds and something refers to, as of this instant: where dead cycles are to be looked for."""
        return [
            (resource, self._referrers(entry))
            for resource, entry in self._merely_referenced.items()
            if resource[:2] not in self._general or self._may_be_in_a_cycle(resource)
        ]

    def _referrers(self, entry: Entry) -> list[Resource]:
        named = (source.resource for source in entry.sources)
        general = self._general.get((entry.resource.owner, entry.resource.type), ())
        return [one for one in dict.fromkeys((*named, *general)) if one != entry.resource]

    def _may_be_in_a_cycle(self, resource: Resource) -> bool:
        """Of what is needed as everything of its type is: only if it needs something itself, and with all those that
        need everything a cycle is not too large. This also bounds the picture."""
        return resource in self._targets and len(self._general[resource.owner, resource.type]) <= MAX_MEMBERS

    def exists(self, resource: Resource) -> bool:
        """Whether it has a record."""
        entry = self._entries.get(resource)
        return entry is not None and bool(entry.record)

    def cycle_of(self, resource: Resource) -> tuple[Resource, ...]:
        """With whom it was condemned, itself included; nobody, if alone or not at all."""
        return self._cycles.get(resource, ())

    # --- views --------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, resource: Resource) -> Entry | None:
        return self._entries.get(resource)

    def entries(self) -> list[Entry]:
        return list(self._entries.values())

    def holder(self, holder: Holder) -> HolderEntry | None:
        return self._holders.get(holder)

    def holders(self) -> list[tuple[Holder, HolderEntry]]:
        return list(self._holders.items())

    @property
    def tripped(self) -> tuple[Revision, TrippedRecord | None]:
        """Why the armed key is not there, and since which revision (0: nobody said)."""
        revision, record = self.controls.get("tripped", (ABSENT, None))
        return revision, record if isinstance(record, TrippedRecord) else None

    @property
    def window(self) -> WindowRecord | None:
        record = self.controls.get("window", (ABSENT, None))[1]
        return record if isinstance(record, WindowRecord) else None

    @property
    def canary(self) -> CanaryRecord | None:
        record = self.controls.get("canary", (ABSENT, None))[1]
        return record if isinstance(record, CanaryRecord) else None

    @property
    def shard_count(self) -> int | None:
        """Into how many parts the tenant's resources fall; ``None``: nobody knows, so nobody may act on any."""
        record = self.cluster[1]
        return record.shards if record is not None and not self.foreign else None

    @property
    def foreign(self) -> str:
        """Why this tenant's keys are none that we understand; empty when they are, or nobody knows."""
        record = self.cluster[1]
        return why_foreign(record.protocol) if record is not None else ""

    def attendance(self) -> Iterator[Attendance]:
        """Who is on the roster, for the warm-up."""
        for found in self._holders.values():
            if found.roster and found.readable:
                yield Attendance(found.kind, found.ttl_seconds, found.ended)

    def classes(self) -> list[ClassName]:
        return list(self._classes)

    def epochs_of(self, name: ClassName) -> list[Seen]:
        """The readable epochs of a class."""
        found = self._classes.get(name)
        return found.seen(self.keys) if found is not None else []

    def newest_tombstone(self, name: ClassName) -> Revision:
        """Of a class; 0 when nothing of it is condemned. It may be one that was revived meanwhile: an epoch too many
        costs little, and looking through all of them each time does not."""
        found = self._classes.get(name)
        return found.newest if found and found.condemned else ABSENT

    def highest_epoch(self, name: ClassName) -> int:
        """The highest number in use in a class, readable or not; 0 when there is none."""
        found = self._classes.get(name)
        return max(found.epochs, default=0) if found else 0

    def take_stale_classes(self) -> set[ClassName]:
        """Classes in which anything changed since the last call."""
        stale, self._stale_classes = self._stale_classes, set()
        return stale

    def known(self) -> Iterator[tuple[bytes, Revision]]:
        """Every key the index believes to be there, with its mod_revision. May be interrupted by ``apply``."""
        keys = self.keys
        for entry in self.entries():
            yield from self._known_of(entry)
        for resource in self.notices.seen():
            yield keys.notice(resource), self.notices.revision_of(resource)
        for holder, found in self.holders():
            yield keys.beacon(holder), found.beacon
            yield keys.roster(holder), found.roster
        for each in list(self._classes.values()):
            yield from each.known(keys)
        yield from self.intents.known(keys)
        yield keys.armed, self.armed
        yield keys.cluster, self.cluster[0]
        yield from [(keys.control(name), revision) for name, (revision, _) in self.controls.items()]
        yield from [(keys.shard(n), shard.revision) for n, shard in self.shards.items()]
        yield from [(keys.replica(name), revision) for name, revision in self.replicas.items()]
        yield from [(keys.owner(OwnerName(n)), revision) for n, revision in self.policy.documents(Owner).items()]
        yield from [(keys.rule(RuleName(n)), revision) for n, revision in self.policy.documents(Rule).items()]

    def _known_of(self, entry: Entry) -> Iterator[tuple[bytes, Revision]]:
        keys, resource = self.keys, entry.resource
        yield keys.record(resource), entry.record
        yield keys.pin(resource), entry.pin
        yield keys.tombstone(resource), entry.tombstone
        yield keys.sweep(resource), entry.sweep
        for hold in entry.holds:
            yield keys.hold(resource, hold.holder), hold.revision
        for source in entry.sources:
            yield keys.ref(resource, source.resource), source.revision

    # --- holders ------------------------------------------------------------------------------------------------

    def _on_beacon(self, key: Key, item: KeyValue, there: bool) -> bool:
        found = self._holder(key.holder)
        if item.mod_revision <= found.beacon:
            return False
        changed = bool(found.beacon) is not there
        found.beacon = item.mod_revision if there else ABSENT
        found.lease = item.lease
        if changed:
            self.departures.beacons[key.holder] = there
            self._reconsider_all(found.resources)
        self._tidy_holder(key.holder, found)
        return True

    def _on_roster(self, key: Key, item: KeyValue, there: bool) -> bool:
        found = self._holder(key.holder)
        if item.mod_revision <= found.roster:
            return False
        record = self._read(RosterRecord, item) if there else None
        found.roster = item.mod_revision if there else ABSENT
        found.readable = record is not None
        self.departures.rosters[key.holder] = None
        if record is not None:
            found.service, found.instance = intern(record.service), intern(record.instance)
            found.kind, found.ttl_seconds, found.ended = record.kind, record.ttl_seconds, record.ended
            found.protocol = record.protocol
        # Renewals do not come here, only attaching and ending do; either may restart a grace.
        self._reconsider_all(found.resources)
        self._tidy_holder(key.holder, found)
        return True

    def _on_intent(self, key: Key, item: KeyValue, there: bool) -> bool:
        holder, call = Holder(intern(key.holder)), CallId(key.parts[1])
        if item.mod_revision <= self.intents.revision_of(holder, call):
            return False
        if there:
            self.intents.put(holder, call, item.mod_revision, self._read(IntentRecord, item))
        else:
            self.intents.drop(holder, call)
        return True

    def _holder(self, holder: Holder) -> HolderEntry:
        found = self._holders.get(holder)
        if found is None:
            found = self._holders[Holder(intern(holder))] = HolderEntry()
        return found

    def _tidy_holder(self, holder: Holder, found: HolderEntry) -> None:
        if found.empty:
            self._holders.pop(holder, None)

    # --- resources ----------------------------------------------------------------------------------------------

    def _entry(self, key: Key) -> Entry:
        return self._entry_of(key.resource)

    def _entry_of(self, resource: Resource) -> Entry:
        entry = self._entries.get(resource)
        if entry is None:
            resource = Resource(OwnerName(intern(resource.owner)), TypeName(intern(resource.type)), resource.id)
            entry = self._entries[resource] = Entry(resource)
        return entry

    def _on_record(self, key: Key, item: KeyValue, there: bool) -> bool:
        entry = self._entry(key)
        if item.mod_revision <= entry.record:
            return False
        # What is counted under the old rule must leave before the rule changes.
        self._unfile(entry)
        record = self._read(ResourceRecord, item) if there else None
        if not there:
            self.departures.records[entry.resource] = item.mod_revision
        entry.record = item.mod_revision if there else ABSENT
        entry.created = item.create_revision if there else ABSENT
        entry.readable = record is not None
        # Of a record that cannot be read nothing is remembered from before: it may be about something else.
        entry.rule = intern(record.rule) if record else ""
        entry.grace_class = ClassName(intern(record.grace_class) if record else "")
        entry.incarnation = record.incarnation if record else ""
        entry.creator = intern(record.creator) if record else ""
        declared = references(record) if record and record.references else ()
        if declared or entry.resource in self._declared:
            self._declare(entry.resource, declared)
        self._reconsider(entry)
        self._reconsider_all(self._targets.get(entry.resource, ()))
        return True

    def _declare(self, source: Resource, targets: Iterable[Resource]) -> None:
        """What a record refers to, whether or not the keys that say so are there, too."""
        declared = frozenset(self._entry_of(target).resource for target in targets)
        before = self._declared.pop(source, frozenset())
        if declared:
            self._declared[source] = declared
        for target in declared - before:
            entry = self._entry_of(target)
            if all(one.resource != source for one in entry.sources):
                entry.sources = (*entry.sources, Source(source, ABSENT))
                self._targets.setdefault(source, set()).add(target)
                self._reconsider(entry)
        for target in before - declared:
            entry = self._entry_of(target)
            self._drop_source(entry, source, ABSENT)
            self._reconsider(entry)

    def _drop_source(self, entry: Entry, source: Resource, known: Revision) -> None:
        """Unless it was written meanwhile."""
        entry.sources = tuple(one for one in entry.sources if one != (source, known))
        if any(one.resource == source for one in entry.sources):
            return
        targets = self._targets.get(source, set())
        targets.discard(entry.resource)
        if not targets:
            self._targets.pop(source, None)

    def _on_hold(self, key: Key, item: KeyValue, there: bool) -> bool:
        entry, holder = self._entry(key), key.holder
        known = next((hold for hold in entry.holds if hold.holder == holder), None)
        if known is not None and item.mod_revision <= known.revision:
            return False
        others = entry.holds if known is None else tuple(hold for hold in entry.holds if hold is not known)
        found = self._holder(holder)
        if there:
            record = self._read(HoldRecord, item)
            entry.holds = (
                *others,
                Hold(Holder(intern(holder)), item.mod_revision, record.released if record else None),
            )
            found.resources.add(entry.resource)
        else:
            if known is not None:
                self.departures.holds[entry.resource] = known.revision
            entry.holds = others
            found.resources.discard(entry.resource)
            self._tidy_holder(holder, found)
        self._reconsider(entry)
        return True

    def _on_ref(self, key: Key, item: KeyValue, there: bool) -> bool:
        entry, source = self._entry(key), key.source
        known = next((one for one in entry.sources if one.resource == source), None)
        if known is not None and item.mod_revision <= known.revision:
            return False
        if there:
            others = tuple(one for one in entry.sources if one is not known)
            entry.sources = (*others, Source(source, item.mod_revision))
            self._targets.setdefault(source, set()).add(entry.resource)
        elif known is not None:
            if known.revision:
                self.departures.refs[entry.resource] = known
            if entry.resource in self._declared.get(source, ()):
                others = tuple(one for one in entry.sources if one is not known)
                entry.sources = (*others, Source(source, ABSENT))
            else:
                self._drop_source(entry, source, known.revision)
        self._reconsider(entry)
        return True

    def _on_tombstone(self, key: Key, item: KeyValue, there: bool) -> bool:
        entry = self._entry(key)
        if item.mod_revision <= entry.tombstone:
            return False
        record = self._read(TombstoneRecord, item) if there else None
        self._unfile(entry)
        entry.tombstone = item.mod_revision if there else ABSENT
        before, cycle = self._cycles.pop(entry.resource, ()), resources(record.cycle) if record else ()
        if cycle:
            self._cycles[entry.resource] = cycle
        self._reconsider(entry)
        self._reconsider_all({*before, *cycle} - {entry.resource})
        return True

    def _on_sweep(self, key: Key, item: KeyValue, there: bool) -> bool:
        entry = self._entry(key)
        if item.mod_revision <= entry.sweep:
            return False
        entry.sweep = item.mod_revision if there else ABSENT
        record = self._read(SweepRecord, item) if there else None
        entry.sweep_state = SWEEPING[record.state] if record else Sweeping.UNREADABLE if there else Sweeping.NONE
        self._reconsider(entry)
        return True

    def _on_notice(self, key: Key, item: KeyValue, there: bool) -> bool:
        resource = key.resource
        if item.mod_revision <= self.notices.revision_of(resource):
            return False
        self.notices.put(resource, Notice(item.mod_revision, self._read(NoticeRecord, item)) if there else None)
        self.notices.reconsider(resource, self._entries.get(resource))
        return True

    def _on_pin(self, key: Key, item: KeyValue, there: bool) -> bool:
        entry = self._entry(key)
        if item.mod_revision <= entry.pin:
            return False
        entry.pin = item.mod_revision if there else ABSENT
        self._reconsider(entry)
        return True

    # --- epochs -------------------------------------------------------------------------------------------------

    def _on_epoch(self, key: Key, item: KeyValue, there: bool) -> bool:
        name, number = ClassName(key.parts[0]), int(key.parts[1])
        each = self._class(name)
        if item.mod_revision <= each.revision_of(number):
            return False
        record = self._read(EpochRecord, item) if there else None
        self._stale_classes.add(name)
        if each.put_epoch(number, item, record) if there else each.drop_epoch(number):
            self._reconsider_all(each.condemned)
        return True

    def _on_epoch_lease(self, key: Key, item: KeyValue, there: bool) -> bool:
        name, number = ClassName(key.parts[0]), int(key.parts[1])
        each = self._class(name)
        if item.mod_revision <= each.leases.get(number, ABSENT):
            return False
        if there:
            each.leases[number] = item.mod_revision
        else:
            each.leases.pop(number, None)
        self._stale_classes.add(name)
        return True

    def _class(self, name: ClassName) -> GraceClass:
        found = self._classes.get(name)
        if found is None:
            found = self._classes[name] = GraceClass(name)
        return found

    # --- the rest -----------------------------------------------------------------------------------------------

    def _on_control(self, key: Key, item: KeyValue, there: bool) -> bool:
        revision = item.mod_revision if there else ABSENT
        if key.parts[0] == "armed" and item.mod_revision > self.armed:
            self.armed, self.armed_by = revision, self._read(ArmedRecord, item) if there else None
            return True
        if key.parts[0] == "cluster" and item.mod_revision > self.cluster[0]:
            self.cluster = (revision, self._read(ClusterRecord, item) if there else None)
            self.placing_changed = True
            return True
        kind = _TOLD.get(key.parts[0])
        if kind is None or item.mod_revision <= self.controls.get(key.parts[0], (ABSENT, None))[0]:
            return False
        self.controls[key.parts[0]] = (revision, self._read(kind, item) if there else None)
        return True

    def _on_shard(self, key: Key, item: KeyValue, there: bool) -> bool:
        number = int(key.parts[0])
        known = self.shards.get(number)
        if known is not None and item.mod_revision <= known.revision:
            return False
        if there:
            record = self._read(ShardRecord, item)
            replica = record.replica if record else ""
            self.shards[number] = ShardEntry(item.mod_revision, item.create_revision, replica, item.lease)
        else:
            self.shards.pop(number, None)
        self.placing_changed = True
        return True

    def _on_replica(self, key: Key, item: KeyValue, there: bool) -> bool:
        name = key.parts[0]
        if item.mod_revision <= self.replicas.get(name, ABSENT):
            return False
        if there:
            self.replicas[name] = item.mod_revision
            record = self._read(ReplicaRecord, item)
            self.understood[name] = record.protocol if record else 1
        else:
            self.replicas.pop(name, None)
            self.understood.pop(name, None)
        self.placing_changed = True
        return True

    def _on_document(self, key: Key, item: KeyValue, there: bool) -> bool:
        kind: type[Owner] | type[Rule] = Owner if key.family is Family.OWNERS else Rule
        name = key.parts[0]
        if item.mod_revision <= self.policy.revision_of(kind, name):
            return False
        if there:
            wrong = self.policy.put(kind, name, item.mod_revision, item.value)
            self._note(item.key, wrong)
        else:
            self.policy.drop(kind, name)
        self.policy_changed = True
        for entry in self.entries() if kind is Owner else ():
            self.notices.reconsider(entry.resource, entry)
        return True

    # --- what follows from it -------------------------------------------------------------------------------------

    def _reconsider_all(self, resources: Iterable[Resource]) -> None:
        for resource in list(resources):
            entry = self._entries.get(resource)
            if entry is not None:
                self._reconsider(entry)

    def _reconsider(self, entry: Entry) -> None:
        """Work out an entry's facts, and file it under its state, step and class."""
        if entry.resource.id == EVERY:
            self._generalize(entry)
        entry.facts = Facts(entry.sweep_state, self._grace_of(entry), self._holding_of(entry))
        state, step = LIFECYCLE[entry.facts]
        if entry.record or entry.tombstone or entry.sweep:
            self._file(entry, state, step)
        else:
            self._unfile(entry)
            if entry.empty:
                self._entries.pop(entry.resource, None)
        self.notices.reconsider(entry.resource, entry)

    def _file(self, entry: Entry, state: State, step: Step | None) -> None:
        resource, filed = entry.resource, (entry.grace_class, state)
        if filed != entry.filed:
            self._uncount(entry)
            self.counts[resource.owner, resource.type, entry.rule, state] += 1
            entry.filed = filed
        if entry.tombstone and self._class(entry.grace_class).condemn(resource, entry.tombstone):
            self._stale_classes.add(entry.grace_class)
        if step is not entry.step:
            self._nominate(entry, step)

    def _unfile(self, entry: Entry) -> None:
        self._uncount(entry)
        condemned = self._class(entry.grace_class).condemned if entry.grace_class in self._classes else {}
        condemned.pop(entry.resource, None)
        self._nominate(entry, None)

    def _uncount(self, entry: Entry) -> None:
        if entry.filed is not None:
            place = (entry.resource.owner, entry.resource.type, entry.rule, entry.filed[1])
            self.counts[place] -= 1
            if not self.counts[place]:
                del self.counts[place]
            entry.filed = None

    def _nominate(self, entry: Entry, step: Step | None) -> None:
        if entry.step is None and step is None:
            return
        if entry.step is not None:
            self.nominated[entry.step].pop(entry.resource, None)
        entry.step = step
        if step is not None:
            self.nominated[step][entry.resource] = None
        self._fresh[entry.resource] = step

    def _grace_of(self, entry: Entry) -> Grace:
        if not entry.tombstone:
            return Grace.NONE
        each = self._classes.get(entry.grace_class)
        return each.grace_of(entry.tombstone) if each is not None else Grace.WAITING

    def _holding_of(self, entry: Entry) -> Holding:
        self._merely_referenced.pop(entry.resource, None)
        if not entry.record or not entry.readable:
            return Holding.UNACCOUNTED
        own = self._held_by_itself(entry)
        if not self._is_needed(entry):
            return own
        if own is Holding.UNHELD and not entry.tombstone and not entry.sweep:
            self._merely_referenced[entry.resource] = entry
        return Holding.HELD

    def _held_by_itself(self, entry: Entry) -> Holding:
        holdings = {self._holding_by(hold, entry.tombstone) for hold in entry.holds}
        for decisive in (Holding.HELD, Holding.UNACCOUNTED):
            if decisive in holdings:
                return decisive
        if not holdings:
            return Holding.UNACCOUNTED
        if entry.pin:
            return Holding.PINNED
        return Holding.RESTLESS if Holding.RESTLESS in holdings else Holding.UNHELD

    def _is_needed(self, entry: Entry) -> bool:
        """By a resource that exists. Those that were condemned together with it do not count as long as all of them
        still are; when one is not, none of them is to stay condemned."""
        if not entry.sources and not self._general and not self._cycles:
            return False  # nearly always
        own, cycle = entry.resource, self._cycles.get(entry.resource, ())
        if not all(self._stands(peer, entry.tombstone) for peer in cycle):
            return True
        if any(source != own and source not in cycle for source in self._general.get((own.owner, own.type), ())):
            return True
        referrers = (source.resource for source in entry.sources)
        return any(source != own and source not in cycle and self.exists(source) for source in referrers)

    def _stands(self, peer: Resource, tombstone: Revision) -> bool:
        entry = self._entries.get(peer)
        return entry is not None and entry.tombstone == tombstone

    def _generalize(self, entry: Entry) -> None:
        """Somebody refers to everything of a type, or does so no more."""
        place = entry.resource.owner, entry.resource.type
        existing = frozenset(source.resource for source in entry.sources if self.exists(source.resource))
        if existing == self._general.get(place, frozenset()):
            return
        self._general[place] = existing
        if not existing:
            del self._general[place]
        same = [one for one in self._entries.values() if (one.resource.owner, one.resource.type) == place]
        for one in same:
            if one is not entry:
                self._reconsider(one)

    def _holding_by(self, hold: Hold, tombstone: Revision) -> Holding:
        if hold.released:
            return Holding.UNHELD
        found = self._holders.get(hold.holder)
        if found is not None and found.beacon:
            return Holding.HELD
        if hold.released is None or found is None or not found.roster or not found.readable:
            return Holding.UNACCOUNTED
        return Holding.RESTLESS if tombstone and found.roster > tombstone else Holding.UNHELD

    # --- reading ------------------------------------------------------------------------------------------------

    def _read(self, kind: type[R], item: KeyValue) -> R | None:
        try:
            record = decode(kind, item.value)
        except Unreadable as error:
            self._note(item.key, str(error))
            return None
        self._note(item.key, "")
        return record

    def _note(self, key: bytes, wrong: str) -> None:
        if wrong:
            self.unreadable[key] = wrong
        else:
            self.unreadable.pop(key, None)


_TOLD: dict[str, type[msgspec.Struct]] = {"tripped": TrippedRecord, "window": WindowRecord, "canary": CanaryRecord}
_NUMBERED = frozenset((Family.EPOCHS, Family.EPOCH_LEASES, Family.SHARDS))


def _is_misnumbered(key: Key) -> bool:
    last = key.parts[-1]
    if key.family not in _NUMBERED:
        return False
    width = 1 if key.family is Family.SHARDS else 12
    return not (last.isascii() and last.isdecimal() and len(last) < 19 and last == f"{int(last):0{width}d}")
