"""Two control planes and one fence: a lease is lost, another claims, and whoever was there before still writes.

Neither ever notices that it lost the fence; whatever it decided or sent arrives late, twice, or not at all.
"""

from __future__ import annotations

from leasehold.protocol import transactions as tx
from leasehold.protocol.names import LeaseId, Resource
from leasehold.protocol.records import ShardRecord, encode
from tests.model.decisions import authority
from tests.model.etcd import Keys
from tests.model.holders import Landed
from tests.model.names import ARMED, ARMED_VALUE, BOOT, KEYS, ROSTER, SHARD, A, B, X, hold, record
from tests.model.scene import Scene
from tests.model.world import Flight, State, Steps
from tests.model.worlds.one import OneResource

FIRST, SECOND = "first", "second"


class Leaders(OneResource):
    title = "two control planes: a fence is lost, and DELETEs and transactions of before arrive late"
    leaders = (FIRST, SECOND)
    late = frozenset({"condemn", "prepare", "prepare and send", "send", "note", "abort", "finish", "revive"})
    refuses = True

    def __init__(self) -> None:
        super().__init__({"acquires": 1, "takeovers": 1, "condemns": 1})
        self._builders["claim"] = lambda flight: tx.claim_shard(KEYS, 0, ShardRecord(flight.author), LeaseId(1))
        self._builders["yield"] = lambda flight: tx.yield_shard(KEYS, authority(flight))

    def start(self) -> State:
        """Its holder has died already."""
        keys = [
            (ARMED, ARMED_VALUE), (SHARD, encode(ShardRecord(FIRST))), (KEYS.roster(A), encode(ROSTER)),
            (KEYS.beacon(B), BOOT.encode()), (KEYS.roster(B), encode(ROSTER)),
            (KEYS.record(X), encode(record(1))), (KEYS.hold(X, A), encode(hold(1))),
        ]  # fmt: skip
        scene = Scene((1,), made=1, sequence=(1, 0), left=self.budget)
        return self.settled(self.begin(keys, scene)._replace(revs=(2, 0)))

    def steps(self, state: State) -> Steps:
        yield from self.acquires(B, X, state)
        yield from self.releases(B, state)
        yield from self.arrivals(state)
        for leader in self.leaders:
            yield from self.decisions(leader, X, state)
            yield from self.epochs(leader, state)
        yield from self._fence(state)

    def _fence(self, state: State) -> Steps:
        if self.has(state, SHARD) and self.may(state.scene, "takeovers"):
            lost = self.put(state.keys, SHARD, None)
            yield "the first loses its lease", self.moved(state, lost, self.spent(state.scene, "takeovers"))
        yield from self.send("second claims", state, Flight("claim", None, (), (), SECOND))

    def _options(self, leader: str, resource: Resource, state: State) -> list[Flight]:
        options = super()._options(leader, resource, state)
        return [one for one in options if one.name != "condemn" or self.may(state.scene, "condemns")]

    def on_condemn(self, state: State, keys: Keys, flight: Flight) -> Landed:
        scene, launched = super().on_condemn(state, keys, flight)
        return self.spent(scene, "condemns"), launched

    def over(self, state: State) -> bool:
        return super().over(state) or not (self.has(state, KEYS.tombstone(X)) or self.may(state.scene, "condemns"))

    def on_claim(self, state: State, keys: Keys, flight: Flight) -> Landed:
        return state.scene, ()

    def land(self, state: State, flight: Flight, others: tuple[Flight, ...]) -> State | None:
        after = super().land(state, flight, others)
        if after is not None and flight.name == "claim":
            shard = self.at(after, SHARD)
            assert shard is not None
            return self.settled(after._replace(revs=(after.revs[0], shard[1])))
        return after
