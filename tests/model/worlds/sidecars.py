"""What holders send, late and twice: an acquire after its release, a release after the next acquire, an old
registration after a new one, a forgetting after the id was used again.

Nobody collects here: what apps were told must be in etcd (S8). Of all that a holder sends, so many second copies are on
their way as ``copies`` says: an old acquire's and its release's, both after a newer acquire, are two.
"""

from __future__ import annotations

from typing import ClassVar

from leasehold.protocol import transactions as tx
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Holder, Resource, Revision
from leasehold.protocol.records import encode
from leasehold.protocol.store import Txn
from leasehold.sidecar.holds.entries import Register
from leasehold.sidecar.holds.namesakes import is_our_earlier
from tests.model import holders
from tests.model.etcd import BATCH, Keys, Layout
from tests.model.holders import Holders, Landed
from tests.model.names import BOOT, GRACE, KEYS, ROSTER, A, B, X, hold, record, short
from tests.model.scene import Scene, keys_of, record_of
from tests.model.world import Flight, State, Steps, Violation

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


def _join(flight: Flight) -> Txn:
    """The record as it stands, held by one more."""
    holder, sequence, incarnation, _, _, creator = flight.rest
    known = record(incarnation, creator=creator)
    member = tx.register(KEYS, X, known, Holder(holder), hold(sequence), seen=Revision(flight.revs[0]))
    return tx.batch(KEYS, {Holder(holder): BOOT}, [member])


class Namesakes(Late):
    """What a registration makes of a record of another incarnation is the sidecar's own judgement, as of the latest of
    moments: it never counts on having been quick."""

    title = "registrations by two holders, however late, of one id used again"
    late = frozenset({"register", "register as it stands"})
    budget_of: ClassVar[dict[str, int]] = {"creates": 3, "deletes": 2, "copies": 1, "attaches": 1}
    overwrites = False
    """A guard that is no compare, to be left out."""

    def __init__(self) -> None:
        layout = Layout(KEYS, keys_of([X], [A, B], (Family.RESOURCES, Family.TOMBSTONES, Family.SWEEPS)), UNSEEN)
        Holders.__init__(
            self, layout, {**holders.BUILDERS, BATCH + "register as it stands": _join}, [X], [A, B], self.budget_of
        )

    def start(self) -> State:
        keys = [(KEYS.beacon(one), BOOT.encode()) for one in (A, B)]
        keys += [(KEYS.roster(one), encode(ROSTER)) for one in (A, B)]
        return self.begin(keys, Scene((0,), sequence=(0, 0), left=self.budget))

    def steps(self, state: State) -> Steps:
        for one in (A, B):
            yield from self.lease(one, state)
            yield from self.creates(one, X, state)
            yield from self.registers(one, state)
        if self.may(state.scene, "deletes") and state.scene.owner[0]:
            gone = self.owning(self.lost(self.spent(state.scene, "deletes"), X), X, 0)
            yield "the app deletes x, and nobody sees it", self.moved(state, state.keys, gone)
        yield from self.arrivals(state)

    def creates(self, holder: Holder, resource: Resource, state: State) -> Steps:
        """Also while an earlier one is not registered yet."""
        scene: Scene = state.scene
        for name, after in super().creates(holder, resource, state._replace(scene=scene._replace(unregistered=_NONE))):
            created = after.scene.unregistered | scene.unregistered
            yield name, after._replace(scene=after.scene._replace(unregistered=created))

    def registers(self, holder: Holder, state: State) -> Steps:
        mine = sorted(incarnation for who, _, incarnation in state.scene.unregistered if who == holder)
        if not mine:
            return
        incarnation, before = mine[0], self.at(state, KEYS.record(X))
        sequence, seen = self._next(state.scene, holder), before[2] if before else 0
        known = record_of(before[0]) if before else None
        asked = Register(sequence, X, holder, "rule", f"uid:{incarnation}", GRACE, "")
        flight = Flight(BATCH + "register", X, (seen,), (holder, sequence, incarnation, (), ()), holder)
        if known and known.incarnation != asked.incarnation and not is_our_earlier(known, asked, ()):
            stands = (holder, sequence, self.incarnation(state.keys, X), (), (), known.creator)
            flight = flight if self.overwrites else Flight(BATCH + "register as it stands", X, (seen,), stands, holder)
        yield from self.send(f"{short(holder)} registers incarnation {incarnation}", state, flight)

    def on_register(self, state: State, keys: Keys, flight: Flight) -> Landed:
        stood, incarnation = self.incarnation(state.keys, X), flight.rest[2]
        if stood > incarnation:
            raise Violation(f"S2: the record of incarnation {stood} becomes one of incarnation {incarnation}")
        return super().on_register(state, keys, flight)

    def on_register_as_it_stands(self, state: State, keys: Keys, flight: Flight) -> Landed:
        scene: Scene = state.scene
        mine = sorted(one for one in scene.unregistered if one[0] == flight.rest[0])
        scene = scene._replace(unregistered=scene.unregistered - set(mine[:1]))
        return self._granted(scene, keys, flight, flight.rest[2]), ()

    def over(self, state: State) -> bool:
        return not any(self.alive(state.keys, who) for who, _, _ in state.scene.unregistered)


_NONE: frozenset[tuple[Holder, Resource, int]] = frozenset()
