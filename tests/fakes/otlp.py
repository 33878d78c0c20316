"""A receiver of OTLP over HTTP: reads what it is sent by OpenTelemetry's own messages, and keeps the spans."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collected:
    """One span, with the name of the service that told it."""

    service: str
    span: Span

    @property
    def name(self) -> str:
        return self.span.name

    @property
    def trace_id(self) -> str:
        return self.span.trace_id.hex()

    @property
    def span_id(self) -> str:
        return self.span.span_id.hex()

    @property
    def parent(self) -> str:
        return self.span.parent_span_id.hex()

    @property
    def links(self) -> list[str]:
        return [link.span_id.hex() for link in self.span.links]

    @property
    def attributes(self) -> dict[str, object]:
        found = {one.key: one.value for one in self.span.attributes}
        return {name: getattr(value, value.WhichOneof("value") or "string_value") for name, value in found.items()}


@dataclass
class Collector:
    """``down``: it answers 503."""

    spans: list[Collected] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    down: bool = False
    url: str = ""
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.post("/v1/traces", self._take)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def of(self, trace_id: str) -> dict[str, Collected]:
        """The spans of one trace by name; of equals the last."""
        return {one.name: one for one in self.spans if one.trace_id == trace_id}

    async def _take(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        body = await request.read()
        if self.down:
            return web.Response(status=503)
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        for process in ExportTraceServiceRequest.FromString(body).resource_spans:
            said = {one.key: one.value.string_value for one in process.resource.attributes}
            for scope in process.scope_spans:
                self.spans += [Collected(said.get("service.name", ""), span) for span in scope.spans]
        return web.Response(body=b"", content_type="application/x-protobuf")
