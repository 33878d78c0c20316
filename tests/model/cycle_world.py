"""A cycle of two resources in a hostile world, as states and steps: two holders, one leader, a referrer from outside.

Every step that writes runs the product's own transaction, and what the leader makes of a read is the product's own
verdict. It may act on a read of long ago; beacons expire under living holders, which may come back; holders acquire and
release; somebody registers a third resource that refers to the cycle; the app deletes a member itself.

Revisions are renumbered by rank after every step. What the laws are judged by: whom a living hold leads to
(``_reached``), and whom one has led to since the epoch opened (``reached_in_epoch``). No step reads them to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import msgspec

from leasehold.control_plane.core.cycles import ripe_together, unheld_together
from leasehold.control_plane.core.epochs import Seen
from leasehold.control_plane.core.verdict import Condemnable, Evidence, Keep, Ripe, read_evidence, ripe, unheld
from leasehold.protocol import cycles
from leasehold.protocol import transactions as tx
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import Boot, ClassName, Holder, LeaseId, Resource, Revision, Tenant
from leasehold.protocol.records import (
    EpochRecord,
    GraveRecord,
    HolderKind,
    HoldRecord,
    ResourceRecord,
    RosterRecord,
    SweepRecord,
    SweepState,
    TombstoneRecord,
    decode,
    encode,
)
from leasehold.protocol.store import KeyValue, Txn
from tests.model.store import Item, Keys, commit

KEYS = Keyspace(Tenant("m"))
X, Y, Z = (Resource("o", "t", name) for name in "xyz")  # type: ignore[arg-type]
CYCLE = (X, Y)
A, B = Holder("a@1~1"), Holder("b@1~1")
BOOT, GRACE, NEW = Boot("b"), ClassName("1s"), 1000
EPOCH, ARMED, SHARD = KEYS.epoch(GRACE, 1), KEYS.armed, KEYS.shard(0)
ROSTER = RosterRecord("s", "1", HolderKind.PROCESS, BOOT, 1)
RANKED = tuple(KEYS.family(f) for f in (Family.ROSTER, Family.TOMBSTONES, Family.EPOCHS, Family.SWEEPS))
READ = tuple(KEYS.family(f) for f in (Family.RESOURCES, Family.HOLDS, Family.REFS))
JUDGED = (*RANKED, *READ, KEYS.family(Family.BEACONS))
Judged = Condemnable | Ripe
Frozen = tuple[tuple[bytes, Item], ...]
Mutation = Callable[[str, Txn], Txn]


class Violation(Exception):
    """A law was broken."""


@dataclass(frozen=True, slots=True)
class State:
    keys: Frozen
    read: Frozen | None = None
    """What the leader read, whenever that was; its revision is that of its newest key."""
    read_at: int = 0
    reattached: int = 0
    acquired: int = 0
    forgotten: bool = False
    reached_in_epoch: frozenset[Resource] = frozenset()


@dataclass(frozen=True, slots=True)
class Adversary:
    """What the world may do to us."""

    reattaches: int = 0
    acquires: int = 0
    releases: bool = False
    outsider: bool = False
    forgets: bool = False


@dataclass(frozen=True, slots=True)
class Weakness:
    """Guards that are no compares of a transaction, taken out one by one."""

    one_by_one: bool = False
    own_holders: bool = False
    aborts_alone: bool = False
    trusts_broken_cycles: bool = False


def start() -> State:
    """Both are there, each refers to the other, A holds both."""
    keys = {ARMED: Item(b"armed", 1, 1), SHARD: Item(b"leader", 1, 1)}
    for holder in (A, B):
        keys[KEYS.beacon(holder)], keys[KEYS.roster(holder)] = Item(BOOT.encode(), 1, 1), Item(encode(ROSTER), 1, 1)
    for n, (one, other) in enumerate((CYCLE, CYCLE[::-1]), 2):
        keys[KEYS.record(one)] = Item(encode(_record(other)), n, n)
        keys[KEYS.hold(one, A)], keys[KEYS.ref(other, one)] = Item(encode(HoldRecord(BOOT, 1)), n, n), Item(b"{}", n, n)
    return _ranked(State(tuple(sorted(keys.items()))))


class World:
    """The steps."""

    def __init__(
        self, adversary: Adversary, mutate: Mutation = lambda _, txn: txn, weakness: Weakness = Weakness()
    ) -> None:
        self._adversary, self._mutate, self._weakness = adversary, mutate, weakness

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        keys = dict(state.keys)
        for holder in (A, B):
            yield from self._lease(holder, state, keys)
        yield from self._holder(state, keys)
        yield from self._leader(state, keys)
        yield from self._epochs(state, keys)
        for member in CYCLE:
            if KEYS.sweep(member) in keys:
                yield from self._sweep(member, state, keys)

    # --- what holders and time do -----------------------------------------------------------------------------

    def _lease(self, holder: Holder, state: State, keys: Keys) -> Iterator[tuple[str, State]]:
        beacon = KEYS.beacon(holder)
        if beacon in keys:
            yield f"{holder} expires", self._with(state, {k: item for k, item in keys.items() if k != beacon})
        elif state.reattached < self._adversary.reattaches:
            after, _ = self._commit("attach", keys, tx.attach(KEYS, holder, BOOT, LeaseId(1), ROSTER))
            yield f"{holder} attaches", self._with(replace(state, reattached=state.reattached + 1), after)

    def _holder(self, state: State, keys: Keys) -> Iterator[tuple[str, State]]:
        for member in CYCLE if state.acquired < self._adversary.acquires else ():
            txn = tx.acquire(KEYS, member, B, HoldRecord(BOOT, 2))
            more = replace(state, acquired=state.acquired + 1)
            yield from self._granted("acquire", member, more, keys, txn)
        if self._adversary.outsider and KEYS.record(Z) not in keys and not state.forgotten:
            txn = tx.register(KEYS, Z, _record(Y), B, HoldRecord(BOOT, 3))
            yield from self._granted("register", Z, state, keys, txn)
        for member in CYCLE if self._adversary.releases else ():
            hold = HoldRecord(BOOT, 2)
            released = msgspec.structs.replace(hold, released=True)
            after, done = self._commit("release", keys, tx.release(KEYS, member, B, hold, released))
            if done:
                yield f"B releases {member.id}", self._with(state, after)
        for one in (X, Z) if self._adversary.forgets else ():
            yield from self._forget(one, state, keys)

    def _forget(self, resource: Resource, state: State, keys: Keys) -> Iterator[tuple[str, State]]:
        item = keys.get(KEYS.record(resource))
        if item is not None:
            txn = tx.forget(KEYS, resource, decode(ResourceRecord, item.value), Revision(item.mod))
            after, done = self._commit("forget", keys, txn)
            if done:
                yield f"the app deletes {resource.id}", self._with(replace(state, forgotten=True), after)

    def _granted(
        self, name: str, resource: Resource, state: State, keys: Keys, txn: Txn
    ) -> Iterator[tuple[str, State]]:
        after, done = self._commit(name, keys, tx.batch(KEYS, {B: BOOT}, [self._mutate(name, txn)]))
        if done:
            swept = [one.id for one in _closure(after, {resource}) if KEYS.sweep(one) in keys]
            if swept:
                raise Violation(f"S1: B was granted a hold on {resource.id}, and {swept} is being swept")
            yield f"B {name}s {resource.id}", self._with(state, after)

    # --- what the leader does ---------------------------------------------------------------------------------

    def _leader(self, state: State, keys: Keys) -> Iterator[tuple[str, State]]:
        read = tuple((key, item) for key, item in state.keys if any(key in family for family in JUDGED) or key == ARMED)
        revision = max(item.mod for _, item in state.keys)
        if read != state.read and self._judge(read, revision):
            yield "the leader reads", _ranked(replace(state, read=read, read_at=revision))
        if state.read is not None:
            for found in self._judge(state.read, state.read_at):
                yield from self._act(found, state, keys)

    def _judge(self, read: Frozen, revision: int) -> list[tuple[Judged, ...]]:
        """What may be done: with both together, or with the one that is left."""
        together, alone = _judged(read, revision, self._weakness.trusts_broken_cycles)
        if together and self._weakness.one_by_one and isinstance(together[0], Ripe):
            return [(one,) for one in together]
        return [found for found in (together, alone) if found]

    def _act(self, found: tuple[Judged, ...], state: State, keys: Keys) -> Iterator[tuple[str, State]]:
        by = tx.Authority(0, Revision(keys[SHARD].create), Revision(keys[ARMED].mod))
        names, facts = tuple(tuple(one.facts.resource) for one in found), [one.facts for one in found]
        called = " and ".join(one.facts.resource.id for one in found)
        forgetful = replace(state, read=None, read_at=0)
        if isinstance(found[0], Condemnable):
            cycle = names if len(names) > 1 else ()
            stones = {one.facts.resource: TombstoneRecord("i", "unheld", 0, cycle=cycle) for one in found}  # type: ignore[arg-type]
            after, done = self._commit("condemn", keys, cycles.condemn_cycle(KEYS, by, facts, stones))
            if done:
                yield f"condemn {called}", self._with(forgetful, after)
            return
        ripe_ones = [one for one in found if isinstance(one, Ripe)]
        everybody = tuple(dict.fromkeys(holder for one in facts for holder in one.holders))
        sweeps = {
            one.facts.resource: SweepRecord(
                SweepState.PREPARED, "i", 0, 0, 0, "1s/1",
                one.facts.holders if self._weakness.own_holders else everybody, cycle=names,  # type: ignore[arg-type]
            )
            for one in found
        }  # fmt: skip
        epochs = {one.facts.resource: one.epoch for one in ripe_ones}
        txn = cycles.prepare_cycle(KEYS, by, facts, ripe_ones[0].tombstone, epochs, sweeps)
        after, done = self._commit("prepare", keys, txn)
        if done:
            needed = (_reached(keys) | state.reached_in_epoch) & {one.facts.resource for one in found}
            if needed:
                raise Violation(f"S1: {called} prepared although a living hold led there within the last whole epoch")
            yield f"prepare {called}", self._with(forgetful, after)

    def _epochs(self, state: State, keys: Keys) -> Iterator[tuple[str, State]]:
        by = tx.Authority(0, Revision(keys[SHARD].create), Revision(keys[ARMED].mod))
        if EPOCH not in keys and any(KEYS.tombstone(one) in keys for one in CYCLE):
            after, _ = self._commit("open", keys, tx.open_epoch(KEYS, by, GRACE, 1, EpochRecord(1, 1)))
            after = {key: item for key, item in after.items() if key != KEYS.epoch_lease(GRACE, 1)}
            yield "an epoch opens", self._with(replace(state, reached_in_epoch=_reached(after)), after)
        elif EPOCH in keys and b"true" not in keys[EPOCH].value:
            after, _ = self._commit("close", keys, tx.close_epoch(KEYS, by, _epoch(keys), EpochRecord(1, 1, True)))
            yield "the epoch is done", self._with(state, after)
        elif EPOCH in keys:
            dropped = {key: item for key, item in keys.items() if key != EPOCH}
            yield "the epoch is dropped", self._with(replace(state, reached_in_epoch=frozenset()), dropped)

    def _sweep(self, member: Resource, state: State, keys: Keys) -> Iterator[tuple[str, State]]:
        by = tx.Authority(0, Revision(keys[SHARD].create), Revision(keys[ARMED].mod))
        item, stone = keys[KEYS.sweep(member)], keys.get(KEYS.tombstone(member))
        sweep = decode(SweepRecord, item.value)
        if sweep.attempt:
            yield from self._answered(member, state, keys, by)
            return
        # What the sweep remembers of the tombstone would have to be renumbered with it, so it is looked up.
        sent = msgspec.structs.replace(sweep, attempt=1, tombstone_revision=stone.mod if stone else 0)
        after, done = self._commit("send", keys, tx.send(KEYS, by, member, Revision(item.mod), sent))
        if done:
            if any(KEYS.sweep(one) in keys for one in tx.before(sweep, member)):
                raise Violation(f"order: {member.id} is sent before the last-created is gone")
            if member in _reached(keys):
                raise Violation(f"S1: {member.id} is sent although a living hold leads there")
            stored = msgspec.structs.replace(sent, tombstone_revision=0)
            after = {**after, KEYS.sweep(member): Item(encode(stored), item.create, NEW)}
            yield f"send {member.id}", self._with(state, after)
        elif not any(KEYS.sweep(one) in keys for one in tx.before(sweep, member)):
            yield f"abort {member.id}", self._given_up(member, state, keys, by)

    def _answered(self, member: Resource, state: State, keys: Keys, by: tx.Authority) -> Iterator[tuple[str, State]]:
        yield f"{member.id} is refused", self._given_up(member, state, keys, by)
        record, seen = decode(ResourceRecord, keys[KEYS.record(member)].value), Revision(keys[KEYS.sweep(member)].mod)
        txn = tx.finish(KEYS, by, member, seen, record, GraveRecord("i", "gone"), LeaseId(0))
        after, _ = self._commit("finish", keys, txn)
        yield f"{member.id} is gone", self._with(state, {k: one for k, one in after.items() if k != KEYS.grave(member)})

    def _given_up(self, member: Resource, state: State, keys: Keys, by: tx.Authority) -> State:
        others = {one: keys[KEYS.sweep(one)] for one in CYCLE if one != member and KEYS.sweep(one) in keys}
        unsent = {
            one: Revision(item.mod) for one, item in others.items() if not decode(SweepRecord, item.value).attempt
        }
        if self._weakness.aborts_alone:
            unsent = {}
        txn = tx.abort(KEYS, by, member, Revision(keys[KEYS.sweep(member)].mod), unsent)
        return self._with(replace(state, read=None, read_at=0), self._commit("abort", keys, txn)[0])

    # --- parts ------------------------------------------------------------------------------------------------

    def _commit(self, name: str, keys: Keys, txn: Txn) -> tuple[Keys, bool]:
        return commit(keys, self._mutate(name, txn), NEW)

    def _with(self, state: State, keys: Keys) -> State:
        reached = state.reached_in_epoch | (_reached(keys) if EPOCH in keys else frozenset())
        return _ranked(replace(state, keys=tuple(sorted(keys.items())), reached_in_epoch=reached))


def _record(target: Resource) -> ResourceRecord:
    return ResourceRecord("i", "rule", GRACE, A, references=((target.owner, target.type, target.id),))


@lru_cache(maxsize=200_000)
def _judged(read: Frozen, revision: int, trusting: bool) -> tuple[tuple[Judged, ...], tuple[Judged, ...]]:
    """Both together, and the one of them whose record is the only one left."""
    found = {
        key: KeyValue(key, item.value, Revision(item.create), Revision(item.mod), 1, LeaseId(0)) for key, item in read
    }
    evidence = [read_evidence(KEYS, one, Revision(revision), found, found[ARMED]) for one in CYCLE]
    epochs = [Seen(_epoch(dict(read)), False)] if EPOCH in found else []
    left = [one for one in evidence if one.record is not None]
    together = _verdict(left, epochs) if len(left) == 2 else Keep("alone")
    alone: Judged | Keep = Keep("together")
    if len(left) == 1:
        one = _forgetting_its_cycle(left[0]) if trusting else left[0]
        alone = unheld(one) if one.tombstone is None else ripe(one, lambda _: epochs)
    return () if isinstance(together, Keep) else together, () if isinstance(alone, Keep) else (alone,)


def _verdict(evidence: list[Evidence], epochs: list[Seen]) -> tuple[Judged, ...] | Keep:
    if any(one.tombstone is None for one in evidence):
        return unheld_together(evidence)
    return ripe_together(evidence, lambda _: epochs)


def _forgetting_its_cycle(one: Evidence) -> Evidence:
    if one.tombstone is None:
        return one
    alone = msgspec.structs.replace(decode(TombstoneRecord, one.tombstone.value), cycle=())
    return replace(one, tombstone=msgspec.structs.replace(one.tombstone, value=encode(alone)))


def _epoch(keys: Mapping[bytes, Item]) -> tx.EpochFound:
    item = keys[EPOCH]
    return tx.EpochFound(
        GRACE, 1, EPOCH, Revision(item.create), Revision(item.mod), decode(EpochRecord, item.value)
    )  # fmt: skip


def _reached(keys: Keys) -> frozenset[Resource]:
    """Whom a living hold leads to."""
    held = {
        resource
        for resource in (X, Y, Z)
        for holder in (A, B)
        if KEYS.beacon(holder) in keys
        and (hold := keys.get(KEYS.hold(resource, holder))) is not None
        and b'"released":true' not in hold.value
    }
    return frozenset(_closure(keys, held))


def _closure(keys: Keys, held: set[Resource]) -> set[Resource]:
    found: set[Resource] = set()
    waiting = list(held)
    while waiting:
        resource = waiting.pop()
        item = keys.get(KEYS.record(resource))
        if item is not None and resource not in found:
            found.add(resource)
            waiting += tx.references(decode(ResourceRecord, item.value))
    return found


def _ranked(state: State) -> State:
    """The same state with revisions renumbered, and those that nobody will ever compare forgotten."""
    numbers = {state.read_at, 0}
    for key, item in (*state.keys, *(state.read or ())):
        numbers.update(_relevant(key, item, state.read is not None))
    rank = {n: k for k, n in enumerate(sorted(numbers))}

    def renumbered(keys: Frozen) -> Frozen:
        return tuple(
            (key, Item(item.value, *(rank[n] for n in _relevant(key, item, state.read is not None))))
            for key, item in keys
        )

    read = renumbered(state.read) if state.read is not None else None
    return replace(state, keys=renumbered(state.keys), read=read, read_at=rank[state.read_at])


def _relevant(key: bytes, item: Item, being_read: bool) -> tuple[int, int]:
    if key in KEYS.family(Family.RESOURCES):
        return item.create, item.mod if being_read else item.create
    if key == EPOCH:
        return item.create, item.mod
    ranked = any(key in family for family in RANKED) or (being_read and any(key in family for family in READ))
    return 1, item.mod if ranked else 1
