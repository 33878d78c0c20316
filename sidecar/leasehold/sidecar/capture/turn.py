"""Bounds how much is read before everybody else gets a turn of the event loop.

libuv polls again, many times, as long as 1024 sockets are ready at once; timers and tasks wait meanwhile. With
thousands of busy connections the loop was seen to be late by seconds (decision 0009). So after ``READS`` reads each
further one pauses its socket until the tasks have run: what is ready shrinks, and the poll comes to an end.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

READS: Final = 512


class Yielding(Protocol):
    """A side that can be told to wait."""

    def wait_for_turn(self) -> None: ...

    def turn_has_come(self) -> None: ...


class Turn:
    """Shared by all sides of the process. ``left`` is counted down by them, on the hot path."""

    __slots__ = ("_waiting", "left")

    def __init__(self) -> None:
        self.left = READS
        self._waiting: list[Yielding] = []

    def over(self, side: Yielding) -> None:
        """``side`` has read, although nothing was left."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        self._waiting.append(side)
        side.wait_for_turn()

    def _next(self) -> None:
        self.left = READS
        waiting, self._waiting = self._waiting, []
        for side in waiting:
            side.turn_has_come()
