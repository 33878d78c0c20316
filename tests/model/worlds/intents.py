"""A creating call whose holder may die at any moment: intended, forwarded, registered, retracted; and what the
resolver, the inventory and the roster's keeper make of what is left, deciding early and writing late.

Assumed: a call that nobody's beacon stands behind any more, and that left nothing at the owner, will not create
anything later (the product waits: ``lookup.after``); and what was created and is gone is not registered any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from leasehold.protocol import transactions as tx
from leasehold.protocol import transactions_intents as txi
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Holder, Revision
from leasehold.protocol.records import HoldRecord, IntentRecord, ShardRecord, SweepRecord, SweepState, encode
from leasehold.protocol.store import Txn
from tests.model import holders
from tests.model.collector import Collector
from tests.model.decisions import authority
from tests.model.etcd import BATCH, NEW, Keys, Layout
from tests.model.holders import Landed
from tests.model.names import BOOT, CALL, KEYS, ROSTER, SHARD, A, B, X, hold, record
from tests.model.scene import Scene, hold_of, keys_of, record_of
from tests.model.world import Flight, State, Steps, Violation

INTENT = KEYS.intent(A, CALL)
LISTED = KEYS.hold(X, txi.LISTED)
FAMILIES = (Family.RESOURCES, Family.TOMBSTONES, Family.SWEEPS, Family.GRAVES)
UNSEEN = (Family.NOTICES, Family.REFS)
SUSPECT = IntentRecord("rule", "PUT", "/x", CALL, ("o", "t", "x"), suspect="unclear")


def _intent(flight: Flight) -> txi.IntentFound:
    return txi.IntentFound(A, CALL, Revision(flight.revs[2]), Revision(flight.revs[3]), encode(ROSTER), flight.rest[1])


def _conclude(flight: Flight) -> Txn:
    by, found, held = authority(flight), _intent(flight), Revision(flight.revs[4])
    if flight.name == "resolve":
        written = record(flight.rest[0])
        return txi.resolve(KEYS, by, found, X, written, HoldRecord("", 0, "intent"), held, Revision(flight.revs[5]))
    if flight.name == "recorded":
        return txi.recorded(KEYS, by, found, X, Revision(flight.revs[5]))
    if flight.name == "suspect":
        return txi.suspect(KEYS, by, found, SUSPECT)
    return txi.dismiss(KEYS, by, found, X, held)


def _batched(write: Callable[[Flight], Txn]) -> Callable[[Flight], Txn]:
    return lambda flight: tx.batch(KEYS, {A: BOOT}, [write(flight)])


def _register(flight: Flight) -> Txn:
    holder, sequence, incarnation = flight.rest[:3]
    call = {"call": CALL} if holder == A else {}
    seen = Revision(flight.revs[0])
    written = record(incarnation, creator=holder)
    return tx.batch(
        KEYS, {holder: BOOT}, [tx.register(KEYS, X, written, Holder(holder), hold(sequence), seen=seen, **call)]
    )


BUILDERS = {
    "resolve": _conclude, "recorded": _conclude, "suspect": _conclude, "dismiss": _conclude,
    "adopt": lambda flight: txi.adopt(KEYS, authority(flight), X, record(flight.rest[0]), hold(0, released=True)),
    "close": lambda flight: txi.close(KEYS, authority(flight), X, record(flight.rest[0]), Revision(flight.revs[2])),
    "strike": lambda flight: tx.strike(KEYS, authority(flight), A, Revision(flight.revs[2])),
    BATCH + "intend": _batched(lambda flight: tx.intend(KEYS, A, CALL, holders.INTENDED, X, hold(flight.rest[1]))),
    BATCH + "retract": _batched(lambda flight: tx.retract(KEYS, A, CALL, X, hold(flight.rest[1]))),
    BATCH + "register": _register,
}  # fmt: skip


class Call(NamedTuple):
    """The holder's side of the call. ``made``: the incarnation it created, 0 if none."""

    intended: bool = False
    forwarded: bool = False
    over: bool = False
    made: int = 0


class Intents(Collector):
    title = "intents: a holder dies between creating and registering"
    late = frozenset({"resolve", "recorded", "suspect", "dismiss", "adopt", "close", "strike"})
    outlived = False
    """The holder is a service, which lives on."""

    def __init__(self, budget: dict[str, int] | None = None) -> None:
        more = [INTENT, LISTED, SHARD]
        layout = Layout(KEYS, keys_of([X], [A, B], FAMILIES, more), UNSEEN)
        builders = {**holders.BUILDERS, **BUILDERS}
        budget = budget or {"intends": 2, "attaches": 1, "fences": 1}
        super().__init__(layout, builders, [X], [A, B], budget)

    def start(self) -> State:
        keys = [(SHARD, encode(ShardRecord("leader")))]
        for one in (A, B):
            keys += [(KEYS.beacon(one), BOOT.encode()), (KEYS.roster(one), encode(ROSTER))]
        state = self.begin(keys, Scene((0,), left=self.budget, more=Call()))
        return self.settled(state._replace(revs=(1,)))

    # --- the holder's side ------------------------------------------------------------------------------------------

    def steps(self, state: State) -> Steps:
        yield from self.lease(A, state)
        yield from self._calls(state)
        yield from self.creates(B, X, state)
        for one in (A, B):
            yield from self.registers(one, state)
            yield from self.releases(one, state)
        if self.may(state.scene, "deletes") and state.scene.owner[0]:
            scene = self.spent(state.scene, "deletes")._replace(unregistered=frozenset())
            gone = self.owning(self.lost(scene, X), X, 0)
            yield "the app deletes x, and nobody sees it", self.moved(state, state.keys, gone)
        yield from self.arrivals(state)
        yield from self._collecting(state)

    def _calls(self, state: State) -> Steps:
        scene, call = state.scene, state.scene.more
        if call.over:
            return
        if self.may(scene, "intends"):
            flight = Flight(BATCH + "intend", X, (), (A, self._next(scene, A)), A)
            paid = state._replace(scene=self.spent(scene, "intends"))
            yield from self.send("a intends", paid, flight)
        if call.intended and not call.forwarded and self.alive(state.keys, A):
            yield "a's call creates nothing", self._with_call(state, scene, call._replace(forwarded=True))
            if not scene.owner[0]:
                made = scene.made + 1
                created = self.owning(scene, X, made)._replace(
                    made=made, unregistered=scene.unregistered | {(A, X, made)}
                )
                yield (
                    f"a's call creates incarnation {made}",
                    self._with_call(state, created, call._replace(forwarded=True, made=made)),
                )
        if call.forwarded and not call.made:
            item = self.at(state, KEYS.hold(X, A))
            rest = (A, hold_of(item[0]).sequence if item else 0)
            yield from self.send("a retracts", state, Flight(BATCH + "retract", X, (), rest, A))
        if call.intended:
            mine = frozenset(one for one in scene.unregistered if one[0] == A)
            dead = scene._replace(unregistered=scene.unregistered - mine, told=frozenset(
                told for told in scene.told if told.holder != A
            ))  # fmt: skip
            yield "a crashes", self._with_call(state, dead, call._replace(over=True))

    def _with_call(self, state: State, scene: Scene, call: Call) -> State:
        return self.moved(state, state.keys, scene._replace(more=call))

    # --- the collector's side ---------------------------------------------------------------------------------------

    def _collecting(self, state: State) -> Steps:
        shard, scene = self.at(state, SHARD), state.scene
        if shard is None:
            return
        if self.may(scene, "fences"):
            lost = self.put(state.keys, SHARD, None)
            yield "the fence is lost", self.moved(state, lost, self.spent(scene, "fences"))
        for name, revs, rest in (*self._resolving(state), *self._listing(state)):
            flight = Flight(name, X, (shard[1], 0, *revs), rest, "leader")
            yield from self.send(f"leader: {name}", state, flight)
        yield from self._sweeping_begins(state)
        if self.may(scene, "condemns"):
            stone = self.put(state.keys, KEYS.tombstone(X), b"{}")  # also one that is left from what was before
            yield "x is condemned", self.moved(state, stone, self.spent(scene, "condemns"))

    def _resolving(self, state: State) -> list[tuple[str, tuple[int, ...], tuple[Any, ...]]]:
        intent, roster, item = self.at(state, INTENT), self.at(state, KEYS.roster(A)), self.at(state, KEYS.hold(X, A))
        dead = not self.alive(state.keys, A)
        if intent is None:
            if dead and roster is not None and item is None:
                return [("strike", (roster[2],), ())]
            return []
        if roster is None or not (dead or self.outlived):
            return []
        revs, there = (intent[2], roster[2], item[2] if item else 0), state.scene.owner[0]
        options: list[tuple[str, tuple[int, ...], tuple[Any, ...]]] = [("suspect", revs, (0, self.outlived))]
        call = state.scene.more
        if there and there == call.made:  # the owner is asked by the call's own key
            known = self.at(state, KEYS.record(X))
            revs = (*revs, known[2] if known else 0)
            if known is not None and self.incarnation(state.keys, X) == there:
                options.append(("recorded", revs, (0, self.outlived)))
            elif known is None or (known[2] < intent[2] and intent[0] == encode(holders.INTENDED)):
                options.append(("resolve", revs, (there, self.outlived)))
        elif call.forwarded or call.over or dead:
            options.append(("dismiss", revs, (0, self.outlived)))
        return options

    def _listing(self, state: State) -> list[tuple[str, tuple[int, ...], tuple[Any, ...]]]:
        known, there = self.at(state, KEYS.record(X)), state.scene.owner[0]
        if known is None:
            return [("adopt", (), (there,))] if there and not self.has(state, KEYS.hold(X, A)) else []
        listed = self.incarnation(state.keys, X)
        return [("close", (known[2],), (listed,))] if listed != there else []

    def _sweeping_begins(self, state: State) -> Steps:
        """Somebody prepares what nobody holds: how that comes about is other worlds' affair."""
        known, keys = self.at(state, KEYS.record(X)), list(state.keys)
        if known is None or not self.may(state.scene, "sweeps") or self.held(state.keys):
            return
        sweep = SweepRecord(SweepState.PREPARED, record_of(known[0]).incarnation, 0, 0, 0, "1s/1")
        keys[self.layout.slot[KEYS.tombstone(X)]] = (b"{}", NEW, NEW, 0)
        keys[self.layout.slot[KEYS.sweep(X)]] = (encode(sweep), NEW, NEW, NEW)
        yield "a sweep is prepared", self.moved(state, tuple(keys), self.lost(self.spent(state.scene, "sweeps"), X))

    def beside(self, flight: Flight, state: State) -> tuple[Flight, ...] | None:
        """The resolver, the inventory and the roster's keeper work side by side, each at one thing."""
        if flight in state.flying:
            return None
        return tuple(one for one in state.flying if _office(one) != _office(flight))

    def outdated(self, flight: Flight, keys: Keys) -> Flight:
        return flight

    # --- effects, and laws ------------------------------------------------------------------------------------------

    def check(self, state: State) -> None:
        super().check(state)
        made = state.scene.more.made
        recorded = made and self.incarnation(state.keys, X) == made
        if made and state.scene.owner[0] == made and not (self.has(state, INTENT) or recorded):
            raise Violation(f"L3: what the call created (incarnation {made}) is there, and nothing in etcd knows of it")

    def on_intend(self, state: State, keys: Keys, flight: Flight) -> Landed:
        if self.has(state, KEYS.sweep(X)):
            raise Violation("S1: a is granted an early hold on x while it is being swept")
        self.reset(keys, X, "held early")
        if not self.alive(state.keys, A):
            raise Violation("S8: a is granted an early hold, and no beacon of its protects that")
        scene = state.scene._replace(more=state.scene.more._replace(intended=True))
        return scene._replace(sequence=(flight.rest[1], scene.sequence[1])), ()

    def _let_go(self, state: State, keys: Keys) -> None:
        if self.has(state, KEYS.hold(X, A)) and keys[self.layout.slot[KEYS.hold(X, A)]] is None:
            self.reset(keys, X, "let go of early")

    def on_retract(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._let_go(state, keys)
        return state.scene._replace(more=state.scene.more._replace(over=True)), ()

    def on_resolve(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._led(state, flight)
        if not self.has(state, INTENT):
            raise Violation("L3: an intent that is concluded already is resolved")
        self.reset(keys, X, "recorded")
        return state.scene, ()

    def on_recorded(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._led(state, flight)
        return state.scene, ()

    def on_dismiss(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._led(state, flight)
        self._let_go(state, keys)
        # The time in which the call could be forwarded is over, unless it is intended anew.
        return state.scene._replace(more=state.scene.more._replace(intended=False)), ()

    def on_suspect(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._led(state, flight)
        if not self.has(state, INTENT):
            raise Violation("L3: an intent that is concluded already is listed as suspect")
        return state.scene, ()

    def on_adopt(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._led(state, flight)
        if self.has(state, KEYS.grave(X)):
            raise Violation("S6: what we deleted ourselves is taken for an orphan")
        return state.scene, ()

    def on_close(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._led(state, flight)
        if self.incarnation(state.keys, X) == self.owned(state.scene, X) != 0:
            raise Violation("L6: x is forgotten as gone, and the owner has it")
        self.reset(keys, X, "forgotten")
        return state.scene, ()

    def on_strike(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._led(state, flight)
        if self.alive(state.keys, A):
            raise Violation("S8: the roster entry of a living holder is struck")
        item = self.at(state, KEYS.hold(X, A))
        if item is not None and not hold_of(item[0]).released:
            raise Violation("L1: a hold is left whose holder nothing is known of: it would be kept for ever")
        if self.has(state, INTENT):
            raise Violation("L3: an intent is left whose holder nothing is known of")
        return state.scene, ()

    def over(self, state: State) -> bool:
        return not self.has(state, INTENT) or not self.has(state, SHARD)


class Outlived(Intents):
    title = "intents: in the name of a service, which outlives the process that made the call"
    outlived = True

    def __init__(self) -> None:
        super().__init__({"intends": 1, "creates": 1, "deletes": 1, "fences": 1, "condemns": 1})


class Swept(Intents):
    title = "intents, orphans and forgettings, beside a sweep and the grave it leaves"

    def __init__(self) -> None:
        super().__init__({"intends": 1, "attaches": 1, "creates": 1, "deletes": 1, "sweeps": 1, "graves": 1})

    def _sweeping_begins(self, state: State) -> Steps:
        yield from super()._sweeping_begins(state)
        if self.has(state, KEYS.sweep(X)) and self.may(state.scene, "graves"):
            keys = state.keys
            for key in (KEYS.record(X), KEYS.hold(X, A), KEYS.hold(X, B), LISTED, KEYS.tombstone(X), KEYS.sweep(X)):
                keys = self.put(keys, key, None)
            gone = self.owning(self.spent(state.scene, "graves")._replace(unregistered=frozenset()), X, 0)
            yield "the sweep is finished", self.moved(state, self.put(keys, KEYS.grave(X), b"{}"), gone)


def _office(flight: Flight) -> str:
    return {"adopt": "inventory", "close": "inventory", "strike": "roster"}.get(flight.name, flight.author)
