"""Traces: what a finished step of a resource's life was, as a value, and where such values go.

- Spans are told when they are over, with ids that follow from what they were (``correlation.span_of``): nothing is kept
  open over days, and who continues a trace elsewhere need not be told of it.
- Telling never waits and never fails. What cannot be exported in time is dropped, oldest first, and logged.
- Without an endpoint there is nobody to tell (``None``), and nothing of OpenTelemetry is loaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import msgspec

from leasehold.protocol.configuration import Seconds
from leasehold.protocol.correlation import TraceContext
from leasehold.shell.headers_file import HeadersFile

NEEDED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
Attributes = Mapping[str, str | int | float | list[str]]


class Span(msgspec.Struct, frozen=True):
    """A step that is over. Nanoseconds since 1970, for people and collectors to read. ``links``: what it followed from,
    where that had long ended; ``call``: it was a call to somebody else; ``error`` empty: it went well."""

    name: str
    context: TraceContext
    parent: TraceContext | None
    began_ns: int
    ended_ns: int
    attributes: Attributes = {}
    links: tuple[TraceContext, ...] = ()
    call: bool = False
    error: str = ""


class Tracing(Protocol):
    """Whom spans are told."""

    def tell(self, span: Span) -> None:
        """Never waits, never raises. Spans of traces that are not sampled go nowhere."""
        ...

    def close(self) -> None:
        """Export what is left, for at most a second."""
        ...


class TracingSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ``tracing:`` section. ``endpoint``: an OTLP receiver over HTTP, e.g. ``http://127.0.0.1:4318``; without it no
    traces are told. ``headers_file``: a ``Name: value`` on each line. ``queue``: spans that may wait."""

    endpoint: str | None = None
    headers_file: str | None = None
    ca: str | None = None
    timeout: Seconds = Seconds(5.0)
    queue: int = 4096

    def nonsense(self, folder: Path) -> Iterator[tuple[str, str]]:
        """What the types cannot say, as path and problem."""
        if self.endpoint is not None:
            if not re.fullmatch(r"https?://[^/\s?#@]+(/[^\s?#]*)?", self.endpoint):
                yield "tracing.endpoint", "expected http(s)://host:port[/path], without user and password"
            if not all(map(_is_there, NEEDED)):
                yield "tracing.endpoint", "needs the extra otel: pip install 'leasehold[otel]'"
        for field, file in (("headers_file", self.headers_file), ("ca", self.ca)):
            if file is not None and not os.access(folder / file, os.R_OK):
                yield f"tracing.{field}", f"cannot be read: {folder / file}"
        if self.timeout <= 0:
            yield "tracing.timeout", f"expected more than 0s, got {self.timeout}"
        if not 64 <= self.queue <= 1_000_000:
            yield "tracing.queue", f"expected 64 to 1000000 spans, got {self.queue}"

    def completed(self, folder: Path) -> TracingConfig | None:
        """``None``: nobody is told."""
        if self.endpoint is None:
            return None
        plain = re.fullmatch(r"https?://[^/]+/?", self.endpoint)
        url = f"{self.endpoint.rstrip('/')}/v1/traces" if plain else self.endpoint
        headers, ca = (None if file is None else folder / file for file in (self.headers_file, self.ca))
        return TracingConfig(url, headers, ca, float(self.timeout), self.queue)


class TracingConfig(msgspec.Struct, frozen=True):
    """Complete, with paths that can be opened from anywhere."""

    url: str
    headers_file: Path | None = None
    ca: Path | None = None
    timeout_seconds: float = 5.0
    queue: int = 4096


def open_tracing(config: TracingConfig | None, service: str, about: Mapping[str, str]) -> Tracing | None:
    """``about``: what every span says of its process. Raises ``OSError`` for a headers file that cannot be used."""
    if config is None:
        return None
    # Only who tells traces needs to load how.
    from leasehold.shell.otel import OtlpTracing

    try:
        headers = HeadersFile(config.headers_file).read() if config.headers_file is not None else {}
    except ValueError as error:
        raise OSError(str(error)) from error
    return OtlpTracing(config, headers, {"service.name": service, **about})


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
