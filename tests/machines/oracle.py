"""The laws, in plain Python: judges every step by the keys before and after it, and every delete at the owner.

It knows nothing of how the product decides. Time is the machine's; a grace is ``GRACE`` of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.machines.picture import Item, Picture, Thing

GRACE = 1.0


class BrokenLaw(AssertionError):
    """Which, and by what."""


def law(name: str, holds: object, what: object = "") -> None:
    if not holds:
        raise BrokenLaw(f"{name}: {what}")


@dataclass(frozen=True)
class Claim:
    """In whose name a control plane writes: as which replica, of which shard, under which fence."""

    replica: str
    shard: int
    fence: int


@dataclass
class Oracle:
    """What has to be remembered besides the keys."""

    needed_until: dict[Thing, float] = field(default_factory=dict)
    sent: set[tuple[Thing, str]] = field(default_factory=set)
    prepared: int = 0
    deleted: int = 0

    def judge(self, before: Picture, after: Picture, now: float, by: Claim | None) -> None:
        """One step."""
        for thing in before.things | after.things:
            if before.needed(thing) or after.needed(thing):
                self.needed_until[thing] = now
            self._tombstone(thing, before, after)
            self._sweep(thing, before, after, now)
            self._no_hold_under_a_sweep(thing, before, after)
        if by is not None and after != before:
            self._fence(before, by)
        self._consistent(before, after)

    def _tombstone(self, thing: Thing, before: Picture, after: Picture) -> None:
        old, new = before.at("tombstones", *thing), after.at("tombstones", *thing)
        if new is not None and new != old:
            law("S5 nothing is condemned while disarmed", before.armed, thing)
            law("S1 nothing needed is condemned", not before.needed(thing), thing)
            law("S4 a pin keeps", before.at("pins", *thing) is None, thing)

    def _sweep(self, thing: Thing, before: Picture, after: Picture, now: float) -> None:
        old, new = before.at("sweeps", *thing), after.at("sweeps", *thing)
        if new is None or new == old:
            return
        record = before.at("resources", *thing)
        law("S6 only what is recorded is swept", record, thing)
        if old is None:
            self._prepared(thing, before, now)
        attempts = (old.value.get("attempt", 0) if old else 0, new.value.get("attempt", 0))
        law("S9 attempts are counted one by one", attempts[1] - attempts[0] in {0, 1}, (thing, attempts))
        if attempts == (0, 1):
            law("S5 nothing is sent for the first time while disarmed", before.armed, thing)
            law("S1 nothing with a living holder is sent", not before.living(thing), thing)
        if attempts[1] > attempts[0]:
            self.sent.add((thing, new.value["incarnation"]))
        assert record is not None
        law("S2 a sweep names what is recorded", record.value["incarnation"] == new.value["incarnation"], thing)

    def _prepared(self, thing: Thing, before: Picture, now: float) -> None:
        self.prepared += 1
        law("S5 nothing is prepared while disarmed", before.armed, thing)
        law("S4 a pin keeps", before.at("pins", *thing) is None, thing)
        law("S4 nothing is prepared without a tombstone", before.at("tombstones", *thing), thing)
        law("S1 nothing needed is prepared", not before.needed(thing), thing)
        quiet = now - self.needed_until.get(thing, float("-inf"))
        law("S1 a whole grace without need comes first", quiet >= GRACE, (thing, quiet))
        unreleased = [holder for holder, hold in before.holds(thing).items() if not hold.value.get("released")]
        law("S4 somebody held it once", before.holds(thing), thing)
        law("S4 the dead are on the roster", all(before.at("roster", one) for one in unreleased), (thing, unreleased))

    def _no_hold_under_a_sweep(self, thing: Thing, before: Picture, after: Picture) -> None:
        if before.at("sweeps", *thing) is None or after.at("sweeps", *thing) is None:
            return
        old = before.holds(thing)
        granted = [
            who for who, hold in after.holds(thing).items() if hold != old.get(who) and not hold.value.get("released")
        ]
        law("S1 no hold is granted on what is being swept", not granted, (thing, granted))

    def _fence(self, before: Picture, by: Claim) -> None:
        shard = before.at("shards", str(by.shard))
        rightful = shard is not None and shard.created == by.fence and shard.value["replica"] == by.replica
        law("S3 only the holder of the fence writes", rightful, by)

    def _consistent(self, before: Picture, after: Picture) -> None:
        records = after.of("resources")
        for family in ("tombstones", "sweeps"):
            law(f"{family} only of what is recorded", after.of(family).keys() <= records.keys())
        law("beacon and roster together", after.of("beacons").keys() <= after.of("roster").keys())
        for source in {parts[3:6] for parts in after.of("refs")}:
            law("no reference from what is not recorded", source in records or source not in before.of("resources"))
        for thing in before.of("resources").keys() - records.keys():
            left = [family for family in ("holds", "refs", "notices") for at in after.of(family) if at[:3] == thing]
            law("what is forgotten leaves nothing behind", not left, (thing, left))
        for (holder,) in before.of("roster").keys() - after.of("roster").keys():
            held = [at for at, hold in after.of("holds").items() if at[3] == holder and not hold.value.get("released")]
            law("nobody is struck who holds something", not held, (holder, held))

    # --- the owner --------------------------------------------------------------------------------------------------

    def on_deleted(self, thing: Thing, named: str, gone: str, keys: Picture) -> None:
        """A delete that names one incarnation took effect on ``gone``."""
        self.deleted += 1
        law("S2 a delete affects only what it names", named == gone, (thing, named, gone))
        law("S9 the evidence was written before", (thing, named) in self.sent, (thing, named))
        record = keys.at("resources", *thing)
        if record is not None and record.value["incarnation"] == gone:
            law("S1 nothing is deleted that is not being swept", keys.at("sweeps", *thing), (thing, gone))


__all__ = ["GRACE", "BrokenLaw", "Claim", "Item", "Oracle", "law"]
