"""What was measured, beside what is asked for: figures, percentiles, verdicts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report. Without ``target`` it is for information."""

    name: str
    value: float
    unit: str
    target: float | None = None
    at_most: bool = True
    remark: str = ""

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target

    def __str__(self) -> str:
        verdict = {None: "", True: "met", False: "NOT MET"}[self.met]
        bound = f"{'<=' if self.at_most else '>='} {_number(self.target)}" if self.target is not None else ""
        line = f"{self.name:<44}{_number(self.value):>10} {self.unit:<12}{bound:<12}{verdict:<8}"
        return f"{line} {self.remark}".rstrip()


def _number(value: float) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def percentile(values: Sequence[float], part: float) -> float:
    """Of sorted values; the nearest rank. Raises ``ValueError`` when there are none."""
    if not values:
        raise ValueError("a percentile of nothing")
    return values[min(len(values) - 1, max(0, round(part * len(values)) - 1))]


Told = Sequence[tuple[float, float]]
"""Renewals: when each was sent, and how many seconds it took; less than 0: its lease was gone."""


@dataclass(frozen=True, slots=True)
class Renewals:
    """Those of one span of time, in milliseconds."""

    count: int
    lost: int
    p50: float
    p99: float
    worst: float

    @classmethod
    def of(cls, told: Told, within: Callable[[float], bool]) -> Renewals | None:
        """``None`` when none was sent then."""
        spans = [took for sent, took in told if within(sent)]
        kept = sorted(took * 1000 for took in spans if took >= 0)
        if not kept:
            return None
        lost = len(spans) - len(kept)
        return cls(len(kept), lost, percentile(kept, 0.5), percentile(kept, 0.99), kept[-1])

    def __str__(self) -> str:
        return f"{self.count} renewals, p50 {self.p50:.1f}, p99 {self.p99:.1f}, worst {self.worst:.1f} ms"


@dataclass(frozen=True, slots=True)
class Sampling:
    """A count that grows, looked at now and then: (seconds, count so far)."""

    samples: Sequence[tuple[float, float]]

    def rate(self, lowest: float, highest: float) -> float:
        """Per second, between the last sample at or below ``lowest`` and the first at or above ``highest``: without
        the beginning and the end, where little is under way. 0 when ``highest`` was never reached."""
        below = [sample for sample in self.samples if sample[1] <= lowest]
        above = [sample for sample in self.samples if sample[1] >= highest]
        if not below or not above or above[0][0] <= below[-1][0]:
            return 0.0
        return (above[0][1] - below[-1][1]) / (above[0][0] - below[-1][0])
