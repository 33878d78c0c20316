"""An address to listen on or to connect to."""

from __future__ import annotations

from dataclasses import dataclass


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
