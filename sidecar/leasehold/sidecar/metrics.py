"""Every metric of the sidecar, ready to be written: ``leasehold_sidecar_*``, base units, no id as a label.

What each is, and what to do about it, is declared in ``telemetry``. One class implements the small ports of the rooms;
each room knows only its own. What happens with every connection or matched call is a tally: no lock, no look-up of
labels but one in a dictionary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from importlib.metadata import version
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge

from leasehold.shell.declaring import Declared
from leasehold.shell.exporting import export_counter, export_gauge, export_histogram, export_process
from leasehold.sidecar.capture.metrics_port import Direction
from leasehold.sidecar.holds.entries import Operation
from leasehold.sidecar.ports import Outcome
from leasehold.sidecar.tallies import Spread, Tally
from leasehold.sidecar.telemetry import being, holding, traffic


class SidecarMetrics:
    """All of them, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.lost = 0
        """Observations, or connections full of them, that an error of ours or a full journal left unprotected."""
        self._lost_at = 0.0
        self._kinds: set[str] = set()
        self._connections_and_calls()
        self._leases_and_journal()
        self._gauges()
        export_process(self.registry)

    def _connections_and_calls(self) -> None:
        self._opened = self._tally(traffic.CONNECTIONS_OPENED)
        self._closed = self._tally(traffic.CONNECTIONS_CLOSED)
        self._refused = self._counter(traffic.REFUSED_CONNECTIONS)
        self._connect_failed = self._counter(traffic.CONNECT_FAILURES)
        self._gave_up = self._tally(traffic.OBSERVER_GAVE_UP)
        self._uninspected = self._tally(traffic.UNINSPECTED)
        self._matched = self._tally(traffic.MATCHED_CALLS)
        self._unusable = self._tally(traffic.UNUSABLE_CALLS)
        self._held = self._spread(traffic.HOLD_SECONDS)
        self._deadline_passed = self._tally(traffic.HOLD_DEADLINES)
        self._released_early = self._tally(traffic.HOLDS_RELEASED_EARLY)
        self._calls_rejected = self._tally(traffic.REJECTED_CALLS)
        self._keys = self._tally(traffic.IDEMPOTENCY_KEYS)
        self._registrations = self._tally(holding.REGISTRATIONS)
        self._unprotected = self._tally(holding.UNPROTECTED)
        self._commits = self._tally(holding.COMMITS)
        self._commit_members = self._spread(holding.COMMIT_MEMBERS)
        self._commit_seconds = self._spread(holding.COMMIT_SECONDS)
        self._operations = self._tally(holding.OPERATIONS)
        self._operation_seconds = self._spread(holding.OPERATION_SECONDS)

    def _leases_and_journal(self) -> None:
        self._commit_failures = self._counter(holding.COMMIT_FAILURES)
        self._late_returns = self._counter(holding.LATE_RETURNS)
        self._taken_back = self._counter(holding.HOLDS_TAKEN_BACK)
        self._operations_rejected = self._counter(holding.REJECTED_OPERATIONS)
        self._renewals = self._counter(holding.LEASE_RENEWALS)
        self._late_renewals = self._counter(holding.LEASE_RENEWALS_LATE)
        self._renewals_helped = self._counter(holding.LEASE_RENEWALS_HELPED)
        self._reattached = self._counter(holding.REATTACHMENTS)
        self._journal_damage = self._counter(holding.JOURNAL_DAMAGE)
        self._journal_failures = self._counter(holding.JOURNAL_FAILURES)
        self._rules_skipped = self._counter(being.RULES_SKIPPED)

    def _gauges(self) -> None:
        self._pending = self._gauge(holding.JOURNAL_PENDING)
        self._journal_bytes = self._gauge(holding.JOURNAL_BYTES)
        self._oldest = self._gauge(holding.JOURNAL_OLDEST)
        self._journal_full = self._gauge(holding.JOURNAL_FULL)
        self._holding = self._gauge(holding.HOLDS)
        self._belief = self._gauge(holding.LEASE_BELIEF)
        self._timers = self._gauge(holding.TIMERS)
        self._host_alive = self._gauge(being.HOST_ALIVE)
        self._degraded = self._gauge(being.DEGRADED)
        self._rules = self._gauge(being.RULES)
        self._connections = self._gauge(traffic.CONNECTIONS)
        self._held_bytes = self._gauge(traffic.HELD_BYTES)
        self._lag = export_histogram(self.registry, being.LOOP_LAG)
        self._gauge(being.BUILD).labels(version("leasehold")).set(1)

    # --- RelayMetrics -------------------------------------------------------------------------------------------

    def connection_opened(self) -> None:
        self._opened.count()

    def connection_closed(self) -> None:
        self._closed.count()

    def connection_refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def connect_failed(self, reason: str) -> None:
        self._connect_failed.labels(reason).inc()

    def gave_up(self, reason: str) -> None:
        self._gave_up.count((reason,))
        if reason == "crashed":
            self._note_a_loss()

    def uninspected(self, reason: str) -> None:
        self._uninspected.count((reason,))

    def matched(self, rule: str) -> None:
        self._matched.count((rule,))

    def unusable(self, rule: str, reason: str) -> None:
        self._unusable.count((rule, reason))
        if reason == "crashed":
            self._note_a_loss()

    def held(self, direction: Direction, seconds: float) -> None:
        self._held.see(seconds, (direction,))

    def deadline_passed(self, rule: str) -> None:
        self._deadline_passed.count((rule,))

    def released_early(self, direction: Direction) -> None:
        self._released_early.count((direction,))

    def rejected(self, rule: str) -> None:
        self._calls_rejected.count((rule,))

    def idempotency_key(self, rule: str, outcome: str) -> None:
        self._keys.count((rule, outcome))

    # --- RegistrarMetrics, CommitterMetrics ---------------------------------------------------------------------

    def registered(self, commit: str, outcome: str) -> None:
        self._registrations.count((commit, outcome))

    def unprotected(self, reason: str) -> None:
        self._unprotected.count((reason,))
        if reason != "host-ended":
            self._note_a_loss()

    def taken_back(self) -> None:
        self._taken_back.inc()

    def committed(self, members: int, seconds: float) -> None:
        self._commits.count()
        self._commit_members.see(members)
        self._commit_seconds.see(seconds)

    def commit_failed(self, reason: str) -> None:
        self._commit_failures.labels(reason).inc()

    def operation_ended(self, operation: Operation, outcome: Outcome, seconds: float) -> None:
        self._operations.count((type(operation).__name__.lower(), outcome))
        self._operation_seconds.see(seconds)

    def late_return(self) -> None:
        self._late_returns.inc()

    def operation_rejected(self) -> None:
        self._operations_rejected.inc()
        self._note_a_loss()

    # --- KeeperMetrics, JournalMetrics, RulesMetrics ------------------------------------------------------------

    def renewed(self, kind: str, result: str) -> None:
        self._renewals.labels(kind, result).inc()

    def renewal_late(self, kind: str) -> None:
        self._late_renewals.labels(kind).inc()

    def renewal_helped(self, result: str) -> None:
        """Called from the assistant's thread; counters stand that."""
        self._renewals_helped.labels(result).inc()

    def reattached(self, kind: str) -> None:
        self._reattached.labels(kind).inc()

    def journal_damaged(self, kind: str) -> None:
        self._journal_damage.labels(kind).inc()

    def journal_failed(self) -> None:
        self._journal_failures.inc()

    def rules_skipped(self, kind: str, count: int) -> None:
        self._rules_skipped.labels(kind).inc(count)

    # --- what is looked at from time to time --------------------------------------------------------------------

    def journal_is(self, pending: int, size: int, oldest_seconds: float, *, full: bool) -> None:
        self._pending.set(pending)
        self._journal_bytes.set(size)
        self._oldest.set(oldest_seconds)
        self._journal_full.set(full)

    def holds_are(self, count: int) -> None:
        self._holding.set(count)

    def beliefs_are(self, beliefs: Iterable[tuple[str, float]]) -> None:
        """Kind and seconds of every holder. Of those of one kind the one with least is shown."""
        least: dict[str, float] = {}
        for kind, seconds in beliefs:
            least[kind] = min(seconds, least.get(kind, math.inf))
        for gone in self._kinds - least.keys():
            self._belief.remove(gone)
        self._kinds = set(least)
        for kind, seconds in least.items():
            self._belief.labels(kind).set(seconds)

    def timers_are(self, count: int) -> None:
        self._timers.set(count)

    def degraded_is(self, degraded: bool) -> None:
        self._degraded.set(degraded)

    def host_is(self, alive: bool) -> None:
        self._host_alive.set(alive)

    def rules_are(self, count: int) -> None:
        self._rules.set(count)

    def relay_is(self, connections: int, held_bytes: int) -> None:
        self._connections.set(connections)
        self._held_bytes.set(held_bytes)

    def lagged(self, seconds: float) -> None:
        self._lag.observe(seconds)

    def seconds_since_a_loss(self) -> float:
        """How long ago ``lost`` last grew; endless if it never did."""
        return monotonic() - self._lost_at if self.lost else math.inf

    # --- parts --------------------------------------------------------------------------------------------------

    def _note_a_loss(self) -> None:
        self.lost += 1
        self._lost_at = monotonic()

    def _counter(self, declared: Declared) -> Counter:
        return export_counter(self.registry, declared)

    def _gauge(self, declared: Declared) -> Gauge:
        return export_gauge(self.registry, declared)

    def _tally(self, declared: Declared) -> Tally:
        return Tally(self.registry, declared.name, declared.about, *declared.labels)

    def _spread(self, declared: Declared) -> Spread:
        return Spread(self.registry, declared.name, declared.about, declared.bounds, *declared.labels)
