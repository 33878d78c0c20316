"""Breadth-first search over all states: the shortest way to a broken law, or the number of states without one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Protocol, TypeVar

from tests.model import world as one_resource

S = TypeVar("S")


class Steps(Protocol[S]):
    """A world: what can happen next in a state."""

    def steps(self, state: S) -> Iterator[tuple[str, S]]: ...


def search(
    world: Steps[S],
    limit: int = 2_000_000,
    *,
    start: S | None = None,
    violation: type[Exception] = one_resource.Violation,
) -> tuple[int, list[str] | None]:
    """How many states were seen, and the steps that break a law (``None`` if nothing does)."""
    first: S = start if start is not None else one_resource.start()  # type: ignore[assignment]
    came_from: dict[S, tuple[S, str] | None] = {first: None}
    waiting = deque([first])
    while waiting:
        state = waiting.popleft()
        steps = world.steps(state)
        while True:
            try:
                name, after = next(steps)
            except StopIteration:
                break
            except violation as broken:
                return len(came_from), [*_path(came_from, state), str(broken)]
            if after not in came_from:
                came_from[after] = (state, name)
                waiting.append(after)
        assert len(came_from) < limit, "the model is not finite any more"
    return len(came_from), None


def _path(came_from: dict[S, tuple[S, str] | None], state: S) -> list[str]:
    steps: list[str] = []
    step = came_from[state]
    while step is not None:
        state, name = step
        steps.append(name)
        step = came_from[state]
    return steps[::-1]
