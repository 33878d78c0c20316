"""Compare all that is there with what the index knows: what it missed is taken in, what is gone is found. Pure.

Whoever was called leaves a mark on its entry, for two million keys would take more room than all that they are about.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from leasehold.control_plane.core.facts import Entry, Hold
from leasehold.control_plane.core.index import AT_A_TIME, Index, hold_of
from leasehold.protocol.keyspace import Family, Key
from leasehold.protocol.names import Revision
from leasehold.protocol.store import Change, Event, KeyValue

_numbers = count(1)
_BY_MILLIONS = (Family.RESOURCES, Family.HOLDS)


class RollCall:
    """One: ``call`` for every key as of one revision, in any order, then ``absentees``."""

    def __init__(self, index: Index) -> None:
        self._index, self._number = index, next(_numbers)
        self._answered: set[bytes] = set()

    def call(self, item: KeyValue) -> bool:
        """A key that is there. Whether that was news."""
        key = self._index.keys.parse(item.key)
        if key is not None and key.family in _BY_MILLIONS and self._answers(key, item.mod_revision):
            return False
        self._answered.add(item.key)
        return self._index.apply(Event(Change.PUT, item))

    def _answers(self, key: Key, revision: Revision) -> bool:
        entry = self._index.entry(key.resource)
        if entry is None:
            return False
        if key.family is Family.RESOURCES:
            if revision > entry.record:
                return False
            entry.called = self._number
            return True
        known = hold_of(entry, key.holder)
        if known is None or revision > known.revision:
            return False
        known.called = self._number
        return True

    def absentees(self, revision: Revision) -> Iterator[list[bytes]]:
        """Keys known as of ``revision`` or before that were not called, a part at a time (most are empty)."""
        absent: list[bytes] = []
        for number, entry in enumerate(self._index.entries()):
            absent += self._absent_of(entry, revision)
            if number % AT_A_TIME == 0:
                yield absent
                absent = []
        known = (key for key, known in self._index.known_besides() if 0 < known <= revision)
        yield absent + [key for key in known if key not in self._answered]

    def _absent_of(self, entry: Entry, revision: Revision) -> list[bytes]:
        index, held = self._index, entry.held
        if (
            entry.called == self._number and type(held) is Hold and held.called == self._number
            and not (entry.tombstone or entry.sweep or entry.pin or entry.sources)
        ):  # fmt: skip
            return []  # nearly always
        called = {index.keys.hold(entry.resource, hold.holder) for hold in entry.holds if hold.called == self._number}
        if entry.called == self._number:
            called.add(index.keys.record(entry.resource))
        return [
            key
            for key, known in index.known_of(entry)
            if 0 < known <= revision and key not in called and key not in self._answered
        ]
