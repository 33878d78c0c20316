"""The first instant of a connection: it becomes a link, or it is reset and counted.

Accepted and then reset, instead of left in the backlog: an app in front of a full backlog hangs, and nobody can tell
why. A reset is what a refusing owner would have looked like.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from typing import Final, Literal, cast

import structlog

from leasehold.sidecar.capture.budget import Budget
from leasehold.sidecar.capture.metrics_port import ConnectionMetrics
from leasehold.sidecar.capture.relay import Link

QUIET: Final = 10.0
"""Seconds between two log lines about the same reason."""
NO_LINGER: Final = struct.pack("ii", 1, 0)
Reason = Literal["limit", "loop", "not-redirected"]

log = structlog.get_logger()


class Refused(Exception):
    """This connection is not to be relayed."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class Refusals:
    """Counts each, logs some."""

    def __init__(self, metrics: ConnectionMetrics, listen: str) -> None:
        self._metrics = metrics
        self._listen = listen
        self._since: dict[Reason, int] = {}
        self._quiet_until: dict[Reason, float] = {}

    def note(self, reason: Reason) -> None:
        self._metrics.connection_refused(reason)
        self._since[reason] = self._since.get(reason, 0) + 1
        now = time.monotonic()
        if now >= self._quiet_until.get(reason, 0.0):
            log.warning("connections_refused", listen=self._listen, reason=reason, count=self._since.pop(reason))
            self._quiet_until[reason] = now + QUIET


class Arrival(asyncio.Protocol):
    """Hands the transport to a link's app side, or resets it."""

    __slots__ = ("_budget", "_make_link", "_refusals")

    def __init__(self, budget: Budget, refusals: Refusals, make_link: Callable[[asyncio.Transport], Link]) -> None:
        self._budget = budget
        self._refusals = refusals
        self._make_link = make_link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        arrived = cast("asyncio.Transport", transport)
        try:
            if self._budget.full:
                raise Refused("limit")
            link = self._make_link(arrived)
        except Refused as refused:
            self._refusals.note(refused.reason)
            arrived.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            arrived.abort()
            return
        arrived.set_protocol(link.app)
        link.app.connection_made(arrived)
