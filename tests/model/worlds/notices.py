"""What an owner is told, and owed: asked to treat something as condemned, it is owed a restore once that is held again.

What is due is the product's own judgement (``core.notices.owed``); what is written because of it arrives late, beside
what is decided later. A call reaches the owner or does not, and its answer comes or does not; one that is given up does
not arrive any more (the owner's own affair: see ``docs/protocol.md``).
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from leasehold.control_plane.core.notices import Due, Notice, Told, owed
from leasehold.protocol import transactions as tx
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Revision
from leasehold.protocol.records import NoticeRecord, ShardRecord, SweepRecord, SweepState, decode, encode
from leasehold.protocol.store import Txn
from tests.model import holders
from tests.model.decisions import authority
from tests.model.etcd import NEW, Keys, Layout
from tests.model.holders import Holders, Landed
from tests.model.names import BOOT, KEYS, ROSTER, SHARD, A, B, X, hold, record
from tests.model.scene import Scene, keys_of, record_of
from tests.model.world import Flight, State, Steps, Violation

NOTICE, STONE, SWEEP = KEYS.notice(X), KEYS.tombstone(X), KEYS.sweep(X)


def _notice(flight: Flight, tombstone: int) -> NoticeRecord:
    told, attempt, incarnation = flight.rest
    return NoticeRecord(f"uid:{incarnation}", tombstone, told, attempt)


def _notify(flight: Flight) -> Txn:
    tombstone, seen = (Revision(rev) for rev in flight.revs[2:4])
    return tx.notify(KEYS, authority(flight), X, tombstone, seen, _notice(flight, tombstone))


def _note(flight: Flight) -> Txn:
    tombstone, seen = flight.revs[2:4]
    return tx.note_notice(KEYS, authority(flight), X, Revision(seen), _notice(flight, tombstone))


def _withdraw(flight: Flight) -> Txn:
    seen, known = (Revision(rev) for rev in flight.revs[2:4])
    return tx.withdraw(KEYS, authority(flight), X, seen, known)


class Owner(NamedTuple):
    """``condemned``: the incarnation that it treats as condemned, 0 if none."""

    condemned: int = 0


class Notices(Holders):
    title = "notices: an owner is told, and restores are owed, by decisions that arrive late"
    late = frozenset({"notify", "note notice", "withdraw"})
    created = (*Holders.created,)
    ordered = (*Holders.ordered, Family.NOTICES)

    def __init__(self) -> None:
        families = (Family.RESOURCES, Family.TOMBSTONES, Family.SWEEPS, Family.NOTICES)
        layout = Layout(KEYS, keys_of([X], [A, B], families, [SHARD]), (Family.REFS,))
        builders = {**holders.BUILDERS, "notify": _notify, "note notice": _note, "withdraw": _withdraw}
        budget = {"condemns": 2, "acquires": 1, "sweeps": 1, "fences": 1, "deletes": 1, "creates": 1}
        super().__init__(layout, builders, [X], [A, B], budget)

    def start(self) -> State:
        """Its holder has died already."""
        keys = [
            (SHARD, encode(ShardRecord("leader"))), (KEYS.roster(A), encode(ROSTER)),
            (KEYS.beacon(B), BOOT.encode()), (KEYS.roster(B), encode(ROSTER)),
            (KEYS.record(X), encode(record(1))), (KEYS.hold(X, A), encode(hold(1))),
        ]  # fmt: skip
        scene = Scene((1,), made=1, sequence=(1, 0), left=self.budget, more=Owner())
        return self.settled(self.begin(keys, scene)._replace(revs=(1,)))

    # --- steps ------------------------------------------------------------------------------------------------------

    def steps(self, state: State) -> Steps:
        yield from self.arrivals(state)
        yield from self.acquires(B, X, state)
        yield from self.releases(B, state)
        yield from self.deletes(B, X, state)
        yield from self.creates(B, X, state)
        yield from self.registers(B, state)
        yield from self._collecting(state)
        shard = self.at(state, SHARD)
        if shard is None:
            return
        if self.may(state.scene, "fences"):
            gone = self.put(state.keys, SHARD, None)
            yield "the fence is lost", self.moved(state, gone, self.spent(state.scene, "fences"))
        yield from self._informing(state, shard[1])

    def _collecting(self, state: State) -> Steps:
        """How it comes to be condemned, or swept, is other worlds' affair."""
        scene, keys = state.scene, state.keys
        if not self.has(state, KEYS.record(X)) or self.held(keys) or self.has(state, SWEEP):
            return
        if not self.has(state, STONE):
            if self.may(scene, "condemns"):
                yield "x is condemned", self.moved(state, self.put(keys, STONE, b"{}"), self.spent(scene, "condemns"))
        elif self.may(scene, "sweeps"):
            swept, stone = list(keys), self.at(state, STONE)
            assert stone is not None
            sweep = SweepRecord(SweepState.PREPARED, f"uid:{self.incarnation(keys, X)}", 0, 0, 0, "1s/1")
            swept[self.layout.slot[SWEEP]] = (encode(sweep), NEW, NEW, stone[2])
            yield "a sweep is prepared", self.moved(state, tuple(swept), self.spent(scene, "sweeps"))

    def _informing(self, state: State, fence: int) -> Steps:
        item, known, stone = self.at(state, NOTICE), self.at(state, KEYS.record(X)), self.at(state, STONE)
        notice = None
        if item is not None:
            written = msgspec.structs.replace(decode(NoticeRecord, item[0]), tombstone_revision=item[3])
            notice = Notice(Revision(item[2]), written)
        told = Told(
            known is not None, record_of(known[0]).incarnation if known else None,
            Revision(stone[2] if stone else 0), self.has(state, SWEEP), notice, wants_notice=True,
        )  # fmt: skip
        seen, revision = (item[2] if item else 0), (known[2] if known else 0)
        match owed(told):
            case Due.CONDEMN:
                assert stone is not None
                rest = (False, 1, self.incarnation(state.keys, X))
                flight = Flight("notify", X, (fence, 0, stone[2], seen), rest, "leader")
                yield from self.send("leader: notify", state, flight)
            case Due.RESTORE:
                restored = self._owner(state, 0)
                yield "the owner is told to restore, and its answer is lost", restored
                flight = Flight("withdraw", X, (fence, 0, seen, revision), (), "leader")
                yield from self.send("the owner is told to restore", restored, flight)
            case Due.DROP:
                flight = Flight("withdraw", X, (fence, 0, seen, revision), (), "leader")
                yield from self.send("leader: nothing is left to be told", state, flight)

    def _owner(self, state: State, condemned: int) -> State:
        return self.moved(state, state.keys, state.scene._replace(more=Owner(condemned)))

    def arrivals(self, state: State) -> Steps:
        """Once a notice is written its owner is told, and what comes of that is noted."""
        for name, after in super().arrivals(state):
            yield name, after
            if not name.startswith("notify"):
                continue
            item, there = self.at(after, NOTICE), after.scene.owner[0]
            assert item is not None
            incarnation = int(decode(NoticeRecord, item[0]).incarnation.removeprefix("uid:"))
            told = self._owner(after, incarnation if there == incarnation else after.scene.more.condemned)
            yield f"{name}; the owner is told, and its answer is lost", told
            written = next(one for one in state.flying if one.name == "notify" and one not in after.flying)
            revs = (written.revs[0], 0, item[3], item[2])
            flight = Flight("note notice", X, revs, (there == incarnation, 1, incarnation), "leader")
            yield from self.send(f"{name}; the owner is told", told, flight)

    def beside(self, flight: Flight, state: State) -> tuple[Flight, ...] | None:
        if flight.author != "leader":
            return super().beside(flight, state)
        return None if flight in state.flying else tuple(one for one in state.flying if one.name != flight.name)

    # --- effects, and laws ------------------------------------------------------------------------------------------

    def check(self, state: State) -> None:
        super().check(state)
        scene, item = state.scene, self.at(state, NOTICE)
        condemned = scene.more.condemned
        if condemned and condemned == scene.owner[0] and item is None:
            raise Violation("L6: the owner treats x as condemned, and nothing says that it is owed a restore")
        stone = self.at(state, STONE)
        of_this = item is not None and stone is not None and item[3] == stone[2]
        if item is None or not of_this or not decode(NoticeRecord, item[0]).told:
            return
        if condemned != scene.owner[0] and self.incarnation(state.keys, X) == scene.owner[0]:
            raise Violation("L6: the notice says that the owner was told of this tombstone, and it was not")

    def _led(self, state: State, flight: Flight) -> None:
        if not self.has(state, SHARD):
            raise Violation(f"S3: {flight.name} is written without the fence")

    def on_notify(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._led(state, flight)
        if not self.has(state, STONE) or self.has(state, SWEEP):
            raise Violation("S4: an owner is to be told that x is condemned, and it is not, or is being swept")
        return state.scene, ()

    def on_note_notice(self, state: State, keys: Keys, flight: Flight) -> Landed:
        self._led(state, flight)
        return state.scene, ()

    on_withdraw = on_note_notice

    def over(self, state: State) -> bool:
        return not self.has(state, NOTICE) or not self.has(state, SHARD) or self.has(state, SWEEP)
