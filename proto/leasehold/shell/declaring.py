"""A metric as it is declared: once, with all that code, documentation, alerts and dashboards want to know of it.

Nothing is exported that is not declared, and nothing declared that is not exported: both parts build their metrics from
these, ``docs/metrics.md`` is written from them, and tests compare all of it with what running parts really serve.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType


class Kind(StrEnum):
    """How a metric behaves."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric. ``name`` as it is queried, but for the ``_bucket``, ``_count`` and ``_sum`` of a histogram.

    ``about`` is its help, ``meaning`` what it says beyond that, ``normal`` what to expect, ``act`` what to do if it is
    otherwise. ``only``: under which condition it is exported at all; empty: always.
    """

    name: str
    kind: Kind
    about: str
    meaning: str
    normal: str
    act: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    only: str = ""

    def samples(self) -> tuple[str, ...]:
        """The names of its series, as queries use them."""
        if self.kind is Kind.HISTOGRAM:
            return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
        return (self.name,)


def counter(name: str, *labels: str, about: str, meaning: str, normal: str, act: str, only: str = "") -> Declared:
    """What only grows. ``name`` without its ``_total``."""
    return Declared(f"{name}_total", Kind.COUNTER, about, meaning, normal, act, labels, only=only)


def gauge(name: str, *labels: str, about: str, meaning: str, normal: str, act: str, only: str = "") -> Declared:
    """What is, at this moment."""
    return Declared(name, Kind.GAUGE, about, meaning, normal, act, labels, only=only)


def histogram(
    name: str, *labels: str, bounds: Iterable[float], about: str, meaning: str, normal: str, act: str, only: str = ""
) -> Declared:
    """How something is spread. ``bounds`` ascend; one more, for all above the last, goes without saying."""
    return Declared(name, Kind.HISTOGRAM, about, meaning, normal, act, labels, tuple(bounds), only)


def declared_in(*modules: ModuleType) -> Iterator[Declared]:
    """All that these modules declare, in the order of writing."""
    for module in modules:
        yield from (thing for thing in vars(module).values() if isinstance(thing, Declared))


PROCESS = (
    gauge(
        "process_virtual_memory_bytes", about="Virtual memory size in bytes.",
        meaning="Address space, most of which is never touched.", normal="not worth watching", act="nothing",
    ),
    gauge(
        "process_resident_memory_bytes", about="Resident memory size in bytes.",
        meaning="What the process really takes. A control plane needs about half a kilobyte for each resource.",
        normal="a sidecar: some tens of MB, and more only while its journal is long; a control plane: steady for a "
        "steady number of resources",
        act="raise the limit before it is reached; if it grows while `leasehold_resources` does not, report it",
    ),
    gauge(
        "process_start_time_seconds", about="Start time of the process since unix epoch in seconds.",
        meaning="When the process began; a change is a restart.", normal="changes with deployments only",
        act="look at what ended the process: its last log lines, the node's memory",
    ),
    counter(
        "process_cpu_seconds", about="Total user and system CPU time spent in seconds.",
        meaning="A rate of 1 is one whole core, which is all that one process can use.",
        normal="well below 0.7 per second", act="give it a core; what one sidecar cannot take needs more pods",
    ),
    gauge(
        "process_open_fds", about="Number of open file descriptors.", meaning="Mostly connections.",
        normal="well below `process_max_fds`", act="raise the limit, or `limits.connections` of the sidecar down",
    ),
    gauge(
        "process_max_fds", about="Maximum number of open file descriptors.",
        meaning="The limit that the system sets.", normal="constant", act="see `process_open_fds`",
    ),
)  # fmt: skip
"""What prometheus-client's own collector tells of any process, under the names that everybody uses."""
