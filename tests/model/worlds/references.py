"""Two resources, one of which may come to need the other; and a cycle of two. Two holders, one control plane.

What the control plane makes of a read of both is the product's own verdict (``core.cycles``). Holders expire and come
back, somebody registers what refers, the app deletes it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from leasehold.control_plane.core.cycles import ripe_together, unheld_together
from leasehold.control_plane.core.verdict import Keep, Ripe, read_evidence
from leasehold.protocol import cycles
from leasehold.protocol import transactions as tx
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import LeaseId, Resource, Revision
from leasehold.protocol.records import ShardRecord, SweepRecord, SweepState, TombstoneRecord, encode
from leasehold.protocol.store import KeyValue, Txn
from tests.model import decisions, holders
from tests.model.collector import Collector, _epochs
from tests.model.decisions import DONE, authority
from tests.model.etcd import Keys, Layout
from tests.model.holders import Landed
from tests.model.names import (
    ARMED,
    ARMED_VALUE,
    BOOT,
    EPOCH,
    GRACE,
    KEYS,
    ROSTER,
    SHARD,
    A,
    B,
    X,
    Y,
    Z,
    hold,
    record,
)
from tests.model.scene import Scene, keys_of, sweep_of
from tests.model.world import Flight, State, Steps, Violation

FAMILIES = (Family.RESOURCES, Family.TOMBSTONES, Family.SWEEPS, Family.REFS)
UNSEEN = (Family.EPOCH_LEASES, Family.GRAVES, Family.NOTICES)


class Referring(Collector):
    title = "a resource that another comes to need"
    late = frozenset({"condemn", "prepare", "prepare and send"})
    refers: ClassVar[dict[Resource, tuple[Resource, ...]]] = {Z: (Y,)}
    ids: tuple[Resource, ...] = (Y, Z)

    def __init__(self, budget: dict[str, int] | None = None, more: Sequence[bytes] = ()) -> None:
        layout = Layout(KEYS, keys_of(self.ids, [A, B], FAMILIES, [EPOCH, ARMED, SHARD, *more]), UNSEEN)
        budget = budget or {"creates": 2, "deletes": 1}
        super().__init__(layout, {**holders.BUILDERS, **decisions.BUILDERS}, self.ids, [A, B], budget)

    def start(self) -> State:
        """Y is there, its holder has died. Z is still to come."""
        keys = self._living()
        keys += [
            (KEYS.roster(A), encode(ROSTER)),
            (KEYS.record(Y), encode(record(1))),
            (KEYS.hold(Y, A), encode(hold(1))),
        ]
        scene = Scene((1, 0), made=1, sequence=(1, 0), left=self.budget)
        return self.settled(self.begin(keys, scene)._replace(revs=(2,)))

    def _living(self) -> list[tuple[bytes, bytes]]:
        lives = [(KEYS.beacon(B), BOOT.encode()), (KEYS.roster(B), encode(ROSTER))]
        return [(ARMED, ARMED_VALUE), (SHARD, encode(ShardRecord("leader"))), *lives]

    def steps(self, state: State) -> Steps:
        yield from self.lease(B, state)
        yield from self.creates(B, Z, state)
        yield from self.registers(B, state)
        yield from self.releases(B, state)
        yield from self.deletes(B, Z, state)
        yield from self.arrivals(state)
        yield from self.epochs("leader", state)
        for one in self.ids:
            yield from self.decisions("leader", one, state)


class ReferringToAll(Referring):
    title = "a resource that another comes to need, as it needs everything of that type"
    refers: ClassVar[dict[Resource, tuple[Resource, ...]]] = {Z: (tx.every(Y),)}
    ids = (Y, Z)

    def __init__(self) -> None:
        super().__init__({"creates": 1, "deletes": 1}, [KEYS.ref(tx.every(Y), Z)])


# --- cycles -------------------------------------------------------------------------------------------------------


def _facts(flight: Flight) -> list[tx.Unheld]:
    parts, revs = flight.rest[0], list(flight.revs[6:])
    found = []
    for resource, holds, sources in parts:
        known = Revision(revs.pop(0))
        pairs = [(revs.pop(0), revs.pop(0)) for _ in holds]
        listed = [
            tx.HoldFound(holder, Revision(mod), released, Revision(roster))
            for (holder, released), (mod, roster) in zip(holds, pairs, strict=True)
        ]
        found.append(tx.Unheld(resource, known, Revision(flight.revs[2]), listed, sources))
    return found


def _condemn(flight: Flight) -> Txn:
    found = _facts(flight)
    names = tuple(tuple(one.resource) for one in found)
    stones = {one.resource: TombstoneRecord("uid:1", "a cycle", 0, cycle=names) for one in found}  # type: ignore[arg-type]
    return cycles.condemn_cycle(KEYS, authority(flight), found, stones)


def _prepare(flight: Flight) -> Txn:
    found = _facts(flight)
    tombstone, create, mod = (Revision(rev) for rev in flight.revs[3:6])
    everybody = tuple(dict.fromkeys(holder for one in found for holder in one.holders))
    names: Any = tuple(tuple(one.resource) for one in found)
    sweeps = {
        one.resource: SweepRecord(
            SweepState.PREPARED, "uid:1", 0, 0, tombstone, "1s/1",
            one.holders if flight.rest[1] else everybody, cycle=names,
        )
        for one in found
    }  # fmt: skip
    epoch = tx.EpochFound(GRACE, 1, EPOCH, create, mod, DONE)
    epochs = {one.resource: epoch for one in found}
    return cycles.prepare_cycle(KEYS, authority(flight), found, tombstone, epochs, sweeps)


def _abort(flight: Flight) -> Txn:
    assert flight.about is not None
    unsent = dict(zip(flight.rest, map(Revision, flight.revs[3:]), strict=True))
    return tx.abort(KEYS, authority(flight), flight.about, Revision(flight.revs[2]), unsent)


class Cycle(Referring):
    title = "a cycle of two: held again, the owner refuses"
    late = frozenset({"condemn cycle", "prepare cycle"})
    refers: ClassVar[dict[Resource, tuple[Resource, ...]]] = {X: (Y,), Y: (X,)}
    ids = (X, Y)
    refuses = True
    created = (*Collector.created, Family.RESOURCES)
    one_by_one = own_holders = aborts_alone = False
    """Guards that are no compares, to be left out one at a time."""

    def __init__(self, budget: dict[str, int] | None = None) -> None:
        super().__init__(budget or {"acquires": 1})
        self._builders |= {"condemn cycle": _condemn, "prepare cycle": _prepare, "abort": _abort}

    def start(self) -> State:
        """Each refers to the other; A, who has died, holds both."""
        keys = [*self._living(), (KEYS.roster(A), encode(ROSTER))]
        for one, other in ((X, Y), (Y, X)):
            keys += [(KEYS.record(one), encode(record(1, other))), (KEYS.hold(one, A), encode(hold(1)))]
            keys += [(KEYS.ref(other, one), b"{}")]
        scene = Scene((1, 1), made=1, sequence=(1, 0), left=self.budget)
        return self.settled(self.begin(keys, scene)._replace(revs=(2,)))

    def steps(self, state: State) -> Steps:
        yield from self.lease(B, state)
        yield from self.acquires(B, Y, state)
        yield from self.releases(B, state)
        yield from self.deletes(B, X, state)
        yield from self.arrivals(state)
        yield from self.epochs("leader", state)
        yield from self._together(state)
        for one in self.ids:
            yield from self.decisions("leader", one, state)

    def _together(self, state: State) -> Steps:
        fence, armed = state.revs[0], self.at(state, ARMED)
        assert armed is not None
        found = self._judged_together(state.keys)
        alone = self.one_by_one and found and isinstance(found[0], Ripe)
        for group in [(one,) for one in found] if alone else [found] if found else []:
            flight = self._of_all(group, state, fence, armed[2])
            yield from self.send(f"leader: {flight.name}", state, flight)

    def _of_all(self, found: Any, state: State, fence: int, armed: int) -> Flight:
        facts, first = [one.facts for one in found], found[0]
        more = [0, 0, 0]
        name = "condemn cycle"
        if isinstance(first, Ripe):
            name = "prepare cycle"
            more = [first.tombstone, first.epoch.create_revision, first.epoch.mod_revision]
        revs = [fence, armed, self.newest(state), *more]
        for one in facts:
            revs += [one.record_revision, *(rev for hold in one.holds for rev in (hold.mod_revision, hold.roster))]
        parts = tuple(
            (one.resource, tuple((hold.holder, hold.released) for hold in one.holds), tuple(one.sources))
            for one in facts
        )
        return Flight(name, None, tuple(revs), (parts, self.own_holders), "leader")

    def _judged_together(self, keys: Keys) -> Any:
        known = self._verdicts.get((keys, None))  # type: ignore[call-overload]
        if known is None:
            there = {
                key: KeyValue(key, item[0], Revision(item[1]), Revision(item[2]), 1, LeaseId(0))
                for key, item in zip(self.layout.keys, keys, strict=True)
                if item is not None
            }
            evidence = [read_evidence(KEYS, one, Revision(1), there, there.get(ARMED)) for one in self.ids]
            stones = [one.tombstone is None for one in evidence]
            judged = unheld_together(evidence) if any(stones) else ripe_together(evidence, lambda _: _epochs(there))
            known = self._verdicts[keys, None] = () if isinstance(judged, Keep) else judged  # type: ignore[index,assignment]
        return known

    def _options(self, leader: str, resource: Resource, state: State) -> list[Flight]:
        options = super()._options(leader, resource, state)
        return [self._with_others(one, state) if one.name == "abort" else one for one in options]

    def _conclusion(self, name: str, call: Flight, state: State) -> Flight | None:
        flight = super()._conclusion(name, call, state)
        return self._with_others(flight, state) if flight is not None and name == "abort" else flight

    def _with_others(self, flight: Flight, state: State) -> Flight:
        """What was not sent is given up with it."""
        others = [one for one in self.ids if one != flight.about and self.has(state, KEYS.sweep(one))]
        unsent = [one for one in others if not sweep_of(self.at(state, KEYS.sweep(one))[0]).attempt]  # type: ignore[index]
        if self.aborts_alone or not unsent:
            return flight
        revs = [self.at(state, KEYS.sweep(one))[2] for one in unsent]  # type: ignore[index]
        return flight._replace(revs=(*flight.revs, *revs), rest=tuple(unsent))

    def outdated(self, flight: Flight, keys: Keys) -> Flight:
        return flight if flight.about is None else super().outdated(flight, keys)

    def on_condemn_cycle(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._authorised(state, flight)
        for one, _, _ in flight.rest[0]:
            if one in self.held(state.keys):
                raise Violation(f"S1: {one.id} is condemned, and a living hold leads there")
        return state.scene, ()

    def on_prepare_cycle(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._authorised(state, flight)
        scene = state.scene
        for one, _, _ in flight.rest[0]:
            if one in self.held(state.keys) | scene.reached:
                raise Violation(f"S1: {one.id} is prepared, and a living hold led there within the last whole grace")
            scene = self.lost(scene, one)
        return scene, ()

    def on_send(self, state: State, keys: Keys, flight: Flight) -> Landed:
        assert flight.about is not None
        sweep = sweep_of(flight.rest[0])
        ahead = [one.id for one in tx.before(sweep, flight.about) if self.has(state, KEYS.sweep(one))]
        if ahead:
            raise Violation(f"order: {flight.about.id} is sent before {', '.join(ahead)} is gone")
        return super().on_send(state, keys, flight)


class CycleComesBack(Cycle):
    title = "a cycle of two: a holder comes back, the owner refuses"

    def __init__(self) -> None:
        super().__init__({"attaches": 1})


class CycleBreaks(Cycle):
    title = "a cycle of two: held again, and one of it deleted by the app"
    refuses = False

    def __init__(self) -> None:
        super().__init__({"acquires": 1, "deletes": 1})
