"""What every way in has in common: an address, a start, a close, and the settings of the relay behind it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from leasehold.protocol.names import CallId
from leasehold.sidecar.capture.address import Address as Address
from leasehold.sidecar.capture.budget import Budget
from leasehold.sidecar.capture.dialler import Dialler
from leasehold.sidecar.capture.metrics_port import RelayMetrics
from leasehold.sidecar.capture.turn import Turn
from leasehold.sidecar.observe.matching import RulesView
from leasehold.sidecar.ports import Registrar


def new_call() -> CallId:
    """Unguessable: it is also the idempotency key we propose to owners."""
    return CallId(secrets.token_hex(16))


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """What every relayed connection needs. ``rules.matcher`` may be replaced at any time."""

    registrar: Registrar
    rules: RulesView
    metrics: RelayMetrics
    connect_deadline: float = 5.0
    """Seconds; an established stream has no timeout of its own."""
    drain_deadline: float = 5.0
    """Seconds that connections with unfinished calls get when their listener closes."""
    new_call: Callable[[], CallId] = new_call
    """Names a call that may match, when its request begins."""
    dialler: Dialler = field(default_factory=Dialler)
    """How this way in reaches its owners."""
    budget: Budget = field(default_factory=Budget)
    turn: Turn = field(default_factory=Turn)
    """These two are shared by all ways in."""


class Listener(Protocol):
    """A way in."""

    async def start(self) -> tuple[str, int]:
        """Bind and accept; the address really bound. Raises ``OSError`` when it cannot be had."""
        ...

    async def close(self) -> None:
        """Accept no more; let unfinished calls end within the drain deadline, then reset what is left."""
        ...
