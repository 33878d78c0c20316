"""Every metric of the control plane. Base units; never an id as a label.

Counters and histograms are written where things happen; what is a view of the present (resources by state, backlog,
belief) is collected when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Sample = tuple[tuple[str, ...], float]
View = Callable[[], Iterable[Sample]]


class Metrics:
    """One replica's metrics."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.condemned = Counter("leasehold_condemned", "Tombstones put", registry=registry)
        self.revived = Counter("leasehold_revived", "Tombstones taken away again", ["reason"], registry=registry)
        self.prepared = Counter("leasehold_prepared", "Resources prepared for sweeping", registry=registry)
        self.swept = Counter("leasehold_swept", "Sweeps finished", ["owner", "outcome"], registry=registry)
        self.aborted = Counter(
            "leasehold_aborted", "Sweeps given up, by reason", ["owner", "reason"], registry=registry
        )
        self.quarantined = Counter(
            "leasehold_quarantined", "Sweeps put into quarantine", ["owner", "reason"], registry=registry
        )
        self.kept = Counter(
            "leasehold_kept", "Nominations that a look in etcd did not bear out", ["step", "reason"], registry=registry
        )
        self.refused = Counter(
            "leasehold_refused_transactions", "Guarded transactions whose guard said no", ["step"], registry=registry
        )
        self.owner_calls = Counter(
            "leasehold_owner_calls", "Sweep calls to owners, by verdict", ["owner", "verdict"], registry=registry
        )
        self.owner_seconds = Histogram(
            "leasehold_owner_call_seconds", "How long owners take for a sweep call", ["owner"], registry=registry
        )
        self.misconfigured = Counter(
            "leasehold_owner_misconfigured", "Answers that only an operator can mend", ["owner"], registry=registry
        )
        self.questions = Counter(
            "leasehold_owner_questions", "Lookups and listing pages asked of owners, by answer", ["owner", "answer"],
            registry=registry,
        )  # fmt: skip
        self.intents = Counter(
            "leasehold_intents_resolved", "Intents of ended holders, by what became of them", ["owner", "outcome"],
            registry=registry,
        )  # fmt: skip
        self.scans = Counter(
            "leasehold_inventory_scans", "Listings of owners, by how they ended", ["owner", "type", "result"],
            registry=registry,
        )  # fmt: skip
        self.orphans = Counter(
            "leasehold_orphans", "What an owner lists as ours and nobody had recorded, recorded", ["owner", "type"],
            registry=registry,
        )  # fmt: skip
        self.closed = Counter(
            "leasehold_closed", "Records of what the owner did not have any more, ended", ["owner", "type"],
            registry=registry,
        )  # fmt: skip
        self.verifications = Counter(
            "leasehold_owner_verifications", "Answers to whether something is in use", ["owner", "verdict"],
            registry=registry,
        )  # fmt: skip
        self.vetoed = Counter(
            "leasehold_vetoed", "Resources kept because their owner said that they are in use", ["owner", "step"],
            registry=registry,
        )  # fmt: skip
        self.notices = Counter(
            "leasehold_owner_notices", "Calls that tell owners of condemnations, and of their end",
            ["owner", "call", "verdict"], registry=registry,
        )  # fmt: skip
        self.admissions = Counter(
            "leasehold_admissions", "Pods the webhook was asked about, by what became of them", ["result"],
            registry=registry,
        )  # fmt: skip
        self.validations = Counter(
            "leasehold_validations", "Owners and rules the webhook was asked about, by what became of them", ["result"],
            registry=registry,
        )  # fmt: skip
        self.admission_seconds = Histogram(
            "leasehold_admission_seconds", "How long the webhook takes for an answer", registry=registry
        )
        self.struck = Counter("leasehold_struck", "Long-gone holders taken off the roster", registry=registry)
        self.shard_moves = Counter(
            "leasehold_shard_moves", "Shards that were gained, left or lost", ["how"], registry=registry
        )
        self.brake_trips = Counter(
            "leasehold_brake_trips", "How often this replica tripped the brake, by cause", ["cause"], registry=registry
        )
        self.brake_arms = Counter(
            "leasehold_brake_arms", "How often this replica armed the brake, by why", ["why"], registry=registry
        )
        self.failed_rounds = Counter(
            "leasehold_failed_rounds", "Rounds that failed at etcd and are tried again, by whose", ["whose"],
            registry=registry,
        )  # fmt: skip
        self.rewinds = Counter("leasehold_rewinds", "How often etcd's past was another", registry=registry)
        self.warm_ups = Counter("leasehold_warm_ups", "Warm-ups begun, by reason", ["reason"], registry=registry)
        self.cap_reached = Counter(
            "leasehold_cap_reached", "How often a cap on prepares was reached", ["cap"], registry=registry
        )
        self.canaries = Counter("leasehold_canaries", "Self-tests, by how they ended", ["outcome"], registry=registry)
        self.events_delivered = Counter(
            "leasehold_events_delivered", "Events that were confirmed, by receiver", ["sink", "type"],
            registry=registry,
        )  # fmt: skip
        self.events_failed = Counter(
            "leasehold_events_failed", "Deliveries that were not confirmed", ["sink", "reason"], registry=registry
        )
        self.event_gaps = Counter(
            "leasehold_event_gaps", "How often etcd's history did not reach back to the cursor", ["sink"],
            registry=registry,
        )  # fmt: skip
        self.late_returns = Counter(
            "leasehold_late_returns", "Holders that came back after the first send", registry=registry
        )

    def view(self, name: str, text: str, labels: Iterable[str], read: View) -> None:
        """A gauge that is read when somebody asks."""
        self.registry.register(_View(name, text, tuple(labels), read))


class _View(Collector):
    def __init__(self, name: str, text: str, labels: tuple[str, ...], read: View) -> None:
        self._name, self._text, self._labels, self._read = name, text, labels, read

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self._read():
            family.add_metric(labels, value)
        yield family

    def describe(self) -> Iterable[Metric]:
        # Without this, registering would collect, before there is anything to read.
        return [GaugeMetricFamily(self._name, self._text, labels=self._labels)]
