"""Graces and attachments: epochs that are opened, measured and dropped late and twice; and two runs of one sidecar.

Whether a whole grace passed is what a lease says that nobody can hurry (``Scene.more``: the epochs it has run out for).
"""

from __future__ import annotations

from leasehold.protocol import transactions as tx
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Boot, Holder, Revision
from leasehold.protocol.records import ShardRecord, encode
from leasehold.protocol.store import Txn
from tests.model import holders
from tests.model.decisions import DONE, OPEN, authority
from tests.model.etcd import Keys, Layout
from tests.model.holders import Holders, Landed
from tests.model.names import BOOT, GRACE, KEYS, ROSTER, SHARD, A
from tests.model.scene import Scene
from tests.model.world import Flight, State, Steps, Violation

NUMBERS = (1, 2)
AGAIN = Boot("c")


def _found(number: int, create: int, mod: int, record: object = OPEN) -> tx.EpochFound:
    return tx.EpochFound(GRACE, number, KEYS.epoch(GRACE, number), Revision(create), Revision(mod), record)  # type: ignore[arg-type]


def _close(flight: Flight) -> Txn:
    return tx.close_epoch(KEYS, authority(flight), _found(flight.rest[0], *flight.revs[2:4]), DONE)


def _drop(flight: Flight) -> Txn:
    old, newer = flight.rest
    return tx.drop_epoch(
        KEYS, authority(flight), _found(old, *flight.revs[2:4], DONE), _found(newer, *flight.revs[4:6], DONE)
    )


class Epochs(Holders):
    title = "epochs of a grace, opened, measured and dropped by decisions that arrive late"
    late = frozenset({"open epoch", "close epoch", "drop epoch"})
    repeats = True

    def __init__(self) -> None:
        keys = [key for n in NUMBERS for key in (KEYS.epoch(GRACE, n), KEYS.epoch_lease(GRACE, n))]
        builders = {
            "open epoch": lambda flight: tx.open_epoch(KEYS, authority(flight), GRACE, flight.rest[0], OPEN),
            "close epoch": _close, "drop epoch": _drop,
        }  # fmt: skip
        super().__init__(Layout(KEYS, [*keys, SHARD]), builders, [], [], {"fences": 1, "losses": 1})

    def start(self) -> State:
        state = self.begin([(SHARD, encode(ShardRecord("leader")))], Scene((), left=self.budget, more=frozenset()))
        return self.settled(state._replace(revs=(1,)))

    def steps(self, state: State) -> Steps:
        yield from self.arrivals(state)
        shard, scene = self.at(state, SHARD), state.scene
        if shard is None:
            return
        if self.may(scene, "fences"):
            yield "the fence is lost", self.moved(state, self.put(state.keys, SHARD, None), self.spent(scene, "fences"))
        for n in NUMBERS:
            epoch, lease = self.at(state, KEYS.epoch(GRACE, n)), KEYS.epoch_lease(GRACE, n)
            if epoch is None:
                yield from self.send(f"open epoch {n}", state, self._decided("open epoch", shard[1], (), (n,)))
                continue
            if self.has(state, lease):
                whole = scene._replace(more=scene.more | {n})
                yield f"a grace passes for epoch {n}", self.moved(state, self.put(state.keys, lease, None), whole)
            if self.may(scene, "losses"):
                gone = self.spent(scene._replace(more=scene.more - {n}), "losses")
                yield f"epoch {n} is lost", self.moved(state, self.put(state.keys, KEYS.epoch(GRACE, n), None), gone)
            if b"true" not in epoch[0]:
                yield from self.send(
                    f"close epoch {n}", state, self._decided("close epoch", shard[1], epoch[1:3], (n,))
                )
                continue
            newer = self.at(state, KEYS.epoch(GRACE, 3 - n))
            if newer is not None and b"true" in newer[0] and newer[1] > epoch[1]:
                revs = (*epoch[1:3], *newer[1:3])
                yield from self.send(f"drop epoch {n}", state, self._decided("drop epoch", shard[1], revs, (n, 3 - n)))

    def _decided(self, name: str, fence: int, revs: tuple[int, ...], rest: tuple[int, ...]) -> Flight:
        return Flight(name, None, (fence, 0, *revs), rest, "leader")

    def beside(self, flight: Flight, state: State) -> tuple[Flight, ...] | None:
        return None if flight in state.flying else tuple(one for one in state.flying if one.name != flight.name)

    def moved(self, state: State, keys: Keys, scene: Scene, flying: tuple[Flight, ...] | None = None) -> State:
        return self.settled(State(keys, state.flying if flying is None else flying, state.revs, scene))

    def check(self, state: State) -> None:
        """S1: an epoch that says that it is done is whole."""
        for n in NUMBERS:
            epoch = self.at(state, KEYS.epoch(GRACE, n))
            if epoch is not None and b"true" in epoch[0] and n not in state.scene.more:
                raise Violation(f"S1: epoch {n} is done, and no whole grace has passed since it opened")

    def on_open_epoch(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._led(state, flight)
        if self.has(state, KEYS.epoch(GRACE, flight.rest[0])):
            raise Violation(f"L1: epoch {flight.rest[0]} runs, and is begun anew")
        return state.scene._replace(more=state.scene.more - {flight.rest[0]}), ()

    def on_close_epoch(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._led(state, flight)
        return state.scene, ()

    def on_drop_epoch(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._led(state, flight)
        old, newer = flight.rest
        kept = self.at(state, KEYS.epoch(GRACE, newer))
        if kept is None or b"true" not in kept[0]:
            raise Violation(f"L1: epoch {old} is dropped, and no newer one is done: all graces would begin anew")
        return state.scene._replace(more=state.scene.more - {old}), ()

    def _led(self, state: State, flight: Flight) -> None:
        if not self.has(state, SHARD):
            raise Violation(f"S3: {flight.name} is written without the fence")

    def over(self, state: State) -> bool:
        return not self.has(state, SHARD) or any(
            (epoch := self.at(state, KEYS.epoch(GRACE, n))) is not None and b"true" in epoch[0] for n in NUMBERS
        )


class Boots(Holders):
    title = "two runs of one sidecar that speak for one holder: attaching and retiring late"
    late = frozenset({"attach", "retire"})

    def __init__(self) -> None:
        builders = {
            "attach": holders.BUILDERS["attach"],
            "retire": lambda flight: tx.retire(KEYS, Holder(flight.rest[0]), Boot(flight.rest[1]), ROSTER),
        }  # fmt: skip
        layout = Layout(KEYS, [KEYS.beacon(A), KEYS.roster(A)], (Family.INTENTS,))
        super().__init__(layout, builders, [], [], {"attaches": 3, "expiries": 1})

    def start(self) -> State:
        return self.begin([], Scene((), left=self.budget, more=frozenset()))

    def steps(self, state: State) -> Steps:
        yield from self.arrivals(state)
        if self.has(state, KEYS.beacon(A)) and self.may(state.scene, "expiries"):
            gone = self.put(state.keys, KEYS.beacon(A), None)
            yield "a expires", self.moved(state, gone, self.spent(state.scene, "expiries"))
        for boot in (BOOT, AGAIN):
            if self.may(state.scene, "attaches"):
                paid = state._replace(scene=self.spent(state.scene, "attaches"))
                yield from self.send(f"run {boot} attaches", paid, Flight("attach", None, (), (A, boot), boot))
            yield from self.send(f"run {boot} retires", state, Flight("retire", None, (), (A, boot), boot))

    def beside(self, flight: Flight, state: State) -> tuple[Flight, ...] | None:
        return None if flight in state.flying else state.flying

    def moved(self, state: State, keys: Keys, scene: Scene, flying: tuple[Flight, ...] | None = None) -> State:
        return self.settled(State(keys, state.flying if flying is None else flying, state.revs, scene))

    def check(self, state: State) -> None:
        """Who attaches is on the roster."""
        if self.has(state, KEYS.beacon(A)) and not self.has(state, KEYS.roster(A)):
            raise Violation("S4: a has a beacon, and no roster entry")

    def on_attach(self, state: State, keys: Keys, flight: Flight) -> Landed:
        beacon = self.at(state, KEYS.beacon(A))
        if beacon is not None and beacon[0] != flight.rest[1].encode():
            raise Violation(f"S8: run {flight.rest[1]} writes over the beacon of the other run of a")
        return state.scene, ()

    on_retire = on_attach

    def over(self, state: State) -> bool:
        return self.has(state, KEYS.roster(A)) or not self.may(state.scene, "attaches")
