"""What is said about use, as a table; and that nothing is "not in use" by absence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.control_plane.owners.outcome import Verdict
from leasehold.control_plane.owners.outcome_verify import of_verify
from leasehold.protocol.rules import VerifyCall

BY_STATUS = VerifyCall("/{id}", in_use=(200, 409), not_in_use=(204, 404))
BY_BODY = VerifyCall("/{id}", json="refs > `0`")
BOTH = VerifyCall("/{id}", json="refs > `0`", not_in_use=(404,))


@pytest.mark.parametrize(
    ("call", "status", "body", "verdict"),
    [
        (BY_STATUS, 200, b"", Verdict.IN_USE),
        (BY_STATUS, 409, b"", Verdict.IN_USE),
        (BY_STATUS, 204, b"", Verdict.NOT_IN_USE),
        (BY_STATUS, 404, b"", Verdict.NOT_IN_USE),
        (BY_STATUS, 410, b"", Verdict.UNKNOWN),
        (BY_STATUS, 201, b"", Verdict.UNKNOWN),
        (BY_STATUS, 401, b"", Verdict.MISCONFIGURED),
        (BY_STATUS, 302, b"", Verdict.MISCONFIGURED),
        (BY_STATUS, 429, b"", Verdict.WAIT),
        (BY_STATUS, 500, b"", Verdict.UNKNOWN),
        (BY_BODY, 200, b'{"refs": 3}', Verdict.IN_USE),
        (BY_BODY, 200, b'{"refs": 0}', Verdict.NOT_IN_USE),
        (BY_BODY, 200, b"{}", Verdict.UNKNOWN),
        (BY_BODY, 200, b"", Verdict.UNKNOWN),
        (BY_BODY, 200, b"[" * 100_000, Verdict.UNKNOWN),
        (BY_BODY, 404, b'{"refs": 0}', Verdict.UNKNOWN),
        (BY_BODY, 500, b'{"refs": 0}', Verdict.UNKNOWN),
        (VerifyCall("/{id}", json="length(refs)"), 200, b'{"refs": []}', Verdict.UNKNOWN),
        (VerifyCall("/{id}", json="length(refs)"), 200, b'{"refs": 1}', Verdict.UNKNOWN),
        (BOTH, 404, b'{"refs": 3}', Verdict.NOT_IN_USE),
        (BOTH, 200, b'{"refs": 3}', Verdict.IN_USE),
    ],
)
def test_the_table(call: VerifyCall, status: int, body: bytes, verdict: Verdict) -> None:
    assert of_verify(call, status, body) is verdict


@given(st.integers(100, 999), st.binary(max_size=50), st.sampled_from([BY_STATUS, BY_BODY, BOTH]))
def test_nothing_is_free_but_by_an_answer_that_the_document_names(status: int, body: bytes, call: VerifyCall) -> None:
    if of_verify(call, status, body) is Verdict.NOT_IN_USE:
        assert status in call.not_in_use or (200 <= status < 300 and call.json is not None and b"refs" in body)
