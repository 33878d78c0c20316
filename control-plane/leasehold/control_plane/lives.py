"""Tells the second half of a resource's life as spans of the trace in which it began, and lets owners continue it.

The app's own span, and the one of the registration, are over for hours or days by then. So each step is a child of the
registration, which keeps all in one trace, and *linked* to the step that it followed from:

    registered <- expired (each holder's end) <- condemned <- swept
                                                                |
                                                        DELETE, once for each attempt: what the owner is told

Wall clock, because people read it; nothing is decided by it. With nobody to tell, all that is left is the app's own
``traceparent``, handed on to the owner.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from leasehold.control_plane.attempt import Sweep
from leasehold.control_plane.owners.outcome import Answer, Verdict
from leasehold.protocol.correlation import TraceContext, correlation_id, life_of, parse_traceparent, span_of
from leasehold.protocol.names import Holder, Resource, Revision
from leasehold.protocol.records import ResourceRecord
from leasehold.shell.tracing import Attributes, Span, Tracing

HOLDERS_TOLD = 8
"""Of one resource; the condemnation names all."""
_FINE = frozenset({Verdict.GONE, Verdict.ABSENT, Verdict.REPLACED, Verdict.PENDING})


def nobody_saw(_: Holder) -> int | None:
    return None


class Lives:
    """``tracing`` None: nobody is told."""

    def __init__(self, tracing: Tracing | None = None, ended_at: Callable[[Holder], int | None] = nobody_saw) -> None:
        self._tracing, self._ended_at = tracing, ended_at

    def condemned(
        self, resource: Resource, record: ResourceRecord, holders: Sequence[Holder], tombstone: Revision
    ) -> None:
        """A tombstone was put: also tells of the end of each holder that was seen to end."""
        if self._tracing is None:
            return
        life, now = life_of(record.trace, resource, record.incarnation), time.time_ns()
        about = _about(resource, record.incarnation, record.trace)
        followed = [life]
        for holder in holders[:HOLDERS_TOLD]:
            at = self._ended_at(holder)
            if at is not None:
                ended = _step(life, "expired", resource, record.incarnation, holder, str(tombstone))
                self._tracing.tell(
                    Span("leasehold.expired", ended, life, at, at, {**about, "leasehold.holder": holder}, (life,))
                )
                followed.append(ended)
        self._tracing.tell(
            Span(
                "leasehold.condemned", _condemned(life, resource, record.incarnation, tombstone), life, now, now,
                {**about, "leasehold.holders": list(holders), "leasehold.tombstone": tombstone},
                tuple(followed[1:] or followed),
            )
        )  # fmt: skip

    def traceparent(self, sweep: Sweep) -> str:
        """What this attempt's calls are to carry; empty: nothing."""
        if self._tracing is not None:
            return str(_call(_life(sweep), sweep))
        app = parse_traceparent(sweep.trace)
        return str(app) if app is not None else ""

    def called(self, sweep: Sweep, answer: Answer, seconds: float) -> None:
        """An attempt was made."""
        if self._tracing is None:
            return
        life, now = _life(sweep), time.time_ns()
        about = {
            **_about(sweep.resource, sweep.record.incarnation, sweep.trace), "leasehold.attempt": sweep.record.attempt,
            "leasehold.verdict": answer.verdict.value, "peer.service": sweep.owner,
        }  # fmt: skip
        error = "" if answer.verdict in _FINE else f"{answer.verdict}: {answer.detail}"
        parent = _swept(life, sweep)
        self._tracing.tell(
            Span("DELETE", _call(life, sweep), parent, now - int(seconds * 1e9), now, about, call=True, error=error)
        )

    def swept(self, sweep: Sweep, outcome: str, seconds: float) -> None:
        """It is gone; ``seconds`` since its last attempt began."""
        if self._tracing is None:
            return
        life, now = _life(sweep), time.time_ns()
        about = {
            **_about(sweep.resource, sweep.record.incarnation, sweep.trace), "leasehold.outcome": outcome,
            "leasehold.attempt": sweep.record.attempt,
        }  # fmt: skip
        followed = _condemned(life, sweep.resource, sweep.record.incarnation, sweep.record.tombstone_revision)
        self._tracing.tell(
            Span("leasehold.swept", _swept(life, sweep), life, now - int(seconds * 1e9), now, about, (followed,))
        )


def _life(sweep: Sweep) -> TraceContext:
    return life_of(sweep.trace, sweep.resource, sweep.record.incarnation)


def _condemned(life: TraceContext, resource: Resource, incarnation: str, tombstone: int) -> TraceContext:
    return _step(life, "condemned", resource, incarnation, str(tombstone))


def _swept(life: TraceContext, sweep: Sweep) -> TraceContext:
    record = sweep.record
    return _step(life, "swept", sweep.resource, record.incarnation, str(record.tombstone_revision))


def _call(life: TraceContext, sweep: Sweep) -> TraceContext:
    record = sweep.record
    # The fence: a successor repeats an attempt under the same number.
    tried = (str(record.tombstone_revision), str(record.attempt), str(record.fence))
    return _step(life, "delete", sweep.resource, record.incarnation, *tried)


def _step(life: TraceContext, what: str, resource: Resource, incarnation: str, *more: str) -> TraceContext:
    return life._replace(span_id=span_of(life.trace_id, what, *resource, incarnation, *more))


def _about(resource: Resource, incarnation: str, trace: str) -> Attributes:
    return {
        "leasehold.resource": str(resource), "leasehold.incarnation": incarnation,
        "leasehold.correlation_id": correlation_id(trace),
    }  # fmt: skip
