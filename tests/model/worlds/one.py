"""One resource, two holders, one control plane: false expiry, returns, ids used again, DELETEs late and twice."""

from __future__ import annotations

from typing import Any

from leasehold.protocol import transactions as tx
from leasehold.protocol.keyspace import Family
from leasehold.protocol.records import ShardRecord, encode
from tests.model import decisions, holders
from tests.model.collector import Collector
from tests.model.etcd import Layout, Program
from tests.model.names import ARMED, ARMED_VALUE, BOOT, EPOCH, KEYS, ROSTER, SHARD, A, B, X
from tests.model.scene import Scene, keys_of
from tests.model.world import Flight, State, Steps

FAMILIES = (Family.RESOURCES, Family.TOMBSTONES, Family.SWEEPS)
UNSEEN = (Family.EPOCH_LEASES, Family.GRAVES, Family.NOTICES, Family.REFS)


class OneResource(Collector):
    title = "one resource"
    late = frozenset({"condemn", "prepare", "prepare and send"})
    leaders = ("leader",)
    families: tuple[Family, ...] = FAMILIES
    besides: tuple[bytes, ...] = ()
    """Other keys."""

    def __init__(self, budget: dict[str, int]) -> None:
        layout = Layout(KEYS, keys_of([X], [A, B], self.families, [EPOCH, ARMED, SHARD, *self.besides]), UNSEEN)
        super().__init__(layout, {**holders.BUILDERS, **decisions.BUILDERS}, [X], [A, B], budget)

    def start(self) -> State:
        """Armed, led, both holders attached."""
        keys = [(ARMED, ARMED_VALUE), (SHARD, encode(ShardRecord("leader")))]
        for one in (A, B):
            keys += [(KEYS.beacon(one), BOOT.encode()), (KEYS.roster(one), encode(ROSTER))]
        state = self.begin(keys, Scene((0,), left=self.budget))
        return self.settled(state._replace(revs=(2,)))

    def steps(self, state: State) -> Steps:
        yield from self.lease(A, state)
        yield from self.creates(A, X, state)
        yield from self.registers(A, state)
        for one in (A, B):
            yield from self.acquires(one, X, state)
            yield from self.releases(one, state)
        if any(told.holder == B for told in state.scene.told) or self.has(state, KEYS.hold(X, B)):
            yield from self.lease(B, state)
        yield from self.arrivals(state)
        yield from self.decisions("leader", X, state)
        yield from self.epochs("leader", state)


class AnotherHolds(OneResource):
    title = "one resource: another holds it, and holders come back"

    def __init__(self) -> None:
        super().__init__({"creates": 1, "attaches": 1, "acquires": 1})


class Namesake(OneResource):
    title = "one resource: its id is used again, DELETEs arrive late and twice"
    repeats = True

    def __init__(self) -> None:
        super().__init__({"creates": 2})


class Careless(OneResource):
    title = "one resource: a control plane that tries whatever it can"
    late = frozenset()
    careless = True
    refuses = True

    def __init__(self) -> None:
        super().__init__({"creates": 1, "attaches": 1, "acquires": 1})


class Crowd(Careless):
    """As if one transaction could compare no holder by itself: what is done where there are too many of them."""

    title = "one resource: more holders than a transaction can compare"
    careless = refuses = False
    late = frozenset({"condemn", "prepare", "prepare and send", "send"})

    def __init__(self) -> None:
        OneResource.__init__(self, {"creates": 1, "attaches": 1})

    def program(self, flight: Flight) -> Program:
        limit, tx.MAX_COMPARED_HOLDERS = tx.MAX_COMPARED_HOLDERS, 0
        try:
            return super().program(flight)
        finally:
            tx.MAX_COMPARED_HOLDERS = limit

    def _sweeping(self, *args: Any) -> list[Flight]:
        limit, tx.MAX_COMPARED_HOLDERS = tx.MAX_COMPARED_HOLDERS, 0
        try:
            return super()._sweeping(*args)
        finally:
            tx.MAX_COMPARED_HOLDERS = limit


class Repeated(OneResource):
    title = "one resource: what the control plane writes arrives late and twice, the owner refuses"
    late = frozenset({"prepare", "prepare and send", "send", "note", "abort", "finish"})
    repeats = refuses = True

    def __init__(self) -> None:
        super().__init__({"creates": 1, "acquires": 1})
