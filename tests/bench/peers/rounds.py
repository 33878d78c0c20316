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

    def progress(self, text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
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
            entries = self._begin(stack, plan, found)
            for number in range(1, plan.rounds + 1):
                for name, (entry, idle) in list(entries.items()):
                    try:
                        values = self.measure(entry, plan.seconds)
                    except LoadFailed as error:
                        found.absent[f"{self.name}, {name}"] = str(error)
                        found.progress(f"{self.name}: {name} FAILED: {error}")
                        del entries[name]
                        continue
                    values |= {results.IDLE: idle, results.RESIDENT: entry.running.resident_mb()}
                    found.samples.append(Sample(self.name, name, number, values))
                    shown = ", ".join(f"{metric} {value:,.1f}" for metric, value in values.items())
                    found.progress(f"{self.name}, round {number}/{plan.rounds}, {name}: {shown}")

    def _begin(self, stack: ExitStack, plan: Plan, found: Findings) -> dict[str, tuple[Entry, float]]:
        entries: dict[str, tuple[Entry, float]] = {}
        for entrant in plan.entrants(self):
            try:
                entry = stack.enter_context(entrant.start())
                entries[entrant.name] = entry, entry.running.resident_mb()
            except NotInstalled:
                found.absent[entrant.name] = "not installed"
            except DidNotStart as error:
                found.absent[f"{self.name}, {entrant.name}"] = f"did not start: {error}"
                found.progress(f"{self.name}: {entrant.name} DID NOT START: {error}")
        for name, (entry, _) in list(entries.items()):
            try:
                self.measure(entry, WARM_UP_SECONDS)  # connections, caches, just-in-time things
            except LoadFailed as error:
                found.absent[f"{self.name}, {name}"] = str(error)
                del entries[name]
        return entries
