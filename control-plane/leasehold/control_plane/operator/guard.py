"""Stands before every method, whichever way it is called: who asks, may they, and what is told when it fails."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import structlog
from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from leasehold.control_plane.operator.access import Access, Credentials, Role, caller
from leasehold.control_plane.operator.problem import Problem, problem_of

SERVICE = "/leasehold.v1.Operator/"
READS = frozenset((
    "WhoAmI", "Overview", "ListResources", "GetResource", "Why", "Graph", "ListHolders", "ListOwners", "ListSweeps",
    "ListTombstones", "ShadowReport", "ListAudit", "BrakeStatus", "GetRules", "CheckRules", "Watch",
))  # fmt: skip
"""What only reads."""
_NEEDED = {
    **dict.fromkeys(READS, Role.VIEWER),
    **dict.fromkeys(("Pin", "Unpin", "Restore", "Release", "SweepNow", "TripBrake"), Role.OPERATOR),
}
"""All else is the admin's: what is forgotten here is not open to everybody."""
log = structlog.get_logger()


class Served(Protocol):
    """A service as its generated base makes it."""

    def __mapping__(self) -> Mapping[str, Handler]: ...


class Guard:
    """A service like the one it guards."""

    def __init__(self, service: Served, access: Access, tenant: str) -> None:
        self._access, self._tenant = access, tenant
        self._handlers = {path: self._guarded(path, handler) for path, handler in service.__mapping__().items()}

    def __mapping__(self) -> Mapping[str, Handler]:
        return self._handlers

    def _guarded(self, path: str, handler: Handler) -> Handler:
        method = path.removeprefix(SERVICE)
        needed = _NEEDED.get(method, Role.ADMIN)

        async def serve(stream: Any) -> None:
            try:
                await self._admit(stream, method, needed)
                await handler.func(_Reading(stream))
            except (GRPCError, StreamTerminatedError):
                raise
            except Exception as error:
                found = problem_of(error)
                if found is None:
                    log.exception("operator_call_failed", method=method)
                    raise GRPCError(Status.INTERNAL, "a mistake of the control plane's; its log says more") from error
                raise GRPCError(found.status, found.message, list(found.details) or None) from error

        guarded: Callable[[Any], Awaitable[None]] = serve
        return Handler(guarded, handler.cardinality, handler.request_type, handler.reply_type)

    async def _admit(self, stream: Any, method: str, needed: Role) -> None:
        known = await self._access.identify(credentials_of(stream))
        caller.set(known)
        meant = (stream.metadata or {}).get("leasehold-tenant")
        if meant is not None and meant != self._tenant:
            raise Problem(Status.NOT_FOUND, f"tenant {meant} is not served here; this is {self._tenant}")
        if known.role < needed:
            log.warning("operator_call_refused", method=method, who=known.who, role=known.role.word)
            raise Problem(
                Status.PERMISSION_DENIED, f"{method} needs the role {needed.word}; {known.who} is {known.role.word}"
            )


class _Reading:
    """A stream whose request is one, or is refused."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.send_message = stream.send_message

    async def recv_message(self) -> Any:
        """Raises ``Problem``, and whatever the transport does."""
        try:
            message = await self._stream.recv_message()
        except (ValueError, EOFError, LookupError, TypeError, struct.error) as error:
            raise Problem(Status.INVALID_ARGUMENT, f"the request is no message of this method: {error}") from error
        if message is None:
            raise Problem(Status.INVALID_ARGUMENT, "expected a request")
        return message


def credentials_of(stream: Any) -> Credentials:
    """What came along, by gRPC or the bridge."""
    scheme, _, token = str((stream.metadata or {}).get("authorization", "")).partition(" ")
    address, certificate = stream.peer.addr(), stream.peer.cert()
    return Credentials(
        peer=str(address[0]) if address else "",
        bearer=token.strip() if scheme.lower() == "bearer" and token.strip() else None,
        subject=_common_name(certificate) if certificate else None,
    )


def _common_name(certificate: Mapping[str, Any]) -> str | None:
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    return names[0] if len(names) == 1 else None
