"""Every transaction of the protocol, as pure functions: facts in, ``Txn`` out.

Caches and watches decide *when* to try one of these, never *whether it is allowed*: that is what the compares are
for. The rule behind the resets: whatever a living holder does to a resource deletes its tombstone, so a tombstone
always means "unheld without interruption since". And nothing is permitted by absence: a step towards a delete needs
holds that are *there* and belong to holders whose roster entry is *there*, an armed key that is *there*, a finished
epoch that is *there*.

Failure branches read what the caller needs to tell why it was refused. Every transaction may be sent again after
``Unavailable``; after ``Uncertain`` read back first, except where a docstring says that a repeat is harmless.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import Boot, CallId, ClassName, Holder, LeaseId, Resource, ResourceId, Revision
from leasehold.protocol.records import (
    ArmedRecord,
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
    ShardRecord,
    SweepRecord,
    TombstoneRecord,
    TrippedRecord,
    encode,
)
from leasehold.protocol.store import (
    MAX_OPERATIONS,
    Compare,
    Delete,
    Get,
    KeyRange,
    Operation,
    Put,
    Relation,
    Target,
    Txn,
    TxnResult,
    absent,
    created_at,
    holds_value,
    nothing_newer_than,
    present,
    unchanged,
)

MAX_BATCH = 100
"""Members of one batch. etcd's limit of 128 shrinks by the size of each enclosing level: 28 are left for a member."""

MAX_COMPARED_HOLDERS = 24
"""Holders whose facts are compared one by one (four compares each). For more, nobody at all must have attached."""

EVERY = ResourceId("*")
"""A reference to this id is one to every resource of its type: written when a creation's references could not be read.
(Should something really be called so, a reference to it keeps more than it had to.)"""

PINNED = Holder("!pin")
"""In whose name a pin is also a hold, so that one who loses the pins loses none of what they kept: nobody can be called
so, and it is on no roster, so nothing follows from its having no beacon."""

MAX_REFERENCES = 48
"""Targets of one record. Beside them one registration has room for as many that it drops."""

_FLAT = 24
"""Operations of one registration at its outer level; what is beyond goes one level deeper."""


# --- the holder's side ----------------------------------------------------------------------------------------


def attach(keys: Keyspace, holder: Holder, boot: Boot, lease: LeaseId, roster: RosterRecord) -> Txn:
    """IF beacon absent, or its boot is mine THEN put beacon (leased) and roster, always together.

    Repeating it is harmless. The failure branch returns the beacon that is in the way.
    """
    beacon = keys.beacon(holder)
    both = (Put(beacon, boot.encode(), lease), Put(keys.roster(holder), encode(roster)))
    again = Txn((holds_value(beacon, boot.encode()),), both, (Get(beacon),))
    return Txn((absent(beacon),), both, (again,))


def retire(keys: Keyspace, holder: Holder, boot: Boot, roster: RosterRecord) -> Txn:
    """The holder ended, and we saw it: IF the beacon is mine THEN delete it and put the roster with its ending.

    With the beacon gone already only the ending is recorded (which, being newer, restarts any running grace).
    Repeating it is harmless.
    """
    beacon = keys.beacon(holder)
    ended = Put(keys.roster(holder), encode(roster))
    return Txn((holds_value(beacon, boot.encode()),), (Delete(beacon), ended), (Txn((absent(beacon),), (ended,)),))


def batch(keys: Keyspace, guards: Mapping[Holder, Boot], members: Sequence[Txn]) -> Txn:
    """IF every holder's beacon is there with its boot THEN run the members, each with its own IF.

    Members must touch distinct keys and be at most ``MAX_BATCH``. When it fails nothing of it happened: re-attach and
    replay all of it. The failure branch returns the beacons, in the order of ``guards``.
    """
    if len(members) > MAX_BATCH or len(guards) > MAX_OPERATIONS:
        raise ValueError(f"a batch of {len(members)} members and {len(guards)} holders: at most {MAX_BATCH} members")
    beacons = [keys.beacon(holder) for holder in guards]
    compares = [holds_value(beacon, boot.encode()) for beacon, boot in zip(beacons, guards.values(), strict=True)]
    return Txn(compares, members, [Get(beacon) for beacon in beacons])


def fits(guards: int, members: Sequence[Txn]) -> bool:
    """Whether etcd takes a batch with that many holders: members that refer to much leave less room for others."""
    return max(guards, len(members)) + max(map(weight, members), default=0) <= MAX_OPERATIONS


def intend(
    keys: Keyspace, holder: Holder, call: CallId, intent: IntentRecord, resource: Resource | None, hold: HoldRecord
) -> Txn:
    """IF (id known: sweep absent) THEN put intent; id known: also my hold, and delete its tombstone.

    Goes into a ``batch`` guarded by the holder. Repeating it is harmless. Failure branch: the sweep.
    """
    put = Put(keys.intent(holder, call), encode(intent))
    if resource is None:
        return Txn((), (put,))
    sweep = keys.sweep(resource)
    held = (Put(keys.hold(resource, holder), encode(hold)), Delete(keys.tombstone(resource)))
    return Txn((absent(sweep),), (put, *held), (Get(sweep),))


def retract(keys: Keyspace, holder: Holder, call: CallId, resource: Resource | None, hold: HoldRecord) -> Txn:
    """The intended call created nothing: delete the intent, and its early hold if it held nothing that exists.

    With a record there the hold stays: we may have held that resource before the call. Repeating it is harmless.
    """
    gone: tuple[Operation, ...] = (Delete(keys.intent(holder, call)),)
    if resource is None:
        return Txn((), gone)
    key = keys.hold(resource, holder)
    early = Txn(
        (holds_value(key, encode(hold)), absent(keys.record(resource))),
        (Delete(key), Delete(keys.tombstone(resource))),
    )
    return Txn((), (*gone, early))


def register(
    keys: Keyspace,
    resource: Resource,
    record: ResourceRecord,
    holder: Holder,
    hold: HoldRecord,
    *,
    seen: Revision = Revision(0),
    call: CallId | None = None,
    intender: Holder | None = None,
    dropped: Iterable[Resource] = (),
    past_others: bool = False,
) -> Txn:
    """IF sweep absent; record unchanged since ``seen`` (0: absent); no referenced target is being swept (of ``EVERY``:
    nothing of that type) THEN put record, hold, refs; delete tombstone, intent, and the tombstone of every referenced
    target (of ``EVERY``: all tombstones of that type).

    Goes into a ``batch`` guarded by ``holder``. ``dropped`` are references of the previous record that are no more.
    ``intender`` is whose intent ``call`` was (default: ``holder``). ``past_others``: do not wait for what is being
    swept of a type that it needs everything of. That has been waited for long enough, and until the reference is there
    all others of the type are without its protection. Failure branch: record, then sweep.
    """
    record_key, sweep = keys.record(resource), keys.sweep(resource)
    targets = references(record)
    compares = [absent(sweep), unchanged(record_key, seen), *_none_swept(keys, targets, past_others=past_others)]
    then: list[Operation] = [
        Put(record_key, encode(record)),
        Put(keys.hold(resource, holder), encode(hold)),
        Delete(keys.tombstone(resource)),
    ]
    if call is not None:
        then.append(Delete(keys.intent(intender or holder, call)))
    then += _refer(keys, resource, targets)
    then.extend(Delete(keys.ref(target, resource)) for target in dropped)
    return Txn(compares, _nested(then), (Get(record_key), Get(sweep)))


def acquire(
    keys: Keyspace, resource: Resource, holder: Holder, hold: HoldRecord, *, replacing: Holder | None = None
) -> Txn:
    """IF record present; sweep absent THEN put hold; delete tombstone.

    Goes into a ``batch`` guarded by ``holder``. ``replacing`` is an earlier timer of ours whose hold moves here.
    Repeating it is harmless. Failure branch: record, then sweep.
    """
    record, sweep = keys.record(resource), keys.sweep(resource)
    then: list[Operation] = [Put(keys.hold(resource, holder), encode(hold)), Delete(keys.tombstone(resource))]
    if replacing is not None:
        then.append(Delete(keys.hold(resource, replacing)))
    return Txn((present(record), absent(sweep)), then, (Get(record), Get(sweep)))


def release(keys: Keyspace, resource: Resource, holder: Holder, hold: HoldRecord, released: HoldRecord) -> Txn:
    """IF my hold is as I wrote it THEN put it as released, and delete the tombstone: grace starts anew.

    The released hold stays: "no hold found" is also what a lost prefix looks like, so letting go is a present fact.
    Repeating it is harmless, and cannot hit a newer acquire.
    """
    key = keys.hold(resource, holder)
    then = (Put(key, encode(released)), Delete(keys.tombstone(resource)))
    return Txn((holds_value(key, encode(hold)),), then, (Get(key),))


def forget(keys: Keyspace, resource: Resource, record: ResourceRecord, seen: Revision) -> Txn:
    """The app deleted it itself: IF record unchanged since ``seen``; sweep absent THEN delete all we knew of it.

    A pin is of the id: it stays, and so does the hold that it is as well, whether or not the pin is there to be seen.
    Repeating it is harmless. Failure branch: record, then sweep.
    """
    record_key, sweep, pinned = keys.record(resource), keys.sweep(resource), keys.hold(resource, PINNED)
    holds = keys.holds_of(resource)
    return Txn(
        (unchanged(record_key, _seen(seen)), absent(sweep)),
        (
            *_everything_known(keys, resource, record),
            Delete(KeyRange(holds.start, pinned)),
            Delete(holds.resuming_after(pinned)),
            Delete(keys.tombstone(resource)),
        ),
        (Get(record_key), Get(sweep)),
    )


# --- the collector's side -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Authority:
    """In whose name the collector writes: a shard's fence, and the armed key as last read. Both must be there."""

    shard: int
    fence: Revision
    armed: Revision


@dataclass(frozen=True, slots=True)
class HoldFound:
    """A hold as found by the read at R. ``roster`` is its holder's roster revision at R, 0 if there was none."""

    holder: Holder
    mod_revision: Revision
    released: bool
    roster: Revision


@dataclass(frozen=True, slots=True)
class Unheld:
    """What one linearizable read at ``revision`` (R) found of a resource that nobody seems to hold.

    The caller saw at R: every unreleased hold's holder has no beacon. ``sources`` are the inbound references found at
    R (to the resource, or to ``every`` of its type); each one's record must still be absent.
    """

    resource: Resource
    record_revision: Revision
    revision: Revision
    holds: Sequence[HoldFound]
    sources: Sequence[Resource] = ()

    @property
    def holders(self) -> tuple[Holder, ...]:
        """Holders that never let go: each must be dead."""
        return tuple(hold.holder for hold in self.holds if not hold.released)


def condemn(keys: Keyspace, by: Authority, facts: Unheld, tombstone: TombstoneRecord) -> Txn:
    """IF fence; armed and record unchanged; not pinned; no tombstone, no sweep; at least one hold, none newer than R,
    each as found and released or its holder's beacon absent; no reference newer than R THEN put tombstone.

    After ``Uncertain`` simply look again: the tombstone tells.
    """
    key = keys.tombstone(facts.resource)
    compares = [*_nobody_holds(keys, by, facts), absent(key), absent(keys.sweep(facts.resource))]
    return Txn(compares, (Put(key, encode(tombstone)),))


def prepare(
    keys: Keyspace,
    by: Authority,
    facts: Unheld,
    tombstone: Revision,
    epoch: EpochFound,
    sweep: SweepRecord,
    haste: Revision = Revision(0),
) -> Txn:
    """IF everything of *condemn* again, with the tombstone unchanged; every such holder's roster present and *older*
    than the tombstone; a done epoch that *opened after* the tombstone; sweep absent THEN put sweep ``prepared``.

    ``haste``: the revision of what lets a shorter epoch count, which must still be there; 0: none does.
    After ``Uncertain`` read the sweep back.
    """
    resource = facts.resource
    compares = [
        *_nobody_holds(keys, by, facts),
        unchanged(keys.tombstone(resource), _seen(tombstone)),
        absent(keys.sweep(resource)),
        unchanged(epoch.key, _seen(epoch.mod_revision)),
        Compare(epoch.key, Target.CREATE, Relation.GREATER, tombstone),
        *((unchanged(keys.haste(resource), haste),) if haste else ()),
    ]
    if _too_many(facts.holds):
        if not all(hold.released or 0 < hold.roster < tombstone for hold in facts.holds):
            raise ValueError(f"{resource}: expected every dead holder's roster there and older than the tombstone")
    else:
        for holder in facts.holders:
            compares += _quiet_since(keys, holder, tombstone)
    return Txn(compares, (Put(keys.sweep(resource), encode(sweep)),))


def send(
    keys: Keyspace,
    by: Authority,
    resource: Resource,
    seen: Revision,
    sweep: SweepRecord,
    looked: Revision = Revision(0),
) -> Txn:
    """IF fence; sweep unchanged since ``seen``; for attempt 1 also armed unchanged and every listed holder's beacon
    still absent and its roster still older than the tombstone (a holder that came back for a moment could not take
    the tombstone away any more), and, in a cycle, no sweep left of the members to be sent before THEN put sweep
    ``sent(n)``, before any byte leaves. Attempt 1 refused: abort.

    With more holders than one transaction can compare (``needs_a_look``) the caller reads all their beacons and
    rosters at ``looked``, and nobody must have attached since.
    """
    key = keys.sweep(resource)
    compares = [_fence(keys, by), unchanged(key, _seen(seen))]
    if sweep.attempt == 1:
        compares.append(unchanged(keys.armed, _seen(by.armed)))
        compares += (absent(keys.sweep(member)) for member in before(sweep, resource))
        if needs_a_look(sweep):
            compares.append(nothing_newer_than(keys.family(Family.ROSTER), _seen(looked)))
        else:
            for holder in map(Holder, sweep.holders):
                compares += (absent(keys.beacon(holder)), *_quiet_since(keys, holder, sweep.tombstone_revision))
    return Txn(compares, (Put(key, encode(sweep)),))


def needs_a_look(sweep: SweepRecord) -> bool:
    """Whether ``send`` needs the beacons read beforehand, there being too many to compare."""
    return len(sweep.holders) > MAX_COMPARED_HOLDERS


def before(sweep: SweepRecord, resource: Resource) -> tuple[Resource, ...]:
    """The members of a cycle whose sweeps have to be over before ``resource``'s is sent; none outside of cycles."""
    cycle = resources(sweep.cycle)
    return cycle[: cycle.index(resource)] if resource in cycle else ()


def note(keys: Keyspace, by: Authority, resource: Resource, seen: Revision, sweep: SweepRecord) -> Txn:
    """IF fence; sweep unchanged since ``seen`` THEN put the sweep with its outcome (or as quarantined)."""
    key = keys.sweep(resource)
    return Txn((_fence(keys, by), unchanged(key, _seen(seen))), (Put(key, encode(sweep)),))


def finish(
    keys: Keyspace,
    by: Authority,
    resource: Resource,
    seen: Revision,
    record: ResourceRecord,
    grave: GraveRecord,
    lease: LeaseId,
) -> Txn:
    """IF fence; sweep unchanged THEN delete record, holds, refs, tombstone, notice, sweep; put grave
    (leased)."""
    sweep = keys.sweep(resource)
    return Txn(
        (_fence(keys, by), unchanged(sweep, _seen(seen))),
        (
            *_everything_known(keys, resource, record),
            Delete(keys.holds_of(resource)),
            Delete(keys.tombstone(resource)),
            Delete(sweep),
            Put(keys.grave(resource), encode(grave), lease),
        ),
    )


def abort(
    keys: Keyspace, by: Authority, resource: Resource, seen: Revision, unsent: Mapping[Resource, Revision] | None = None
) -> Txn:
    """IF fence; sweep unchanged THEN delete sweep and tombstone: all grace starts anew.

    ``unsent``: the other members of its cycle that were not sent, with their sweeps' revisions. What goes on living
    may need them, so they are given up with it, or nothing is.
    """
    given_up = {resource: seen, **(unsent or {})}
    compares = (unchanged(keys.sweep(one), _seen(revision)) for one, revision in given_up.items())
    then = [Delete(key) for one in given_up for key in (keys.sweep(one), keys.tombstone(one))]
    return Txn((_fence(keys, by), *compares), then)


def revive(keys: Keyspace, by: Authority, resource: Resource, tombstone: Revision) -> Txn:
    """IF fence; tombstone unchanged; sweep absent THEN delete the tombstone: somebody holds it after all."""
    key = keys.tombstone(resource)
    return Txn((_fence(keys, by), unchanged(key, _seen(tombstone)), absent(keys.sweep(resource))), (Delete(key),))


def notify(
    keys: Keyspace, by: Authority, resource: Resource, tombstone: Revision, seen: Revision, notice: NoticeRecord
) -> Txn:
    """IF fence; tombstone unchanged; sweep absent; notice unchanged since ``seen`` (0: absent) THEN put the notice,
    before any byte leaves: from now on a restore is owed, should the tombstone go."""
    key = keys.notice(resource)
    compares = (
        _fence(keys, by),
        unchanged(keys.tombstone(resource), _seen(tombstone)),
        absent(keys.sweep(resource)),
        unchanged(key, seen),
    )
    return Txn(compares, (Put(key, encode(notice)),))


def note_notice(keys: Keyspace, by: Authority, resource: Resource, seen: Revision, notice: NoticeRecord) -> Txn:
    """IF fence; notice unchanged since ``seen`` THEN put it with its outcome."""
    key = keys.notice(resource)
    return Txn((_fence(keys, by), unchanged(key, _seen(seen))), (Put(key, encode(notice)),))


def withdraw(keys: Keyspace, by: Authority, resource: Resource, seen: Revision, record: Revision) -> Txn:
    """IF fence; notice unchanged since ``seen``; record as read (0: absent) THEN delete the notice: the owner restored
    it, or what it was about is no more. A tombstone put meanwhile is told about anew."""
    key = keys.notice(resource)
    return Txn(
        (_fence(keys, by), unchanged(key, _seen(seen)), unchanged(keys.record(resource), record)), (Delete(key),)
    )


def strike(keys: Keyspace, by: Authority, holder: Holder, seen: Revision) -> Txn:
    """IF fence; beacon absent; roster unchanged since ``seen``; no intents of the holder THEN delete the roster entry.

    The caller knows of no hold of this holder, released ones included, and has seen it so for a while: a hold without
    a roster entry would be kept for ever. None can appear any more without a new attach, which rewrites the roster:
    every hold is written under its holder's beacon, in the same transaction. Repeating it is harmless.
    """
    roster = keys.roster(holder)
    compares = (
        _fence(keys, by),
        absent(keys.beacon(holder)),
        unchanged(roster, _seen(seen)),
        absent(keys.intents_of(holder)),
    )
    return Txn(compares, (Delete(roster),), (Get(roster),))


@dataclass(frozen=True, slots=True)
class EpochFound:
    """An epoch as read: it opened at ``create_revision``."""

    name: ClassName
    number: int
    key: bytes
    create_revision: Revision
    mod_revision: Revision
    record: EpochRecord


def open_epoch(keys: Keyspace, by: Authority, name: ClassName, number: int, epoch: EpochRecord) -> Txn:
    """IF fence; no such epoch yet THEN put the epoch and the leased key that measures it."""
    key = keys.epoch(name, number)
    lease_key = keys.epoch_lease(name, number)
    return Txn(
        (_fence(keys, by), absent(key)),
        (Put(key, encode(epoch)), Put(lease_key, b"", LeaseId(epoch.lease))),
        (Get(key),),
    )


def close_epoch(keys: Keyspace, by: Authority, epoch: EpochFound, done: EpochRecord) -> Txn:
    """IF fence; epoch record unchanged; its lease key gone THEN mark it done.

    The caller must have timed the whole grace itself, on a monotonic clock, since it opened or found the epoch.
    """
    return Txn(
        (
            _fence(keys, by),
            unchanged(epoch.key, _seen(epoch.mod_revision)),
            absent(keys.epoch_lease(epoch.name, epoch.number)),
        ),
        (Put(epoch.key, encode(done)),),
    )


def drop_epoch(keys: Keyspace, by: Authority, old: EpochFound, newer: EpochFound) -> Txn:
    """IF fence; a newer epoch of the class is done and unchanged THEN delete the old one, which it dominates."""
    return Txn(
        (
            _fence(keys, by),
            unchanged(newer.key, _seen(newer.mod_revision)),
            unchanged(old.key, _seen(old.mod_revision)),
        ),
        (Delete(old.key),),
    )


def claim_shard(keys: Keyspace, shard: int, record: ShardRecord, lease: LeaseId) -> Txn:
    """IF nobody acts for this shard THEN put our name on it, leased; its create_revision is our fence.

    After ``Uncertain`` read it back: it is ours if the value is ours. Failure branch: who has it.
    """
    key = keys.shard(shard)
    return Txn((absent(key),), (Put(key, encode(record), lease), Get(key)), (Get(key),))


def join(keys: Keyspace, name: str, replica: ReplicaRecord, lease: LeaseId) -> Txn:
    """IF no replica of this name is alive, or it is me THEN put my key, leased: others count me in.

    Repeating it is harmless; see ``attached``. The failure branch returns the key that is in the way.
    """
    key, mine = keys.replica(name), encode(replica)
    put = (Put(key, mine, lease),)
    return Txn((absent(key),), put, (Txn((holds_value(key, mine),), put, (Get(key),)),))


def claim_shards(
    keys: Keyspace,
    shards: Sequence[int],
    record: ShardRecord,
    replica: ReplicaRecord,
    lease: LeaseId,
    cluster: Revision,
) -> Txn:
    """IF my replica key is there; ``control/cluster`` is as read at ``cluster`` (0: absent), so that the number of
    shards is what I take it for THEN ``claim_shard`` of each, at most ``MAX_BATCH``.

    After ``Uncertain`` read back. Each member returns who has the shard now.
    """
    if len(shards) > MAX_BATCH:
        raise ValueError(f"{len(shards)} shards in one claim: at most {MAX_BATCH}")
    compares = (holds_value(keys.replica(record.replica), encode(replica)), unchanged(keys.cluster, cluster))
    return Txn(compares, [claim_shard(keys, shard, record, lease) for shard in shards])


def yield_shards(keys: Keyspace, fences: Mapping[int, Revision]) -> Txn:
    """``yield_shard`` of each, at most ``MAX_BATCH``. One whose fence is not there any more is left alone."""
    if len(fences) > MAX_BATCH:
        raise ValueError(f"{len(fences)} shards to yield at once: at most {MAX_BATCH}")
    return Txn((), [yield_shard(keys, Authority(n, fence, Revision(0))) for n, fence in fences.items()])


def yield_shard(keys: Keyspace, by: Authority) -> Txn:
    """IF fence THEN give the shard up, so that the next replica need not wait for our lease. Repeating is harmless."""
    return Txn((_fence(keys, by),), (Delete(keys.shard(by.shard)),))


def found_tenant(keys: Keyspace, cluster: ClusterRecord, armed: ArmedRecord) -> Txn:
    """IF no control plane ever acted for this tenant (no cluster record, no epochs, tombstones or sweeps)
    THEN put the cluster record, and arm the brake if no operator did before us. See ``founded``.

    Only a tenant's first control plane arms by itself. An armed key that is *lost* later is not put back here.
    """
    never = [absent(keys.cluster), *(absent(keys.family(f)) for f in (Family.EPOCHS, Family.TOMBSTONES, Family.SWEEPS))]
    put = Put(keys.cluster, encode(cluster))
    return Txn(
        (absent(keys.armed), *never),
        (put, Put(keys.armed, encode(armed))),
        (Txn((present(keys.armed), *never), (put,)),),
    )


# --- the operator's side --------------------------------------------------------------------------------------


def pin(keys: Keyspace, resource: Resource, record: PinRecord) -> Txn:
    """IF sweep absent THEN put pin, and a hold in nobody's name: losing one of the two families permits nothing.

    Repeating it is harmless. Failure branch: the sweep.
    """
    sweep, hold = keys.sweep(resource), HoldRecord("", 0, "pin")
    both = (Put(keys.pin(resource), encode(record)), Put(keys.hold(resource, PINNED), encode(hold)))
    return Txn((absent(sweep),), both, (Get(sweep),))


def unpin(keys: Keyspace, resource: Resource) -> Txn:
    """IF sweep absent THEN delete pin, its hold, and tombstone: grace starts anew. Repeating it is harmless.

    Its hold is not put as released: one whose real holds were lost must not come to have evidence by this.
    """
    sweep = keys.sweep(resource)
    gone = (keys.pin(resource), keys.hold(resource, PINNED), keys.tombstone(resource))
    return Txn((absent(sweep),), [Delete(key) for key in gone], (Get(sweep),))


def restore(keys: Keyspace, resource: Resource) -> Txn:
    """IF sweep absent THEN delete the tombstone: grace starts anew. Repeating it is harmless."""
    sweep = keys.sweep(resource)
    return Txn((absent(sweep),), (Delete(keys.tombstone(resource)),), (Get(sweep),))


def hasten(keys: Keyspace, resource: Resource, record: Revision, haste: HasteRecord, lease: LeaseId) -> Txn:
    """IF record and tombstone unchanged; not pinned; sweep absent THEN put haste, leased: the grace of this tombstone
    is measured by ``HASTENED``, and no other tombstone's. Repeating it is harmless. Failure branch: the sweep."""
    sweep = keys.sweep(resource)
    compares = (
        unchanged(keys.record(resource), _seen(record)),
        unchanged(keys.tombstone(resource), _seen(Revision(haste.tombstone_revision))),
        absent(keys.pin(resource)),
        absent(sweep),
    )
    return Txn(compares, (Put(keys.haste(resource), encode(haste), lease),), (Get(sweep),))


def give_up(
    keys: Keyspace,
    resource: Resource,
    seen: Revision,
    record: ResourceRecord,
    recorded: Revision,
    grave: GraveRecord,
    lease: LeaseId,
) -> Txn:
    """IF the sweep (found quarantined) and the record are unchanged THEN delete all we knew of it, tombstone and sweep,
    and put a grave, leased. Nothing is deleted at the owner: what is left there is its own again. A send that comes
    first changes the sweep; one that comes later finds none. Repeating it is harmless."""
    sweep = keys.sweep(resource)
    return Txn(
        (unchanged(sweep, _seen(seen)), unchanged(keys.record(resource), _seen(recorded))),
        (
            *_everything_known(keys, resource, record),
            Delete(keys.holds_of(resource)),
            Delete(keys.tombstone(resource)),
            Delete(sweep),
            Put(keys.grave(resource), encode(grave), lease),
        ),
        (Get(sweep),),
    )


def arm(keys: Keyspace, armed: ArmedRecord) -> Txn:
    """Allow collecting. A new revision, so that whatever was decided before is decided again."""
    return Txn((), (Put(keys.armed, encode(armed)), Delete(keys.tripped)))


def trip(keys: Keyspace, tripped: TrippedRecord | None = None) -> Txn:
    """Stop every condemn and prepare, and every first send, until somebody arms again, and say why. Repeating is
    harmless."""
    why = () if tripped is None else (Put(keys.tripped, encode(tripped)),)
    return Txn((), (Delete(keys.armed), *why))


# --- reading results ------------------------------------------------------------------------------------------


def committed(result: TxnResult) -> bool:
    """Whether a transaction took place, every member of a batch included."""
    return result.succeeded and all(committed(inner) for inner in result.results if isinstance(inner, TxnResult))


def attached(result: TxnResult) -> bool:
    """Whether ``attach`` (or ``join``) took place: with the key absent, or over our own."""
    return _either(result)


def founded(result: TxnResult) -> bool:
    """Whether ``found_tenant`` took place, be it without arming."""
    return _either(result)


def references(record: ResourceRecord) -> tuple[Resource, ...]:
    """What a record refers to, each target once. What cannot have a key refers to nothing."""
    return resources(record.references)


def resources(named: Iterable[tuple[str, str, str]]) -> tuple[Resource, ...]:
    """What a record names, each once. What cannot have a key is left out."""
    return tuple(dict.fromkeys(Resource(*one) for one in named if all(one)))  # type: ignore[arg-type]


def bounded(targets: Iterable[Resource]) -> tuple[Resource, ...]:
    """The same targets, each once; of too many for one transaction instead everything of their types."""
    each = tuple(dict.fromkeys(targets))
    return each if len(each) <= MAX_REFERENCES else tuple(dict.fromkeys(map(every, each)))


def every(resource: Resource) -> Resource:
    """Whose inbound references are to every resource of this one's type."""
    return Resource(resource.owner, resource.type, EVERY)


# --- parts ----------------------------------------------------------------------------------------------------


def _either(result: TxnResult) -> bool:
    otherwise = result.results[0] if result.results else None
    return result.succeeded or (isinstance(otherwise, TxnResult) and otherwise.succeeded)


def _seen(revision: Revision) -> Revision:
    # A compare with revision 0 means "absent". Whoever wants to say "as I read it" must have read it.
    if revision <= 0:
        raise ValueError("expected the revision of something that was read and was there")
    return revision


def _fence(keys: Keyspace, by: Authority) -> Compare:
    return created_at(keys.shard(by.shard), _seen(by.fence))


def _nobody_holds(keys: Keyspace, by: Authority, facts: Unheld) -> list[Compare]:
    if not facts.holds:
        raise ValueError(f"{facts.resource}: no hold was found, and absence permits nothing")
    resource = facts.resource
    compares = [
        _fence(keys, by),
        unchanged(keys.armed, _seen(by.armed)),
        unchanged(keys.record(resource), _seen(facts.record_revision)),
        absent(keys.pin(resource)),
        nothing_newer_than(keys.holds_of(resource), _seen(facts.revision)),
        nothing_newer_than(keys.refs_to(resource), facts.revision),
        nothing_newer_than(keys.refs_to(every(resource)), facts.revision),
    ]
    if _too_many(facts.holds):
        # Every attach writes the roster: if no roster entry is newer than R, whoever was dead at R still is. Busy
        # tenants may need several tries; a hundred dead holders of one resource are rare.
        compares.append(nothing_newer_than(keys.family(Family.ROSTER), facts.revision))
        compares.append(unchanged(keys.hold(resource, facts.holds[0].holder), facts.holds[0].mod_revision))
    else:
        compares += (unchanged(keys.hold(resource, hold.holder), _seen(hold.mod_revision)) for hold in facts.holds)
        compares += (absent(keys.beacon(holder)) for holder in facts.holders)
    compares += (absent(keys.record(source)) for source in facts.sources)
    return compares


def _refer(keys: Keyspace, resource: Resource, targets: Iterable[Resource]) -> Iterator[Operation]:
    """Write down that it needs them: from now on none of them is condemned."""
    for target in targets:
        yield Put(keys.ref(target, resource), b"{}")
        if target.id == EVERY:
            yield Delete(keys.tombstones_of(target.owner, target.type))
        elif target != resource:
            yield Delete(keys.tombstone(target))


def _none_swept(keys: Keyspace, targets: Iterable[Resource], *, past_others: bool) -> Iterator[Compare]:
    """None of what it is to need is being swept."""
    for target in targets:
        if target.id != EVERY:
            yield absent(keys.sweep(target))
        elif not past_others:
            yield absent(keys.sweeps_of(target.owner, target.type))


def _nested(operations: list[Operation]) -> list[Operation]:
    if len(operations) <= _FLAT:
        return operations
    deeper = [Txn((), operations[n : n + _FLAT]) for n in range(_FLAT // 2, len(operations), _FLAT)]
    return [*operations[: _FLAT // 2], *deeper]


def weight(txn: Txn) -> int:
    """What of etcd's limit a transaction takes up: each level its longest list, and the levels below theirs."""
    longest = max(len(txn.compares), len(txn.success), len(txn.failure))
    nested = [weight(one) for one in (*txn.success, *txn.failure) if isinstance(one, Txn)]
    return longest + max(nested, default=0)


def _quiet_since(keys: Keyspace, holder: Holder, tombstone: int) -> tuple[Compare, Compare]:
    roster = keys.roster(holder)
    return present(roster), Compare(roster, Target.MOD, Relation.LESS, tombstone)


def _too_many(holds: Sequence[HoldFound]) -> bool:
    return len(holds) > MAX_COMPARED_HOLDERS


def _everything_known(keys: Keyspace, resource: Resource, record: ResourceRecord) -> tuple[Operation, ...]:
    outbound = (Delete(keys.ref(target, resource)) for target in references(record) if target != resource)
    return (
        Delete(keys.record(resource)),
        Delete(keys.notice(resource)),
        Delete(keys.refs_to(resource)),
        *outbound,
    )
