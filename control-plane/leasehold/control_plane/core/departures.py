"""What left etcd since the last look, and whether one of our transactions explains it. Pure.

Every transaction of the protocol that deletes a key leaves a trace of why: a hold goes with its record, or because a
newer hold took its place; a record takes all its holds along; a roster entry goes only when its holder is gone and
holds nothing; a reference goes with the record of its source, or when that is written anew; a pin goes with the hold
that it is as well, a sweep with its tombstone. What went without such a trace was taken by a hand, a script or a
mistake, and what is missing permits nothing: it is *lost*. Of pins and sweeps one is too many (``dire``): an operator
said "keep", or a delete may be on its way that nobody who comes now is told of.

Of tombstones, epochs and their leases, notices, graves and intents nothing is told here: without them grace begins
anew, an owner is told again, or a leftover stays.

Judged at the end of a batch, when everything of each revision is there. Where a gap hides in which order things
happened, the doubt is for the innocent reading: this only has to tell a family's loss from an ordinary day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from leasehold.control_plane.core.facts import Entry, Hold, HolderEntry, Source
from leasehold.protocol.names import Holder, Resource, Revision
from leasehold.protocol.records import Ending, HolderKind
from leasehold.protocol.transactions import PINNED

EntryOf = Callable[[Resource], Entry | None]
HolderOf = Callable[[Holder], HolderEntry | None]


class Departures:
    """Noted by the index; whoever judges takes them. Of each key the last departure is enough."""

    __slots__ = ("beacons", "holds", "pins", "records", "refs", "rosters", "sweeps")

    def __init__(self) -> None:
        self.beacons: dict[Holder, bool] = {}
        """Holders whose beacon went (False) or came (True) last."""
        self.rosters: dict[Holder, None] = {}
        """Holders whose roster entry was written or went."""
        self.records: dict[Resource, Revision] = {}
        """Records that went, and when."""
        self.holds: dict[Resource, Revision] = {}
        """Resources of which a hold went, and how old that was."""
        self.refs: dict[Resource, Source] = {}
        """Resources of which an inbound reference went."""
        self.pins: dict[Resource, None] = {}
        """Resources of which a pin went, or the hold that it is as well."""
        self.sweeps: dict[Resource, Revision] = {}
        """Resources whose sweep went, and when that was written last."""

    def clear(self) -> None:
        for name in self.__slots__:
            getattr(self, name).clear()

    def take(self) -> Departures:
        """All of it; from here on it is noted anew."""
        taken = Departures()
        for name in self.__slots__:
            setattr(taken, name, getattr(self, name))
            setattr(self, name, {})
        return taken

    def lost(self, entry_of: EntryOf, holder_of: HolderOf) -> Iterator[Resource]:
        """Resources that keys are missing of without a transaction of ours; some perhaps twice."""
        for resource, revision in self.holds.items():
            entry = entry_of(resource)
            if entry is not None and entry.record and not any(hold.revision > revision for hold in entry.holds):
                yield resource
        for resource, revision in self.records.items():
            entry = entry_of(resource)
            if entry is not None and not entry.record and any(_outlasts(hold, revision) for hold in entry.holds):
                yield resource
        for resource, gone in self.refs.items():
            entry, source = entry_of(resource), entry_of(gone.resource)
            if entry is not None and entry.record and source is not None and 0 < source.record <= gone.revision:
                yield resource
        for holder in self.rosters:
            found = holder_of(holder)
            if found is not None and not found.roster:
                yield from found.resources
        yield from (resource for _, resource in self.dire(entry_of))

    def dire(self, entry_of: EntryOf) -> Iterator[tuple[str, Resource]]:
        """Of what was lost, that of which one is too many, each with what is missing."""
        for resource in self.pins:
            entry = entry_of(resource)
            if entry is not None and bool(entry.pin) is not any(hold.holder == PINNED for hold in entry.holds):
                yield "pin", resource
        for resource, revision in self.sweeps.items():
            entry = entry_of(resource)
            # Whoever ends a sweep takes the tombstone along that it rests on; one put anew is newer.
            if entry is not None and not entry.sweep and 0 < entry.tombstone < revision:
                yield "sweep", resource


def _outlasts(hold: Hold, record: Revision) -> bool:
    """Whether a hold still stands that should have gone with its record. A pin is of the id, and stays."""
    return hold.revision < record and hold.holder != PINNED


def went_without_a_word(found: HolderEntry | None) -> bool:
    """Whether a holder is gone and nobody reported why. Timers end by themselves; that is what they are for."""
    if found is None or found.beacon:
        return False
    if found.roster and found.readable and found.kind is HolderKind.TIMER:
        return False
    return not (found.roster and found.readable) or found.ended in {None, Ending.UNKNOWN}


def carried_by(found: HolderEntry, entry_of: EntryOf, holder_of: HolderOf) -> Iterator[Resource]:
    """What only those hold that are gone: recorded, held by ``found``, not let go of, and by nobody alive."""
    for resource in found.resources:
        entry = entry_of(resource)
        if entry is None or not entry.record:
            continue
        holders = (holder_of(hold.holder) for hold in entry.holds if hold.released is False)
        if any(one is found for one in holders) and not held_by_the_living(entry, holder_of):
            yield resource


def held_by_the_living(entry: Entry, holder_of: HolderOf) -> bool:
    """Whether a holder that has a beacon holds it, and did not let go. What refers to it is not asked."""
    holders = (holder_of(hold.holder) for hold in entry.holds if hold.released is False)
    return any(one is not None and one.beacon for one in holders)
