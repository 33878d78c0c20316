"""Intents as the index knows them, and when to ask about those whose call must be over. Pure.

    fresh --its holder ended, and ``after`` has passed as this leader saw it--> due
    due --found--> recorded            due --not there--> due once more, ``after`` later --not there--> dismissed
    due --unclear--> suspect, and due again, ever later

An intent belongs to one process, whose end is seen; or to a service or timer, which outlives the process that made the
call. Of the latter nobody sees the end of the call, so it is given ten times as long while its holder lives.

Time is this leader's own, and what another saw does not count: too early an answer could dismiss what is still to come.
What is written is guarded by revisions anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from leasehold.control_plane.core.backlog import backoff_ceiling
from leasehold.control_plane.core.facts import HolderEntry
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import CallId, Holder, Instant, Revision
from leasehold.protocol.records import HolderKind, IntentRecord

OUTLIVED_FACTOR = 10
FIRST_RETRY_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 3600.0


class Intent(NamedTuple):
    """An intent as last seen; ``record`` None: it cannot be read."""

    revision: Revision
    record: IntentRecord | None


class Intents:
    """All of a tenant. Single writer: the index."""

    def __init__(self) -> None:
        self._of: dict[Holder, dict[CallId, Intent]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def put(self, holder: Holder, call: CallId, revision: Revision, record: IntentRecord | None) -> None:
        self._of.setdefault(holder, {})[call] = Intent(revision, record)

    def drop(self, holder: Holder, call: CallId) -> None:
        some = self._of.get(holder, {})
        some.pop(call, None)
        if not some:
            self._of.pop(holder, None)

    def revision_of(self, holder: Holder, call: CallId) -> Revision:
        """0 when it is not there."""
        found = self.get(holder, call)
        return found.revision if found else Revision(0)

    def get(self, holder: Holder, call: CallId) -> Intent | None:
        return self._of.get(holder, {}).get(call)

    def by_holder(self) -> Iterator[tuple[Holder, dict[CallId, Intent]]]:
        yield from self._of.items()

    def known(self, keys: Keyspace) -> Iterator[tuple[bytes, Revision]]:
        for holder, some in list(self._of.items()):
            yield from [(keys.intent(holder, call), intent.revision) for call, intent in some.items()]


class Over(NamedTuple):
    """An intent whose call may well be over, and what is known of its holder. ``roster`` 0: nothing."""

    holder: Holder
    call: CallId
    intent: Intent
    roster: Revision
    alive: bool
    outlived: bool


def over(intents: Intents, holder_named: Callable[[Holder], HolderEntry | None]) -> Iterator[Over]:
    """Those of ended holders, and of holders that are more than one process."""
    for holder, some in intents.by_holder():
        found = holder_named(holder)
        alive = found is not None and bool(found.beacon)
        readable = found is not None and bool(found.roster) and found.readable
        outlived = found is not None and readable and found.kind is not HolderKind.PROCESS
        if alive and not outlived:
            continue
        roster = found.roster if found is not None and readable else Revision(0)
        for call, intent in some.items():
            yield Over(holder, call, intent, roster, alive, outlived)


@dataclass(slots=True)
class Inquiry:
    """What this leader has seen and asked of one intent."""

    revision: Revision
    roster: Revision
    since: Instant
    again: Instant
    absent: Instant | None = None
    unclear: int = 0


class Inquiries:
    """All that are open."""

    def __init__(self) -> None:
        self._fence = Revision(0)
        self._open: dict[tuple[Holder, CallId], Inquiry] = {}

    def forget(self) -> None:
        """What was seen until now counts no more."""
        self._open = {}

    def look(self, cases: list[Over], fence: Revision, now: Instant) -> None:
        """Note what is open; whatever changed since begins anew."""
        known = self._open if fence == self._fence else {}
        self._fence = fence
        self._open = {(case.holder, case.call): _continued(known, case, now) for case in cases}

    def is_due(self, case: Over, after: float, now: Instant) -> bool:
        """Whether to ask now. ``after``: seconds that the call may still take."""
        inquiry = self._open.get((case.holder, case.call))
        if inquiry is None:
            return False
        needed = after * OUTLIVED_FACTOR if case.alive else after
        return now >= inquiry.since + needed and now >= inquiry.again

    def knows(self, case: Over, roster: Revision) -> bool:
        """Whether the holder's roster entry is the one that was seen all the while, or what we made of it."""
        inquiry = self._open.get((case.holder, case.call))
        return inquiry is not None and inquiry.roster == roster

    def on_absent(self, case: Over, after: float, now: Instant) -> bool:
        """The owner says that it is not there. Whether that is final: it said so before, long enough ago."""
        inquiry = self._open.get((case.holder, case.call))
        if inquiry is None:
            return False
        if inquiry.absent is not None and now - inquiry.absent >= after:
            return True
        inquiry.absent = now if inquiry.absent is None else inquiry.absent
        inquiry.again = Instant(inquiry.absent + after)
        return False

    def on_unclear(self, case: Over, now: Instant, jitter: float) -> None:
        """Nothing is known: an earlier "not there" counts no more either."""
        inquiry = self._open.get((case.holder, case.call))
        if inquiry is None:
            return
        inquiry.absent = None
        inquiry.unclear += 1
        ceiling = backoff_ceiling(inquiry.unclear, FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        inquiry.again = Instant(now + ceiling * (0.5 + jitter / 2))

    def on_written(self, case: Over, revision: Revision) -> None:
        """We wrote the intent ourselves: that is no news."""
        inquiry = self._open.get((case.holder, case.call))
        if inquiry is not None:
            inquiry.revision = max(inquiry.revision, revision)

    def on_roster_written(self, holder: Holder, before: Revision, revision: Revision) -> None:
        """We wrote the holder's roster entry ourselves, over what was there before."""
        for (other, _), inquiry in self._open.items():
            if other == holder and inquiry.roster == before:
                inquiry.roster = revision


def _continued(known: dict[tuple[Holder, CallId], Inquiry], case: Over, now: Instant) -> Inquiry:
    inquiry = known.get((case.holder, case.call))
    # Older than what we wrote ourselves: the index is behind, nothing else.
    if inquiry is None or case.intent.revision > inquiry.revision or case.roster > inquiry.roster:
        return Inquiry(case.intent.revision, case.roster, now, now)
    return inquiry
