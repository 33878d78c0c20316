"""Who asks, and whether they may: certificates, tokens, Kubernetes, or being on this very machine.

Laws: what proves nothing is refused; where any proof is configured, one is needed, from this machine, too; tokens are
compared by their digests, in constant time. A peer that failed too often is asked to wait before Kubernetes is asked
about it again; a static token that is right is let in even then, for others may stand behind the same address.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from grpclib.const import Status

from leasehold.control_plane.operator.problem import Problem
from leasehold.protocol.ports import Clock

FAILURES = 10
WINDOW_SECONDS = 60.0
MOST_PEERS = 1024


class Role(IntEnum):
    """Each may do what those before it may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        return self.name.lower()


ROLES: Mapping[str, Role] = {role.word: role for role in Role}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``known_by``: certificate, token, kubernetes or loopback."""

    who: str
    role: Role
    known_by: str
    peer: str = ""


caller: ContextVar[Caller] = ContextVar("caller")
"""Of the call that is being served."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of which only the digest is known. ``tenant`` ``*``: any."""

    who: str
    role: Role
    tenant: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Credentials:
    """What came along with a call. ``subject``: of a certificate that the listener has verified."""

    peer: str
    bearer: str | None = None
    subject: str | None = None


class TokenReviewer(Protocol):
    """Asks somebody else about a token."""

    async def review(self, token: str) -> Caller | None:
        """``None``: it is no good, or its bearer has no role. Raises ``Problem`` when nobody can tell."""
        ...


class Access:
    """Of one listener and one tenant."""

    def __init__(
        self,
        tenant: str,
        clock: Clock,
        *,
        tokens: Callable[[], Sequence[Token]] | None = None,
        subjects: Mapping[str, Role] | None = None,
        reviewer: TokenReviewer | None = None,
        loopback: bool = False,
    ) -> None:
        self._tenant, self._clock = tenant, clock
        self._tokens, self._subjects, self._reviewer = tokens, subjects or {}, reviewer
        self._failures: dict[str, tuple[float, int]] = {}
        self.open = loopback and not (tokens or subjects or reviewer)
        """Whether no proof is needed."""

    async def identify(self, found: Credentials) -> Caller:
        """Raises ``Problem``: UNAUTHENTICATED, RESOURCE_EXHAUSTED after too many failures, UNAVAILABLE."""
        if found.subject is not None and (role := self._subjects.get(found.subject)) is not None:
            return Caller(found.subject, role, "certificate", found.peer)
        if found.bearer is not None and (known := await self._of_token(found.bearer, found.peer)) is not None:
            return known
        if self.open:
            return Caller("local", Role.ADMIN, "loopback", found.peer)
        if found.bearer is not None:
            self._note_failure(found.peer)
        what = "the token is not known here" if found.bearer is not None else "expected a token or a client certificate"
        raise Problem(Status.UNAUTHENTICATED, what)

    async def _of_token(self, bearer: str, peer: str) -> Caller | None:
        digest = hashlib.sha256(bearer.encode()).digest()
        # All of them, so that how long it takes tells nothing.
        fitting = [one for one in (self._tokens() if self._tokens else ()) if hmac.compare_digest(one.digest, digest)]
        for one in fitting:
            if one.tenant in {self._tenant, "*"}:
                return Caller(one.who, one.role, "token", peer)
        if fitting:
            raise Problem(Status.PERMISSION_DENIED, f"{fitting[0].who} has no role in tenant {self._tenant}")
        if self._is_tiresome(peer):
            raise Problem(Status.RESOURCE_EXHAUSTED, "too many tokens that are not known here; try again in a minute")
        reviewed = await self._reviewer.review(bearer) if self._reviewer else None
        return Caller(reviewed.who, reviewed.role, reviewed.known_by, peer) if reviewed else None

    def _is_tiresome(self, peer: str) -> bool:
        since, count = self._failures.get(peer, (float("-inf"), 0))
        return count >= FAILURES and self._clock.now() < since + WINDOW_SECONDS

    def _note_failure(self, peer: str) -> None:
        now = self._clock.now()
        since, count = self._failures.pop(peer, (now, 0))
        self._failures[peer] = (since, count + 1) if now < since + WINDOW_SECONDS else (now, 1)
        if len(self._failures) > MOST_PEERS:
            self._failures.pop(next(iter(self._failures)))
