"""The trace that calls to owners continue, for as long as a caller says so.

The header is added after a request was proven: what signs a request must not sign it, for a proxy on the way that
traces, too, puts another in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_traceparent: ContextVar[str] = ContextVar("traceparent", default="")


@contextmanager
def continuing(traceparent: str) -> Iterator[None]:
    """Calls made inside carry it; empty: they carry nothing."""
    before = _traceparent.set(traceparent)
    try:
        yield
    finally:
        _traceparent.reset(before)


def traced(headers: Mapping[str, str]) -> Mapping[str, str]:
    """With what is to be continued now, if anything. An owner's document that sets the header itself is left alone."""
    traceparent = _traceparent.get()
    if not traceparent or any(name.lower() == "traceparent" for name in headers):
        return headers
    return {**headers, "traceparent": traceparent}
