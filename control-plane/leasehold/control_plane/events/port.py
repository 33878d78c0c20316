"""Where events go: one small port, and how a delivery may fail."""

from __future__ import annotations

from typing import Protocol

from leasehold.control_plane.events.cloudevents import CloudEvent
from leasehold.protocol.errors import LeaseholdError


class Undelivered(LeaseholdError):
    """Nobody confirmed this event: it is sent again. ``reason`` is a metric label."""

    def __init__(self, reason: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.retry_after = reason, retry_after


class Refused(LeaseholdError):
    """The receiver says that this very event is wrong, and always will be: it is counted, told, and passed over."""


class Sink(Protocol):
    """One receiver. Calls for events of one resource come one after another, others beside them."""

    name: str
    """Names it in etcd, in metrics and in logs."""

    async def deliver(self, event: CloudEvent) -> None:
        """Return once it is confirmed. Bounded in time; safe to repeat, for consumers know duplicates by their id.

        Raises ``Undelivered`` and ``Refused``.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
