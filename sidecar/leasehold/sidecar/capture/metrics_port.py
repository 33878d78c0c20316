"""What the relay counts. ``sidecar/metrics.py`` implements it; labels are rule names and bounded reasons, never ids."""

from __future__ import annotations

from typing import Literal, Protocol

Direction = Literal["request", "response"]


class ConnectionMetrics(Protocol):
    """One call per connection or per failure."""

    def connection_opened(self) -> None: ...

    def connection_closed(self) -> None: ...

    def connection_refused(self, reason: str) -> None:
        """Accepted and reset: ``limit``, ``loop`` or ``not-redirected``."""
        ...

    def connect_failed(self, reason: str) -> None:
        """The owner could not be reached: ``refused``, ``deadline``, ``unreachable`` or ``tls``."""
        ...

    def gave_up(self, reason: str) -> None:
        """This was HTTP, but the observer could not follow; the connection is a plain relay now.

        ``reason`` is one of ``observe.reasons.GAVE_UP`` or ``crashed`` (a bug of ours).
        """
        ...

    def uninspected(self, reason: str) -> None:
        """Relayed blind on purpose: ``tls``, ``not-http``, ``server-first``, ``upgrade``, ``connect``; and ``http2``
        spoken to a forward proxy, to which it names no owner."""
        ...


class CallMetrics(Protocol):
    """One call per matched call; ``rule`` is the rule's name."""

    def matched(self, rule: str) -> None: ...

    def unusable(self, rule: str, reason: str) -> None:
        """``reason`` as in ``observe.events.Unusable``."""
        ...

    def held(self, direction: Direction, seconds: float) -> None:
        """Bytes of a matched call were kept back so long; called once, when they go on."""
        ...

    def deadline_passed(self, rule: str) -> None:
        """The hold's deadline came before the durable write: ``on_unavailable`` decided."""
        ...

    def released_early(self, direction: Direction) -> None:
        """Let go before its time, because all that is held together had become too much."""
        ...

    def rejected(self, rule: str) -> None: ...

    def idempotency_key(self, rule: str, outcome: str) -> None:
        """A request whose rule wants one; ``outcome`` as in ``observe.idempotency.Key``."""
        ...


class RelayMetrics(ConnectionMetrics, CallMetrics, Protocol):
    """All that the relay counts."""
