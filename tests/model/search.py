"""Breadth-first search over all states, and again for each guard that is left out.

Leaving a guard out only adds ways: every state of the protocol as it is can still be reached. So a world is searched
once, and what each refused transaction was refused for is remembered. The search without a guard begins at those
states in which this guard alone was in the way, nearest first, and sees only states that the protocol excludes. What it
finds is then replayed from the start, without the guard in every step; should that fail (it can, where a *write* is
left out, which takes ways away as well), everything is searched anew.
"""

from __future__ import annotations

import gc
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.model.world import State, Violation, World

LIMIT = 40_000
Path = list[tuple[str, State | None]]
"""Steps, each with the state after it; the last one is the broken law."""


@dataclass
class Explored:
    """All states of a world, in the order of their distance from the start."""

    world: World
    number: dict[State, int]
    came_from: list[tuple[int, str]]
    depth: list[int]
    leads_to: list[list[int]] = field(default_factory=list)
    refused: dict[frozenset[str], list[int]] = field(default_factory=lambda: defaultdict(list))
    """What was in the way of a transaction, and in which states."""
    broken: tuple[str, ...] = ()
    """The steps to a broken law; none, one hopes."""

    def stuck(self) -> list[State]:
        """States from which no way leads to the end (L1): there should be none."""
        backwards: list[list[int]] = [[] for _ in self.number]
        for n, others in enumerate(self.leads_to):
            for other in others:
                backwards[other].append(n)
        waiting = [n for state, n in self.number.items() if self.world.over(state)]
        good = set(waiting)
        while waiting:
            for n in backwards[waiting.pop()]:
                if n not in good:
                    good.add(n)
                    waiting.append(n)
        return [state for state, n in self.number.items() if n not in good]


@dataclass(frozen=True)
class Counterexample:
    """The steps that break a law, the last being the law; none: nothing broke in so many states beyond the world's."""

    steps: tuple[str, ...]
    states: int


@contextmanager
def _without_collecting() -> Iterator[None]:
    """States are millions of small tuples, none of them in a cycle: looking for garbage among them doubles the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_without_collecting()
def explore(world: World) -> Explored:
    """Search a world to the end, or to the first broken law."""
    first = world.start()
    found = Explored(world, {first: 0}, [(0, "")], [0])
    waiting = deque([first])

    def tried(labels: frozenset[str]) -> None:
        states, current = found.refused[labels], len(found.leads_to)
        if not states or states[-1] != current:
            states.append(current)

    world.without, world.tried = frozenset(), tried
    while waiting and not found.broken:
        current, leads_to = len(found.leads_to), []
        for name, after in _next(world, waiting.popleft()):
            if after is None:
                found.broken = (*_names(found, current), name)
                break
            number = found.number.setdefault(after, len(found.came_from))
            if number == len(found.came_from):
                found.came_from.append((current, name))
                found.depth.append(found.depth[current] + 1)
                waiting.append(after)
            leads_to.append(number)
        found.leads_to.append(leads_to)
        assert len(found.number) < LIMIT, f"{world.title}: not finite any more?"
    world.tried = None
    return found


@_without_collecting()
def without(found: Explored, guards: Iterable[str], limit: int = 100_000) -> Counterexample:
    """Search a world without some of its guards, until a law breaks or all is seen."""
    left_out, world = frozenset(guards), found.world
    begin = sorted({n for labels, states in found.refused.items() if labels <= left_out for n in states})
    world.without = left_out
    try:
        path, states = _beyond(found, begin, limit)
        if path and not _replays(world, path):
            path, states = _beyond(Explored(world, {}, [], []), [], limit)
        return Counterexample(tuple(name for name, _ in path), states)
    finally:
        world.without = frozenset()


def _beyond(found: Explored, begin: list[int], limit: int) -> tuple[Path, int]:
    """Nearest first, through states that were not found before. Nothing to begin with: from the start."""
    known, known_states = found.number, list(found.number)
    came_from: dict[State, tuple[State | int, str]] = {}
    by_depth: dict[int, list[State | int]] = defaultdict(list)
    for n in begin:
        by_depth[found.depth[n]].append(n)
    if not known:
        first = found.world.start()
        came_from[first], by_depth[0] = (0, ""), [first]
    depth = 0
    while by_depth:
        for here in by_depth.pop(depth, ()):
            for name, after in _next(found.world, known_states[here] if isinstance(here, int) else here):
                if after is None:
                    return [*_path(found, known_states, came_from, here), (name, None)], len(came_from)
                if after not in known and after not in came_from:
                    came_from[after] = (here, name)
                    by_depth[depth + 1].append(after)
            if len(came_from) > limit:
                return [], len(came_from)
        depth += 1
    return [], len(came_from)


def _next(world: World, state: State) -> Iterator[tuple[str, State | None]]:
    """The next states; a broken law is the last of them, without a state."""
    try:
        for name, after in world.steps(state):
            try:
                world.check(after)
            except Violation as violation:
                yield f"{name}: {violation}", None
                return
            yield name, after
    except Violation as violation:
        yield str(violation), None


def _replays(world: World, path: Path) -> bool:
    """Whether the same steps are there without the guard from the start."""
    state = world.start()
    for name, after in path:
        if (name, after) not in list(_next(world, state)):
            return False
        state = after or state
    return True


def _path(
    found: Explored, states: list[State], came_from: dict[State, tuple[State | int, str]], here: State | int
) -> Path:
    path: Path = []
    while not isinstance(here, int):
        before, name = came_from[here]
        if name:
            path.append((name, here))
        here = before
    if states:
        while here:
            before, name = found.came_from[here]
            path.append((name, states[here]))
            here = before
    return path[::-1]


def _names(found: Explored, here: int) -> list[str]:
    names: list[str] = []
    while here:
        here, name = found.came_from[here]
        names.append(name)
    return names[::-1]
