"""Traces cost nothing where nobody is told, and harm nobody where somebody is."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leasehold.protocol.correlation import TraceContext
from leasehold.shell.headers_file import HeadersFile
from leasehold.shell.otel import OtlpTracing
from leasehold.shell.tracing import Span, TracingConfig, TracingSection, open_tracing
from tests.e2e.harness import eventually
from tests.fakes.otlp import Collector

TRACE = "0af7651916cd43dd8448eb211c80319c"


def span(name: str = "step", flags: int = 1, number: int = 1) -> Span:
    return Span(
        name, TraceContext(TRACE, f"{number:016x}", flags), TraceContext(TRACE, "b" * 16), 10, 20, {"who": "me"},
        (TraceContext(TRACE, "c" * 16),), error="broken" if name == "failed" else "",
    )  # fmt: skip


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as it:
        yield it


def test_with_nobody_to_tell_nothing_of_opentelemetry_or_kafka_is_loaded() -> None:
    program = """
import sys
import leasehold.control_plane.app, leasehold.sidecar.app
from leasehold.shell.tracing import TracingSection, open_tracing
from pathlib import Path
assert open_tracing(TracingSection().completed(Path(".")), "x", {}) is None
loaded = [name for name in sys.modules if name.partition(".")[0] in {"opentelemetry", "aiokafka", "requests"}]
loaded += [name for name in sys.modules if name.startswith("leasehold.control_plane.events.")]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


async def test_a_span_arrives_with_its_ids_links_times_and_error(collector: Collector, tmp_path: Path) -> None:
    headers = tmp_path / "headers"
    headers.write_text("Authorization: Bearer sesame\n")
    config = TracingSection(collector.url, "headers").completed(tmp_path)
    tracing = open_tracing(config, "svc", {"leasehold.tenant": "acme"})
    assert tracing is not None
    tracing.tell(span())
    tracing.tell(span("failed", number=2))
    await eventually("both arrive", lambda: len(collector.spans) == 2)
    one, failed = collector.spans
    assert (one.service, one.name, one.trace_id, one.span_id, one.parent) == (
        "svc",
        "step",
        TRACE,
        f"{1:016x}",
        "b" * 16,
    )
    assert (one.links, one.attributes) == (["c" * 16], {"who": "me"})
    assert (one.span.start_time_unix_nano, one.span.end_time_unix_nano) == (10, 20)
    assert (failed.span.status.message, failed.span.status.code) == ("broken", 2)
    assert collector.headers[0]["Authorization"] == "Bearer sesame"
    tracing.close()


async def test_what_is_not_sampled_goes_nowhere(collector: Collector) -> None:
    tracing = OtlpTracing(TracingConfig(f"{collector.url}/v1/traces"), {}, {})
    tracing.tell(span("silent", flags=0))
    tracing.tell(span("told"))
    await eventually("it arrives", lambda: collector.spans)
    assert [one.name for one in collector.spans] == ["told"]
    tracing.close()


def test_telling_waits_for_nobody_keeps_no_more_than_its_queue_and_closes_in_time() -> None:
    # Nobody answers there: a port that is bound, and does not accept.
    import socket

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        tracing = OtlpTracing(TracingConfig(f"http://127.0.0.1:{deaf.getsockname()[1]}", queue=64), {}, {})
        for number in range(1, 5000):
            tracing.tell(span(number=number))
        assert len(tracing._processor._batch_processor._queue) <= 64
        began = time.monotonic()
        tracing.close()
        print(f"closed in {time.monotonic() - began:.2f} s")


def test_mistakes_are_listed_and_no_secret_is_quoted(tmp_path: Path) -> None:
    wrong = TracingSection("http://me:hunter2@host", "nowhere", queue=1)
    found = dict(wrong.nonsense(tmp_path))
    assert found.keys() == {"tracing.endpoint", "tracing.headers_file", "tracing.queue"}
    assert "hunter2" not in str(found)


def test_without_the_extra_the_configuration_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from leasehold.shell import tracing

    monkeypatch.setattr(tracing, "NEEDED", ("no_such_package.anywhere",))
    assert "leasehold[otel]" in dict(TracingSection("http://host:4318").nonsense(tmp_path))["tracing.endpoint"]


def test_an_endpoint_without_a_path_is_completed_and_one_with_a_path_is_left_alone(tmp_path: Path) -> None:
    for endpoint in ("http://host:4318", "http://host:4318/"):
        config = TracingSection(endpoint).completed(tmp_path)
        assert config is not None
        assert config.url == "http://host:4318/v1/traces"
    config = TracingSection("http://host/otlp/v1/traces").completed(tmp_path)
    assert config is not None
    assert config.url == "http://host/otlp/v1/traces"


@pytest.mark.parametrize("text", ["no colon", "Name:", "Na me: x", "Name: s\x00ecret", ": x"])
def test_a_headers_file_that_cannot_be_read_says_where_and_not_what(tmp_path: Path, text: str) -> None:
    file = tmp_path / "headers"
    file.write_text(f"\nX-Fine: yes\n{text}\n")
    with pytest.raises(ValueError) as caught:
        HeadersFile(file).read()
    assert str(caught.value) == f"{file}:3: expected 'Name: value' in visible ASCII"
