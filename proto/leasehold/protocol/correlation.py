"""What a resource's record says of where it came from: a trace context, or else words to find it by. Pure.

``ResourceRecord.trace`` is the ``traceparent`` of the call that created the resource; of a call without one its request
id, or else our call id. So everything that ever happens to a resource can be logged under one correlation id, and every
part derives the same trace from the same record: nothing but the record has to be stored or handed on.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from leasehold.protocol.names import Resource

MAX_CORRELATION = 128
REQUEST_IDS = (b"x-request-id", b"x-correlation-id")
"""What a call without a trace context may carry, in this order."""
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_VALID = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_WORDS = re.compile(r"[!-~]{1,128}")
_SAMPLED = 1


class TraceContext(NamedTuple):
    """A span, as W3C Trace Context names it to others: lower-case hex, never all zeros. ``flags`` 1: it is sampled."""

    trace_id: str
    span_id: str
    flags: int = _SAMPLED

    def __str__(self) -> str:
        """As a ``traceparent`` header."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def parse_traceparent(text: str) -> TraceContext | None:
    """``None`` for anything that the specification calls invalid. Later versions are read as far as they are known."""
    found = _TRACEPARENT.fullmatch(text)
    if found is None:
        return None
    version, trace_id, span_id, flags = found.groups()
    invalid = version == "ff" or trace_id == "0" * 32 or span_id == "0" * 16
    if invalid or (version == "00" and len(text) != 55):
        return None
    return TraceContext(trace_id, span_id, int(flags, 16) & _SAMPLED)


def is_traceparent(text: str) -> bool:
    """Whether ``parse_traceparent`` reads it; for the hot path, where nobody needs what it says."""
    return _VALID.fullmatch(text) is not None and (len(text) == 55 or not text.startswith("00"))


def usable_id(text: str) -> str:
    """A request id as it may stand in logs and records; empty when it is no plain word, or too long to be one."""
    return text if _WORDS.fullmatch(text) else ""


@lru_cache(maxsize=4096)  # every line of the log about a resource asks for it
def correlation_id(trace: str) -> str:
    """What to log of a record's ``trace``: its trace id where it has one; else the request or call id it is."""
    context = parse_traceparent(trace)
    return context.trace_id if context is not None else trace[:MAX_CORRELATION]


def life_of(trace: str, resource: Resource, incarnation: str) -> TraceContext:
    """The trace that tells a resource's life, and the span that registered it. Everybody derives the same.

    Where the creating call had a trace context, it is the app's own trace, sampled as the app decided.
    """
    app = parse_traceparent(trace)
    trace_id = app.trace_id if app is not None else _digest(16, "trace", *resource, incarnation, trace)
    span_id = span_of(trace_id, "registered", *resource, incarnation)
    return TraceContext(trace_id, span_id, app.flags if app is not None else _SAMPLED)


def span_of(trace_id: str, *what: str) -> str:
    """The id of the span of one step, derived from what it was: whoever continues from it need not be told."""
    return _digest(8, "span", trace_id, *what)


def _digest(size: int, *parts: str) -> str:
    # Null bytes between: no part can forge its neighbour. All zeros would be invalid, and is as likely as any other.
    digest = blake2b("\0".join(parts).encode(), digest_size=size, person=b"leasehold").hexdigest()
    return digest if digest.strip("0") else "1".zfill(2 * size)
