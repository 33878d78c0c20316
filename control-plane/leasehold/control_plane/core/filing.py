"""Where each resource stands: counted under its state, nominated for its next step, condemned in its class. Pure."""

from __future__ import annotations

from collections import Counter

from leasehold.control_plane.core.facts import ABSENT, Entry, Filed
from leasehold.control_plane.core.grace_class import GraceClass
from leasehold.control_plane.core.lifecycle import TABLE, Facts, Grace, Holding, State, Step
from leasehold.protocol.names import ClassName, Resource

_ROWS: dict[tuple[object, ...], tuple[Facts, State, Step | None]] = {
    facts: (facts, state, step) for facts, (state, step) in TABLE.items()
}
"""The life cycle, with its facts: a million entries share them."""


class Filing:
    """Single writer: the index."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, str, State]] = Counter()
        self.nominated: dict[Step, dict[Resource, None]] = {step: {} for step in Step}
        self.classes: dict[ClassName, GraceClass] = {}
        self._places: dict[Filed, Filed] = {}
        self._fresh: dict[Resource, Step | None] = {}
        self._stale_classes: set[ClassName] = set()

    def take_fresh(self) -> dict[Resource, Step | None]:
        """What became due since the last call, or (``None``) is due no more."""
        fresh, self._fresh = self._fresh, {}
        return fresh

    def class_of(self, name: ClassName) -> GraceClass:
        found = self.classes.get(name)
        if found is None:
            found = self.classes[name] = GraceClass(name)
        return found

    def changed(self, name: ClassName) -> None:
        """Something about a class did."""
        self._stale_classes.add(name)

    def take_stale_classes(self) -> set[ClassName]:
        """Classes in which anything changed since the last call."""
        stale, self._stale_classes = self._stale_classes, set()
        return stale

    def file(self, entry: Entry, holding: Holding) -> None:
        """By the facts that follow from who holds it, and from its own."""
        entry.facts, state, step = _ROWS[entry.sweep_state, self._grace_of(entry), holding]
        if not (entry.record or entry.tombstone or entry.sweep):
            self.unfile(entry)
            return
        resource, place = entry.resource, (entry.grace_class, state)
        if place != entry.filed:
            self._uncount(entry)
            self.counts[resource.owner, resource.type, entry.rule, state] += 1
            entry.filed = self._places.setdefault(place, place)
        if entry.tombstone and self.class_of(entry.grace_class).condemn(resource, entry.tombstone):
            self._stale_classes.add(entry.grace_class)
        if step is not entry.step:
            self._nominate(entry, step)

    def unfile(self, entry: Entry) -> None:
        """It is no more, or will be filed anew."""
        self._uncount(entry)
        found = self.classes.get(entry.grace_class)
        if found is not None:
            found.condemned.pop(entry.resource, None)
        self._nominate(entry, None)

    def _uncount(self, entry: Entry) -> None:
        if entry.filed is not None:
            place = (entry.resource.owner, entry.resource.type, entry.rule, entry.filed[1])
            self.counts[place] -= 1
            if not self.counts[place]:
                del self.counts[place]
            entry.filed = None

    def _nominate(self, entry: Entry, step: Step | None) -> None:
        if entry.step is None and step is None:
            return
        if entry.step is not None:
            self.nominated[entry.step].pop(entry.resource, None)
        entry.step = step
        if step is not None:
            self.nominated[step][entry.resource] = None
        self._fresh[entry.resource] = step

    def _grace_of(self, entry: Entry) -> Grace:
        if entry.tombstone == ABSENT:
            return Grace.NONE
        each = self.classes.get(entry.grace_class)
        return each.grace_of(entry.tombstone) if each is not None else Grace.WAITING
