"""``Tracing`` by OpenTelemetry: its batching processor, its OTLP exporter over HTTP, in a thread of their own.

Loaded only where an endpoint is configured; the only file that imports OpenTelemetry. Spans are handed over finished:
neither its tracer nor its context is needed, and they would be most of the cost.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from time import monotonic

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from leasehold.protocol.correlation import TraceContext
from leasehold.shell.tracing import Span, TracingConfig

EXPORT_EVERY_SECONDS = 1.0
BATCH = 512
CLOSE_SECONDS = 1.0
QUIET_SECONDS = 60.0
"""One line about trouble in this time: an exporter in trouble has one for every batch."""
_OK = Status(StatusCode.UNSET)
log = structlog.get_logger()


class OtlpTracing:
    """One process's. Its queue is bounded; when it is full the oldest go."""

    def __init__(self, config: TracingConfig, headers: Mapping[str, str], about: Mapping[str, str]) -> None:
        _listen()
        exporter = OTLPSpanExporter(
            endpoint=config.url,
            headers=dict(headers),
            timeout=config.timeout_seconds,
            certificate_file=str(config.ca) if config.ca is not None else None,
        )
        self._processor = BatchSpanProcessor(
            exporter,
            max_queue_size=config.queue,
            schedule_delay_millis=EXPORT_EVERY_SECONDS * 1000,
            max_export_batch_size=min(BATCH, config.queue),
        )
        self._resource = Resource(dict(about))
        self._scope = InstrumentationScope("leasehold")

    def tell(self, span: Span) -> None:
        if not span.context.flags:
            return
        try:
            self._processor.on_end(self._readable(span))
        except Exception:
            # A supervisor: whoever did the work that is told of must not suffer for the telling.
            log.exception("span_not_told", span=span.name)

    def close(self) -> None:
        # In a thread that nobody waits for: what its exporter still waits for must not hold up a stop.
        closing = threading.Thread(target=self._processor.shutdown, name="otel closing", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)

    def _readable(self, span: Span) -> ReadableSpan:
        return ReadableSpan(
            name=span.name,
            context=_context(span.context, remote=False),
            parent=_context(span.parent, remote=True) if span.parent is not None else None,
            resource=self._resource,
            attributes=span.attributes,
            links=[Link(_context(one, remote=True)) for one in span.links],
            kind=SpanKind.CLIENT if span.call else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, span.error) if span.error else _OK,
            start_time=span.began_ns,
            end_time=span.ended_ns,
            instrumentation_scope=self._scope,
        )


def _context(context: TraceContext, *, remote: bool) -> SpanContext:
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), remote, TraceFlags(context.flags))


class _Told(logging.Handler):
    """What OpenTelemetry has to say, as an event of ours: now and then, and never with what it quotes."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said_at = float("-inf")

    def emit(self, record: logging.LogRecord) -> None:
        if monotonic() - self._said_at >= QUIET_SECONDS:
            self._said_at = monotonic()
            log.warning("traces_in_trouble", reason=str(record.msg)[:200])


def _listen() -> None:
    library = logging.getLogger("opentelemetry")
    if not any(isinstance(handler, _Told) for handler in library.handlers):
        library.addHandler(_Told())
        library.propagate = False
