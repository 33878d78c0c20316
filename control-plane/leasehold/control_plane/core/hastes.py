"""Whose grace an operator has shortened: of which tombstone, and what its class would be without. Pure.

A haste speaks of one tombstone, by its revision: a later one of the same resource has its ordinary grace, and so has
one whose haste has gone.
"""

from __future__ import annotations

from dataclasses import dataclass

from leasehold.control_plane.core.facts import ABSENT, Entry
from leasehold.protocol.names import ClassName, Resource, Revision
from leasehold.protocol.records import HASTENED, HasteRecord


@dataclass(frozen=True, slots=True)
class _Haste:
    revision: Revision
    tombstone: int
    ordinary: ClassName


class Hastes:
    """There are few, so nothing is kept with the resources. Single writer: the index."""

    def __init__(self) -> None:
        self._known: dict[Resource, _Haste] = {}

    def put(self, resource: Resource, revision: Revision, record: HasteRecord | None, ordinary: ClassName) -> None:
        """``revision`` 0: it is gone. ``record`` ``None``: it cannot be read, and hastens nothing."""
        if revision:
            self._known[resource] = _Haste(revision, record.tombstone_revision if record else 0, ordinary)
        else:
            self._known.pop(resource, None)

    def revision_of(self, resource: Resource) -> Revision:
        found = self._known.get(resource)
        return found.revision if found else ABSENT

    def hastened(self, entry: Entry) -> bool:
        """Whether the tombstone that stands there now is."""
        found = self._known.get(entry.resource)
        return found is not None and bool(entry.tombstone) and entry.tombstone == found.tombstone

    def ordinary(self, entry: Entry) -> ClassName:
        """The class its record names."""
        found = self._known.get(entry.resource)
        return found.ordinary if found else entry.grace_class

    def class_of(self, resource: Resource, tombstone: Revision, ordinary: ClassName) -> ClassName:
        """By which its grace is measured; ``ordinary`` is what its record names."""
        found = self._known.get(resource)
        if found is None:
            return ordinary
        if found.ordinary != ordinary:
            self._known[resource] = _Haste(found.revision, found.tombstone, ordinary)
        return HASTENED if tombstone and found.tombstone == tombstone else ordinary

    def known(self) -> list[tuple[Resource, Revision]]:
        return [(resource, found.revision) for resource, found in self._known.items()]
