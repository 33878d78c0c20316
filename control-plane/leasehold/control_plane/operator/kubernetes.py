"""Tokens of Kubernetes, by TokenReview: the API server says whose a token is, our configuration what they may do.

An answer is remembered for ``REMEMBERED_SECONDS`` under the token's digest; a token taken back counts until then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

from grpclib.const import Status

from leasehold.control_plane.kubernetes.api_server import ApiError
from leasehold.control_plane.operator.access import Caller, Role
from leasehold.control_plane.operator.problem import Problem
from leasehold.protocol.ports import Clock

REMEMBERED_SECONDS = 60.0
MOST_REMEMBERED = 1024
PATH = "/apis/authentication.k8s.io/v1/tokenreviews"


class Creates(Protocol):
    """The API server, as far as needed here."""

    async def create(self, path: str, thing: Mapping[str, Any]) -> dict[str, Any]:
        """Raises ``ApiError``; has a deadline of its own."""
        ...


class KubernetesTokens:
    """``roles``: by user name, or ``group:<name>``. Of several the highest counts."""

    def __init__(self, api: Creates, clock: Clock, roles: Mapping[str, Role], audiences: tuple[str, ...] = ()) -> None:
        self._api, self._clock, self._roles, self._audiences = api, clock, roles, audiences
        self._remembered: dict[bytes, tuple[float, Caller | None]] = {}

    async def review(self, token: str) -> Caller | None:
        """``None``: it is no good, or its bearer has no role. Raises ``Problem`` when nobody can tell."""
        digest, now = hashlib.sha256(token.encode()).digest(), self._clock.now()
        until, known = self._remembered.get(digest, (0.0, None))
        if now < until:
            return known
        spec = {"token": token, **({"audiences": list(self._audiences)} if self._audiences else {})}
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        try:
            answer = await self._api.create(PATH, asked)
        except ApiError as error:
            raise Problem(Status.UNAVAILABLE, "Kubernetes cannot be asked about the token now; try again") from error
        found = self._caller(answer.get("status") or {})
        self._remembered.pop(digest, None)
        self._remembered[digest] = (now + REMEMBERED_SECONDS, found)
        if len(self._remembered) > MOST_REMEMBERED:
            self._remembered.pop(next(iter(self._remembered)))
        return found

    def _caller(self, status: Mapping[str, Any]) -> Caller | None:
        if status.get("authenticated") is not True:
            return None
        if self._audiences and not set(self._audiences) & set(status.get("audiences") or ()):
            return None  # an API server that does not know of audiences has judged another question
        user = status.get("user") or {}
        names = [str(user.get("username", "")), *(f"group:{one}" for one in user.get("groups") or ())]
        roles = [self._roles[name] for name in names if name in self._roles]
        return Caller(names[0], max(roles), "kubernetes") if roles and names[0] else None
