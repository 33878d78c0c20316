"""The crowd of programs: as many as asked for live at a time, each with its sidecar; who ended makes room for another.

A sidecar is stopped once it has told its program's end. One that was killed stays away until its fault is over: then it
is started again with the same journal, as any supervisor would, even if its program is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from random import Random

from tests.chaos.parts import Pair

ROUND_SECONDS = 0.3
TELLING_SECONDS = 60.0


class Crowd:
    """``pairs`` are all there ever were."""

    def __init__(self, new: Callable[[str], Pair], random: Random, *, size: int, most: int, prefix: str = "p") -> None:
        self._prefix = prefix
        self._new, self._random, self._size, self._most = new, random, size, most
        self.pairs: list[Pair] = []
        self.growing = True
        self._leaving: set[str] = set()

    @property
    def living(self) -> list[Pair]:
        """Programs that run now."""
        return [pair for pair in self.pairs if pair.living]

    @property
    def whole(self) -> list[Pair]:
        """Programs that run, beside a sidecar that runs."""
        return [pair for pair in self.living if pair.sidecar.pid]

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if self.growing and len(self.living) < self._size and len(self.pairs) < self._most:
                pair = self._new(f"{self._prefix}{len(self.pairs)}")
                self.pairs.append(pair)
                await pair.start()
            for pair in self.pairs:
                if not pair.living and pair.sidecar.pid and pair.away_since is None:
                    await self._see_off(pair)
            await asyncio.sleep(ROUND_SECONDS)

    async def restart(self, pair: Pair) -> None:
        """Start its sidecar again, and wait until it speaks for its program, or for nobody. Its absence ends then."""
        if not pair.sidecar.pid:
            await pair.sidecar.start()
        until = time.monotonic() + TELLING_SECONDS
        while time.monotonic() < until:
            if await (pair.is_attached() if pair.living else pair.has_told()):
                break
            await asyncio.sleep(0.1)
        pair.away_since = None

    async def stop(self) -> None:
        await asyncio.gather(*(pair.stop() for pair in self.pairs))

    async def _see_off(self, pair: Pair) -> None:
        if pair.sidecar.state != "T" and await pair.has_told():
            await pair.sidecar.stop()
            await pair.stop()
