"""A task of its own for what runs over grpclib, and how to end a task.

grpclib wakes a waiting stream up (lost connection) by cancelling the *task* it waits in, and never takes that back:
``Task.cancelling()`` stays above zero, and every ``asyncio.timeout`` or ``TaskGroup`` around it then mistakes its own
cancellation for a foreign one. In a task of its own the damage ends with the task, and our caller sees
``CancelledError`` only when somebody really cancelled him.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from leasehold.protocol.errors import Unavailable

Result = TypeVar("Result")


async def isolated(work: Coroutine[Any, Any, Result], *, name: str) -> Result:
    """The result of ``work``, which ends with its caller. ``Unavailable`` when somebody else ended it."""
    task = asyncio.create_task(work, name=name)
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        await end(task)
        raise
    if task.cancelled():
        raise Unavailable(f"{name}: it was ended meanwhile")
    return task.result()


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel ``tasks``, wait until they have ended, and take note of how: whoever ends a task wants none of it."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()
