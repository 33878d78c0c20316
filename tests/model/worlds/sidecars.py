"""What holders send, late and twice: an acquire after its release, a release after the next acquire, an old
registration after a new one, a forgetting after the id was used again.

Nobody collects here: what apps were told must be in etcd (S8). Of all that a holder sends, so many second copies are on
their way as ``copies`` says: an old acquire's and its release's, both after a newer acquire, are two.
"""

from __future__ import annotations

from typing import ClassVar

from leasehold.protocol.keyspace import Family
from leasehold.protocol.records import encode
from tests.model import holders
from tests.model.etcd import BATCH, Layout
from tests.model.holders import Holders
from tests.model.names import BOOT, KEYS, A, X, record
from tests.model.scene import Scene, keys_of
from tests.model.world import Flight, State, Steps

UNSEEN = (Family.REFS, Family.NOTICES, Family.INTENTS)


class Late(Holders):
    title = "registrations and forgettings that arrive late and twice, while the id is used again"
    late = frozenset({"acquire", "release", "register", "forget"})
    budget_of: ClassVar[dict[str, int]] = {"creates": 2, "deletes": 1, "acquires": 1, "copies": 1, "condemns": 1}

    def __init__(self) -> None:
        layout = Layout(KEYS, keys_of([X], [A], (Family.RESOURCES, Family.TOMBSTONES, Family.SWEEPS)), UNSEEN)
        super().__init__(layout, dict(holders.BUILDERS), [X], [A], self.budget_of)

    def start(self) -> State:
        keys = [(KEYS.beacon(A), BOOT.encode()), (KEYS.roster(A), b"{}")]
        return self.begin(keys, Scene((0,), sequence=(0,), left=self.budget))

    def steps(self, state: State) -> Steps:
        yield from self.lease(A, state)
        yield from self.creates(A, X, state)
        yield from self.registers(A, state)
        yield from self.acquires(A, X, state)
        yield from self.releases(A, state)
        yield from self.deletes(A, X, state)
        yield from self.arrivals(state)
        if self.may(state.scene, "condemns") and self.has(state, KEYS.record(X)):
            condemned = self.put(state.keys, KEYS.tombstone(X), b"{}")
            yield "x is condemned", self.moved(state, condemned, self.spent(state.scene, "condemns"))

    def over(self, state: State) -> bool:
        return not state.scene.told


class LateHolds(Late):
    title = "acquires, releases and intents of what is there, that arrive late and twice"
    late = Late.late | {"intend"}
    budget_of: ClassVar[dict[str, int]] = {"acquires": 2, "intends": 1, "copies": 2, "condemns": 1}

    def start(self) -> State:
        keys = [(KEYS.beacon(A), BOOT.encode()), (KEYS.roster(A), b"{}"), (KEYS.record(X), encode(record(1)))]
        return self.begin(keys, Scene((1,), made=1, sequence=(0,), left=self.budget))

    def steps(self, state: State) -> Steps:
        yield from super().steps(state)
        if self.may(state.scene, "intends"):
            # What it comes to hold by that it lets go of like anything else it holds.
            flight = Flight(BATCH + "intend", X, (self.newest(state),), (A, self._next(state.scene, A), 0, (), ()), A)
            yield from self.send("a intends", state._replace(scene=self.spent(state.scene, "intends")), flight)

    on_intend = Late.on_acquire
