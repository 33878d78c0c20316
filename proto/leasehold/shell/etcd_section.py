"""The ``etcd:`` section of a configuration file, the same for every process. Files are relative to that file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from leasehold.protocol.configuration import Seconds
from leasehold.protocol.etcd.config import EtcdConfig, TlsConfig, endpoint_nonsense


class EtcdSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where etcd is, and how long one call to it may take."""

    endpoints: tuple[str, ...] = ()
    tls: TlsConfig | None = None
    username: str | None = None
    password_file: str | None = None
    deadline: Seconds = Seconds(5.0)

    def nonsense(self, folder: Path) -> Iterator[tuple[str, str]]:
        """What the types cannot say: path and problem of each mistake."""
        if not self.endpoints:
            yield "etcd.endpoints", "expected at least one, e.g. http://127.0.0.1:2379"
        for n, endpoint in enumerate(self.endpoints):
            if (problem := endpoint_nonsense(endpoint)) is not None:
                yield f"etcd.endpoints[{n}]", problem
            elif self.tls is not None and endpoint.startswith("http:"):
                yield f"etcd.endpoints[{n}]", f"expected https beside etcd.tls, got {endpoint!r}"
        if self.deadline <= 0:
            yield "etcd.deadline", f"expected more than 0s, got {self.deadline}"
        if (self.username is None) != (self.password_file is None):
            yield "etcd", "expected username and password_file together"
        yield from _unreadable("etcd.password_file", self.password_file, folder)
        if self.tls is not None:
            yield from _tls_nonsense(self.tls, folder)

    def completed(self, folder: Path) -> EtcdConfig:
        """What the client needs, wherever we were started."""
        return EtcdConfig(
            list(self.endpoints),
            None if self.tls is None else _resolved_tls(self.tls, folder),
            self.username,
            _resolved(self.password_file, folder),
            float(self.deadline),
        )


def _tls_nonsense(tls: TlsConfig, folder: Path) -> Iterator[tuple[str, str]]:
    if (tls.cert is None) != (tls.key is None):
        yield "etcd.tls", "expected cert and key together"
    for field, file in (("ca", tls.ca), ("cert", tls.cert), ("key", tls.key)):
        yield from _unreadable(f"etcd.tls.{field}", file, folder)


def _unreadable(where: str, file: str | None, folder: Path) -> Iterator[tuple[str, str]]:
    if file is not None and not os.access(folder / file, os.R_OK):
        yield where, f"cannot be read: {folder / file}"


def _resolved_tls(tls: TlsConfig, folder: Path) -> TlsConfig:
    files = {name: _resolved(getattr(tls, name), folder) for name in ("ca", "cert", "key")}
    return msgspec.structs.replace(tls, **files)


def _resolved(file: str | None, folder: Path) -> str | None:
    return None if file is None else str(folder / file)
