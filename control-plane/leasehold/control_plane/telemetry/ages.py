"""How old what is condemned is, and by how much it has outlived its grace. Pure.

etcd tells no times, only revisions. ``Timeline`` remembers at which instants we saw which revision, so the age of a
tombstone is known to the distance of two looks; of what is older than our first look at least that much is known, or
exactly what its record says (``learn``). Ages are told, never decided by (S7).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from leasehold.control_plane.core.lifecycle import State
from leasehold.protocol.names import Instant, Revision

MOST_POINTS = 1024
STAGES = (State.CONDEMNED, State.IN_GRACE, State.PREPARED, State.SENT, State.QUARANTINED)
"""Where what is condemned may stand, in the order of the way."""
GRACES = 2
"""So many of them after its tombstone it should be gone (L1)."""


class Timeline:
    """Revisions and instants, both ascending, bounded: when it is full every second point is forgotten."""

    def __init__(self) -> None:
        self._revisions: list[Revision] = []
        self._instants: list[Instant] = []

    @property
    def first(self) -> Revision | None:
        """Of what is older no more than this is known."""
        return self._revisions[0] if self._revisions else None

    def note(self, revision: Revision, now: Instant) -> None:
        """etcd is at this revision. One that was seen before is no news."""
        if self._revisions and revision <= self._revisions[-1]:
            return
        self._revisions.append(revision)
        self._instants.append(now)
        if len(self._revisions) > MOST_POINTS:
            # The last ones stay as they are: most of what is looked up is young.
            half = MOST_POINTS // 2
            self._revisions = [*self._revisions[:half:2], *self._revisions[half:]]
            self._instants = [*self._instants[:half:2], *self._instants[half:]]

    def learn(self, revision: Revision, at: Instant) -> None:
        """This old revision is known to be of that instant."""
        if self._revisions and revision < self._revisions[0]:
            self._revisions.insert(0, revision)
            self._instants.insert(0, min(at, self._instants[0]))

    def clear(self) -> None:
        """etcd's past is another."""
        self._revisions.clear()
        self._instants.clear()

    def age(self, revision: Revision, now: Instant) -> float:
        """Seconds since it was written, at least."""
        found = bisect_left(self._revisions, revision)
        return max(0.0, now - self._instants[found]) if found < len(self._instants) else 0.0


class Ages:
    """One look at everything that is condemned. ``bounds`` are those of the histogram, in seconds."""

    def __init__(self, timeline: Timeline, now: Instant, bounds: Sequence[float]) -> None:
        self._timeline, self._now, self._bounds = timeline, now, bounds
        self._first: dict[State, Revision] = {}
        self.overdue: dict[tuple[str, ...], tuple[list[int], float]] = {}
        """By owner: how many in each bucket, and the sum of seconds."""

    def see(self, owner: str, stage: State, tombstone: Revision, grace: int) -> None:
        """One of them; ``grace`` in seconds."""
        first = self._first.get(stage)
        if first is None or tombstone < first:
            self._first[stage] = tombstone
        over = self._timeline.age(tombstone, self._now) - GRACES * grace
        if over > 0:
            counts, total = self.overdue.get((owner,)) or ([0] * (len(self._bounds) + 1), 0.0)
            counts[bisect_left(self._bounds, over)] += 1
            self.overdue[owner,] = (counts, total + over)

    @property
    def first(self) -> Revision | None:
        """The oldest tombstone of all."""
        return min(self._first.values(), default=None)

    def oldest(self, now: Instant) -> dict[State, float]:
        """Seconds, by stage; 0 where nothing was."""
        return {stage: self._timeline.age(self._first[stage], now) if stage in self._first else 0.0 for stage in STAGES}
