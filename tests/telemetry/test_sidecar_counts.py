"""Each thing that a room of the sidecar tells is counted under its own name and labels, and under no other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prometheus_client import generate_latest

from leasehold.protocol.names import CallId, Holder
from leasehold.shell.declaring import PROCESS, Kind
from leasehold.sidecar.holds.entries import Retract
from leasehold.sidecar.metrics import SidecarMetrics
from leasehold.sidecar.ports import Outcome
from leasehold.sidecar.telemetry import EVERY
from tests.telemetry.exported import values

RETRACT = Retract(1, CallId("c"), Holder("h"), 1, "make", "", None)
Told = Callable[[SidecarMetrics], None]
CASES: list[tuple[Told, dict[str, dict[str, str]]]] = [
    (lambda m: m.connection_opened(), {"connections_opened_total": {}}),
    (lambda m: m.connection_closed(), {"connections_closed_total": {}}),
    (lambda m: m.connection_refused("limit"), {"refused_connections_total": {"reason": "limit"}}),
    (lambda m: m.connect_failed("tls"), {"connect_failures_total": {"reason": "tls"}}),
    (lambda m: m.gave_up("framing"), {"observer_gave_up_total": {"reason": "framing"}}),
    (lambda m: m.uninspected("tls"), {"uninspected_connections_total": {"reason": "tls"}}),
    (lambda m: m.matched("make"), {"matched_calls_total": {"rule": "make"}}),
    (lambda m: m.unusable("make", "no-id"), {"unusable_calls_total": {"rule": "make", "reason": "no-id"}}),
    (lambda m: m.held("request", 0.5), {"hold_seconds_count": {"direction": "request"}}),
    (lambda m: m.deadline_passed("make"), {"hold_deadlines_passed_total": {"rule": "make"}}),
    (lambda m: m.released_early("response"), {"holds_released_early_total": {"direction": "response"}}),
    (lambda m: m.rejected("make"), {"rejected_calls_total": {"rule": "make"}}),
    (lambda m: m.idempotency_key("make", "inserted"),
     {"idempotency_keys_total": {"rule": "make", "outcome": "inserted"}}),
    (lambda m: m.registered("background", "registered"),
     {"registrations_total": {"commit": "background", "outcome": "registered"}}),
    (lambda m: m.unprotected("journal-full"), {"unprotected_creations_total": {"reason": "journal-full"}}),
    (lambda m: m.taken_back(), {"holds_taken_back_total": {}}),
    (lambda m: m.committed(3, 0.01), {"commits_total": {}, "commit_members_count": {}, "commit_seconds_count": {}}),
    (lambda m: m.commit_failed("no-beacon"), {"commit_failures_total": {"reason": "no-beacon"}}),
    (lambda m: m.operation_ended(RETRACT, Outcome.FORGOTTEN, 0.1),
     {"operations_total": {"operation": "retract", "outcome": "forgotten"}, "operation_seconds_count": {}}),
    (lambda m: m.late_return(), {"late_returns_total": {}}),
    (lambda m: m.operation_rejected(), {"rejected_operations_total": {}}),
    (lambda m: m.renewed("process", "failed"), {"lease_renewals_total": {"kind": "process", "result": "failed"}}),
    (lambda m: m.renewal_late("service"), {"lease_renewals_late_total": {"kind": "service"}}),
    (lambda m: m.renewal_helped("kept"), {"lease_renewals_helped_total": {"result": "kept"}}),
    (lambda m: m.reattached("process"), {"reattachments_total": {"kind": "process"}}),
    (lambda m: m.journal_damaged("torn"), {"journal_damage_total": {"kind": "torn"}}),
    (lambda m: m.journal_failed(), {"journal_failures_total": {}}),
    (lambda m: m.rules_skipped("rule", 1), {"rules_skipped_total": {"kind": "rule"}}),
    (lambda m: m.journal_is(1, 1, 1.0, full=True),
     {"journal_pending": {}, "journal_bytes": {}, "journal_oldest_age_seconds": {}, "journal_full": {}}),
    (lambda m: m.holds_are(1), {"holds": {}}),
    (lambda m: m.beliefs_are([("process", 1.0)]), {"lease_belief_seconds": {"kind": "process"}}),
    (lambda m: m.timers_are(1), {"timers": {}}),
    (lambda m: m.degraded_is(degraded=True), {"degraded": {}}),
    (lambda m: m.host_is(alive=True), {"host_alive": {}}),
    (lambda m: m.rules_are(1), {"rules": {}}),
    (lambda m: m.relay_is(1, 1), {"connections": {}, "held_bytes": {}}),
    (lambda m: m.lagged(0.1), {"event_loop_lag_seconds_count": {}}),
]  # fmt: skip


def counted(metrics: SidecarMetrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All that is ours and not 0, but for the parts of histograms that are no counts."""
    return {
        (name.removeprefix("leasehold_sidecar_"), labels): value
        for (name, labels), value in values(generate_latest(metrics.registry).decode()).items()
        if name.startswith("leasehold_sidecar_")
        and value
        and not name.endswith(("_bucket", "_sum", "_created", "_info"))
    }


@pytest.mark.parametrize(("tell", "expected"), CASES, ids=[next(iter(expected)) for _, expected in CASES])
def test_what_is_told_is_counted_once_and_nowhere_else(tell: Told, expected: dict[str, dict[str, str]]) -> None:
    metrics = SidecarMetrics()
    assert counted(metrics) == {}
    tell(metrics)
    assert counted(metrics) == {(name, frozenset(labels.items())): 1.0 for name, labels in expected.items()}


def test_every_metric_of_the_sidecar_has_a_case() -> None:
    own = {one for one in EVERY if one not in PROCESS and not one.name.endswith("_info")}
    names = {f"{one.name}_count" if one.kind is Kind.HISTOGRAM else one.name for one in own}
    assert {f"leasehold_sidecar_{name}" for _, expected in CASES for name in expected} == names


def test_of_several_holders_of_one_kind_the_one_with_least_belief_is_shown_and_one_that_ended_is_not() -> None:
    metrics = SidecarMetrics()
    metrics.beliefs_are([("process", 9.0), ("process", 2.0), ("service", 40.0)])
    assert counted(metrics) == {
        ("lease_belief_seconds", frozenset({("kind", "process")})): 2.0,
        ("lease_belief_seconds", frozenset({("kind", "service")})): 40.0,
    }
    metrics.beliefs_are([("service", 39.0)])
    assert counted(metrics) == {("lease_belief_seconds", frozenset({("kind", "service")})): 39.0}
