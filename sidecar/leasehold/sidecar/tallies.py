"""Counters and histograms for what happens with every matched call: plain numbers, shown to Prometheus when it asks.

prometheus-client's own take a lock and cost 0.5 to 3 µs each time; a registration is counted nine times. These take no
lock: only the event loop's thread counts, and a scrape reads whole numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]


class Tally(Collector):
    """A counter."""

    def __init__(self, registry: CollectorRegistry, name: str, about: str, *labels: str) -> None:
        self._name, self._about, self._labels = name, about, labels
        self._counts: dict[Labels, int] = {} if labels else {(): 0}
        registry.register(self)

    def count(self, labels: Labels = ()) -> None:
        """One more."""
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._about, labels=self._labels)
        for labels, count in list(self._counts.items()):
            family.add_metric([str(label) for label in labels], count)
        yield family


class Spread(Collector):
    """A histogram over ``bounds`` (ascending; above the last one is one bucket more)."""

    def __init__(
        self, registry: CollectorRegistry, name: str, about: str, bounds: Sequence[float], *labels: str
    ) -> None:
        self._name, self._about, self._bounds, self._labels = name, about, tuple(bounds), labels
        self._seen: dict[Labels, tuple[list[int], list[float]]] = {} if labels else {(): self._nothing()}
        registry.register(self)

    def _nothing(self) -> tuple[list[int], list[float]]:
        return [0] * (len(self._bounds) + 1), [0.0]

    def see(self, value: float, labels: Labels = ()) -> None:
        """One more of this size."""
        seen = self._seen.get(labels)
        if seen is None:
            seen = self._seen[labels] = self._nothing()
        counts, total = seen
        counts[bisect_left(self._bounds, value)] += 1
        total[0] += value

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._about, labels=self._labels)
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        for labels, (counts, total) in list(self._seen.items()):
            buckets = list(zip(names, accumulate(counts), strict=True))
            family.add_metric([str(label) for label in labels], buckets, total[0])
        yield family
