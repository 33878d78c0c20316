"""Tasks of one's own for what runs over grpclib, and the owner of those tasks.

grpclib wakes a waiting call up (deadline, lost connection) by cancelling the *task* it waits in, and never takes that
back: ``Task.cancelling()`` stays above zero, and every ``asyncio.timeout`` or ``TaskGroup`` around it then mistakes
its own cancellation for a foreign one. In a task of its own the damage ends with the task, and our caller sees
``CancelledError`` only when somebody really cancelled him.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from leasehold.protocol.errors import Uncertain

Result = TypeVar("Result")


class IsolatedTasks:
    """Runs coroutines in tasks of their own, and ends those that are left when it is closed."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, Result], *, name: str) -> Result:
        """The result of ``work``. ``Uncertain`` when it was ended by ``close``."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            await end(task)
            raise
        if task.cancelled():
            raise Uncertain(f"{name}: the client was closed meanwhile")
        return task.result()

    async def close(self) -> None:
        """Cancel what is running and wait for it."""
        await end(*self._running)


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel ``tasks``, wait until they have ended, and take note of how: whoever ends a task wants none of it."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()
