"""What an owner lists, compared with what is recorded. Pure.

    recorded and listed --> fine
    listed, unknown, provably ours --> candidate --seen by two scans, an interval apart--> orphan
    recorded, not listed --> missing --by two scans, an interval apart--> gone, if a read confirms it
    listed, unknown, nothing proves it ours --> unmanaged: counted, none of our business (S6)

Laws:

- A listing that did not come to its end is never compared.
- A record newer than the listing's beginning may be rightly missing from it; an intent older than the first scan of a
  candidate may be about it.
- The brake: more candidates (or missing) than a part *and* a number, and nothing is concluded or remembered. A restored
  snapshot of etcd, or a list that shows half, looks just so.
- An index that knows nothing of what is listed cannot say that something is unknown: it may be the wrong tenant's.
- Memory is bounded: of what is unknown and ours no more than ``MOST_CANDIDATES`` are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from leasehold.protocol.lookups import Brake
from leasehold.protocol.names import CallId, Instant, ResourceId, Revision

MOST_CANDIDATES = 10_000


class Listed(NamedTuple):
    """One item of a listing. ``ours``: something proves it; ``call``: namely, the key of this call."""

    id: ResourceId
    ours: bool = False
    call: CallId = CallId("")
    incarnation: str = ""


class Recorded(NamedTuple):
    """A record of this owner and type. ``swept``: it is being swept, and may rightly be gone."""

    id: ResourceId
    created: Revision
    revision: Revision
    swept: bool = False


class UnderWay(NamedTuple):
    """An intent of this owner and type whose call may still be registered. ``id`` "": it names none."""

    id: str
    revision: Revision


@dataclass(slots=True)
class Tally:
    """One listing, as it comes in. ``begun`` is the revision up to which the index was known before."""

    begun: Revision
    seen: set[ResourceId] = field(default_factory=set)
    """Those recorded; the strings are the index's own."""
    candidates: dict[ResourceId, Listed] = field(default_factory=dict)
    unmanaged: int = 0
    overflown: bool = False

    def take(self, items: Iterable[Listed], recorded_as: Callable[[ResourceId], ResourceId | None]) -> None:
        """``recorded_as``: the id of a record, as the index spells it."""
        for item in items:
            known = recorded_as(item.id)
            if known is not None:
                self.seen.add(known)
            elif not item.ours:
                self.unmanaged += 1
            elif len(self.candidates) < MOST_CANDIDATES:
                self.candidates[item.id] = item
            else:
                self.overflown = True


@dataclass(frozen=True, slots=True)
class Compared:
    """A whole listing beside what is recorded."""

    ended: Revision
    candidates: dict[ResourceId, Listed]
    missing: dict[ResourceId, Revision]
    """By the record's revision."""
    seen: int
    unmanaged: int
    overflown: bool = False


def compare(tally: Tally, recorded: Iterable[Recorded], ended: Revision) -> Compared:
    """After the last page. ``recorded`` as of now, ``ended`` is the revision of that."""
    candidates = dict(tally.candidates)
    missing = {}
    for one in recorded:
        candidates.pop(one.id, None)
        if one.id not in tally.seen and one.created <= tally.begun and not one.swept:
            missing[one.id] = one.revision
    return Compared(ended, candidates, missing, len(tally.seen), tally.unmanaged, tally.overflown)


class First(NamedTuple):
    """When something was first seen so, and at which revision."""

    instant: Instant
    revision: Revision


@dataclass(frozen=True, slots=True)
class Judged:
    """What follows from a scan. ``braked`` says why nothing does."""

    orphans: tuple[Listed, ...] = ()
    gone: tuple[tuple[ResourceId, Revision], ...] = ()
    braked: str = ""


class Memory:
    """What earlier scans of one owner and type have seen, by this leader."""

    def __init__(self) -> None:
        self._candidates: dict[tuple[ResourceId, str, str], First] = {}
        self._missing: dict[tuple[ResourceId, Revision], First] = {}

    def judge(
        self, found: Compared, under_way: Iterable[UnderWay], brake: Brake, interval: float, now: Instant
    ) -> Judged:
        """Take a scan in, and say what two of them prove."""
        if why := _braked(found, brake):
            self._candidates, self._missing = {}, {}
            return Judged(braked=why)
        first = First(now, found.ended)
        self._candidates = {
            key: self._candidates.get(key, first) for key in map(_identity, found.candidates.values())
        }  # fmt: skip
        self._missing = {key: self._missing.get(key, first) for key in found.missing.items()}
        calls = tuple(under_way)
        orphans = (
            item for item in found.candidates.values()
            if _ripe(self._candidates[_identity(item)], interval, now)
            and not _may_be(item, self._candidates[_identity(item)], calls)
        )  # fmt: skip
        gone = (key for key, seen in self._missing.items() if _ripe(seen, interval, now))
        return Judged(tuple(orphans) if found.seen else (), tuple(gone))


def _identity(item: Listed) -> tuple[ResourceId, str, str]:
    """Another incarnation under the same id, or another proof, is another candidate."""
    return item.id, item.call, item.incarnation


def _ripe(first: First, interval: float, now: Instant) -> bool:
    return now - first.instant >= interval


def _may_be(item: Listed, first: First, calls: tuple[UnderWay, ...]) -> bool:
    """Whether a call under way may be what created this: it names it, or was intended before it was first seen."""
    return any(call.id == item.id or (not call.id and call.revision <= first.revision) for call in calls)


def _braked(found: Compared, brake: Brake) -> str:
    if found.overflown:
        return f"more than {MOST_CANDIDATES} are ours and unknown"
    for count, rest, what in (
        (len(found.candidates), found.seen, "are ours and unknown"),
        (len(found.missing), found.seen, "are recorded and not listed"),
    ):
        if count > brake.count and count > brake.fraction * (count + rest):
            return f"{count} of {count + rest} {what}"
    return ""
