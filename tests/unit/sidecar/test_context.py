"""What is kept of a request head beside its target: where it belongs, and not a word more."""

from __future__ import annotations

import pytest

from leasehold.sidecar.observe.context import context_of

HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def of(**headers: str) -> str:
    said = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    return context_of(said.get)


def test_the_trace_context_comes_before_request_ids() -> None:
    assert of(traceparent=HEADER, x_request_id="r", x_correlation_id="c") == HEADER
    assert of(x_request_id="r", x_correlation_id="c") == "r"
    assert of(x_correlation_id="c") == "c"
    assert of() == ""


@pytest.mark.parametrize("bad", ["", "nonsense", HEADER.replace("00-0", "zz-0"), HEADER * 9])
def test_a_broken_trace_context_is_as_none(bad: str) -> None:
    assert of(traceparent=bad, x_request_id="r") == "r"
    assert of(traceparent=bad) == ""


def test_a_request_id_that_is_no_word_is_none() -> None:
    assert of(x_request_id="a\x1b[2J b", x_correlation_id="c") == "c"
    assert of(x_request_id="x" * 200) == ""


def test_nothing_else_is_looked_at() -> None:
    asked: list[bytes] = []
    context_of(lambda name: asked.append(name) or None)
    assert asked == [b"traceparent", b"x-request-id", b"x-correlation-id"]
