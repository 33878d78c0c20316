"""What the relay counts. ``sidecar/metrics.py`` implements it; labels are rule names and bounded reasons, never ids."""

from __future__ import annotations

from typing import Literal, Protocol

Direction = Literal["request", "response"]


class ConnectionMetrics(Protocol):
    """One call per connection or per failure."""

    def connection_opened(self) -> None: ...

    def connection_closed(self) -> None: ...

    def connect_failed(self, reason: str) -> None:
        """The owner could not be reached: ``refused``, ``deadline`` or ``unreachable``."""
        ...

    def gave_up(self, reason: str) -> None:
        """This was HTTP/1, but the observer could not follow; the connection is a plain relay now.

        ``reason`` is one of ``observe.reasons.GAVE_UP`` or ``crashed`` (a bug of ours).
        """
        ...

    def uninspected(self, reason: str) -> None:
        """Relayed blind on purpose: ``tls``, ``http2``, ``not-http``, ``server-first``, ``upgrade``, ``connect``."""
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

    def rejected(self, rule: str) -> None: ...


class RelayMetrics(ConnectionMetrics, CallMetrics, Protocol):
    """All that the relay counts."""
