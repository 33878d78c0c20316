"""One word in a record, and everybody derives the same trace and the same correlation id from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.protocol.correlation import (
    TraceContext,
    correlation_id,
    is_traceparent,
    life_of,
    parse_traceparent,
    span_of,
    usable_id,
)
from leasehold.protocol.names import OwnerName, Resource, ResourceId, TypeName

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{SPAN}-01"
hexadecimal = st.text("0123456789abcdef")


def blob(name: str = "x") -> Resource:
    return Resource(OwnerName("store"), TypeName("blob"), ResourceId(name))


def test_a_trace_context_reads_and_writes_as_the_specification_says() -> None:
    context = parse_traceparent(HEADER)
    assert context == TraceContext(TRACE, SPAN, 1)
    assert str(context) == HEADER


@pytest.mark.parametrize(
    "text",
    [
        "", "garbage", HEADER.upper(), HEADER[:-1], HEADER + "-more", f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01", f" {HEADER}", f"{HEADER}\n",
    ],
)  # fmt: skip
def test_what_the_specification_calls_invalid_is_no_trace_context(text: str) -> None:
    assert parse_traceparent(text) is None
    assert not is_traceparent(text)


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert parse_traceparent(f"01-{TRACE}-{SPAN}-03-more") == TraceContext(TRACE, SPAN, 1)
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-02") == TraceContext(TRACE, SPAN, 0)


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    context = parse_traceparent(text)
    assert context is None or parse_traceparent(str(context)) == context


@given(st.from_regex(r"(00|01|ff)-(0{32}|[0-9a-f]{32})-(0{16}|[0-9a-f]{16})-0[0-3](-x)?", fullmatch=True))
def test_the_hot_path_takes_for_a_trace_context_what_the_reader_takes(text: str) -> None:
    assert is_traceparent(text) is (parse_traceparent(text) is not None)


def test_the_correlation_id_is_the_trace_id_or_whatever_else_the_call_was_known_by() -> None:
    assert correlation_id(HEADER) == TRACE
    assert correlation_id("req-17") == "req-17"
    assert correlation_id("") == ""
    assert len(correlation_id("x" * 1000)) == 128


@pytest.mark.parametrize("text", ["", "two words", "line\nbreak", "ü", "x" * 129, "\x1b[2J"])
def test_a_request_id_that_could_harm_a_log_is_none(text: str) -> None:
    assert usable_id(text) == ""


def test_a_life_is_told_in_the_apps_trace_and_as_the_app_samples() -> None:
    for flags in (0, 1):
        life = life_of(f"00-{TRACE}-{SPAN}-0{flags}", blob(), "uid:1")
        assert (life.trace_id, life.flags) == (TRACE, flags)
        assert life.span_id != SPAN


def test_without_the_apps_each_life_has_a_trace_of_its_own_that_everybody_derives_alike() -> None:
    lives = [life_of("req-17", blob(name), incarnation) for name in "xy" for incarnation in ("uid:1", "uid:2")]
    assert len({life.trace_id for life in lives}) == 4
    assert life_of("req-17", blob(), "uid:1") == lives[0]
    assert all(parse_traceparent(str(life)) == life for life in lives)


@given(st.lists(st.text(), min_size=1), st.lists(st.text(), min_size=1))
def test_different_steps_have_different_spans(one: list[str], other: list[str]) -> None:
    parts = [[part.replace("\0", "") for part in step] for step in (one, other)]
    same = parts[0] == parts[1]
    assert (span_of(TRACE, *parts[0]) == span_of(TRACE, *parts[1])) is same
