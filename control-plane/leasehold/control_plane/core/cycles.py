"""What one read at one revision proves about all members of a reference cycle together. Pure.

The members are judged one by one as ``verdict`` judges anything, except that references among them do not count: they
keep each other only as long as something else keeps one of them. One doubt about one member keeps all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from leasehold.control_plane.core.epochs import Seen
from leasehold.control_plane.core.verdict import Condemnable, Evidence, Keep, Ripe, ripe, unheld
from leasehold.protocol import cycles
from leasehold.protocol.names import ClassName, Resource
from leasehold.protocol.records import TombstoneRecord, Unreadable, decode
from leasehold.protocol.store import KeyValue
from leasehold.protocol.transactions import resources

TOO_LARGE = "too-large"
EpochsOf = Callable[[ClassName], Iterable[Seen]]


def unheld_together(evidence: Sequence[Evidence]) -> tuple[Condemnable, ...] | Keep:
    """May they be condemned? Then in the order of their sweeps: the last-created first."""
    within = frozenset(one.resource for one in evidence)
    found = []
    for one in _last_created_first(evidence):
        judged = unheld(one, within)
        if isinstance(judged, Keep):
            return _keep(one.resource, judged)
        found.append(judged)
    classes = {one.record.grace_class for one in found}
    if not cycles.fits([one.facts for one in found], len(classes)):
        return Keep(TOO_LARGE, f"{len(found)} members need more compares than one transaction of etcd takes")
    return tuple(found)


def ripe_together(evidence: Sequence[Evidence], epochs: EpochsOf) -> tuple[Ripe, ...] | Keep:
    """May they be prepared for sweeping? Their tombstones must be of one transaction. In the order of their sweeps."""
    within = frozenset(one.resource for one in evidence)
    tombstones = {one.tombstone.mod_revision if one.tombstone else None for one in evidence}
    if len(tombstones) != 1:
        return Keep("broken-cycle", "a member was held or referred to since they were condemned")
    found, waiting = [], None
    for one in _last_created_first(evidence):
        judged = ripe(one, epochs, within)
        if isinstance(judged, Ripe):
            found.append(judged)
        elif judged.reason != "in-grace":
            return _keep(one.resource, judged)
        else:
            waiting = _keep(one.resource, judged)
    return waiting or tuple(found)


def members_of(tombstone: KeyValue | None) -> tuple[Resource, ...]:
    """The cycle that a tombstone was put for; none for what was condemned alone, or cannot be read."""
    if tombstone is None:
        return ()
    try:
        return resources(decode(TombstoneRecord, tombstone.value).cycle)
    except Unreadable:
        return ()


def _last_created_first(evidence: Sequence[Evidence]) -> list[Evidence]:
    def created(one: Evidence) -> tuple[int, Resource]:
        return -one.record.create_revision if one.record else 0, one.resource

    return sorted(evidence, key=created)


def _keep(resource: Resource, keep: Keep) -> Keep:
    return Keep(keep.reason, f"{resource}: {keep.detail}" if keep.detail else str(resource))
