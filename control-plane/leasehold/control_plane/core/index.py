"""Everything etcd holds about a tenant, folded into facts: keys and values in, nominations out. Pure.

Laws:

- The index only nominates. Nobody deletes anything because of what stands here.
- An older event never overrides a newer one, in whatever order they come: every fact keeps its mod_revision, and
  deletions are remembered until ``settle`` says that nothing older can arrive. So a list, a scan and a watch may
  overlap freely.
- An event costs what it touches: a holder's end touches the resources it holds, an epoch those condemned in its class.
- What cannot be read is listed in ``unreadable`` and blocks what depends on it, nothing else.
- What is read as a whole is judged as a whole: between ``loading`` and ``loaded`` nothing is worked out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from sys import intern
from typing import TypeVar

import msgspec

from leasehold.control_plane.core.departures import Departures
from leasehold.control_plane.core.epochs import Seen
from leasehold.control_plane.core.facts import ABSENT, Entry, Hold, HolderEntry, ShardEntry
from leasehold.control_plane.core.filing import Filing
from leasehold.control_plane.core.filling import Filling
from leasehold.control_plane.core.graph import Picture
from leasehold.control_plane.core.hastes import Hastes
from leasehold.control_plane.core.intents import Intents
from leasehold.control_plane.core.lifecycle import SWEEPING, Holding, Step, Sweeping
from leasehold.control_plane.core.notices import Notice, Notices
from leasehold.control_plane.core.policy import Policy
from leasehold.control_plane.core.referring import Referring
from leasehold.control_plane.core.versions import why_foreign
from leasehold.control_plane.core.warmup import Attendance
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
)
from leasehold.protocol.records import (
    ArmedRecord,
    CanaryRecord,
    ClusterRecord,
    EpochRecord,
    HasteRecord,
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
from leasehold.protocol.transactions import PINNED, references, resources

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
        self.hastes = Hastes()
        self.touched: set[Resource] | None = None
        """What was worked out anew, for whoever empties it; ``None``: for nobody."""
        self.armed = ABSENT
        self.armed_by: ArmedRecord | None = None
        self.controls: dict[str, tuple[Revision, msgspec.Struct | None]] = {}
        """Of ``control/``, what is only told: each with what it says, if it can be read."""
        self.cluster: tuple[Revision, ClusterRecord | None] = (ABSENT, None)
        self.shard_count: int | None = None
        """Into how many parts the tenant's resources fall; ``None``: nobody knows, so nobody may act on any."""
        self.shards: dict[int, ShardEntry] = {}
        self.replicas: dict[str, Revision] = {}
        """Control planes that are alive, each with the revision of its key."""
        self.understood: dict[str, int] = {}
        """The newest protocol that each of them understands."""
        self.placing_changed = False
        """Whether shards, replicas or the number of shards did."""
        self.unreadable: dict[bytes, str] = {}
        self._filing = filing = Filing()
        self.counts, self.nominated = filing.counts, filing.nominated
        self.take_fresh, self.take_stale_classes = filing.take_fresh, filing.take_stale_classes
        self._entries: dict[Resource, Entry] = {}
        self._holders: dict[Holder, HolderEntry] = {}
        self._referring = Referring(self._entries, self.departures)
        self._deleted: dict[bytes, Revision] = {}
        self._loading = False
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
            Family.HASTES: self._on_haste,
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
        if handler is None or (self._deleted and item.mod_revision <= self._deleted.get(item.key, ABSENT)):
            return False
        news = handler(key, item, there)
        if not there:
            self._deleted[item.key] = item.mod_revision
        if news and there:
            if self._deleted:
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
        self._filing.classes.clear()
        self.departures.clear()
        self.unreadable.clear()

    # --- as a whole ---------------------------------------------------------------------------------------------

    @property
    def blank(self) -> bool:
        """Whether nothing at all is known, not even of what is gone."""
        return not self._deleted and not any(known for _, known in self.known())

    def loading(self) -> Filling:
        """Of a blank index: everything will be told, in any order, to this or by ``apply``. ``loaded`` follows."""
        self._loading = True
        return Filling(self.keys, self._entries, self._holder, self.apply)

    def loaded(self) -> Iterator[None]:
        """Work out what follows from all that was told, a part at a time: to be looped over to its end."""
        self._loading = False
        for number, entry in enumerate(self.entries()):
            if number % AT_A_TIME == 0:
                yield
            if entry.is_plain and not self._referring.keeps(entry) and not self.notices.knows(entry.resource):
                self._filing.file(entry, self._holding_by(entry.held, ABSENT))  # type: ignore[arg-type]
            else:
                self._reconsider(entry)

    # --- nominations out ----------------------------------------------------------------------------------------

    def step_of(self, resource: Resource) -> Step | None:
        """What is due for this resource now, as far as the index knows."""
        entry = self._entries.get(resource)
        return entry.step if entry else None

    def picture(self) -> Picture:
        """What nobody holds and something refers to, as of this instant: where dead cycles are to be looked for."""
        return self._referring.picture()

    def exists(self, resource: Resource) -> bool:
        """Whether it has a record."""
        return self._referring.exists(resource)

    def targets_of(self, resource: Resource) -> list[Resource]:
        """What it refers to, as far as that is indexed."""
        return list(self._referring.targets_of(resource))

    def cycle_of(self, resource: Resource) -> tuple[Resource, ...]:
        """With whom it was condemned, itself included; nobody, if alone or not at all."""
        return self._referring.cycle_of(resource)

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
        return list(self._filing.classes)

    def condemned_in(self, name: ClassName) -> list[Resource]:
        """Who has a tombstone in a class."""
        found = self._filing.classes.get(name)
        return list(found.condemned) if found is not None else []

    def epochs_of(self, name: ClassName) -> list[Seen]:
        """The readable epochs of a class."""
        found = self._filing.classes.get(name)
        return found.seen(self.keys) if found is not None else []

    def newest_tombstone(self, name: ClassName) -> Revision:
        """Of a class; 0 when nothing of it is condemned. It may be one that was revived meanwhile: an epoch too many
        costs little, and looking through all of them each time does not."""
        found = self._filing.classes.get(name)
        return found.newest if found and found.condemned else ABSENT

    def highest_epoch(self, name: ClassName) -> int:
        """The highest number in use in a class, readable or not; 0 when there is none."""
        found = self._filing.classes.get(name)
        return max(found.epochs, default=0) if found else 0

    def known(self) -> Iterator[tuple[bytes, Revision]]:
        """Every key the index believes to be there, with its mod_revision. May be interrupted by ``apply``."""
        for entry in self.entries():
            yield from self.known_of(entry)
        yield from self.known_besides()

    def known_besides(self) -> Iterator[tuple[bytes, Revision]]:
        """Those that are not of a resource's entry."""
        keys = self.keys
        for resource in self.notices.seen():
            yield keys.notice(resource), self.notices.revision_of(resource)
        yield from [(keys.haste(resource), revision) for resource, revision in self.hastes.known()]
        for holder, found in self.holders():
            yield keys.beacon(holder), found.beacon
            yield keys.roster(holder), found.roster
        for each in list(self._filing.classes.values()):
            yield from each.known(keys)
        yield from self.intents.known(keys)
        yield keys.armed, self.armed
        yield keys.cluster, self.cluster[0]
        yield from [(keys.control(name), revision) for name, (revision, _) in self.controls.items()]
        yield from [(keys.shard(n), shard.revision) for n, shard in self.shards.items()]
        yield from [(keys.replica(name), revision) for name, revision in self.replicas.items()]
        yield from [(keys.owner(OwnerName(n)), revision) for n, revision in self.policy.documents(Owner).items()]
        yield from [(keys.rule(RuleName(n)), revision) for n, revision in self.policy.documents(Rule).items()]

    def known_of(self, entry: Entry) -> Iterator[tuple[bytes, Revision]]:
        """Those of one entry, with revision 0 what is not there."""
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
            owner, kind, name = resource
            resource = Resource(intern(owner), intern(kind), name)  # type: ignore[arg-type]
            entry = self._entries[resource] = Entry(resource)
        return entry

    def _on_record(self, key: Key, item: KeyValue, there: bool) -> bool:
        entry = self._entry(key)
        if item.mod_revision <= entry.record:
            return False
        # What is counted under the old rule must leave before the rule changes.
        self._filing.unfile(entry)
        record = self._read(ResourceRecord, item) if there else None
        if not there:
            self.departures.records[entry.resource] = item.mod_revision
        entry.record = _shared(item.mod_revision, entry) if there else ABSENT
        entry.created = (
            (entry.record if item.create_revision == entry.record else item.create_revision) if there else ABSENT
        )
        entry.readable = record is not None
        # Of a record that cannot be read nothing is remembered from before: it may be about something else.
        entry.rule = intern(record.rule) if record else ""
        name = ClassName(intern(record.grace_class) if record else "")
        entry.grace_class = self.hastes.class_of(entry.resource, entry.tombstone, name)
        entry.incarnation = record.incarnation if record else ""
        entry.creator = intern(record.creator) if record else ""
        declared = references(record) if record and record.references else ()
        if declared or self._referring.declares(entry.resource):
            for target in self._referring.declare(entry.resource, [self._entry_of(one) for one in declared]):
                self._reconsider(target)
        self._reconsider(entry)
        self._reconsider_all(self._referring.targets_of(entry.resource))
        return True

    def _on_hold(self, key: Key, item: KeyValue, there: bool) -> bool:
        entry, holder = self._entry(key), key.holder
        known = hold_of(entry, holder)
        if known is not None and item.mod_revision <= known.revision:
            return False
        others = tuple(hold for hold in entry.holds if hold is not known) if known is not None else entry.holds
        found = self._holder(holder)
        if there:
            record = self._read(HoldRecord, item)
            released = record.released if record else None
            hold = Hold(intern(holder), _shared(item.mod_revision, entry), released)  # type: ignore[arg-type]
            entry.holds = (*others, hold)
            found.resources.add(entry.resource)
        else:
            if holder == PINNED:
                self.departures.pins[entry.resource] = None
            elif known is not None:
                self.departures.holds[entry.resource] = known.revision
            entry.holds = others
            found.resources.discard(entry.resource)
            self._tidy_holder(holder, found)
        self._reconsider(entry)
        return True

    def _on_ref(self, key: Key, item: KeyValue, there: bool) -> bool:
        entry, take = self._entry(key), self._referring.put if there else self._referring.drop
        news = take(entry, key.source, item.mod_revision)
        if news:
            self._reconsider(entry)
        return news

    def _on_tombstone(self, key: Key, item: KeyValue, there: bool) -> bool:
        entry = self._entry(key)
        if item.mod_revision <= entry.tombstone:
            return False
        record = self._read(TombstoneRecord, item) if there else None
        self._filing.unfile(entry)
        entry.tombstone = item.mod_revision if there else ABSENT
        entry.grace_class = self.hastes.class_of(entry.resource, entry.tombstone, self.hastes.ordinary(entry))
        peers = self._referring.condemned(entry.resource, resources(record.cycle) if record else ())
        self._reconsider(entry)
        self._reconsider_all(peers)
        return True

    def _on_sweep(self, key: Key, item: KeyValue, there: bool) -> bool:
        entry = self._entry(key)
        if item.mod_revision <= entry.sweep:
            return False
        if not there and entry.sweep:
            self.departures.sweeps[entry.resource] = entry.sweep
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
        if not there:
            self.departures.pins[entry.resource] = None
        entry.pin = item.mod_revision if there else ABSENT
        self._reconsider(entry)
        return True

    def _on_haste(self, key: Key, item: KeyValue, there: bool) -> bool:
        entry = self._entry(key)
        if item.mod_revision <= self.hastes.revision_of(entry.resource):
            return False
        self._filing.unfile(entry)
        ordinary, record = self.hastes.ordinary(entry), self._read(HasteRecord, item) if there else None
        self.hastes.put(entry.resource, item.mod_revision if there else ABSENT, record, ordinary)
        entry.grace_class = self.hastes.class_of(entry.resource, entry.tombstone, ordinary)
        self._reconsider(entry)
        return True

    # --- epochs -------------------------------------------------------------------------------------------------

    def _on_epoch(self, key: Key, item: KeyValue, there: bool) -> bool:
        name, number = ClassName(key.parts[0]), int(key.parts[1])
        each = self._filing.class_of(name)
        if item.mod_revision <= each.revision_of(number):
            return False
        record = self._read(EpochRecord, item) if there else None
        self._filing.changed(name)
        self._reconsider_all(each.put_epoch(number, item, record) if there else each.drop_epoch(number))
        return True

    def _on_epoch_lease(self, key: Key, item: KeyValue, there: bool) -> bool:
        name, number = ClassName(key.parts[0]), int(key.parts[1])
        each = self._filing.class_of(name)
        if item.mod_revision <= each.leases.get(number, ABSENT):
            return False
        if there:
            each.leases[number] = item.mod_revision
        else:
            each.leases.pop(number, None)
        self._filing.changed(name)
        return True

    # --- the rest -----------------------------------------------------------------------------------------------

    def _on_control(self, key: Key, item: KeyValue, there: bool) -> bool:
        revision = item.mod_revision if there else ABSENT
        if key.parts[0] == "armed" and item.mod_revision > self.armed:
            self.armed, self.armed_by = revision, self._read(ArmedRecord, item) if there else None
            return True
        if key.parts[0] == "cluster" and item.mod_revision > self.cluster[0]:
            record = self._read(ClusterRecord, item) if there else None
            self.cluster = (revision, record)
            self.shard_count = record.shards if record is not None and not self.foreign else None
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
        if kind is Owner:
            # What is neither condemned nor told about is owed nothing, whoever its owner is.
            condemned = [one for each in self._filing.classes.values() for one in each.condemned]
            for resource in {*condemned, *self.notices.seen(), *self.notices.due()}:
                self.notices.reconsider(resource, self._entries.get(resource))
        return True

    # --- what follows from it -------------------------------------------------------------------------------------

    def _reconsider_all(self, resources: Iterable[Resource]) -> None:
        if self._loading:
            return
        for resource in list(resources):
            entry = self._entries.get(resource)
            if entry is not None:
                self._reconsider(entry)

    def _reconsider(self, entry: Entry) -> None:
        """Work out an entry's facts, and file it under its state, step and class."""
        if self._loading:
            return
        for other in self._referring.generalize(entry):
            self._reconsider(other)
        self._filing.file(entry, self._holding_of(entry))
        if entry.empty:
            self._entries.pop(entry.resource, None)
        self.notices.reconsider(entry.resource, entry)
        if self.touched is not None:
            self.touched.add(entry.resource)

    def _holding_of(self, entry: Entry) -> Holding:
        holding, merely = Holding.UNACCOUNTED, False
        if entry.record and entry.readable:
            holding = self._held_by_itself(entry)
            if self._referring.keeps(entry):
                merely = holding is Holding.UNHELD and not entry.tombstone and not entry.sweep
                holding = Holding.HELD
        self._referring.note_merely(entry, referenced=merely)
        return holding

    def _held_by_itself(self, entry: Entry) -> Holding:
        held = entry.held
        if type(held) is Hold:  # nearly always
            holding = self._holding_by(held, entry.tombstone)
        else:
            # A pin is a hold, too; it speaks for itself once the pin is gone.
            others = (hold for hold in entry.holds if not (entry.pin and hold.holder == PINNED))
            holdings = {self._holding_by(hold, entry.tombstone) for hold in others}
            holding = next((one for one in _MOST_DECISIVE_FIRST if one in holdings), Holding.UNACCOUNTED)
        free = holding is Holding.UNHELD or holding is Holding.RESTLESS
        return Holding.PINNED if entry.pin and free else holding

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
        if self.unreadable:
            self._note(item.key, "")
        return record

    def _note(self, key: bytes, wrong: str) -> None:
        if wrong:
            self.unreadable[key] = wrong
        else:
            self.unreadable.pop(key, None)


AT_A_TIME = 2000
"""Entries that are looked through before others have their turn: a few milliseconds."""
_MOST_DECISIVE_FIRST = (Holding.HELD, Holding.UNACCOUNTED, Holding.RESTLESS, Holding.UNHELD)


def hold_of(entry: Entry, holder: Holder) -> Hold | None:
    """A holder's hold on a resource."""
    held = entry.held
    if type(held) is Hold:
        return held if held.holder == holder else None
    return next((hold for hold in entry.holds if hold.holder == holder), None)


def _shared(revision: Revision, entry: Entry) -> Revision:
    """A record and its first hold are mostly of one transaction: then one number serves both."""
    held = entry.held
    if revision == entry.record:
        return entry.record
    return held.revision if type(held) is Hold and held.revision == revision else revision


_TOLD: dict[str, type[msgspec.Struct]] = {"tripped": TrippedRecord, "window": WindowRecord, "canary": CanaryRecord}
_NUMBERED = frozenset((Family.EPOCHS, Family.EPOCH_LEASES, Family.SHARDS))


def _is_misnumbered(key: Key) -> bool:
    if key.family not in _NUMBERED:
        return False
    last, width = key.parts[-1], 1 if key.family is Family.SHARDS else 12
    return not (last.isascii() and last.isdecimal() and len(last) < 19 and last == f"{int(last):0{width}d}")
