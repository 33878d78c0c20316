"""Times a fault and writes down what it showed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.chaos.history import Fault


class Stopwatch:
    """Made when a fault begins."""

    def __init__(self, kind: str) -> None:
        self.kind, self.began = kind, time.monotonic()
        self.evidence: dict[str, Any] = {}

    def show(self, **evidence: object) -> None:
        self.evidence.update(evidence)

    def over(self, took_effect: bool, *cut: str) -> Fault:
        """``cut``: names of programs whose sidecars could not reach etcd all this while."""
        return Fault(self.kind, self.began, time.monotonic(), bool(took_effect), self.evidence, cut)

    def nothing(self, why: str) -> Fault:
        """There was nothing to do it to."""
        self.show(nothing=why)
        return self.over(False)


async def until(look: Callable[[], Any], within: float) -> Any:
    """What ``look`` sees once it is true, or what it saw last."""
    ends = time.monotonic() + within
    while True:
        seen = look()
        found = await seen if isinstance(seen, Awaitable) else seen
        if found or time.monotonic() >= ends:
            return found
        await asyncio.sleep(0.05)
