"""How to reach etcd: the ``etcd:`` section of a configuration file, as typed values.

The files named here are read when they are needed and not before: certificates on each connection, the password on
each authentication. So a rotated secret is taken up without a restart.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import msgspec

_ENDPOINT = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]]+)(:([0-9]{1,5}))?/?")


def endpoint_nonsense(url: str) -> str | None:
    """What was expected instead; ``None``: nothing. A password that somebody wrote into it is not repeated."""
    found = _ENDPOINT.fullmatch(url)
    if found is not None and int(found[3] or 0) < 65536:
        return None
    if "@" in url:
        return "expected http(s)://host:port without a user: his name and the file with his password are told apart"
    return f"expected http(s)://host:port, got {url!r}"


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files in PEM. ``cert`` and ``key`` together mean mutual TLS; without ``ca`` the system's authorities count."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None

    def context(self) -> ssl.SSLContext:
        """A fresh context from the files as they are now. Raises ``OSError`` (``ssl.SSLError`` is one)."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        if self.cert is not None:
            context.load_cert_chain(self.cert, self.key)
        return context


class EtcdConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``endpoints`` are ``http://host:port`` or ``https://host:port``; the first that answers is used."""

    endpoints: list[str]
    tls: TlsConfig | None = None
    username: str | None = None
    password_file: str | None = None
    deadline_seconds: float = 5.0

    def password(self) -> str:
        """The password as the file has it now, without the line break at its end. Raises ``OSError``."""
        if self.password_file is None:
            return ""
        return Path(self.password_file).read_text(encoding="utf-8").rstrip("\r\n")
