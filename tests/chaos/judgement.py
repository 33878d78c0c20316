"""What a judge says of one law, and what all of them together say of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from tests.chaos.history import COLLECTOR, STALL, History


@dataclass(slots=True)
class Judgement:
    """``facts`` counts what was looked at: a law about which nothing happened was not judged at all."""

    law: str
    says: str
    facts: int = 0
    violations: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def expect(self, holds: bool, otherwise: str) -> None:
        """One fact."""
        self.facts += 1
        if not holds:
            self.violations.append(otherwise)

    @property
    def verdict(self) -> str:
        if self.violations:
            return "violated"
        return "holds" if self.facts else "not judged"


class Result(StrEnum):
    """Of a run."""

    HOLDS = "the laws hold"
    VIOLATED = "violated"
    INVALID = "invalid"


EXIT_CODES = {Result.HOLDS: 0, Result.VIOLATED: 1, Result.INVALID: 3}


def why_invalid(history: History) -> list[str]:
    """Reasons why this run proves nothing, whatever the judges found; none: it counts."""
    reasons = list(history.gaps)
    if not any(fault.took_effect for fault in history.faults):
        reasons.append("no fault took effect")
    tried = Counter(fault.kind for fault in history.faults if fault.kind != STALL)
    took = {fault.kind for fault in history.faults if fault.took_effect}
    idle = (
        f"{kind} never took effect, tried {count} times" for kind, count in sorted(tried.items()) if kind not in took
    )
    reasons += idle
    if not history.told:
        reasons.append("no program was ever told that it created something")
    if not any(call.who == COLLECTOR and call.effect == "removed" for call in history.calls):
        reasons.append("the collector never deleted anything")
    return reasons


def result_of(history: History, judgements: list[Judgement]) -> Result:
    """A violation counts even in a run that is invalid otherwise, unless the witness itself has gaps."""
    if any(one.violations for one in judgements) and not history.gaps:
        return Result.VIOLATED
    return Result.INVALID if why_invalid(history) else Result.HOLDS
