"""Who refers to whom, and whether that keeps anybody. Pure.

- A reference counts when its key is there or its source's record names it: losing one of the two frees nobody.
- A reference to ``EVERY`` of a type is one to each resource of it.
- What was condemned together, as a cycle, does not keep each other for as long as all of it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from leasehold.control_plane.core.departures import Departures
from leasehold.control_plane.core.facts import ABSENT, Entry, Source
from leasehold.control_plane.core.graph import Picture
from leasehold.protocol.cycles import MAX_MEMBERS
from leasehold.protocol.names import OwnerName, Resource, Revision, TypeName
from leasehold.protocol.transactions import EVERY

Entries = Mapping[Resource, Entry]


class Referring:
    """All references of a tenant. Single writer: the index, whose ``entries`` and ``departures`` these are. What
    returns entries returns those that have to be reconsidered."""

    def __init__(self, entries: Entries, departures: Departures) -> None:
        self._entries, self._departures = entries, departures
        self._targets: dict[Resource, set[Resource]] = {}
        self._declared: dict[Resource, frozenset[Resource]] = {}
        self._general: dict[tuple[OwnerName, TypeName], frozenset[Resource]] = {}
        self._cycles: dict[Resource, tuple[Resource, ...]] = {}
        self._merely: dict[Resource, Entry] = {}

    # --- events -------------------------------------------------------------------------------------------------

    def targets_of(self, source: Resource) -> Iterable[Resource]:
        """What refers nowhere has none, nearly always."""
        return self._targets.get(source, ()) if self._targets else ()

    def declares(self, source: Resource) -> bool:
        return source in self._declared

    def declare(self, source: Resource, targets: Iterable[Entry]) -> list[Entry]:
        """What a record refers to, whether or not the keys that say so are there, too."""
        entries = {entry.resource: entry for entry in targets}
        declared = frozenset(entries)
        before = self._declared.pop(source, frozenset())
        if declared:
            self._declared[source] = declared
        changed = []
        for target in declared - before:
            entry = entries[target]
            if all(one.resource != source for one in entry.sources):
                entry.sources = (*entry.sources, Source(source, ABSENT))
                self._targets.setdefault(source, set()).add(target)
                changed.append(entry)
        for target in before - declared:
            entry = self._entries[target]
            self._drop(entry, source, ABSENT)
            changed.append(entry)
        return changed

    def put(self, entry: Entry, source: Resource, revision: Revision) -> bool:
        """The key of a reference as of ``revision``. Whether it was news."""
        known = _source(entry, source)
        if known is not None and revision <= known.revision:
            return False
        entry.sources = (*_without(entry, known), Source(source, revision))
        self._targets.setdefault(source, set()).add(entry.resource)
        return True

    def drop(self, entry: Entry, source: Resource, revision: Revision) -> bool:
        """The key of a reference went. Whether it was news."""
        known = _source(entry, source)
        if known is not None and revision <= known.revision:
            return False
        if known is None:
            return True
        if known.revision:
            self._departures.refs[entry.resource] = known
        if entry.resource in self._declared.get(source, ()):
            entry.sources = (*_without(entry, known), Source(source, ABSENT))
        else:
            self._drop(entry, source, known.revision)
        return True

    def _drop(self, entry: Entry, source: Resource, known: Revision) -> None:
        """Unless it was written meanwhile."""
        entry.sources = tuple(one for one in entry.sources if one != (source, known))
        if _source(entry, source) is not None:
            return
        targets = self._targets.get(source, set())
        targets.discard(entry.resource)
        if not targets:
            self._targets.pop(source, None)

    def condemned(self, resource: Resource, cycle: tuple[Resource, ...]) -> set[Resource]:
        """With whom a resource is condemned (nobody: alone, or not at all). The others of this and the last cycle."""
        if not cycle and not self._cycles:
            return set()
        before = self._cycles.pop(resource, ())
        if cycle:
            self._cycles[resource] = cycle
        return {*before, *cycle} - {resource}

    def generalize(self, entry: Entry) -> list[Entry]:
        """Of an ``EVERY``: perhaps somebody refers to everything of a type now, or does so no more."""
        if entry.resource.id != EVERY:
            return []
        place = entry.resource.owner, entry.resource.type
        existing = frozenset(source.resource for source in entry.sources if self.exists(source.resource))
        if existing == self._general.get(place, frozenset()):
            return []
        self._general[place] = existing
        if not existing:
            del self._general[place]
        return [one for one in self._entries.values() if one is not entry and one.resource[:2] == place]

    # --- what follows -------------------------------------------------------------------------------------------

    def exists(self, resource: Resource) -> bool:
        """Whether it has a record."""
        entry = self._entries.get(resource)
        return entry is not None and bool(entry.record)

    def cycle_of(self, resource: Resource) -> tuple[Resource, ...]:
        """With whom it was condemned, itself included; nobody, if alone or not at all."""
        return self._cycles.get(resource, ())

    def keeps(self, entry: Entry) -> bool:
        """Whether a resource that exists needs it. Those that were condemned together with it do not count as long as
        all of them still are; when one is not, none of them is to stay condemned."""
        if not entry.sources and not self._general and not self._cycles:
            return False  # nearly always
        own, cycle = entry.resource, self._cycles.get(entry.resource, ())
        if not all(self._stands(peer, entry.tombstone) for peer in cycle):
            return True
        if any(source != own and source not in cycle for source in self._general.get((own.owner, own.type), ())):
            return True
        referrers = (source.resource for source in entry.sources)
        return any(source != own and source not in cycle and self.exists(source) for source in referrers)

    def _stands(self, peer: Resource, tombstone: Revision) -> bool:
        entry = self._entries.get(peer)
        return entry is not None and entry.tombstone == tombstone

    def note_merely(self, entry: Entry, *, referenced: bool) -> None:
        """Whether nothing but references keeps it: where dead cycles are looked for."""
        if referenced:
            self._merely[entry.resource] = entry
        elif self._merely:
            self._merely.pop(entry.resource, None)

    def picture(self) -> Picture:
        """What nobody holds and something refers to, as of this instant: where dead cycles are to be looked for."""
        return [
            (resource, self._referrers(entry))
            for resource, entry in self._merely.items()
            if resource[:2] not in self._general or self._may_be_in_a_cycle(resource)
        ]

    def _referrers(self, entry: Entry) -> list[Resource]:
        named = (source.resource for source in entry.sources)
        general = self._general.get((entry.resource.owner, entry.resource.type), ())
        return [one for one in dict.fromkeys((*named, *general)) if one != entry.resource]

    def _may_be_in_a_cycle(self, resource: Resource) -> bool:
        """Of what is needed as everything of its type is: only if it needs something itself, and with all those that
        need everything a cycle is not too large. This also bounds the picture."""
        return resource in self._targets and len(self._general[resource.owner, resource.type]) <= MAX_MEMBERS


def _source(entry: Entry, source: Resource) -> Source | None:
    return next((one for one in entry.sources if one.resource == source), None)


def _without(entry: Entry, known: Source | None) -> tuple[Source, ...]:
    return tuple(one for one in entry.sources if one is not known)
