"""Every metric of the control plane, ready to be written. Base units; never an id as a label.

What each is, and what to do about it, is declared in ``telemetry.declared``. Counters and histograms are written where
things happen; what is a view of the present is collected when somebody asks (``view``, ``spread``).
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter

from leasehold.control_plane.telemetry.declared import brake, events, finding, kubernetes, owners, seeing, sweeping
from leasehold.shell.declaring import Declared
from leasehold.shell.exporting import (
    Sample,
    Spread,
    View,
    export_counter,
    export_histogram,
    export_process,
    export_spread,
    export_view,
)

__all__ = ["Metrics", "Sample", "View"]


class Metrics:
    """One replica's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.condemned = self._counter(sweeping.CONDEMNED)
        self.revived = self._counter(sweeping.REVIVED)
        self.prepared = self._counter(sweeping.PREPARED)
        self.swept = self._counter(sweeping.SWEPT)
        self.aborted = self._counter(sweeping.ABORTED)
        self.quarantined = self._counter(sweeping.QUARANTINED)
        self.late_returns = self._counter(sweeping.LATE_RETURNS)
        self.kept = self._counter(sweeping.KEPT)
        self.refused = self._counter(sweeping.REFUSED)
        self.struck = self._counter(sweeping.STRUCK)
        self.owner_calls = self._counter(owners.OWNER_CALLS)
        self.owner_seconds = export_histogram(self.registry, owners.OWNER_CALL_SECONDS)
        self.misconfigured = self._counter(owners.OWNER_MISCONFIGURED)
        self.questions = self._counter(owners.OWNER_QUESTIONS)
        self.verifications = self._counter(owners.OWNER_VERIFICATIONS)
        self.vetoed = self._counter(owners.VETOED)
        self.notices = self._counter(owners.OWNER_NOTICES)
        self.intents = self._counter(finding.INTENTS_RESOLVED)
        self.scans = self._counter(finding.INVENTORY_SCANS)
        self.orphans = self._counter(finding.INVENTORY_ORPHANS)
        self.closed = self._counter(finding.INVENTORY_CLOSED)
        self.admissions = self._counter(kubernetes.ADMISSIONS)
        self.validations = self._counter(kubernetes.VALIDATIONS)
        self.admission_seconds = export_histogram(self.registry, kubernetes.ADMISSION_SECONDS)
        self.shard_moves = self._counter(seeing.SHARD_MOVES)
        self.brake_trips = self._counter(brake.BRAKE_TRIPS)
        self.brake_arms = self._counter(brake.BRAKE_ARMS)
        self.rewinds = self._counter(brake.REWINDS)
        self.warm_ups = self._counter(brake.WARM_UPS)
        self.cap_reached = self._counter(brake.CAP_REACHED)
        self.canaries = self._counter(brake.CANARIES)
        self.events_delivered = self._counter(events.DELIVERED)
        self.events_failed = self._counter(events.FAILED)
        self.event_gaps = self._counter(events.GAPS)
        self.failed_rounds = self._counter(seeing.FAILED_ROUNDS)
        self.loop_lag = export_histogram(self.registry, seeing.LOOP_LAG)
        export_process(self.registry)

    def view(self, declared: Declared, read: View) -> None:
        """What is read when somebody asks: from tallies, never by a walk."""
        export_view(self.registry, declared, read)

    def one(self, declared: Declared, read: Callable[[], float]) -> None:
        """The same for a single number."""
        export_view(self.registry, declared, lambda: [((), read())])

    def spread(self, declared: Declared, read: Callable[[], Spread]) -> None:
        """How something that is there now is spread."""
        export_spread(self.registry, declared, read)

    def _counter(self, declared: Declared) -> Counter:
        return export_counter(self.registry, declared)
