"""What ``unary``, grpclib, h2, ssl and sockets raise, into one class of ``errors`` each. Pure; for ``channel`` alone.

The law: ``Unavailable`` is said only when the call *surely* did nothing. Once a request that changes something may
have left this process, a lost connection, a deadline or a change of leader leaves it ``Uncertain``; only a refusal
that etcd makes before it proposes the request to the cluster is certain again.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError
from grpclib import GRPCError, Status
from grpclib.exceptions import ProtocolError, StreamTerminatedError
from h2.exceptions import H2Error

from leasehold.protocol.errors import (
    AccessDenied,
    Compacted,
    LeaseExists,
    LeaseNotFound,
    NoSpace,
    Rejected,
    StoreError,
    Unavailable,
    Uncertain,
)
from leasehold.protocol.etcd.unary_call import Broken, Refused

TROUBLE = (
    Refused,
    Broken,
    GRPCError,
    StreamTerminatedError,
    ProtocolError,
    H2Error,
    DecodeError,
    OSError,  # sockets, name resolution, ssl, and TimeoutError
    AssertionError,  # grpclib: the connection ended in the middle of a message
    NotImplementedError,  # grpclib: a compressed message, a frame it does not know
)
"""Everything a call or a stream can raise when it is not our bug."""

_STATUSES = {status.value: status for status in Status}


class StaleToken(AccessDenied):
    """etcd does not know our token (any more): authenticate anew and try once again."""


class AuthenticationOff(AccessDenied):
    """We have a user, but etcd asks for none: go on without a token."""


# etcd's own words come first: it uses one gRPC status for quite different things.
_BY_MESSAGE: tuple[tuple[str, type[StoreError]], ...] = (
    ("required revision has been compacted", Compacted),
    ("requested lease not found", LeaseNotFound),
    ("lease already exists", LeaseExists),
    ("database space exceeded", NoSpace),
    ("invalid auth token", StaleToken),
    ("revision of auth store is old", StaleToken),
    ("authentication is not enabled", AuthenticationOff),
    ("user name is empty", StaleToken),  # we sent none; authentication may have been switched on meanwhile
    ("authentication failed", AccessDenied),
    ("permission denied", AccessDenied),
    ("too many requests", Unavailable),
    ("no leader", Unavailable),  # checked before the request is looked at
    ("not capable", Unavailable),
    ("rpc not supported for learner", Unavailable),
    ("corrupt cluster", Unavailable),
)

_BY_STATUS: dict[Status, type[StoreError]] = {
    Status.INVALID_ARGUMENT: Rejected,
    Status.OUT_OF_RANGE: Rejected,
    Status.FAILED_PRECONDITION: Rejected,
    Status.NOT_FOUND: Rejected,
    Status.ALREADY_EXISTS: Rejected,
    Status.UNIMPLEMENTED: Rejected,
    Status.RESOURCE_EXHAUSTED: Rejected,  # larger than the server's message limit; quota is matched by message
    Status.UNAUTHENTICATED: StaleToken,
    Status.PERMISSION_DENIED: AccessDenied,
}


def translate(error: BaseException, *, call: str, endpoint: str, sent: bool) -> StoreError:
    """The one class for ``error``. ``sent``: a request that changes something may have left this process."""
    kind, said = _judge(error)
    if kind is None:
        kind = Uncertain if sent else Unavailable
    text = f"{call} at {endpoint}: {said}"
    return Compacted(text, 0) if kind is Compacted else kind(text)


def refusal(reason: str, *, call: str, endpoint: str) -> StoreError:
    """For a reason that came inside a message (a cancelled watch) and not as a status."""
    kind = _kind_of_message(reason) or Unavailable
    text = f"{call} at {endpoint}: {reason or 'cancelled without a reason'}"
    return Compacted(text, 0) if kind is Compacted else kind(text)


def _judge(error: BaseException) -> tuple[type[StoreError] | None, str]:
    if isinstance(error, Refused):
        return _judge(GRPCError(_STATUSES.get(error.code, Status.UNKNOWN), error.message))
    if isinstance(error, GRPCError):
        said = error.message or error.status.name
        return _kind_of_message(said) or _BY_STATUS.get(error.status), said
    if isinstance(error, TimeoutError):
        return None, "no answer before the deadline"
    return None, str(error) or type(error).__name__


def _kind_of_message(text: str) -> type[StoreError] | None:
    return next((kind for words, kind in _BY_MESSAGE if words in text), None)
