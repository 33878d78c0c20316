"""Our own counters say to Prometheus what its own would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from leasehold.sidecar.tallies import Spread, Tally

BOUNDS = (0.001, 0.5, 1.0, 60.0)
VALUES = st.sampled_from((0.0, 0.001, 0.0011, 0.5, 1.0, 59.9, 60.0, 61.0)) | st.floats(0, 1e6)


def samples(registry: CollectorRegistry) -> list[bytes]:
    """Without the moment at which a series began, which only prometheus-client's own tell."""
    return [line for line in generate_latest(registry).splitlines() if b"_created" not in line]


@given(st.lists(st.tuples(st.sampled_from("ab"), VALUES)))
def test_labelled_metrics_are_shown_as_prometheus_shows_its_own(seen: list[tuple[str, float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally, spread = Tally(ours, "calls", "Calls", "kind"), Spread(ours, "seconds", "Seconds", BOUNDS, "kind")
    counter = Counter("calls", "Calls", ["kind"], registry=theirs)
    histogram = Histogram("seconds", "Seconds", ["kind"], registry=theirs, buckets=BOUNDS)
    for kind, value in seen:
        tally.count((kind,))
        spread.see(value, (kind,))
        counter.labels(kind).inc()
        histogram.labels(kind).observe(value)
    assert samples(ours) == samples(theirs)


def test_what_has_no_labels_is_shown_from_the_start() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally, spread = Tally(ours, "calls", "Calls"), Spread(ours, "seconds", "Seconds", BOUNDS)
    counter = Counter("calls", "Calls", registry=theirs)
    histogram = Histogram("seconds", "Seconds", registry=theirs, buckets=BOUNDS)
    assert samples(ours) == samples(theirs)
    tally.count()
    spread.see(2.0)
    counter.inc()
    histogram.observe(2.0)
    assert samples(ours) == samples(theirs)
