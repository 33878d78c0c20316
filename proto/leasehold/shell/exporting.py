"""From declarations to prometheus-client: counters and histograms that are written, and views that are read.

A view is asked when somebody scrapes, so it must not walk anything that grows with the number of resources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from leasehold.shell.declaring import Declared, Kind

Sample = tuple[tuple[str, ...], float]
View = Callable[[], Iterable[Sample]]
"""Values of the labels, and the value."""
Spread = Mapping[tuple[str, ...], tuple[list[int], float]]
"""By the values of the labels: how many in each bucket, the one above the last bound included, and their sum."""


def export_counter(registry: CollectorRegistry, declared: Declared) -> Counter:
    return Counter(declared.name, declared.about, declared.labels, registry=registry)


def export_gauge(registry: CollectorRegistry, declared: Declared) -> Gauge:
    return Gauge(declared.name, declared.about, declared.labels, registry=registry)


def export_histogram(registry: CollectorRegistry, declared: Declared) -> Histogram:
    return Histogram(declared.name, declared.about, declared.labels, registry=registry, buckets=declared.bounds)


def export_process(registry: CollectorRegistry) -> None:
    """Memory, CPU time and file descriptors of this process."""
    ProcessCollector(registry=registry)


def export_view(registry: CollectorRegistry, declared: Declared, read: View) -> None:
    """A gauge, or a counter that is kept elsewhere, read when somebody asks."""
    registry.register(_Shown(declared, read))


def export_spread(registry: CollectorRegistry, declared: Declared, read: Callable[[], Spread]) -> None:
    """A histogram of what is there at this moment, read when somebody asks. Its counts may fall."""
    registry.register(_Spread(declared, read))


class _Shown(Collector):
    def __init__(self, declared: Declared, read: View) -> None:
        self._declared, self._read = declared, read

    def _family(self) -> CounterMetricFamily | GaugeMetricFamily:
        one = self._declared
        family = CounterMetricFamily if one.kind is Kind.COUNTER else GaugeMetricFamily
        return family(one.name, one.about, labels=one.labels)

    def collect(self) -> Iterable[Metric]:
        family = self._family()
        for labels, value in self._read():
            family.add_metric(labels, value)
        yield family

    def describe(self) -> Iterable[Metric]:
        # Without this, registering would collect, before there is anything to read.
        return [self._family()]


class _Spread(Collector):
    def __init__(self, declared: Declared, read: Callable[[], Spread]) -> None:
        self._declared, self._read = declared, read

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._declared.name, self._declared.about, labels=self._declared.labels)

    def collect(self) -> Iterable[Metric]:
        family, names = self._family(), [*map(floatToGoString, self._declared.bounds), "+Inf"]
        for labels, (counts, total) in self._read().items():
            family.add_metric(labels, list(zip(names, accumulate(counts), strict=True)), total)
        yield family

    def describe(self) -> Iterable[Metric]:
        return [self._family()]
