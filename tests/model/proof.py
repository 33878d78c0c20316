"""The whole proof: every world searched, and every guard that was met left out until it breaks a law somewhere.

Guards are read off the product's transactions as the worlds run them. One that breaks nothing has to stand in ``SPARE``
with the reason; one that stands there and breaks something has to go from there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.model.search import Counterexample, Explored, explore, without
from tests.model.worlds import WORLDS


@dataclass(frozen=True)
class Searched:
    """A world, seen to the end."""

    name: str
    title: str
    states: int
    depth: int
    seconds: float
    found: Explored
    stuck: int


@dataclass(frozen=True)
class Judged:
    """A guard (or several together), and the shortest of what was found without it."""

    guard: str
    world: str
    counterexample: Counterexample


def searched(names: list[str] | None = None) -> Iterator[Searched]:
    """Each world in turn."""
    for name in names or list(WORLDS):
        world, began = WORLDS[name](), time.process_time()
        found = explore(world)
        stuck = 0 if found.broken else len(found.stuck())
        seconds = time.process_time() - began
        yield Searched(name, world.title, len(found.number), max(found.depth), seconds, found, stuck)


def guards(worlds: list[Searched]) -> list[str]:
    """Every guard that was met in any of these worlds."""
    return sorted(set().union(*(one.found.world.labels for one in worlds)))


def judged(worlds: list[Searched], left_out: tuple[str, ...], limit: int = 2_000) -> Judged:
    """Leave these guards out, where the fewest states have to be looked at first; the first broken law counts.

    ``limit`` bounds how many states beyond the protocol's own are looked at in each world.
    """
    together = frozenset(left_out)
    seen = 0
    begin = [
        (sum(len(states) for labels, states in one.found.refused.items() if labels <= together), one) for one in worlds
    ]
    for count, one in sorted(begin, key=lambda pair: pair[0]):
        if count:
            result = without(one.found, together, limit)
            if result.steps:
                return Judged(" + ".join(left_out), one.name, result)
            seen += result.states
    return Judged(" + ".join(left_out), "", Counterexample((), seen))


def backed(worlds: list[Searched], guard: str, backing: tuple[str, ...]) -> Judged | None:
    """A counterexample without the guard and its backing, in a world where nothing breaks without the backing alone."""
    for one in worlds:
        together = without(one.found, (guard, *backing), 2_000)
        if together.steps:
            alone = without(one.found, backing, 2_000)
            if not alone.steps or len(alone.steps) > len(together.steps):
                return Judged(" + ".join((guard, *backing)), one.name, together)
    return None
