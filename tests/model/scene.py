"""What is true outside of etcd, and the worlds' common ground: who holds what, and the laws about it.

S1 is judged by whom a living hold leads to (``held``), now and since the epoch opened (``Scene.reached``); S8 and S9
are looked at in every state. None of it is read by a step to decide anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Holder, Resource
from leasehold.protocol.records import HoldRecord, ResourceRecord, SweepRecord, decode
from leasehold.protocol.transactions import every as every_of
from leasehold.protocol.transactions import references
from tests.model.etcd import Keys, Layout
from tests.model.names import EPOCH, KEYS
from tests.model.world import Builder, Flight, State, Violation, World


class Told(NamedTuple):
    """An app was told that its hold is there, and has not let go of it."""

    holder: Holder
    resource: Resource
    sequence: int
    incarnation: int


class Scene(NamedTuple):
    owner: tuple[int, ...]
    """Which incarnation of each resource is at the owner; 0: none."""
    made: int = 0
    told: frozenset[Told] = frozenset()
    unregistered: frozenset[tuple[Holder, Resource, int]] = frozenset()
    """Incarnations created and not yet registered."""
    sequence: tuple[int, ...] = (0, 0)
    reached: frozenset[Resource] = frozenset()
    """Ghost: a living hold led there after the epoch opened (or after the sweep was prepared)."""
    left: tuple[int, ...] = ()
    """What the adversary may still do, in the order of ``Ground.budgets``."""
    more: Any = None
    """What only some worlds know of."""


hold_of = lru_cache(maxsize=None)(lambda value: decode(HoldRecord, value))
record_of = lru_cache(maxsize=None)(lambda value: decode(ResourceRecord, value))
sweep_of = lru_cache(maxsize=None)(lambda value: decode(SweepRecord, value))


class Ground(World):
    """Resources, holders, and what must be true of them in every state."""

    def __init__(
        self,
        layout: Layout,
        builders: dict[str, Builder],
        resources: Sequence[Resource],
        holders: Sequence[Holder],
        budget: dict[str, int],
    ) -> None:
        super().__init__(layout, builders)
        self.resources, self.holders = tuple(resources), tuple(holders)
        self.budgets, self.budget = {name: n for n, name in enumerate(budget)}, tuple(budget.values())
        slot = layout.slot
        self._beacons = [slot[KEYS.beacon(holder)] for holder in holders if KEYS.beacon(holder) in slot]
        self._records = {one: slot[KEYS.record(one)] for one in resources}
        self._holds = [
            (n, one, slot[KEYS.hold(one, holder)])
            for n, holder in enumerate(holders)
            for one in resources
            if KEYS.hold(one, holder) in slot
        ]
        self.sweeps = {one: slot[KEYS.sweep(one)] for one in resources}

    # --- budgets --------------------------------------------------------------------------------------------------

    def may(self, scene: Scene, name: str) -> bool:
        n = self.budgets.get(name)
        return n is not None and scene.left[n] > 0

    def spent(self, scene: Scene, name: str) -> Scene:
        n = self.budgets[name]
        return scene._replace(left=(*scene.left[:n], scene.left[n] - 1, *scene.left[n + 1 :]))

    # --- what laws look at ----------------------------------------------------------------------------------------

    def alive(self, keys: Keys, holder: str) -> bool:
        return keys[self._beacons[self.holders.index(Holder(holder))]] is not None

    def held(self, keys: Keys) -> frozenset[Resource]:
        """What a living hold leads to, over references."""
        direct = [
            one
            for n, one, slot in self._holds
            if keys[self._beacons[n]] is not None and (item := keys[slot]) and not hold_of(item[0]).released
        ]
        return self.closure(keys, direct) if direct else frozenset()

    def closure(self, keys: Keys, start: Sequence[Resource]) -> frozenset[Resource]:
        found: set[Resource] = set()
        waiting = list(start)
        while waiting:
            one = waiting.pop()
            item = keys[self._records[one]] if one in self._records else None
            if item is not None and one not in found:
                found.add(one)
                for target in references(record_of(item[0])):
                    waiting += [every for every in self.resources if target in {every, every_of(every)}]
        return frozenset(found)

    def incarnation(self, keys: Keys, resource: Resource) -> int:
        item = keys[self._records[resource]]
        return int(record_of(item[0]).incarnation.removeprefix("uid:")) if item else 0

    def owned(self, scene: Scene, resource: Resource) -> int:
        return scene.owner[self.resources.index(resource)]

    def owning(self, scene: Scene, resource: Resource, incarnation: int) -> Scene:
        n = self.resources.index(resource)
        return scene._replace(owner=(*scene.owner[:n], incarnation, *scene.owner[n + 1 :]))

    # --- states -----------------------------------------------------------------------------------------------------

    def moved(self, state: State, keys: Keys, scene: Scene, flying: tuple[Flight, ...] | None = None) -> State:
        """The state after a step, with the ghost kept up to date."""
        epoch = self.layout.slot.get(EPOCH)
        swept = frozenset(one for one, slot in self.sweeps.items() if keys[slot] is not None)
        if epoch is not None and keys[epoch] is not None:
            before = scene.reached if state.keys[epoch] is not None else scene.reached & swept
            scene = scene._replace(reached=before | self.held(keys))
        elif swept or scene.reached:
            scene = scene._replace(reached=(scene.reached | self.held(keys)) & swept)
        if keys is state.keys and flying in {None, state.flying}:
            return state._replace(scene=scene)
        return self.settled(State(keys, state.flying if flying is None else flying, state.revs, scene))

    def check(self, state: State) -> None:
        keys, scene = state.keys, state.scene
        for told in scene.told:
            slot = self.layout.slot[KEYS.hold(told.resource, told.holder)]
            item = keys[slot]
            there = item is not None and not hold_of(item[0]).released
            if not there or self.incarnation(keys, told.resource) != told.incarnation:
                raise Violation(f"S8: {told.holder} was told that it holds {told.resource.id}, and that is not in etcd")
        for resource, slot in self.sweeps.items():
            sweep = keys[slot]
            if sweep is not None:
                self.evidence(keys, resource, sweep_of(sweep[0]), sweep[3])

    def evidence(self, keys: Keys, resource: Resource, sweep: SweepRecord, remembers: int) -> None:
        record, tombstone = keys[self._records[resource]], keys[self.layout.slot[KEYS.tombstone(resource)]]
        if (
            record is None
            or record_of(record[0]).incarnation != sweep.incarnation
            or (tombstone is None or tombstone[2] != remembers)
        ):
            raise Violation(f"S9: the sweep of {resource.id} has lost its evidence")

    def reset(self, keys: Keys, resource: Resource, how: str) -> None:
        """Whatever a living holder does to a resource takes its tombstone away, and so does its end."""
        if keys[self.layout.slot[KEYS.tombstone(resource)]] is not None:
            raise Violation(f"S1: {resource.id} is {how}, and its tombstone stands as if nothing had been")

    def over(self, state: State) -> bool:
        return not any(state.keys[slot] is not None for slot in self._records.values())


def keys_of(
    resources: Sequence[Resource], holders: Sequence[Holder], families: Sequence[Family], more: Sequence[bytes] = ()
) -> list[bytes]:
    """The keys of a world: of holders, and of resources in these families."""
    keys = [key for holder in holders for key in (KEYS.beacon(holder), KEYS.roster(holder))]
    of = {
        Family.RESOURCES: KEYS.record, Family.TOMBSTONES: KEYS.tombstone, Family.SWEEPS: KEYS.sweep,
        Family.NOTICES: KEYS.notice, Family.PINS: KEYS.pin, Family.GRAVES: KEYS.grave,
    }  # fmt: skip
    for one in resources:
        keys += [KEYS.hold(one, holder) for holder in holders]
        keys += [of[family](one) for family in families if family in of]
        if Family.REFS in families:
            keys += [KEYS.ref(one, source) for source in resources]
    return [*keys, *more]
