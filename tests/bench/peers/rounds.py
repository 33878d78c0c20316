"""One load on all its entrants, in interleaved rounds: A B C A B C ..., because the machine is noisy.

All are started, their resident memory is read before any traffic, each is warmed up, and then they take turns. An
entrant that is not installed, does not start or fails is named, and the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.bench.peers import results
from tests.bench.peers.lineup import Entrant, Entry, NotInstalled
from tests.bench.peers.load import LoadFailed
from tests.bench.peers.results import Sample
from tests.bench.peers.run import DidNotStart

WARM_UP_SECONDS = 1


@dataclass(frozen=True)
class Plan:
    """How long, how often, how much, and who (all, if ``only`` is empty)."""

    seconds: int
    rounds: int
    large_bytes: int
    saturation_seconds: int
    budget_seconds: int
    """Once this is spent, each load that is left gets one round only."""
    only: frozenset[str] = frozenset()
    """Names of loads, or of entrants (the first word takes all modes of it)."""

    def entrants(self, load: Loading) -> list[Entrant]:
        everyone = not self.only or load.name in self.only
        return [one for one in load.entrants if everyone or {one.name, one.name.split()[0]} & self.only]


@dataclass
class Findings:
    """What a run gathers; ``absent`` says of entrants and loads why they are not in it."""

    samples: list[Sample] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def leave_out(self, what: str, why: str) -> None:
        if what not in self.absent:
            self.progress(f"NOT IN IT: {what}: {why}")
        self.absent[what] = why

    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def progress(self, text: str) -> None:
        minutes, seconds = divmod(int(self.elapsed()), 60)
        print(f"[{minutes:2}:{seconds:02}] {text}", flush=True)


Measure = Callable[[Entry, int], dict[str, float]]
"""One run of so many seconds against one entrant; transfers have no use for the seconds."""


@dataclass(frozen=True)
class Loading:
    name: str
    entrants: Sequence[Entrant]
    measure: Measure

    def run(self, plan: Plan, found: Findings) -> None:
        with ExitStack() as stack:
            running = self._begin(stack, plan, found)
            for number in range(1, plan.rounds + 1):
                if number > 1 and found.elapsed() > plan.budget_seconds:
                    found.leave_out(f"{self.name}, rounds {number} to {plan.rounds}", "out of time")
                    return
                for name, (entry, idle_mb) in list(running.items()):
                    values = self._measured(name, entry, plan.seconds, found)
                    if values is None:
                        del running[name]
                        continue
                    values |= {results.IDLE: idle_mb, results.RESIDENT: entry.running.resident_mb()}
                    found.samples.append(Sample(self.name, name, number, values))
                    shown = ", ".join(f"{metric} {value:,.1f}" for metric, value in values.items())
                    found.progress(f"{self.name}, round {number}/{plan.rounds}, {name}: {shown}")

    def _begin(self, stack: ExitStack, plan: Plan, found: Findings) -> dict[str, tuple[Entry, float]]:
        """Those that run and are warm, with their resident memory before any traffic."""
        running: dict[str, tuple[Entry, float]] = {}
        for entrant in plan.entrants(self):
            try:
                entry = stack.enter_context(entrant.start())
                running[entrant.name] = entry, entry.running.resident_mb()
            except NotInstalled:
                found.leave_out(entrant.name, "not installed")
            except DidNotStart as error:
                found.leave_out(f"{self.name}, {entrant.name}", f"did not start: {error}")
        # Connections, caches, just-in-time things.
        warm = {name: self._measured(name, entry, WARM_UP_SECONDS, found) for name, (entry, _) in running.items()}
        return {name: one for name, one in running.items() if warm[name] is not None}

    def _measured(self, name: str, entry: Entry, seconds: int, found: Findings) -> dict[str, float] | None:
        try:
            return self.measure(entry, seconds)
        except LoadFailed as error:
            found.leave_out(f"{self.name}, {name}", str(error))
            return None
