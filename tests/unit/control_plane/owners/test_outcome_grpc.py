"""Every row of the table of gRPC statuses."""

from __future__ import annotations

import pytest
from grpclib.const import Status
from hypothesis import given
from hypothesis import strategies as st

from leasehold.control_plane.owners.outcome import Verdict
from leasehold.control_plane.owners.outcome_grpc import of_delete, of_read, wait_seconds

TABLE = {
    Verdict.GONE: {Status.OK},
    Verdict.ABSENT: {Status.NOT_FOUND},
    Verdict.REFUSED: {Status.FAILED_PRECONDITION, Status.ABORTED, Status.ALREADY_EXISTS, Status.OUT_OF_RANGE},
    Verdict.MISCONFIGURED: {
        Status.INVALID_ARGUMENT, Status.UNAUTHENTICATED, Status.PERMISSION_DENIED, Status.UNIMPLEMENTED,
    },
    Verdict.WAIT: {Status.RESOURCE_EXHAUSTED},
    Verdict.UNKNOWN: {
        Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.UNKNOWN, Status.INTERNAL, Status.CANCELLED,
        Status.DATA_LOSS,
    },
}  # fmt: skip


def test_the_table_speaks_of_every_status_once() -> None:
    listed = [status for some in TABLE.values() for status in some]
    assert len(listed) == len(set(listed)) == len(Status)


@pytest.mark.parametrize("status", list(Status))
def test_what_a_status_means(status: Status) -> None:
    [verdict] = [verdict for verdict, some in TABLE.items() if status in some]
    assert of_delete(status) is verdict
    promised = Verdict.PENDING if status is Status.OK else verdict
    assert of_delete(status, promises=True) is promised
    read = {Verdict.GONE: None, Verdict.REFUSED: Verdict.UNKNOWN}.get(verdict, verdict)
    assert of_read(status) is read, "a read refuses nothing"


def retry_info(seconds: bytes, kind: bytes = b"type.googleapis.com/google.rpc.RetryInfo") -> bytes:
    """``Status {details {RetryInfo {retry_delay {...}}}}``, behind a detail of another kind."""
    info = b"\x0a" + bytes([len(seconds)]) + seconds
    detail = b"\x0a" + bytes([len(kind)]) + kind + b"\x12" + bytes([len(info)]) + info
    return b"\x08\x08\x1a\x03\x0a\x01x\x1a" + bytes([len(detail)]) + detail + b"\x1a\x03\x0a\x01y"


def test_how_long_to_wait_is_told_in_milliseconds_or_as_retry_info() -> None:
    assert wait_seconds("2500", None) == 2.5
    assert wait_seconds("1000000000000000000000", None) == 3600
    assert wait_seconds(None, retry_info(b"\x08\x1e\x10\x80\xca\xb5\xee\x01")) == 30.5
    assert wait_seconds("1500", retry_info(b"\x08\x1e")) == 1.5, "the server's own field comes first"


def test_told_to_come_back_at_once_we_take_our_time() -> None:
    assert wait_seconds("0", None) == wait_seconds("10", None) == wait_seconds(None, retry_info(b"")) == 1


def test_what_is_not_told_is_not_made_up() -> None:
    minus = b"\x08" + b"\xff" * 9 + b"\x01"
    for pushback in (None, "-1", "soon", "", "1.5", "٣"):
        for details in (None, b"", b"\xff", b"\x08\x08", retry_info(b"\x08\x1e", b"other"), retry_info(minus)):
            assert wait_seconds(pushback, details) is None


@given(st.text(max_size=30), st.binary(max_size=60))
def test_nothing_an_owner_says_breaks_it(pushback: str, details: bytes) -> None:
    told = wait_seconds(pushback, details)
    assert told is None or 1 <= told <= 3600
