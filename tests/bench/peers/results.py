"""What came of a run: samples in, medians, tables and ratios against the targets out. Pure.

The machine is noisy, so each load is repeated in interleaved rounds (A B C A B C ...). A figure is the median of its
rounds, with the least and the greatest beside it. A ratio is taken within each round, between neighbours in time, and
the verdict is that of the median of those.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HTTP1, CREATIONS, WIRE = "HTTP/1.1", "HTTP/1.1 creations", "HTTP/1.1 over a wire"
HTTP2, HTTP2_STREAMS, HTTP2_CREATIONS = "HTTP/2, 1 stream", "HTTP/2, 10 streams", "HTTP/2 creations"
DOWNLOAD, UPLOAD, SATURATION = "download", "upload", "saturation"
RATE, CPU, ETCD_CPU, P50, P99 = "requests_per_s", "cpu_us_per_request", "etcd_cpu_us_per_request", "p50_ms", "p99_ms"
THROUGHPUT, CPU_PER_GIB = "mb_per_s", "cpu_ms_per_gib"
IDLE, RESIDENT, BAD = "idle_mb", "resident_mb", "bad"
KEPT, LOST, BATCH = "renewals_kept", "renewals_lost", "registrations_per_transaction"

COLUMNS = {
    RATE: ("requests/s", "{:,.0f}"),
    THROUGHPUT: ("MB/s", "{:,.0f}"),
    CPU: ("CPU us/req", "{:,.1f}"),
    CPU_PER_GIB: ("CPU ms/GiB", "{:,.0f}"),
    ETCD_CPU: ("etcd us/req", "{:,.0f}"),
    BATCH: ("per txn", "{:.1f}"),
    P50: ("p50 ms", "{:.2f}"),
    P99: ("p99 ms", "{:.2f}"),
    IDLE: ("idle MB", "{:.0f}"),
    RESIDENT: ("then MB", "{:.0f}"),
}
SPREAD = frozenset({RATE, THROUGHPUT, CPU, CPU_PER_GIB, P99})
"""Columns that show the least and the greatest too."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One entrant in one round of one load; ``values`` by the names above, units in them."""

    load: str
    entrant: str
    round: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Target:
    """``ours`` over ``theirs`` in one metric of one load. ``bound`` None: for information, no target."""

    load: str
    metric: str
    ours: str
    theirs: str
    bound: float | None
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    what: str
    value: float | None
    least: float | None
    most: float | None
    bound: float | None
    verdict: str
    """``met``, ``NOT MET``, ``not measured``, or empty where there is no target."""


TARGETS = (
    Target(HTTP1, CPU, "sidecar", "haproxy", 1.2),
    Target(HTTP1, CPU, "sidecar", "envoy", 0.4),
    Target(CREATIONS, CPU, "sidecar before-response", "envoy", 1.0),
    Target(HTTP2, CPU, "sidecar", "envoy", 1.0),
    Target(HTTP2_STREAMS, CPU, "sidecar", "envoy", 1.0),
    Target(DOWNLOAD, THROUGHPUT, "sidecar", "envoy tcp", 0.8, at_least=True),
    Target(UPLOAD, THROUGHPUT, "sidecar", "envoy tcp", 0.8, at_least=True),
    Target(HTTP1, IDLE, "sidecar", "envoy", 0.7),
    Target(HTTP2_CREATIONS, CPU, "sidecar", "envoy", None),
    Target(WIRE, CPU, "sidecar transparent", "sidecar upstream", None),
    Target(WIRE, CPU, "sidecar transparent", "haproxy", None),
    Target(CREATIONS, RATE, "sidecar before-response", "envoy", None),
)


def ratio(samples: Iterable[Sample], target: Target) -> Verdict:
    """Of rounds in which both were measured; a round in which either gave bad answers does not count."""
    by_round: dict[int, dict[str, float]] = {}
    for sample in samples:
        if sample.load == target.load and not sample.values.get(BAD) and target.metric in sample.values:
            by_round.setdefault(sample.round, {})[sample.entrant] = sample.values[target.metric]
    pairs = [(one.get(target.ours), one.get(target.theirs)) for one in by_round.values()]
    ratios = [ours / theirs for ours, theirs in pairs if ours is not None and theirs]
    what = f"{target.load}, {target.metric}: {target.ours} / {target.theirs}"
    if not ratios:
        return Verdict(what, None, None, None, target.bound, "not measured")
    value = statistics.median(ratios)
    return Verdict(what, value, min(ratios), max(ratios), target.bound, _judged(value, target.bound, target.at_least))


def _judged(value: float, bound: float | None, at_least: bool) -> str:
    if bound is None:
        return ""
    return "met" if (value >= bound if at_least else value <= bound) else "NOT MET"


def renewals(samples: Iterable[Sample]) -> Verdict:
    """The last target: saturating the relay for a minute loses no lease renewal. Where none was kept, none was due."""
    lost = [sample.values[LOST] for sample in samples if sample.values.get(KEPT)]
    what = "saturation: lease renewals that failed"
    if not lost:
        return Verdict(what, None, None, None, 0, "not measured")
    return Verdict(what, sum(lost), min(lost), max(lost), 0, _judged(sum(lost), 0, at_least=False))


def verdicts(samples: Sequence[Sample]) -> list[Verdict]:
    return [*(ratio(samples, target) for target in TARGETS), renewals(samples)]


def spread(samples: Sequence[Sample], load: str, entrant: str, metric: str) -> tuple[float, float, float] | None:
    """Median, least and greatest of the rounds."""
    values = [
        one.values[metric] for one in samples if (one.load, one.entrant) == (load, entrant) and metric in one.values
    ]
    return (statistics.median(values), min(values), max(values)) if values else None


def table(samples: Sequence[Sample], load: str) -> str:
    mine = [one for one in samples if one.load == load]
    shown = [metric for metric in COLUMNS if any(metric in one.values for one in mine)]
    rows = [[load, *(COLUMNS[metric][0] for metric in shown)]]
    for entrant in dict.fromkeys(one.entrant for one in mine):
        bad = sum(one.values.get(BAD, 0) for one in mine if one.entrant == entrant)
        cells = [_cell(metric, spread(mine, load, entrant, metric)) for metric in shown]
        rows.append([entrant, *cells, *([f"{bad:,.0f} BAD ANSWERS"] if bad else [])])
    return _aligned(rows)


def _cell(metric: str, found: tuple[float, float, float] | None) -> str:
    if found is None:
        return "-"
    text = COLUMNS[metric][1]
    median, least, most = (text.format(value) for value in found)
    return f"{median} ({least}-{most})" if metric in SPREAD and least != most else median


def verdict_table(found: Sequence[Verdict]) -> str:
    rows = [["ratio", "median", "least-most", "target", ""]]
    for one in found:
        value = "-" if one.value is None else f"{one.value:.2f}"
        between = "-" if one.least is None else f"{one.least:.2f}-{one.most:.2f}"
        rows.append([one.what, value, between, "-" if one.bound is None else f"{one.bound:g}", one.verdict])
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right; a row may end early."""
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(max(map(len, rows)))]
    lines = (
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False))]
        for row in rows
    )
    return "\n".join("  ".join(line).rstrip() for line in lines)


def as_json(samples: Sequence[Sample], found: Sequence[Verdict]) -> dict[str, object]:
    """Each metric of each entrant under each load, with all rounds; and the verdicts."""
    loads: dict[str, dict[str, dict[str, object]]] = {}
    for load, entrant in dict.fromkeys((one.load, one.entrant) for one in samples):
        mine = [one for one in samples if (one.load, one.entrant) == (load, entrant)]
        for metric in dict.fromkeys(metric for one in mine for metric in one.values):
            summary = spread(mine, load, entrant, metric)
            assert summary is not None
            rounds = [one.values[metric] for one in mine if metric in one.values]
            figures = {"median": summary[0], "min": summary[1], "max": summary[2], "rounds": rounds}
            loads.setdefault(load, {}).setdefault(entrant, {})[metric] = figures
    return {"loads": loads, "targets": [{name: getattr(one, name) for name in Verdict.__slots__} for one in found]}
