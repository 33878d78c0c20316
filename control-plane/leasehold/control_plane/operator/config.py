"""The section ``operator`` of the configuration: where the API listens, and who may call it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from leasehold.control_plane.operator.access import ROLES, Role
from leasehold.control_plane.operator.tokens import BadTokens, parse_tokens
from leasehold.shell.faces import is_address, is_loopback


class TlsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files in PEM. ``client_ca``: whose certificates are asked for, and trusted."""

    cert: str
    key: str
    client_ca: str | None = None


class TokenReviewSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``roles``: by user name (``system:serviceaccount:<namespace>:<name>``) or ``group:<name>``."""

    roles: dict[str, str]
    audiences: tuple[str, ...] = ()


class OperatorSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``listen``: gRPC. ``http``: the same as JSON; without it, none is served. ``subjects``: by the common name of a
    client certificate. Beyond this machine both proof and TLS are needed (``plaintext: true``: somebody else does it).
    """

    listen: str
    http: str | None = None
    tls: TlsSection | None = None
    plaintext: bool = False
    tokens: str | None = None
    subjects: dict[str, str] = {}
    token_review: TokenReviewSection | None = None
    origins: tuple[str, ...] = ()

    def nonsense(self, folder: Path) -> Iterator[tuple[str, str]]:
        """What the types cannot say, as path and problem."""
        addresses = [("listen", self.listen), *([("http", self.http)] if self.http is not None else [])]
        for name, address in addresses:
            if not is_address(address):
                yield f"operator.{name}", f"expected host:port, got {address!r}"
        if not self.loopback:
            if not (self.tokens or self.subjects or self.token_review):
                yield "operator", "expected tokens, subjects or token_review, or to listen on 127.0.0.1 only"
            if self.tls is None and not self.plaintext:
                yield "operator.tls", "missing; expected it beyond 127.0.0.1, or plaintext: true if somebody else does"
        if self.subjects and (self.tls is None or self.tls.client_ca is None):
            yield "operator.subjects", "expected tls.client_ca beside it"
        yield from self._wrong_roles()
        yield from self._wrong_files(folder)

    def _wrong_roles(self) -> Iterator[tuple[str, str]]:
        reviewed = self.token_review.roles if self.token_review else {}
        for path, roles in (("operator.subjects", self.subjects), ("operator.token_review.roles", reviewed)):
            for name, role in roles.items():
                if role not in ROLES:
                    yield f"{path}.{name}", f"expected one of {', '.join(ROLES)}; got {role!r}"

    def _wrong_files(self, folder: Path) -> Iterator[tuple[str, str]]:
        tls = self.tls
        files = {"tls.cert": tls.cert, "tls.key": tls.key, "tls.client_ca": tls.client_ca} if tls else {}
        for name, file in {**files, "tokens": self.tokens}.items():
            if file is not None and not os.access(folder / file, os.R_OK):
                yield f"operator.{name}", f"cannot be read: {folder / file}"
            elif file is not None and name == "tokens":
                try:
                    parse_tokens((folder / file).read_text())
                except (BadTokens, UnicodeDecodeError) as error:
                    yield "operator.tokens", str(error)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can call."""
        return all(
            is_loopback(address.rpartition(":")[0].strip("[]")) for address in (self.listen, self.http or self.listen)
        )

    def completed(self, folder: Path) -> OperatorConfig:
        tls = self.tls
        return OperatorConfig(
            grpc=_parted(self.listen),
            http=_parted(self.http) if self.http is not None else None,
            cert=folder / tls.cert if tls else None,
            key=folder / tls.key if tls else None,
            client_ca=folder / tls.client_ca if tls and tls.client_ca else None,
            tokens=folder / self.tokens if self.tokens else None,
            subjects={name: ROLES[role] for name, role in self.subjects.items()},
            reviewed={name: ROLES[role] for name, role in self.token_review.roles.items()} if self.token_review else {},
            audiences=self.token_review.audiences if self.token_review else (),
            origins=frozenset(self.origins),
            loopback=self.loopback,
        )


@dataclass(frozen=True, slots=True)
class OperatorConfig:
    """What the operator API runs with."""

    grpc: tuple[str, int]
    http: tuple[str, int] | None = None
    cert: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    tokens: Path | None = None
    subjects: dict[str, Role] = field(default_factory=dict)
    reviewed: dict[str, Role] = field(default_factory=dict)
    audiences: tuple[str, ...] = ()
    origins: frozenset[str] = frozenset()
    loopback: bool = False


def _parted(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
