"""What control planes do: read at one revision, judge by the product's own verdict, and write by its transactions.

A decision is a ``Flight`` from the moment it is made: it may reach etcd at once, or (``late``) long after the fence was
lost, the brake was tripped or the holder came back. So may the DELETE that a send stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from leasehold.control_plane.core.epochs import Seen
from leasehold.control_plane.core.verdict import Condemnable, Evidence, Keep, Ripe, read_evidence, ripe, unheld
from leasehold.protocol import transactions as tx
from leasehold.protocol.names import Holder, LeaseId, Resource, Revision
from leasehold.protocol.records import (
    EpochRecord,
    ResourceRecord,
    ShardRecord,
    SweepRecord,
    SweepState,
    decode,
    encode,
)
from leasehold.protocol.store import KeyValue
from tests.model.decisions import DONE
from tests.model.etcd import Keys
from tests.model.holders import Holders, Landed
from tests.model.names import ARMED, EPOCH, GRACE, KEYS, SHARD, short
from tests.model.scene import Scene, hold_of, record_of, sweep_of
from tests.model.world import Flight, State, Steps, Violation

REVIVES = frozenset({"held", "restless", "referenced", "unaccounted", "other-incarnation", "broken-cycle"})
ATTEMPTS = 2
PREPARES = ("prepare", "prepare and send")
"""To be called about later, or at once."""


class Collector(Holders):
    """Worlds in which something is collected. ``leaders``: their names; their fences are ``State.revs``."""

    leaders: Sequence[str] = ("leader",)
    careless = False
    """Whether they try whatever a transaction can be made of. What is not allowed, the compares alone must refuse."""
    refuses = False
    """Whether the owner may refuse a delete."""
    ignores_precondition = False
    """An owner that deletes whatever is there by that name: the one thing the protocol cannot do without."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._verdicts: dict[tuple[Keys, Resource], tuple[Evidence, Condemnable | Ripe | Keep]] = {}

    # --- steps ------------------------------------------------------------------------------------------------------

    def decisions(self, leader: str, resource: Resource, state: State) -> Steps:
        """What this leader would try next for a resource, seen from here and now."""
        for flight in self._options(leader, resource, state):
            yield from self.send(f"{leader}: {flight.name} {resource.id}", state, flight)

    def beside(self, flight: Flight, state: State) -> tuple[Flight, ...] | None:
        if flight.author not in self.leaders:
            return super().beside(flight, state)
        if flight in state.flying:
            return None
        # One decision at a time: whoever decides anew has given the last one up, or it never arrives.
        return tuple(one for one in state.flying if one.author != flight.author or one.name == "DELETE")

    def outdated(self, flight: Flight, keys: Keys) -> Flight:
        equal = [(0, SHARD, 1), (1, ARMED, 2)]
        if flight.name in {"send", "note", "abort", "finish", "DELETE"}:
            equal.append((2, KEYS.sweep(flight.about), 2))  # type: ignore[arg-type]
        elif flight.name == "revive":
            equal.append((2, KEYS.tombstone(flight.about), 2))  # type: ignore[arg-type]
        elif flight.author not in self.leaders:
            return flight
        revs = list(flight.revs)
        for n, key, field in equal:
            item = keys[self.layout.slot[key]]
            if revs[n] and (item is None or item[field] != revs[n]):
                revs[n] = 1
        return flight._replace(revs=tuple(revs)) if revs != list(flight.revs) else flight

    def epochs(self, leader: str, state: State) -> Steps:
        fence = state.revs[self.leaders.index(leader)]
        if not fence:
            return
        epoch = self.at(state, EPOCH)
        if epoch is None:
            if any(self.has(state, KEYS.tombstone(one)) for one in self.resources):
                yield from self.send(
                    f"{leader}: open an epoch", state, Flight("open epoch", None, (fence, 0), (), leader)
                )
        elif b"true" not in epoch[0]:
            flight = Flight("close epoch", None, (fence, 0, epoch[1], epoch[2]), (), leader)
            yield from self.send(f"{leader}: a whole grace is over", state, flight)
        else:
            # Another epoch, opened and measured in between, would make it go.
            yield "the epoch is dropped", self.moved(state, self.put(state.keys, EPOCH, None), state.scene)

    def call(self, state: State, call: Flight, others: tuple[Flight, ...]) -> Steps:
        """A DELETE arrives at the owner, and its answer at whoever sent it."""
        assert call.about is not None
        incarnation, attempt = call.rest
        arrived = f"the DELETE of {call.about.id}, incarnation {incarnation} (attempt {attempt})"
        there = self.owned(state.scene, call.about)
        scene: Scene = state.scene
        if there == incarnation or (there and self.ignores_precondition):
            if there != incarnation:
                raise Violation(f"S2: {arrived} deletes incarnation {there}")
            if any(t.resource == call.about and self.alive(state.keys, t.holder) for t in scene.told):
                raise Violation(f"S1: {arrived} deletes what is held")
            scene = self.lost(self.owning(scene, call.about, 0), call.about)
        for kept in (others, state.flying) if self.repeats else (others,):
            told = " and stays on its way" if kept is state.flying else ""
            yield f"{arrived} arrives{told}, its answer does not", self.moved(state, state.keys, scene, kept)
            done = State(state.keys, kept, state.revs, scene)  # renumbered when the answer has been dealt with
            yield from self._answered(f"{arrived} arrives{told}: gone", done, self._conclusion("finish", call, done))
        if self.refuses:
            refused = State(state.keys, others, state.revs, state.scene)
            what = "abort" if attempt == 1 else "note"
            yield from self._answered(f"{arrived} is refused", refused, self._conclusion(what, call, refused))

    def _answered(self, name: str, state: State, flight: Flight | None) -> Steps:
        if flight is not None:
            yield from self.send(f"{name}; {flight.name}", state, flight)

    # --- decisions --------------------------------------------------------------------------------------------------

    def _options(self, leader: str, resource: Resource, state: State) -> list[Flight]:
        fence, shard = state.revs[self.leaders.index(leader)], self.at(state, SHARD)
        armed = self.at(state, ARMED)
        if not fence or shard is None or shard[1] != fence:
            return []  # whatever it decides now is refused, as what it decided before is
        by = (fence, armed[2] if armed else 0)
        sweep = self.at(state, KEYS.sweep(resource))
        if sweep is not None:
            return self._sweeping(by, leader, resource, state, sweep)
        options: list[Flight] = []
        evidence, found = self._judged(state.keys, resource)
        if self.careless:
            if evidence.tombstone is not None:
                # The owner said that it is in use.
                options.append(Flight("revive", resource, (*by, evidence.tombstone.mod_revision), (), leader))
            found = _carelessly(evidence, found, self.at(state, EPOCH))
        if isinstance(found, Condemnable):
            return [*options, self._decided("condemn", (*by, self.newest(state)), found, leader)]
        if isinstance(found, Ripe):
            revs = (*by, self.newest(state))
            return [*options, *(self._decided(name, revs, found, leader) for name in PREPARES)]
        if evidence.tombstone is not None and found.reason in REVIVES:
            return [Flight("revive", resource, (*by, evidence.tombstone.mod_revision), (), leader)]
        return options

    def _sweeping(
        self, by: tuple[int, int], leader: str, resource: Resource, state: State, item: tuple[bytes, int, int, int]
    ) -> list[Flight]:
        sweep, revs = sweep_of(item[0]), (*by, item[2])
        options = []
        flying = sum(one.name == "DELETE" and one.rest[1] == ATTEMPTS for one in state.flying)
        if not flying and (by[1] or sweep.attempt):
            # What is beyond the second attempt is like the second. One of those on its way is enough.
            sent = msgspec.structs.replace(sweep, state=SweepState.SENT, attempt=min(sweep.attempt + 1, ATTEMPTS))
            # One that came back would end it here; ``send`` has to see to it for what happens later.
            looked = (
                1 if not tx.needs_a_look(sweep) else self.newest(state) if self._quiet(state, sweep, item[3]) else 0
            )
            if looked or sent.attempt > 1:
                options.append(Flight("send", resource, (*revs, item[3], looked), (encode(sent),), leader))
        if sweep.attempt == 0:
            options.append(Flight("abort", resource, revs, (), leader))
        return options

    def _quiet(self, state: State, sweep: SweepRecord, tombstone: int) -> bool:
        rosters = [self.at(state, KEYS.roster(Holder(one))) for one in sweep.holders]
        beacons = any(self.has(state, KEYS.beacon(Holder(one))) for one in sweep.holders)
        return not beacons and all(roster is not None and 0 < roster[2] < tombstone for roster in rosters)

    def _conclusion(self, name: str, call: Flight, state: State) -> Flight | None:
        """What is written down after an answer: for the attempt that was sent, whatever stands there now."""
        assert call.about is not None
        fence, armed, seen, tombstone = call.revs
        revs = (fence, armed, seen)
        if name == "abort":
            return Flight(name, call.about, revs, (), call.author)
        if name == "note":
            incarnation, attempt = call.rest
            noted = SweepRecord(SweepState.SENT, f"uid:{incarnation}", 0, 0, 0, "1s/1", (), attempt, "refused")
            return Flight(name, call.about, (*revs, tombstone), (encode(noted),), call.author)
        known = ResourceRecord(f"uid:{call.rest[0]}", "rule", GRACE, "")
        item = state.keys[self._records[call.about]]
        known = record_of(item[0]) if item and record_of(item[0]).incarnation == known.incarnation else known
        return Flight(name, call.about, revs, (encode(known),), call.author)

    def _decided(self, name: str, revs: tuple[int, ...], found: Condemnable | Ripe, leader: str) -> Flight:
        facts = found.facts
        more = (
            (found.tombstone, found.epoch.create_revision, found.epoch.mod_revision) if isinstance(found, Ripe) else ()
        )
        pairs = [rev for hold in facts.holds for rev in (hold.mod_revision, hold.roster)]
        holders = tuple((hold.holder, hold.released) for hold in facts.holds)
        rest = (holders, tuple(facts.sources), found.record.incarnation)
        return Flight(name, facts.resource, (*revs, facts.record_revision, *more, *pairs), rest, leader)

    def _judged(self, keys: Keys, resource: Resource) -> tuple[Evidence, Condemnable | Ripe | Keep]:
        known = self._verdicts.get((keys, resource))
        if known is None:
            found = {
                key: KeyValue(key, item[0], Revision(item[1]), Revision(item[2]), 1, LeaseId(0))
                for key, item in zip(self.layout.keys, keys, strict=True)
                if item is not None
            }
            evidence = read_evidence(KEYS, resource, Revision(1), found, found.get(ARMED))
            known = (
                evidence,
                unheld(evidence) if evidence.tombstone is None else ripe(evidence, lambda _: _epochs(found)),
            )
            self._verdicts[keys, resource] = known
        return known

    # --- effects, and the laws of the destructive path --------------------------------------------------------------

    def on_condemn(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._authorised(state, flight)
        self._unneeded(state, keys, flight, "condemned")
        return state.scene, ()

    def on_prepare(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._authorised(state, flight)
        self._unneeded(state, keys, flight, "prepared")
        scene: Scene = state.scene
        if flight.about in scene.reached:
            raise Violation(f"S1: {flight.about.id} is prepared, and was held within the last whole grace")
        return self.lost(scene, flight.about), ()  # type: ignore[arg-type]

    def on_send(self, state: State, keys: Keys, flight: Flight) -> Landed:
        assert flight.about is not None
        sweep = sweep_of(flight.rest[0])
        self._led(state, flight)
        if sweep.attempt == 1:
            self._authorised(state, flight)
            lost = [one for one in sweep.holders if not self.has(state, KEYS.roster(Holder(one)))]
            if lost:
                raise Violation(f"S4: {flight.about.id} is sent, and the roster entry of {short(lost[0])} is not there")
            if flight.about in self.held(state.keys) | state.scene.reached:
                raise Violation(f"S1: {flight.about.id} is sent, and a holder came back before")
        return state.scene, (self._called(keys, flight, sweep),)

    def on_prepare_and_send(self, state: State, keys: Keys, flight: Flight) -> Landed:
        assert flight.about is not None
        scene, _ = self.on_prepare(state, keys, flight)
        item = keys[self.sweeps[flight.about]]
        assert item is not None
        return scene, (self._called(keys, flight, sweep_of(item[0])),)

    def _called(self, keys: Keys, flight: Flight, sweep: SweepRecord) -> Flight:
        """The DELETE that follows what was written."""
        assert flight.about is not None
        item = keys[self.sweeps[flight.about]]
        assert item is not None
        rest = (int(sweep.incarnation.removeprefix("uid:")), sweep.attempt)
        return Flight("DELETE", flight.about, (*flight.revs[:2], item[2], item[3]), rest, flight.author)

    def on_finish(self, state: State, keys: Keys, flight: Flight) -> Landed:
        assert flight.about is not None
        self._led(state, flight)
        there = self.owned(state.scene, flight.about)
        if there and self.incarnation(state.keys, flight.about) == there:
            raise Violation(f"L6: {flight.about.id} is forgotten, and incarnation {there} is still at the owner")
        self.reset(keys, flight.about, "forgotten")
        return state.scene, ()

    def on_written(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._led(state, flight)
        return state.scene, ()

    def on_abort(self, state: State, keys: Keys, flight: Flight) -> Landed:
        assert flight.about is not None
        self._led(state, flight)
        for one in (flight.about, *flight.rest):
            self.reset(keys, one, "given up")
        return state.scene, ()

    on_note = on_revive = on_open_epoch = on_close_epoch = on_written

    def _led(self, state: State, flight: Flight) -> None:
        shard = self.at(state, SHARD)
        if shard is None or decode(ShardRecord, shard[0]).replica != flight.author:
            raise Violation(f"S3: {flight.name} is written by {flight.author}, who does not have the fence")

    def _authorised(self, state: State, flight: Flight) -> None:
        self._led(state, flight)
        if not self.has(state, ARMED):
            raise Violation(f"S5: {flight.name} takes place although the brake is on")
        if flight.doubted:
            raise Violation(f"S5: {flight.name} takes place, and was decided before the operator said otherwise")
        if flight.about is not None and self.has(state, KEYS.pin(flight.about)):
            raise Violation(f"S4: {flight.about.id} is pinned, and {flight.name} takes place")

    def _unneeded(self, state: State, keys: Keys, flight: Flight, what: str) -> None:
        assert flight.about is not None
        if flight.about in self.held(state.keys):
            raise Violation(f"S1: {flight.about.id} is {what}, and is held")
        proof = {"record": KEYS.record(flight.about)}
        if flight.name in PREPARES:
            proof["tombstone"] = KEYS.tombstone(flight.about)
        for holder, released in flight.rest[0]:
            proof[f"hold of {short(holder)}"] = KEYS.hold(flight.about, holder)
            if flight.name in PREPARES and not released:
                proof[f"roster entry of {short(holder)}"] = KEYS.roster(holder)
        missing = [called for called, key in proof.items() if not self.has(state, key)]
        if missing:
            raise Violation(f"S4: {flight.about.id} is {what}, and its {' and '.join(missing)} is not there")


def _carelessly(
    evidence: Evidence, found: Condemnable | Ripe | Keep, epoch: tuple[bytes, int, int, int] | None
) -> Condemnable | Ripe | Keep:
    record, stone, armed = evidence.record, evidence.tombstone, evidence.armed
    if not isinstance(found, Keep) or record is None or armed is None or not evidence.holds:
        return found
    holds = []
    for holder, item in evidence.holds.items():
        roster = evidence.rosters.get(holder)
        released = hold_of(item.value).released
        holds.append(tx.HoldFound(holder, item.mod_revision, released, roster.mod_revision if roster else Revision(0)))
    facts = tx.Unheld(evidence.resource, record.mod_revision, Revision(1), holds, tuple(evidence.sources))
    if stone is None:
        return Condemnable(facts, record_of(record.value), armed.mod_revision)
    if epoch is None or b"true" not in epoch[0]:
        return found
    seen = tx.EpochFound(GRACE, 1, EPOCH, Revision(epoch[1]), Revision(epoch[2]), DONE)
    return Ripe(facts, record_of(record.value), armed.mod_revision, stone.mod_revision, seen)


def _epochs(found: dict[bytes, KeyValue]) -> list[Seen]:
    item = found.get(EPOCH)
    if item is None:
        return []
    epoch = decode(EpochRecord, item.value)
    return [Seen(tx.EpochFound(GRACE, 1, EPOCH, item.create_revision, item.mod_revision, epoch), False)]
