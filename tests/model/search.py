"""Breadth-first search over all states: the shortest way to a broken law, or the number of states without one."""

from __future__ import annotations

from collections import deque

from tests.model.world import State, Violation, World, start


def search(world: World, limit: int = 2_000_000) -> tuple[int, list[str] | None]:
    """How many states were seen, and the steps that break a law (``None`` if nothing does)."""
    first = start()
    came_from: dict[State, tuple[State, str] | None] = {first: None}
    waiting = deque([first])
    while waiting:
        state = waiting.popleft()
        steps = world.steps(state)
        while True:
            try:
                name, after = next(steps)
            except StopIteration:
                break
            except Violation as violation:
                return len(came_from), [*_path(came_from, state), str(violation)]
            if after not in came_from:
                came_from[after] = (state, name)
                waiting.append(after)
        assert len(came_from) < limit, "the model is not finite any more"
    return len(came_from), None


def _path(came_from: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    steps: list[str] = []
    step = came_from[state]
    while step is not None:
        state, name = step
        steps.append(name)
        step = came_from[state]
    return steps[::-1]
