"""Proofs that are the same for every request: a bearer token in a file, user name and password, or none at all."""

from __future__ import annotations

from base64 import b64encode

from leasehold.control_plane.owners.credentials.port import Outgoing
from leasehold.control_plane.owners.credentials.secret_file import SecretFile
from leasehold.protocol.rules import Basic


class Nobody:
    """The owner asks for nothing."""

    async def prove(self, request: Outgoing) -> Outgoing:
        return request

    def turned_away(self, request: Outgoing) -> bool:  # noqa: ARG002 - the port
        return False

    async def close(self) -> None:
        pass


class BearerFile(Nobody):
    """A token that somebody else keeps fresh."""

    def __init__(self, path: str) -> None:
        self._token = SecretFile("bearer_token_file", path)

    async def prove(self, request: Outgoing) -> Outgoing:
        return request.with_headers({"Authorization": f"Bearer {self._token.read()}"})


class BasicPassword(Nobody):
    """User name and password (RFC 7617, in UTF-8)."""

    def __init__(self, basic: Basic) -> None:
        self._username = basic.username
        self._password = SecretFile("auth.basic.password_file", basic.password_file)

    async def prove(self, request: Outgoing) -> Outgoing:
        pair = f"{self._username}:{self._password.read()}".encode()
        return request.with_headers({"Authorization": f"Basic {b64encode(pair).decode()}"})
