"""What every way in has in common: an address, a start, a close, and the settings of the relay behind it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from leasehold.protocol.names import CallId
from leasehold.sidecar.capture.metrics_port import RelayMetrics
from leasehold.sidecar.observe.matching import RulesView
from leasehold.sidecar.ports import Registrar


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or connect to. Port 0 to listen on any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, default_port: int | None = None) -> Address:
        """``host:port`` or ``[::1]:port``. Raises ``ValueError``."""
        host, colon, port = text.rpartition(":")
        if not colon or port.endswith("]"):
            host, port = text, "" if default_port is None else str(default_port)
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise ValueError(f"expected host:port or [address]:port, got {text!r}")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


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


class Listener(Protocol):
    """A way in."""

    async def start(self) -> tuple[str, int]:
        """Bind and accept; the address really bound. Raises ``OSError`` when it cannot be had."""
        ...

    async def close(self) -> None:
        """Accept no more; let unfinished calls end within the drain deadline, then reset what is left."""
        ...
