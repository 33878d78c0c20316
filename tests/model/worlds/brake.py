"""The brake by itself: a replica trips it for what it saw, or arms it again, and an operator knows better.

And who is counted in: shards are claimed by a replica that is alive, of as many as it takes there to be.
"""

from __future__ import annotations

from typing import NamedTuple

from leasehold.protocol import transactions as tx
from leasehold.protocol import transactions_brake as txb
from leasehold.protocol.names import LeaseId, Revision
from leasehold.protocol.records import (
    ArmedRecord,
    Cause,
    ClusterRecord,
    ReplicaRecord,
    ShardRecord,
    TrippedRecord,
    decode,
    encode,
)
from tests.model.decisions import authority
from tests.model.etcd import Keys, Layout
from tests.model.holders import Holders, Landed
from tests.model.names import ARMED, ARMED_VALUE, CLUSTER, KEYS, SHARD
from tests.model.scene import Scene
from tests.model.world import Flight, State, Steps, Violation

TRIPPED, REPLICA = KEYS.tripped, KEYS.replica("one")
VANISHED, BY_HAND = TrippedRecord("one", "w", Cause.VANISHED), TrippedRecord("me", "w", Cause.OPERATOR)
RETURNED = ArmedRecord("one", "they are back", returned=True)
MINE = ReplicaRecord("boot")
CLUSTERS = (ClusterRecord("c", shards=1), ClusterRecord("c", shards=2))


class Hand(NamedTuple):
    """Ghost: what the operator said last."""

    stop: bool = False
    go: bool = False


class Braking(Holders):
    title = "the brake: tripped and armed again by replicas that saw something, long ago, beside an operator"
    late = frozenset({"trip armed", "rearm"})

    def __init__(self) -> None:
        builders = {
            "trip armed": lambda flight: txb.trip_armed(KEYS, Revision(flight.revs[1]), VANISHED),
            "rearm": lambda flight: txb.rearm(KEYS, authority(flight), Revision(flight.revs[2]), RETURNED),
            "trip": lambda _: tx.trip(KEYS, BY_HAND), "arm": lambda _: tx.arm(KEYS, ArmedRecord("o", "w")),
        }  # fmt: skip
        budget = {"trips": 2, "arms": 2, "fences": 1, "sights": 2}
        super().__init__(Layout(KEYS, [ARMED, TRIPPED, SHARD]), builders, [], [], budget)

    def start(self) -> State:
        scene = Scene((), left=self.budget, more=Hand())
        return self.begin([(ARMED, ARMED_VALUE), (SHARD, encode(ShardRecord("one")))], scene)

    def steps(self, state: State) -> Steps:
        yield from self.arrivals(state)
        armed, tripped, shard = self.at(state, ARMED), self.at(state, TRIPPED), self.at(state, SHARD)
        for name, budget in (("trip", "trips"), ("arm", "arms")):
            if self.may(state.scene, budget):
                paid = state._replace(scene=self.spent(state.scene, budget))
                yield from self.send(f"the operator: {name}", paid, Flight(name, None, (), (), "operator"))
        if armed is not None and self.may(state.scene, "sights"):
            paid = state._replace(scene=self.spent(state.scene, "sights"))
            yield from self.send("much vanishes: trip", paid, Flight("trip armed", None, (0, armed[2]), (), "one"))
        if shard is None:
            return
        if self.may(state.scene, "fences"):
            gone = self.put(state.keys, SHARD, None)
            yield "the fence is lost", self.moved(state, gone, self.spent(state.scene, "fences"))
        if armed is None and tripped is not None and decode(TrippedRecord, tripped[0]).cause is Cause.VANISHED:
            flight = Flight("rearm", None, (shard[1], 0, tripped[2]), (), "one")
            yield from self.send("most is back: arm again", state, flight)

    def beside(self, flight: Flight, state: State) -> tuple[Flight, ...] | None:
        return None if flight in state.flying else state.flying

    def moved(self, state: State, keys: Keys, scene: Scene, flying: tuple[Flight, ...] | None = None) -> State:
        return self.settled(State(keys, state.flying if flying is None else flying, state.revs, scene))

    def check(self, state: State) -> None:
        if state.scene.more.stop and self.has(state, ARMED):
            raise Violation("S5: the operator tripped the brake, and it is off")

    def on_trip(self, state: State, keys: Keys, flight: Flight) -> Landed:
        return state.scene._replace(more=Hand(stop=True)), ()

    def on_arm(self, state: State, keys: Keys, flight: Flight) -> Landed:
        # Whoever arms knows of what was seen before: it is void.
        return state.scene._replace(more=Hand(go=True)), ()

    def land(self, state: State, flight: Flight, others: tuple[Flight, ...]) -> State | None:
        if flight.name == "arm":
            others = tuple(one._replace(doubted=True) for one in others)
        return super().land(state, flight, others)

    def on_trip_armed(self, state: State, keys: Keys, flight: Flight) -> Landed:
        if flight.doubted:
            raise Violation("L1: an operator armed, and what was seen before that stops everything again")
        return state.scene, ()

    def on_rearm(self, state: State, keys: Keys, flight: Flight) -> Landed:
        if not self.has(state, SHARD):
            raise Violation("S3: the brake is armed again without the fence")
        if self.has(state, ARMED):
            raise Violation("S5: what an operator armed is taken for what a replica armed again")
        return state.scene, ()

    def over(self, state: State) -> bool:
        return self.has(state, ARMED) or not self.may(state.scene, "arms")


class Claims(Braking):
    title = "shards are claimed by who is alive, of as many as there are"
    late = frozenset({"claim shards", "yield", "join"})

    def __init__(self) -> None:
        claim = tx.claim_shards
        builders = {
            "join": lambda flight: tx.join(KEYS, "one", ReplicaRecord(flight.rest[0]), LeaseId(1)),
            "claim shards": lambda flight: claim(
                KEYS, [0], ShardRecord("one"), MINE, LeaseId(1), Revision(flight.revs[0])
            ),
            "yield": lambda flight: tx.yield_shards(KEYS, {0: Revision(flight.revs[0])}),
        }  # fmt: skip
        Holders.__init__(self, Layout(KEYS, [CLUSTER, REPLICA, SHARD]), builders, [], [], {"others": 1, "expiries": 2})

    def start(self) -> State:
        return self.begin([(CLUSTER, encode(CLUSTERS[0]))], Scene((), left=self.budget, more=Hand()))

    def steps(self, state: State) -> Steps:
        yield from self.arrivals(state)
        cluster = self.at(state, CLUSTER)
        assert cluster is not None
        for boot in (MINE.boot, "another"):
            yield from self.send(f"joins, as {boot}", state, Flight("join", None, (), (boot,), "one"))
        if self.has(state, REPLICA) and self.may(state.scene, "expiries"):
            gone = self.put(self.put(state.keys, REPLICA, None), SHARD, None)
            yield "its lease runs out", self.moved(state, gone, self.spent(state.scene, "expiries"))
        if self.may(state.scene, "others"):
            anew = self.put(state.keys, CLUSTER, encode(CLUSTERS[1]))
            yield "there are more shards from now on", self.moved(state, anew, self.spent(state.scene, "others"))
        shard = self.at(state, SHARD)
        if shard is not None:
            yield from self.send("yields", state, Flight("yield", None, (shard[1],), (), "one"))
        yield from self.send("claims", state, Flight("claim shards", None, (cluster[2],), (cluster[0],), "one"))

    def check(self, state: State) -> None:
        """A fence is never without a replica that others count in: nobody would wait for it to be given up."""
        if self.has(state, SHARD) and not self.has(state, REPLICA):
            raise Violation("S3: a shard is held by a replica that nobody counts in")

    def on_join(self, state: State, keys: Keys, flight: Flight) -> Landed:
        there = self.at(state, REPLICA)
        if there is not None and there[0] != encode(ReplicaRecord(flight.rest[0])):
            raise Violation("S3: two replicas of one name, and either takes the other for itself")
        return state.scene, ()

    def on_yield(self, state: State, keys: Keys, flight: Flight) -> Landed:
        shard = self.at(state, SHARD)
        if shard is not None and shard[1] != flight.revs[0] and keys[self.layout.slot[SHARD]] is None:
            raise Violation("S3: a tenure is given up that began after whoever gives it up had lost the shard")
        return state.scene, ()

    def on_claim_shards(self, state: State, keys: Keys, flight: Flight) -> Landed:
        cluster = self.at(state, CLUSTER)
        if cluster is None or cluster[0] != flight.rest[0]:
            raise Violation("S3: a shard is claimed of another number than there are: two would act for one resource")
        return state.scene, ()

    def over(self, state: State) -> bool:
        there = self.at(state, REPLICA)
        return self.has(state, SHARD) or (there is not None and there[0] != encode(MINE))
