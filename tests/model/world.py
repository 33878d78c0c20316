"""The protocol in a hostile world, as states and steps: two holders, one leader, one owner, one id used twice.

Every step that writes to etcd runs the product's own transaction. The world around it does its worst, at any moment:
beacons expire under living holders, holders die and come back, deletes are delivered late and twice, releases arrive
late, the id is created again at the owner, the leader acts on facts it read long ago.

Revisions are renumbered by rank after every step, which keeps their order, which is all that the protocol looks at.
Ghost fields (``protected_since_epoch``, ``in_use``) are what the laws are judged by; no step reads them to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import msgspec

from leasehold.protocol import transactions as tx
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import (
    Boot,
    ClassName,
    Holder,
    LeaseId,
    OwnerName,
    Resource,
    ResourceId,
    Revision,
    Tenant,
    TypeName,
)
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
    encode,
)
from leasehold.protocol.store import Txn
from tests.model.store import Item, Keys, commit

KEYS = Keyspace(Tenant("m"))
R = Resource(OwnerName("o"), TypeName("t"), ResourceId("r"))
HOLDERS = (Holder("a@1~1"), Holder("b@1~1"))
BOOT = Boot("b")
GRACE = ClassName("1s")
EPOCH = KEYS.epoch(GRACE, 1)
RECORD, TOMBSTONE, SWEEP, ARMED, SHARD = KEYS.record(R), KEYS.tombstone(R), KEYS.sweep(R), KEYS.armed, KEYS.shard(0)

Mutation = Callable[[str, Txn], Txn]
"""Takes a guard out of the named transaction; the identity leaves the protocol as it is."""


class Violation(Exception):
    """A law was broken."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the leader read, whenever that was."""

    revision: int
    record: int
    incarnation: str
    holds: tuple[tuple[Holder, int, bool, int], ...]
    tombstone: int
    epoch: tuple[int, int, bool]  # create, mod, done

    def unheld(self) -> tx.Unheld:
        holds = [tx.HoldFound(h, Revision(mod), released, Revision(roster)) for h, mod, released, roster in self.holds]
        return tx.Unheld(R, Revision(self.record), Revision(self.revision), holds)


@dataclass(frozen=True, slots=True)
class State:
    keys: tuple[tuple[bytes, Item], ...]
    living: tuple[bool, bool] = (True, True)
    owner: int = 0
    """The incarnation at the owner; 0: none."""
    made: int = 0
    unregistered: tuple[int, int] = (0, 0)
    """Per holder: an incarnation it created that is not yet registered."""
    sequence: tuple[int, int] = (0, 0)
    holding: tuple[int, int] = (0, 0)
    """Per holder: the sequence of the hold it believes to have; 0: none."""
    late_release: tuple[int, int] = (0, 0)
    facts: Facts | None = None
    deletes: tuple[str, ...] = ()
    """Incarnations named by deletes that are on their way."""
    answered: bool = False
    reattached: int = 0
    protected_since_epoch: bool = False
    """Ghost: a living hold existed after the epoch opened."""


def start() -> State:
    """Armed, led, both holders attached."""
    keys = {ARMED: Item(b"armed", 1, 1), SHARD: Item(b"leader", 2, 2)}
    for n, holder in enumerate(HOLDERS, 3):
        keys[KEYS.beacon(holder)] = keys[KEYS.roster(holder)] = Item(BOOT.encode(), n, n)
    return State(tuple(sorted(keys.items())))


def ranked(state: State) -> State:
    """The same state with revisions renumbered 1, 2, 3..., and those that nobody will ever compare forgotten."""
    relevant = _relevant(state)
    facts = state.facts
    numbers = {n for key, item in state.keys for n in relevant(key, item)}
    if facts:
        numbers |= {facts.revision, facts.record, facts.tombstone, *facts.epoch[:2]}
        numbers |= {n for _, mod, _, roster in facts.holds for n in (mod, roster)}
    rank = {n: k for k, n in enumerate(sorted(numbers - {0}), 1)} | {0: 0}
    keys = []
    for key, item in state.keys:
        create, mod = relevant(key, item)
        keys.append((key, Item(item.value, rank[create], rank[mod])))
    if facts:
        facts = Facts(
            rank[facts.revision], rank[facts.record], facts.incarnation,
            tuple((h, rank[mod], released, rank[roster]) for h, mod, released, roster in facts.holds),
            rank[facts.tombstone], (rank[facts.epoch[0]], rank[facts.epoch[1]], facts.epoch[2]),
        )  # fmt: skip
    return replace(state, keys=tuple(keys), facts=facts)


def _relevant(state: State) -> Callable[[bytes, Item], tuple[int, int]]:
    """Which revisions of a key can still matter. One that cannot is as good as the oldest of all."""
    rosters = tuple(KEYS.roster(holder) for holder in HOLDERS)
    read = (RECORD, *(KEYS.hold(R, holder) for holder in HOLDERS)) if state.facts else ()

    def relevant(key: bytes, item: Item) -> tuple[int, int]:
        if key == EPOCH:
            return item.create, item.mod
        return 1, item.mod if key in rosters or key == TOMBSTONE or key in read else 1

    return relevant


@dataclass(frozen=True, slots=True)
class Adversary:
    """What the world may do to us. All of it at once is too much to search to the end; any three or so are not."""

    reattaches: int = 0
    incarnations: int = 1
    second_holder: bool = False
    late_releases: bool = False
    duplicated_deletes: bool = False
    conditional_delete: bool = True


class World:
    """The steps."""

    def __init__(self, adversary: Adversary, mutate: Mutation = lambda _, txn: txn) -> None:
        self._adversary = adversary
        self._mutate = mutate

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        keys = dict(state.keys)
        for n in (0, 1) if self._adversary.second_holder else (0,):
            yield from self._holder(n, state, keys)
        yield from self._leader(state, keys)
        yield from self._owner(state)

    # --- what holders and time do -----------------------------------------------------------------------------

    def _holder(self, n: int, state: State, keys: Keys) -> Iterator[tuple[str, State]]:
        me = HOLDERS[n]
        beacon = KEYS.beacon(me)
        if beacon in keys:
            expired = {key: item for key, item in keys.items() if key != beacon}
            yield f"{me} expires", self._with(state, expired)
        if state.late_release[n]:
            yield from self._release(n, state, keys, late=True)
        if not state.living[n]:
            return
        yield (
            f"{me} dies",
            replace(state, living=_set(state.living, n, False), unregistered=_set(state.unregistered, n, 0)),
        )
        if beacon not in keys and state.reattached < self._adversary.reattaches:
            yield from self._attach(n, state, keys)
        yield from self._create(n, state, keys)
        if RECORD in keys and not state.holding[n] and state.sequence[n] < 2:
            hold = self._next_hold(n, state)
            txn = self._guarded("acquire", n, tx.acquire(KEYS, R, me, hold))
            yield from self._granted(n, "acquires", state, keys, txn)
        if state.holding[n]:
            yield from self._release(n, state, keys, late=False)
        if state.holding[n] and self._adversary.late_releases:
            delayed = _set(state.late_release, n, state.holding[n])
            let_go = replace(state, late_release=delayed, holding=_set(state.holding, n, 0))
            yield f"{me} sends a release that is delayed", let_go

    def _attach(self, n: int, state: State, keys: Keys) -> Iterator[tuple[str, State]]:
        roster = RosterRecord("s", "1", HolderKind.PROCESS, BOOT, 1)
        after, done = self._commit("attach", keys, tx.attach(KEYS, HOLDERS[n], BOOT, LeaseId(1), roster))
        if done or after != keys:
            yield f"{HOLDERS[n]} attaches", self._with(replace(state, reattached=state.reattached + 1), after)

    def _create(self, n: int, state: State, keys: Keys) -> Iterator[tuple[str, State]]:
        if state.made < self._adversary.incarnations and not state.owner and not state.unregistered[n] and n == 0:
            made = state.made + 1
            yield (
                f"{HOLDERS[n]} creates incarnation {made}",
                replace(state, owner=made, made=made, unregistered=_set(state.unregistered, n, made)),
            )
        if state.unregistered[n]:
            record = ResourceRecord(f"uid:{state.unregistered[n]}", "rule", GRACE, HOLDERS[n])
            seen = keys[RECORD].mod if RECORD in keys else 0
            hold = self._next_hold(n, state)
            txn = tx.register(KEYS, R, record, HOLDERS[n], hold, seen=Revision(seen))
            registered = replace(state, unregistered=_set(state.unregistered, n, 0))
            yield from self._granted(n, "registers", registered, keys, self._guarded("register", n, txn))

    def _granted(self, n: int, verb: str, state: State, keys: Keys, txn: Txn) -> Iterator[tuple[str, State]]:
        after, done = self._commit(verb.removesuffix("s"), keys, txn)
        if not done:
            return
        if SWEEP in keys:
            raise Violation(f"S1: {HOLDERS[n]} {verb} while a sweep runs")
        sequence = state.sequence[n] + 1
        state = replace(state, sequence=_set(state.sequence, n, sequence), holding=_set(state.holding, n, sequence))
        yield f"{HOLDERS[n]} {verb}", self._with(state, after)

    def _release(self, n: int, state: State, keys: Keys, *, late: bool) -> Iterator[tuple[str, State]]:
        sequence = state.late_release[n] if late else state.holding[n]
        hold, released = HoldRecord(BOOT, sequence), HoldRecord(BOOT, sequence, released=True)
        after, _ = self._commit("release", keys, tx.release(KEYS, R, HOLDERS[n], hold, released))
        if late:
            state = replace(state, late_release=_set(state.late_release, n, 0))
        else:
            state = replace(state, holding=_set(state.holding, n, 0))
        yield f"a release of {HOLDERS[n]} arrives{' late' if late else ''}", self._with(state, after)

    # --- what the leader does ---------------------------------------------------------------------------------

    def _leader(self, state: State, keys: Keys) -> Iterator[tuple[str, State]]:
        by = tx.Authority(0, Revision(keys[SHARD].mod), Revision(keys[ARMED].mod))
        if RECORD in keys and SWEEP not in keys:
            facts = _read(keys)
            if facts is not None and facts != state.facts:
                yield "the leader reads", replace(state, facts=facts)
        if state.facts is not None:
            yield from self._judge(state, keys, by, state.facts)
        yield from self._epochs(state, keys, by)
        if SWEEP in keys:
            yield from self._sweep(state, keys, by)

    def _judge(self, state: State, keys: Keys, by: tx.Authority, facts: Facts) -> Iterator[tuple[str, State]]:
        forgetful = replace(state, facts=None)
        if not facts.tombstone:
            tombstone = TombstoneRecord(facts.incarnation, "unheld", 0)
            after, done = self._commit("condemn", keys, tx.condemn(KEYS, by, facts.unheld(), tombstone))
            if done:
                yield "condemn", self._with(forgetful, after)
        elif facts.epoch[2]:
            epoch = tx.EpochFound(
                GRACE, 1, EPOCH, Revision(facts.epoch[0]), Revision(facts.epoch[1] or 1), EpochRecord(1, 1, True)
            )
            unheld = facts.unheld()
            sweep = SweepRecord(SweepState.PREPARED, facts.incarnation, 0, 0, 0, "1s/1", unheld.holders)
            txn = tx.prepare(KEYS, by, unheld, Revision(facts.tombstone), epoch, sweep)
            after, done = self._commit("prepare", keys, txn)
            if done:
                if _protected(keys) or state.protected_since_epoch:
                    raise Violation("S1: prepared although it was held within the last whole epoch")
                yield "prepare", self._with(forgetful, after)

    def _epochs(self, state: State, keys: Keys, by: tx.Authority) -> Iterator[tuple[str, State]]:
        if EPOCH not in keys and TOMBSTONE in keys:
            after, _ = self._commit("open", keys, tx.open_epoch(KEYS, by, GRACE, 1, EpochRecord(1, 1)))
            opened = replace(state, protected_since_epoch=_protected(after))
            yield "an epoch opens", self._with(opened, after)
        elif EPOCH in keys and b"true" not in keys[EPOCH].value:
            lease_gone = {key: item for key, item in keys.items() if key != KEYS.epoch_lease(GRACE, 1)}
            epoch = tx.EpochFound(
                GRACE, 1, EPOCH, Revision(keys[EPOCH].create), Revision(keys[EPOCH].mod), EpochRecord(1, 1)
            )
            after, _ = self._commit("close", lease_gone, tx.close_epoch(KEYS, by, epoch, EpochRecord(1, 1, True)))
            yield "the epoch is done", self._with(state, after)
        elif EPOCH in keys:
            dropped = {key: item for key, item in keys.items() if key != EPOCH}
            yield "the epoch is dropped", self._with(replace(state, protected_since_epoch=False), dropped)

    def _sweep(self, state: State, keys: Keys, by: tx.Authority) -> Iterator[tuple[str, State]]:
        sweep = _decode_sweep(keys[SWEEP].value)
        seen = Revision(keys[SWEEP].mod)
        if sweep.attempt < 2:
            sent = replace_sweep(sweep, attempt=sweep.attempt + 1)
            # What the sweep remembers of the tombstone is renumbered with it, so it is looked up and not kept.
            tombstone = keys[TOMBSTONE].mod if TOMBSTONE in keys else 0
            txn = tx.send(KEYS, by, R, seen, msgspec.structs.replace(sent, tombstone_revision=tombstone))
            after, done = self._commit("send", keys, txn)
            if done:
                after = {**after, SWEEP: Item(encode(sent), after[SWEEP].create, after[SWEEP].mod)}
                deletes = tuple(sorted((*state.deletes, sweep.incarnation)))
                yield f"send {sent.attempt}", self._with(replace(state, deletes=deletes), after)
            elif sweep.attempt == 0:
                aborted, _ = self._commit("abort", keys, tx.abort(KEYS, by, R, seen))
                yield "abort", self._with(replace(state, facts=None), aborted)
        if state.answered:
            grave = GraveRecord(sweep.incarnation, "gone")
            record = ResourceRecord(sweep.incarnation, "rule", GRACE, HOLDERS[0])
            after, _ = self._commit("finish", keys, tx.finish(KEYS, by, R, seen, record, grave, LeaseId(0)))
            after = {key: item for key, item in after.items() if key != KEYS.grave(R)}
            done = replace(state, answered=False, facts=None, holding=(0, 0))
            yield "finish", self._with(done, after)

    # --- what the owner and the network do ----------------------------------------------------------------------

    def _owner(self, state: State) -> Iterator[tuple[str, State]]:
        for incarnation in set(state.deletes):
            for twice in (False, True) if self._adversary.duplicated_deletes else (False,):
                left = list(state.deletes)
                if not twice:
                    left.remove(incarnation)
                elif len(state.deletes) > 1:
                    continue
                matches = f"uid:{state.owner}" == incarnation
                if state.owner and not matches and not self._adversary.conditional_delete:
                    raise Violation(f"S2: a delete meant for {incarnation} hit uid:{state.owner}")
                in_sweep = any(key == SWEEP for key, _ in state.keys)
                yield (
                    f"a delete of {incarnation} arrives{' and stays on its way' if twice else ''}",
                    replace(
                        state,
                        owner=0 if matches else state.owner,
                        deletes=tuple(left),
                        answered=state.answered or in_sweep,
                    ),
                )

    # --- parts ------------------------------------------------------------------------------------------------

    def _guarded(self, name: str, n: int, member: Txn) -> Txn:
        return tx.batch(KEYS, {HOLDERS[n]: BOOT}, [self._mutate(name, member)])

    def _commit(self, name: str, keys: Keys, txn: Txn) -> tuple[Keys, bool]:
        revision = 1000  # later than any rank; ``ranked`` brings it down
        return commit(keys, self._mutate(name, txn), revision)

    def _with(self, state: State, keys: Keys) -> State:
        protected = state.protected_since_epoch or (EPOCH in keys and _protected(keys))
        return ranked(replace(state, keys=tuple(sorted(keys.items())), protected_since_epoch=protected))

    def _next_hold(self, n: int, state: State) -> HoldRecord:
        return HoldRecord(BOOT, state.sequence[n] + 1)


def _read(keys: Keys) -> Facts | None:
    """One linearizable read; ``None`` if it shows the resource held."""
    holds = []
    for holder in HOLDERS:
        item = keys.get(KEYS.hold(R, holder))
        if item is None:
            continue
        released = b'"released":true' in item.value
        if not released and KEYS.beacon(holder) in keys:
            return None
        roster = keys.get(KEYS.roster(holder))
        holds.append((holder, item.mod, released, roster.mod if roster else 0))
    if not holds:
        return None
    tombstone, epoch = keys.get(TOMBSTONE), keys.get(EPOCH)
    return Facts(
        max(item.mod for item in keys.values()),
        keys[RECORD].mod,
        _incarnation(keys[RECORD].value),
        tuple(holds),
        tombstone.mod if tombstone else 0,
        (epoch.create, epoch.mod, b"true" in epoch.value) if epoch else (0, 0, False),
    )


def _protected(keys: Keys) -> bool:
    """Whether a hold of a holder with a beacon exists: what the laws protect."""
    return RECORD in keys and any(
        (item := keys.get(KEYS.hold(R, holder))) is not None
        and b'"released":true' not in item.value
        and KEYS.beacon(holder) in keys
        for holder in HOLDERS
    )


def _incarnation(value: bytes) -> str:
    return msgspec.json.decode(value, type=ResourceRecord).incarnation


def _decode_sweep(value: bytes) -> SweepRecord:
    return msgspec.json.decode(value, type=SweepRecord)


def replace_sweep(sweep: SweepRecord, attempt: int) -> SweepRecord:
    return SweepRecord(SweepState.SENT, sweep.incarnation, 0, 0, 0, sweep.epoch, sweep.holders, attempt)


def _set(pair: tuple, n: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (value, pair[1]) if n == 0 else (pair[0], value)
