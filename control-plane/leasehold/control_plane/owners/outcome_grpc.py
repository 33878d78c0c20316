"""What the gRPC status of an owner's answer means for a sweep, as a table. Pure.

The same verdicts as in ``outcome``. Two rows differ from the HTTP status they are often translated to:

- ``UNAVAILABLE`` is said by clients and proxies, too, when a connection broke under a request that had left. So it
  means "unknown", not "wait"; where it tells how long to wait, that counts.
- ``RESOURCE_EXHAUSTED`` means "wait", but it is also what a message that is too large gets; the budget of attempts ends
  that.

``ALREADY_EXISTS`` and ``OUT_OF_RANGE`` say something about this one resource: no reason to stop calling the owner.
"""

from __future__ import annotations

from grpclib.const import Status

from leasehold.control_plane.owners.outcome import LONGEST_WAIT_SECONDS, Verdict
from leasehold.protocol.protobuf import Unreadable, read_fields, read_numbered

_VERDICTS = {
    Status.NOT_FOUND: Verdict.ABSENT,
    Status.FAILED_PRECONDITION: Verdict.REFUSED,
    Status.ABORTED: Verdict.REFUSED,
    Status.ALREADY_EXISTS: Verdict.REFUSED,
    Status.OUT_OF_RANGE: Verdict.REFUSED,
    Status.INVALID_ARGUMENT: Verdict.MISCONFIGURED,
    Status.UNAUTHENTICATED: Verdict.MISCONFIGURED,
    Status.PERMISSION_DENIED: Verdict.MISCONFIGURED,
    Status.UNIMPLEMENTED: Verdict.MISCONFIGURED,
    Status.RESOURCE_EXHAUSTED: Verdict.WAIT,
}
"""Whatever is missing here may or may not have happened: UNKNOWN, CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE, INTERNAL,
DATA_LOSS."""


def of_delete(status: Status, *, promises: bool = False) -> Verdict:
    """What the answer to a delete means. ``promises``: OK only says that the work has begun."""
    if status is Status.OK:
        return Verdict.PENDING if promises else Verdict.GONE
    return _VERDICTS.get(status, Verdict.UNKNOWN)


def of_read(status: Status) -> Verdict | None:
    """What the answer to a read means; ``None``: it is there."""
    if status is Status.OK:
        return None
    verdict = _VERDICTS.get(status, Verdict.UNKNOWN)
    # A read refuses nothing: an odd answer to it says nothing about the resource.
    return Verdict.UNKNOWN if verdict is Verdict.REFUSED else verdict


SHORTEST_WAIT_SECONDS = 1.0
"""Clients are told milliseconds, for calls that somebody waits for. Nobody waits here, and each attempt counts."""


def wait_seconds(pushback: str | None, details: bytes | None) -> float | None:
    """How long to wait, as told by ``grpc-retry-pushback-ms`` or by a ``google.rpc.RetryInfo`` in the status details.
    ``None``: not told, not to be understood, or "do not retry by yourself", which we do not anyway."""
    if pushback is not None and pushback.isascii() and pushback.isdecimal():
        told: float | None = int(pushback[:12]) / 1000
    else:
        try:
            told = _retry_info(details or b"")
        except Unreadable:
            told = None
    return None if told is None else min(max(told, SHORTEST_WAIT_SECONDS), LONGEST_WAIT_SECONDS)


def _retry_info(details: bytes) -> float | None:
    for number, detail in read_fields(details):
        if number != 3 or not isinstance(detail, bytes):
            continue
        kind, info = read_numbered(detail, (1,)), read_numbered(detail, (2,))
        if not isinstance(kind, bytes) or not kind.endswith(b"/google.rpc.RetryInfo") or not isinstance(info, bytes):
            continue
        seconds, nanos = read_numbered(info, (1, 1)), read_numbered(info, (1, 2))
        whole = seconds if isinstance(seconds, int) else 0
        rest = nanos if isinstance(nanos, int) else 0
        if max(whole, rest) < 1 << 62:  # read as unsigned: a negative time is huge
            return whole + rest / 1e9
    return None
