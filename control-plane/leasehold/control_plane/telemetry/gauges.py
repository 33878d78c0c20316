"""What is at this moment, read from tallies that are kept anyway: no scrape walks what grows with the resources."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from leasehold.control_plane.brake import Brake
from leasehold.control_plane.collector import Collector
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.lifecycle import State, as_permitted
from leasehold.control_plane.cycles import Cycles
from leasehold.control_plane.intents import reasons
from leasehold.control_plane.kubernetes.controller import Controller
from leasehold.control_plane.leadership import Leadership
from leasehold.control_plane.metrics import Metrics, Sample
from leasehold.control_plane.observe import Observer
from leasehold.control_plane.owners.register import Owners
from leasehold.control_plane.telemetry.ages import STAGES
from leasehold.control_plane.telemetry.declared import brake as of_brake
from leasehold.control_plane.telemetry.declared import finding, kubernetes, owners, seeing, sweeping
from leasehold.protocol.names import Instant
from leasehold.protocol.ports import Clock

_NEEDED = frozenset((State.HELD, State.UNACCOUNTED))
"""What is not known to be abandoned."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """The parts that are looked at."""

    index: Index
    clock: Clock
    leadership: Leadership
    brake: Brake
    collector: Collector
    observer: Observer
    owners: Owners
    cycles: Cycles
    version: str

    def show(self, metrics: Metrics) -> None:
        """Register all of them."""
        self._show_resources(metrics)
        self._show_work(metrics)
        self._show_shards(metrics)
        self._show_sight(metrics)

    def free_shards(self) -> int:
        """Shards nobody acts for, as this replica sees it."""
        count = self.index.shard_count or 1
        return count - sum(n < count for n in self.index.shards)

    def _show_resources(self, metrics: Metrics) -> None:
        metrics.view(sweeping.RESOURCES, self._resources)
        metrics.view(sweeping.ORPHANED, self._orphaned)
        metrics.view(sweeping.CLEANUP, self._cleanup)
        metrics.one(sweeping.UNACCOUNTED, lambda: self._in_state(State.UNACCOUNTED))
        metrics.one(finding.INTENTS, lambda: len(self.index.intents))
        metrics.view(finding.SUSPECTS, lambda: [((why,), n) for why, n in reasons(self.index).items()])

    def _show_work(self, metrics: Metrics) -> None:
        crews = self.collector.crews
        metrics.view(sweeping.BACKLOG, lambda: [((step.value,), len(crew.backlog)) for step, crew in crews.items()])
        metrics.view(
            sweeping.BACKLOG_OLDEST,
            lambda: [((step.value,), crew.backlog.oldest_age(self._now())) for step, crew in crews.items()],
        )
        metrics.view(sweeping.FAILED_STEPS, lambda: [((step.value,), crew.failures) for step, crew in crews.items()])
        metrics.one(sweeping.CYCLES_TOO_LARGE, lambda: self.cycles.too_large)
        metrics.view(sweeping.NOTICES_OWED, lambda: list(self.index.notices.counts().items()))
        metrics.view(
            owners.OWNER_STOPPED,
            lambda: [((name, state), state != "calling") for name, state in self.owners.states().items()],
        )

    def _show_shards(self, metrics: Metrics) -> None:
        metrics.one(seeing.LEADER, lambda: self.leadership.leading)
        metrics.one(seeing.REPLICAS, lambda: len(self.index.replicas))
        metrics.one(seeing.SHARDS, lambda: self.index.shard_count or 0)
        metrics.one(seeing.SHARDS_HELD, lambda: len(self.leadership.acting()))
        metrics.one(seeing.SHARDS_FREE, self.free_shards)
        metrics.one(seeing.SHARDS_WARMING_UP, lambda: len(self.brake.shard_warm_ups.left(self._now())))
        metrics.one(of_brake.ARMED, lambda: not self.brake.why_not)
        metrics.one(of_brake.WARM_UP_LEFT, lambda: self.brake.warm_up.left(self._now()))

    def _show_sight(self, metrics: Metrics) -> None:
        metrics.one(seeing.WATCH_LAG, lambda: self.observer.silence)
        metrics.one(seeing.SCAN_AGE, lambda: self.observer.scan_age)
        metrics.one(seeing.SCAN_CORRECTIONS, lambda: self.observer.sight.corrections)
        metrics.one(seeing.UNREADABLE, lambda: len(self.index.unreadable))
        metrics.view(seeing.BUILD, lambda: [((self.version,), 1)])

    # --- parts --------------------------------------------------------------------------------------------------

    def _resources(self) -> list[Sample]:
        shown: dict[tuple[str, ...], float] = {}
        for (owner, kind, rule, state), count in self.index.counts.items():
            place = (owner, kind, as_permitted(state, self.index.policy.of_rule(rule).mode).value)
            shown[place] = shown.get(place, 0) + count
        return list(shown.items())

    def _orphaned(self) -> list[Sample]:
        # A type that has none is shown with 0, so that one can see it fall.
        found: Counter[tuple[str, ...]] = Counter()
        for (owner, kind, _, state), count in self.index.counts.items():
            found[owner, kind] += 0 if state in _NEEDED else count
        return list(found.items())

    def _cleanup(self) -> list[Sample]:
        return [((stage.value,), self._in_state(stage)) for stage in STAGES]

    def _in_state(self, wanted: State) -> int:
        return sum(count for (_, _, _, state), count in self.index.counts.items() if state is wanted)

    def _now(self) -> Instant:
        return Instant(self.clock.now())


def show_objects(metrics: Metrics, objects: Controller) -> None:
    """Where owners and rules are objects of a cluster."""
    metrics.view(kubernetes.OBJECTS, objects.counts)
    metrics.one(kubernetes.OBJECTS_BEHIND, lambda: bool(objects.why_not))
