"""The brake and the operator's hand: trip, arm, pin, unpin, restore, at any moment beside decisions of long ago."""

from __future__ import annotations

from typing import Any

from leasehold.protocol import transactions as tx
from leasehold.protocol.keyspace import Family
from leasehold.protocol.records import ArmedRecord, PinRecord, ShardRecord, encode
from tests.model.collector import PREPARES
from tests.model.etcd import Keys
from tests.model.holders import Landed
from tests.model.names import ARMED, ARMED_VALUE, BOOT, EPOCH, KEYS, ROSTER, SHARD, A, B, X, hold, record
from tests.model.scene import Scene
from tests.model.world import Flight, State, Steps, Violation
from tests.model.worlds.one import FAMILIES, OneResource


def _of_one(write: Any) -> Any:
    return lambda flight: write(KEYS, flight.about)


class Operator(OneResource):
    title = "the brake, pins and restores, beside decisions that arrive late"
    late = frozenset({"condemn", "prepare", "prepare and send", "send"})
    families = (*FAMILIES, Family.PINS)
    besides = (KEYS.hold(X, tx.PINNED),)

    def __init__(self, budget: dict[str, int] | None = None) -> None:
        super().__init__(budget or {"trips": 1, "arms": 1, "pins": 1, "restores": 1, "acquires": 0, "attaches": 0})
        self._builders |= {
            "trip": lambda _: tx.trip(KEYS), "arm": lambda _: tx.arm(KEYS, ArmedRecord("o", "w")),
            "pin": lambda flight: tx.pin(KEYS, flight.about, PinRecord("o", "w")),
            "unpin": _of_one(tx.unpin), "restore": _of_one(tx.restore),
        }  # fmt: skip

    def start(self) -> State:
        """Its holder has died already."""
        keys = [
            (ARMED, ARMED_VALUE), (SHARD, encode(ShardRecord("leader"))), (KEYS.roster(A), encode(ROSTER)),
            (KEYS.record(X), encode(record(1))), (KEYS.hold(X, A), encode(hold(1))),
        ]  # fmt: skip
        scene = Scene((1,), made=1, sequence=(1, 0), left=self.budget)
        return self.settled(self.begin(keys, scene)._replace(revs=(2,)))

    def steps(self, state: State) -> Steps:
        yield from self.arrivals(state)
        yield from self.decisions("leader", X, state)
        yield from self.epochs("leader", state)
        for name, budget, about in (
            ("trip", "trips", None), ("arm", "arms", None), ("pin", "pins", X), ("restore", "restores", X),
        ):  # fmt: skip
            if self.may(state.scene, budget) and (name != "arm" or not self.has(state, ARMED)):
                paid = state._replace(scene=self.spent(state.scene, budget))
                yield from self.send(f"the operator: {name}", paid, Flight(name, about, (), (), "operator"))
        if self.has(state, KEYS.pin(X)):
            yield from self.send("the operator: unpin", state, Flight("unpin", X, (), (), "operator"))

    def land(self, state: State, flight: Flight, others: tuple[Flight, ...]) -> State | None:
        void = {"trip": {"condemn", *PREPARES, "send"}, "restore": {*PREPARES}, "unpin": {*PREPARES}}.get(
            flight.name, ()
        )
        doubted = tuple(one._replace(doubted=True) if one.name in void else one for one in others)
        return super().land(state, flight, doubted)

    def on_trip(self, state: State, keys: Keys, flight: Flight) -> Landed:
        return state.scene, ()

    on_arm = on_trip

    def on_pin(self, state: State, keys: Keys, flight: Flight) -> Landed:
        if self.has(state, KEYS.sweep(X)):
            raise Violation(f"S1: the operator is told that x is kept ({flight.name}), and it is being swept")
        # Grace starts anew, so this counts as if somebody had held it for a moment.
        touched = {X} if self.has(state, EPOCH) and flight.name != "pin" else set()
        return state.scene._replace(reached=state.scene.reached | touched), ()

    on_unpin = on_restore = on_pin


class Pins(Operator):
    title = "a pin, one of whose keys is lost, and whose id the app uses again"
    late = frozenset()
    careless = True

    def __init__(self) -> None:
        super().__init__({"pins": 1, "losses": 1, "deletes": 1, "creates": 1})

    def start(self) -> State:
        """B, who could use the id again, is alive."""
        state, keys = super().start(), [(KEYS.beacon(B), BOOT.encode()), (KEYS.roster(B), encode(ROSTER))]
        for key, value in keys:
            state = state._replace(keys=self.put(state.keys, key, value))
        return self.settled(state._replace(scene=state.scene._replace(more=False)))

    def steps(self, state: State) -> Steps:
        yield from super().steps(state)
        yield from self.lease(B, state)
        yield from self.deletes(B, X, state)
        yield from self.creates(B, X, state)
        yield from self.registers(B, state)
        if self.may(state.scene, "losses"):
            for key, called in ((KEYS.pin(X), "the pin"), (KEYS.hold(X, tx.PINNED), "the pin's hold")):
                if self.has(state, key):
                    scene = self.spent(state.scene, "losses")
                    yield f"{called} is lost", self.moved(state, self.put(state.keys, key, None), scene)

    def on_pin(self, state: State, keys: Keys, flight: Flight) -> Landed:
        scene, launched = super().on_pin(state, keys, flight)
        return scene._replace(more=flight.name == "pin"), launched

    on_unpin = on_pin

    def on_prepare(self, state: State, keys: Keys, flight: Flight) -> Landed:
        if state.scene.more:
            raise Violation("S4: x is prepared, and the operator who pinned it never said otherwise")
        return super().on_prepare(state, keys, flight)

    def over(self, state: State) -> bool:
        return super().over(state) or not self.may(state.scene, "losses")  # what is lost keeps it until an unpin


class LostKeys(Operator):
    title = "keys of etcd are lost, one at a time, beside decisions that arrive late"
    careless = True
    late = frozenset({"condemn", "prepare", "prepare and send", "send", "revive"})

    def __init__(self) -> None:
        OneResource.__init__(self, {"losses": 1})
        self._builders["trip"] = lambda _: tx.trip(KEYS)

    def steps(self, state: State) -> Steps:
        yield from self.arrivals(state)
        yield from self.decisions("leader", X, state)
        yield from self.epochs("leader", state)
        if self.may(state.scene, "losses"):
            scene = self.spent(state.scene, "losses")
            for key in (KEYS.record(X), KEYS.hold(X, A), KEYS.roster(A), KEYS.tombstone(X), ARMED, SHARD):
                evidence = key in {KEYS.record(X), KEYS.tombstone(X)} and self.has(state, KEYS.sweep(X))
                if self.has(state, key) and not evidence:
                    called = key.decode().split("/", 4)[4]
                    yield f"{called} is lost", self.moved(state, self.put(state.keys, key, None), scene)

    def beside(self, flight: Flight, state: State) -> tuple[Flight, ...] | None:
        """What was decided stays on its way beside what is decided later, if that is another step."""
        if flight in state.flying:
            return None
        same = PREPARES if flight.name in PREPARES else (flight.name,)
        return tuple(one for one in state.flying if one.name not in same or one.name == "DELETE")

    def over(self, state: State) -> bool:
        return super().over(state) or not self.may(state.scene, "losses")  # what is lost keeps it for ever: S4
