"""Every metric of the sidecar, named here and nowhere else: ``leasehold_sidecar_*``, base units, no id as a label.

One class implements the small ports of the rooms; each room knows only its own.
"""

from __future__ import annotations

import math
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from leasehold.sidecar.capture.metrics_port import Direction
from leasehold.sidecar.holds.entries import Operation
from leasehold.sidecar.ports import Outcome
from leasehold.sidecar.tallies import Spread, Tally

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
MEMBERS = (1, 2, 5, 10, 20, 50, 100)


class SidecarMetrics:
    """All of them, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.lost = 0
        """Observations, or connections full of them, that an error of ours or a full journal left unprotected."""
        self._lost_at = 0.0
        self._connections_and_calls()
        self._holds()
        self._gauges()

    def _connections_and_calls(self) -> None:
        self._opened = self._counter("connections_opened", "Connections accepted")
        self._closed = self._counter("connections_closed", "Connections that ended")
        self._refused = self._counter("refused_connections", "Accepted and reset at once", "reason")
        self._connect_failed = self._counter("connect_failures", "Owners that could not be reached", "reason")
        self._gave_up = self._counter("observer_gave_up", "HTTP that turned into a plain relay", "reason")
        self._uninspected = self._counter("uninspected_connections", "Relayed blind on purpose", "reason")
        self._matched = self._tally("matched_calls", "Calls that a rule matched", "rule")
        self._unusable = self._counter("unusable_calls", "Matched, but without a usable id", "rule", "reason")
        self._held = self._spread("hold_seconds", "How long bytes were kept back", SECONDS, "direction")
        self._deadline_passed = self._counter("hold_deadlines_passed", "Holds that ended unregistered", "rule")
        self._released_early = self._counter("holds_released_early", "Holds that the memory cap ended", "direction")
        self._calls_rejected = self._counter("rejected_calls", "Answered 503 before they left", "rule")
        self._keys = self._counter("idempotency_keys", "Requests whose rule wants one", "rule", "outcome")

    def _holds(self) -> None:
        self._registrations = self._tally("registrations", "Observations that ended", "commit", "outcome")
        self._unprotected = self._counter("unprotected_creations", "Held by nobody, because", "reason")
        self._commits = self._tally("commits", "Batches that took place")
        self._commit_members = self._spread("commit_members", "Operations in a batch", MEMBERS)
        self._commit_seconds = self._spread("commit_seconds", "How long a batch took", SECONDS)
        self._commit_failures = self._counter("commit_failures", "Batches that did not take place", "reason")
        self._operations = self._tally("operations", "Operations that ended", "operation", "outcome")
        self._operation_seconds = self._spread("operation_seconds", "From the observation to the end", SECONDS)
        self._late_returns = self._counter("late_returns", "Came back to what was being swept, or was swept")
        self._taken_back = self._counter("holds_taken_back", "Believed, but not there: acquired anew")
        self._operations_rejected = self._counter("rejected_operations", "Refused by etcd as malformed")
        self._renewals = self._counter("lease_renewals", "Renewals asked for", "kind", "result")
        self._late_renewals = self._counter("lease_renewals_late", "Renewals begun late: the loop stalled", "kind")
        self._renewals_helped = self._counter("lease_renewals_helped", "Renewed for a loop that was late", "result")
        self._reattached = self._counter("reattachments", "Beacons that were gone and put back", "kind")
        self._journal_damage = self._counter("journal_damage", "Journal lines that could not be read", "kind")
        self._journal_failures = self._counter("journal_failures", "Writes that the disk refused")
        self._rules_skipped = self._counter("rules_skipped", "Rule documents in etcd that were passed over", "kind")

    def _gauges(self) -> None:
        self._pending = self._gauge("journal_pending", "Operations waiting for etcd")
        self._journal_bytes = self._gauge("journal_bytes", "Size of the journal")
        self._oldest = self._gauge("journal_oldest_seconds", "Age of the oldest pending operation")
        self._holding = self._gauge("holds", "Holds remembered")
        self._belief = self._gauge("lease_belief_seconds", "How long the lease may still be believed", "kind")
        self._timers = self._gauge("timers", "Beacons that nobody renews")
        self._host_alive = self._gauge("host_alive", "1 while there is somebody to hold for")
        self._degraded = self._gauge("degraded", "1 while what is created may not be registered at once")
        self._rules = self._gauge("rules", "Rules in use")
        self._connections = self._gauge("connections", "Connections that are open")
        self._held_bytes = self._gauge("held_bytes", "Bytes kept back, of all connections together")
        self._lag = self._histogram("event_loop_lag_seconds", "How late the event loop was", SECONDS)

    # --- RelayMetrics -------------------------------------------------------------------------------------------

    def connection_opened(self) -> None:
        self._opened.inc()

    def connection_closed(self) -> None:
        self._closed.inc()

    def connection_refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def connect_failed(self, reason: str) -> None:
        self._connect_failed.labels(reason).inc()

    def gave_up(self, reason: str) -> None:
        self._gave_up.labels(reason).inc()
        if reason == "crashed":
            self._note_a_loss()

    def uninspected(self, reason: str) -> None:
        self._uninspected.labels(reason).inc()

    def matched(self, rule: str) -> None:
        self._matched.count((rule,))

    def unusable(self, rule: str, reason: str) -> None:
        self._unusable.labels(rule, reason).inc()
        if reason == "crashed":
            self._note_a_loss()

    def held(self, direction: Direction, seconds: float) -> None:
        self._held.see(seconds, (direction,))

    def deadline_passed(self, rule: str) -> None:
        self._deadline_passed.labels(rule).inc()

    def released_early(self, direction: Direction) -> None:
        self._released_early.labels(direction).inc()

    def rejected(self, rule: str) -> None:
        self._calls_rejected.labels(rule).inc()

    def idempotency_key(self, rule: str, outcome: str) -> None:
        self._keys.labels(rule, outcome).inc()

    # --- RegistrarMetrics, CommitterMetrics ---------------------------------------------------------------------

    def registered(self, commit: str, outcome: str) -> None:
        self._registrations.count((commit, outcome))

    def unprotected(self, reason: str) -> None:
        self._unprotected.labels(reason).inc()
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

    def journal_is(self, pending: int, size: int, oldest_seconds: float, holds: int) -> None:
        self._pending.set(pending)
        self._journal_bytes.set(size)
        self._oldest.set(oldest_seconds)
        self._holding.set(holds)

    def belief_is(self, kind: str, seconds: float) -> None:
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

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"leasehold_sidecar_{name}", about, labels, registry=self.registry)

    def _tally(self, name: str, about: str, *labels: str) -> Tally:
        return Tally(self.registry, f"leasehold_sidecar_{name}", about, *labels)

    def _spread(self, name: str, about: str, bounds: tuple[float, ...], *labels: str) -> Spread:
        return Spread(self.registry, f"leasehold_sidecar_{name}", about, bounds, *labels)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"leasehold_sidecar_{name}", about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"leasehold_sidecar_{name}", about, labels, registry=self.registry, buckets=buckets)
