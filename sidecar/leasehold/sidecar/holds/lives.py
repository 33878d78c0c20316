"""Tells where a resource's life begins: a line of the log for whoever debugs, a span for whoever traces.

Only of what is durable, after the fact, and only where somebody listens: a registration costs nothing otherwise.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import structlog

from leasehold.protocol.correlation import correlation_id, life_of, parse_traceparent
from leasehold.shell.tracing import Span, Tracing
from leasehold.sidecar.holds.entries import Register
from leasehold.sidecar.ports import Outcome

log = structlog.get_logger()
Registered = Callable[[Register, Outcome, float], None]
"""A registration ended so, so many seconds after it was observed."""


def lives(tracing: Tracing | None) -> Registered | None:
    """``None``: nobody listens."""
    if tracing is None and not log.is_enabled_for(logging.DEBUG):
        return None

    def registered(operation: Register, outcome: Outcome, seconds: float) -> None:
        log.debug(
            "registered", resource=str(operation.resource), correlation_id=correlation_id(operation.trace),
            incarnation=operation.incarnation, holder=operation.holder, rule=operation.rule, outcome=outcome,
            latency_ms=round(seconds * 1000, 3),
        )  # fmt: skip
        if tracing is not None and outcome is Outcome.REGISTERED:
            tracing.tell(span_of_registration(operation, outcome, time.time_ns(), seconds))

    return registered


def span_of_registration(operation: Register, outcome: Outcome, now_ns: int, seconds: float) -> Span:
    """A child of the span in which the app made its call."""
    return Span(
        "leasehold.registered",
        life_of(operation.trace, operation.resource, operation.incarnation),
        parse_traceparent(operation.trace),
        now_ns - int(seconds * 1e9),
        now_ns,
        {
            "leasehold.resource": str(operation.resource), "leasehold.incarnation": operation.incarnation,
            "leasehold.rule": operation.rule, "leasehold.holder": operation.holder,
            "leasehold.correlation_id": correlation_id(operation.trace), "leasehold.outcome": outcome.value,
        },
    )  # fmt: skip
