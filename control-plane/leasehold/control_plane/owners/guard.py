"""When an owner may be called: concurrency, rate, breaker and suspicion in one small state machine. Pure.

    calling --misconfigured, or TROUBLE unknowns in a row--> tripped --its time is up--> one probe
    one probe --fine--> calling          one probe --not fine--> tripped, for longer
    calling --"wait", with a time--> paused --its time is up--> calling
    calling --most first deletes of a window found nothing--> suspect (until its document changes, or we restart)

One dead owner thus costs a probe now and then, and the others nothing. A suspect owner is one whose endpoint is
probably not what it was: going on would only wipe our records.
"""

from __future__ import annotations

from collections import deque

from leasehold.control_plane.owners.outcome import Verdict
from leasehold.protocol.names import Instant
from leasehold.protocol.rules import Limits

TROUBLE = 5
WINDOW_CALLS = 50
SUSPECT_CALLS = 20
SUSPECT_PART = 0.8
FIRST_TRIP_SECONDS = {Verdict.MISCONFIGURED: 30.0, Verdict.UNKNOWN: 2.0}
LONGEST_TRIP_SECONDS = {Verdict.MISCONFIGURED: 900.0, Verdict.UNKNOWN: 30.0}
_FINE = frozenset(
    {
        Verdict.GONE,
        Verdict.ABSENT,
        Verdict.REPLACED,
        Verdict.PENDING,
        Verdict.REFUSED,
        Verdict.IN_USE,
        Verdict.NOT_IN_USE,
        Verdict.TOLD,
    }
)


class OwnerGuard:
    """One owner. Every call is announced by ``on_call``, and ended by one of ``on_answer`` and ``on_end``."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.suspect = False
        self.tripped: Verdict | None = None
        self._under_way = 0
        self._closed_until = Instant(float("-inf"))
        self._trips = 0
        self._troubles = 0
        self._window: deque[bool] = deque(maxlen=WINDOW_CALLS)
        self._tokens = self._burst
        self._counted_at: Instant | None = None

    def may_call(self, now: Instant, in_hand: int) -> bool:
        """Whether another call may begin, with that many about to be made or under way for the same purpose.

        Calls of all purposes count together: deletes, and questions whether something is in use.
        """
        busy = max(in_hand, self._under_way)
        if self.suspect or now < self._closed_until or busy >= (1 if self.tripped else self.limits.concurrency):
            return False
        self._refill(now)
        return self._tokens >= 1

    def reopens_at(self, now: Instant) -> Instant | None:
        """When time alone will allow a call; ``None`` if it is not time that forbids it."""
        if self.suspect:
            return None
        if now < self._closed_until:
            return self._closed_until
        self._refill(now)
        # A little later than exact, or rounding makes us wake just too early, again and again.
        return Instant(now + (1.001 - self._tokens) / self.limits.per_second) if self._tokens < 1 else None

    def on_call(self, now: Instant) -> None:
        self._refill(now)
        self._tokens -= 1
        self._under_way += 1

    def on_answer(self, now: Instant, verdict: Verdict, *, first: bool, wait: float | None = None) -> None:
        """``first``: of this sweep; a later one may well find gone what an earlier one deleted."""
        self.on_end()
        if verdict in FIRST_TRIP_SECONDS:
            self._troubles += 1
            if verdict is Verdict.MISCONFIGURED or self.tripped or self._troubles >= TROUBLE:
                self._trip(now, verdict)
        elif verdict is Verdict.WAIT:
            self._closed_until = max(self._closed_until, Instant(now + (wait or 1.0)))
        elif verdict in _FINE:
            self._troubles = self._trips = 0
            self.tripped = None
        if first and verdict in {Verdict.GONE, Verdict.ABSENT}:
            self._window.append(verdict is Verdict.ABSENT)
            absent = sum(self._window)
            self.suspect = len(self._window) >= SUSPECT_CALLS and absent > SUSPECT_PART * len(self._window)

    def on_end(self) -> None:
        """A call is over, and what it was answered says nothing about the owner as a whole."""
        self._under_way = max(0, self._under_way - 1)

    @property
    def state(self) -> str:
        """``calling``, ``suspect``, ``misconfigured`` or ``unreachable``."""
        if self.suspect:
            return "suspect"
        if self.tripped is None:
            return "calling"
        return "misconfigured" if self.tripped is Verdict.MISCONFIGURED else "unreachable"

    def _trip(self, now: Instant, verdict: Verdict) -> None:
        if now < self._closed_until and self.tripped is verdict:
            return  # one of several that were under way together: counts once
        self.tripped = verdict
        self._trips += 1
        seconds = FIRST_TRIP_SECONDS[verdict] * 2.0 ** min(self._trips - 1, 10)
        self._closed_until = Instant(now + min(seconds, LONGEST_TRIP_SECONDS[verdict]))

    @property
    def _burst(self) -> float:
        return max(1.0, self.limits.per_second / 10)

    def _refill(self, now: Instant) -> None:
        if self._counted_at is not None:
            earned = (now - self._counted_at) * self.limits.per_second
            self._tokens = min(self._burst, self._tokens + earned)
        self._counted_at = now
