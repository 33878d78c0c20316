"""What holders do, and what time does to them: expire, come back, create, register, acquire, let go, delete.

Everything is sent as the product's own transaction, in a batch under the holder's beacon. What a world calls ``late``
is put on its way and arrives whenever, after newer ones too; all else takes place at once. A holder that expired does
not know it, and goes on trying.
"""

from __future__ import annotations

from typing import ClassVar

from leasehold.protocol import transactions as tx
from leasehold.protocol.names import Boot, Holder, LeaseId, Resource, Revision
from leasehold.protocol.records import IntentRecord
from leasehold.protocol.store import Txn
from tests.model.etcd import BATCH, Keys
from tests.model.names import BOOT, CALL, KEYS, ROSTER, hold, record, short
from tests.model.scene import Ground, Scene, Told
from tests.model.world import Flight, State, Steps, Violation

Landed = tuple[Scene, tuple[Flight, ...]]
"""What a transaction that took place changes outside of etcd, and what is sent because of it."""


INTENDED = IntentRecord("rule", "PUT", "/x", CALL, ("o", "t", "x"))


def _member(flight: Flight) -> Txn:
    assert flight.about is not None
    name, one = flight.name.removeprefix(BATCH), flight.about
    holder, sequence = Holder(flight.rest[0]), flight.rest[1]
    mine = hold(sequence)
    if name == "acquire":
        return tx.acquire(KEYS, one, holder, mine, heard=Revision(flight.revs[0]))
    if name == "intend":
        return tx.intend(KEYS, holder, CALL, INTENDED, one, mine, heard=Revision(flight.revs[0]))
    if name == "release":
        return tx.release(KEYS, one, holder, mine, hold(sequence, released=True))
    if name == "forget":
        incarnation, refers = flight.rest[2:]
        return tx.forget(KEYS, one, record(incarnation, *refers), Revision(flight.revs[0]))
    incarnation, refers, dropped = flight.rest[2:]
    written = record(incarnation, *refers, creator=holder)
    return tx.register(KEYS, one, written, holder, mine, seen=Revision(flight.revs[0]), dropped=dropped)


def _batch(flight: Flight) -> Txn:
    return tx.batch(KEYS, {Holder(flight.rest[0]): BOOT}, [_member(flight)])


def _attach(flight: Flight) -> Txn:
    return tx.attach(KEYS, Holder(flight.rest[0]), Boot(flight.rest[1]), LeaseId(1), ROSTER)


BUILDERS = {
    "attach": _attach,
    # Letting go needs no beacon: it is guarded by the hold itself. The sidecar batches it all the same.
    **{BATCH + name: _batch for name in ("acquire", "release", "register", "forget", "intend")},
}


class Holders(Ground):
    """Worlds with holders. ``late``: names of what may be on its way for long. ``refers``: what each one refers to."""

    late: frozenset[str] = frozenset()
    repeats = False
    """Whether what is on its way may arrive more than once."""
    refers: ClassVar[dict[Resource, tuple[Resource, ...]]] = {}

    # --- sending ----------------------------------------------------------------------------------------------------

    def send(self, name: str, state: State, flight: Flight) -> Steps:
        """Now, or whenever it arrives. ``name`` is what a reader is told."""
        if flight.name.removeprefix(BATCH) in self.late:
            others = self.beside(flight, state)
            if others is not None:
                yield f"{name}, on its way", self.moved(state, state.keys, state.scene, (*others, flight))
            return
        after = self.land(state, flight, state.flying)
        if after is not None:
            yield name, after

    def arrivals(self, state: State) -> Steps:
        """Everything on its way may arrive now."""
        for n, flight in enumerate(state.flying):
            if flight.name not in self._builders:
                yield from self.call(state, flight, (*state.flying[:n], *state.flying[n + 1 :]))
                continue
            called = f"{flight.name.removeprefix(BATCH)} of {short(flight.author)}"
            after = self.land(state, flight, (*state.flying[:n], *state.flying[n + 1 :]))
            if after is None:
                if flight.name.startswith(BATCH):
                    others = (*state.flying[:n], *state.flying[n + 1 :])
                    yield f"{called} is refused", self.moved(state, state.keys, state.scene, others)
                continue
            yield f"{called} arrives", after
            if self.repeats and not flight.name.startswith(BATCH):
                again = self.land(state, flight, state.flying)
            elif self.may(state.scene, "copies") and not flight.doubted:
                paid = state._replace(scene=self.spent(state.scene, "copies"))
                kept = flight._replace(doubted=True)
                again = self.land(paid, flight, (*state.flying[:n], kept, *state.flying[n + 1 :]))
            else:
                continue
            assert again is not None
            yield f"{called} arrives, and will once more", again

    def beside(self, flight: Flight, state: State) -> tuple[Flight, ...] | None:
        """What stays on its way beside it; ``None``: it has to wait.

        A sidecar asks for one thing at a time about a resource (``holds.lanes``), and repeats it until answered.
        """
        mine = [one for one in state.flying if (one.author, one.about) == (flight.author, flight.about)]
        return state.flying if all(one.doubted for one in mine) else None

    def call(self, state: State, call: Flight, others: tuple[Flight, ...]) -> Steps:
        """A call to the owner arrives."""
        raise NotImplementedError

    def land(self, state: State, flight: Flight, others: tuple[Flight, ...]) -> State | None:
        """The state after a transaction has reached etcd; ``None`` if it was refused."""
        keys = self.commit(state.keys, flight)
        if keys is None:
            return None
        effect = getattr(self, "on_" + flight.name.removeprefix(BATCH).replace(" ", "_"))
        scene, launched = effect(state, keys, flight)
        return self.moved(state, keys, scene, (*others, *launched) if launched else others)

    # --- steps ------------------------------------------------------------------------------------------------------

    def lease(self, holder: Holder, state: State) -> Steps:
        beacon = KEYS.beacon(holder)
        if self.has(state, beacon):
            yield f"{short(holder)} expires", self.moved(state, self.put(state.keys, beacon, None), state.scene)
        elif self.may(state.scene, "attaches"):
            flight = Flight("attach", None, (), (holder, BOOT), holder)
            yield from self.send(f"{short(holder)} attaches", state, flight)

    def creates(self, holder: Holder, resource: Resource, state: State) -> Steps:
        scene: Scene = state.scene
        pending = any(one == resource for _, one, _ in scene.unregistered)
        if self.may(scene, "creates") and not self.owned(scene, resource) and not pending:
            made = scene.made + 1
            more = self.spent(self.owning(scene, resource, made), "creates")
            more = more._replace(made=made, unregistered=scene.unregistered | {(holder, resource, made)})
            yield f"{short(holder)} creates {resource.id}, incarnation {made}", self.moved(state, state.keys, more)

    def registers(self, holder: Holder, state: State) -> Steps:
        for who, resource, incarnation in sorted(state.scene.unregistered):
            if who != holder:
                continue
            before = self.at(state, KEYS.record(resource))
            refers = self.refers.get(resource, ())
            rest = (holder, self._next(state.scene, holder), incarnation, refers, ())
            flight = Flight(BATCH + "register", resource, (before[2] if before else 0,), rest, holder)
            yield from self.send(f"{short(holder)} registers {resource.id}", state, flight)

    def acquires(self, holder: Holder, resource: Resource, state: State) -> Steps:
        scene: Scene = state.scene
        if not self.may(scene, "acquires") or any(t.holder == holder and t.resource == resource for t in scene.told):
            return
        rest = (holder, self._next(scene, holder), 0, (), ())
        flight = Flight(BATCH + "acquire", resource, (self.newest(state),), rest, holder)
        paid = state._replace(scene=self.spent(scene, "acquires"))
        yield from self.send(f"{short(holder)} acquires {resource.id}", paid, flight)

    def releases(self, holder: Holder, state: State) -> Steps:
        for told in sorted(state.scene.told):
            if told.holder == holder:
                let_go = state._replace(scene=state.scene._replace(told=state.scene.told - {told}))
                flight = Flight(BATCH + "release", told.resource, (), (holder, told.sequence, 0, (), ()), holder)
                yield from self.send(f"{short(holder)} lets go of {told.resource.id}", let_go, flight)

    def deletes(self, holder: Holder, resource: Resource, state: State) -> Steps:
        """The app deletes it at the owner, by itself."""
        scene, before = state.scene, self.at(state, KEYS.record(resource))
        if self.may(scene, "deletes") and before is not None and self.owned(scene, resource):
            incarnation = self.incarnation(state.keys, resource)
            gone = self.spent(self.owning(self.lost(scene, resource), resource, 0), "deletes")
            rest = (holder, 0, incarnation, self.refers.get(resource, ()))
            flight = Flight(BATCH + "forget", resource, (before[2],), rest, holder)
            yield from self.send(f"the app deletes {resource.id}", state._replace(scene=gone), flight)

    # --- effects ----------------------------------------------------------------------------------------------------

    def on_attach(self, state: State, keys: Keys, flight: Flight) -> Landed:
        return self.spent(state.scene, "attaches"), ()

    def on_acquire(self, state: State, keys: Keys, flight: Flight) -> Landed:
        assert flight.about is not None
        return self._granted(state.scene, keys, flight, self.incarnation(keys, flight.about)), ()

    def on_register(self, state: State, keys: Keys, flight: Flight) -> Landed:
        scene: Scene = state.scene
        holder, _, incarnation, _, _ = flight.rest
        scene = scene._replace(unregistered=scene.unregistered - {(holder, flight.about, incarnation)})
        return self._granted(scene, keys, flight, incarnation), ()

    def on_release(self, state: State, keys: Keys, flight: Flight) -> Landed:
        assert flight.about is not None
        self.reset(keys, flight.about, "let go of")
        return state.scene, ()

    def on_forget(self, state: State, keys: Keys, flight: Flight) -> Landed:
        assert flight.about is not None
        if self.owned(state.scene, flight.about) == flight.rest[2]:
            raise Violation(f"L6: {flight.about.id} is forgotten, and the owner still has it")
        self.reset(keys, flight.about, "forgotten")
        return state.scene, ()

    def _granted(self, scene: Scene, keys: Keys, flight: Flight, incarnation: int) -> Scene:
        holder, sequence = flight.rest[:2]
        assert flight.about is not None
        if not self.alive(keys, holder):
            raise Violation(f"S8: {short(holder)} is granted {flight.about.id}, and no beacon of its protects that")
        swept = sorted(one.id for one in self.granted_while(keys, flight.about) if keys[self.sweeps[one]] is not None)
        if swept:
            raise Violation(f"S1: {short(holder)} is granted {flight.about.id} while {', '.join(swept)} is being swept")
        self.reset(keys, flight.about, "held anew")
        if self.owned(scene, flight.about) != incarnation or flight.doubted:
            return self._numbered(scene, flight)  # it is gone, or was granted before: nothing more is promised
        told = frozenset(t for t in scene.told if t[:2] != (holder, flight.about))
        return self._numbered(scene, flight)._replace(told=told | {Told(holder, flight.about, sequence, incarnation)})

    def granted_while(self, keys: Keys, resource: Resource) -> frozenset[Resource]:
        """What must not be swept when a resource is granted: it, and all it leads to."""
        return self.closure(keys, [resource])

    def _numbered(self, scene: Scene, flight: Flight) -> Scene:
        """No two grants of a holder are asked for under one number."""
        if flight.name.removeprefix(BATCH) not in {"acquire", "register", "intend"}:
            return scene
        n = self.holders.index(flight.rest[0])
        newest = max(scene.sequence[n], flight.rest[1])
        return scene._replace(sequence=(*scene.sequence[:n], newest, *scene.sequence[n + 1 :]))

    def lost(self, scene: Scene, resource: Resource) -> Scene:
        """It is gone at the owner, so nobody holds it any more, whatever was told."""
        return scene._replace(told=frozenset(told for told in scene.told if told.resource != resource))

    def _next(self, scene: Scene, holder: Holder) -> int:
        return scene.sequence[self.holders.index(holder)] + 1
