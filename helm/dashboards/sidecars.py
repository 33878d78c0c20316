"""The sidecars: is what programs create registered, and are leases kept?"""

from __future__ import annotations

from helm.dashboards.grafana import Dashboard, Panel, Query, Row

HERE = 'namespace=~"$namespace", pod=~"$pod"'
OURS = "leasehold_sidecar"


def stat(title: str, about: str, expr: str, *, unit: str = "short", red: float | None = None) -> Panel:
    return Panel(title, about, [Query(expr)], unit, "stat", width=4, height=4, red=red)


GLANCE = Row("At a glance", [
    stat("Sidecars", "That are scraped.", f"count({OURS}_degraded{{{HERE}}})"),
    stat("Degraded", "What is created there may not be registered at once.", f"sum({OURS}_degraded{{{HERE}}})", red=1),
    stat("Least belief", "How long a lease may still be believed.", f"min({OURS}_lease_belief_seconds{{{HERE}}})",
         unit="s"),
    stat("Oldest unregistered", "Waits for etcd.",
         f"max({OURS}_journal_oldest_age_seconds{{{HERE}}})", unit="s", red=300),
    stat("Unprotected, one day", "Created, and held by nobody.",
         f"sum(increase({OURS}_unprotected_creations_total{{{HERE}}}[1d]))", red=1),
    stat("Late returns, one day", "Expected: none, ever.",
         f"sum(increase({OURS}_late_returns_total{{{HERE}}}[1d]))", red=1),
])  # fmt: skip
REGISTERING = Row("Registering", [
    Panel("Registrations, by commit mode and outcome", "Per second.", [
        Query(f"sum by (commit, outcome) (rate({OURS}_registrations_total{{{HERE}}}[5m]))", "{{commit}} {{outcome}}"),
    ], unit="ops"),
    Panel("Not registered", "Unprotected, unusable, rejected, past the deadline; per hour.", [
        Query(f"sum by (reason) (increase({OURS}_unprotected_creations_total{{{HERE}}}[1h]))",
              "unprotected: {{reason}}"),
        Query(f"sum by (rule, reason) (increase({OURS}_unusable_calls_total{{{HERE}}}[1h]))",
              "unusable: {{rule}} {{reason}}"),
        Query(f"sum by (rule) (increase({OURS}_rejected_calls_total{{{HERE}}}[1h]))", "rejected: {{rule}}"),
        Query(f"sum by (rule) (increase({OURS}_hold_deadlines_passed_total{{{HERE}}}[1h]))", "deadline: {{rule}}"),
    ]),
    Panel("What we add to a matched call", "Half, and 99 of 100.", [
        Query(f"histogram_quantile(0.5, sum by (direction, le) (rate({OURS}_hold_seconds_bucket{{{HERE}}}[5m])))",
              "{{direction}} half"),
        Query(f"histogram_quantile(0.99, sum by (direction, le) (rate({OURS}_hold_seconds_bucket{{{HERE}}}[5m])))",
              "{{direction}} 99 of 100"),
    ], unit="s"),
    Panel("Journal", "Operations waiting for etcd.", [
        Query(f"topk(10, {OURS}_journal_pending{{{HERE}}})", "{{pod}}"),
        Query(f"max({OURS}_journal_full{{{HERE}}})", "full"),
    ]),
    Panel("Oldest in the journal", "Not registered for so long.", [
        Query(f"topk(10, {OURS}_journal_oldest_age_seconds{{{HERE}}})", "{{pod}}"),
    ], unit="s", red=300),
    Panel("Transactions", "Per second, and those that did not take place.", [
        Query(f"sum(rate({OURS}_commits_total{{{HERE}}}[5m]))", "commits"),
        Query(f"sum by (reason) (rate({OURS}_commit_failures_total{{{HERE}}}[5m]))", "failed: {{reason}}"),
    ], unit="ops"),
])  # fmt: skip
LEASES = Row("Leases", [
    Panel("Renewals, by result", "Per second; those begun late, and those made by the helper.", [
        Query(f"sum by (kind, result) (rate({OURS}_lease_renewals_total{{{HERE}}}[5m]))", "{{kind}} {{result}}"),
        Query(f"sum by (kind) (rate({OURS}_lease_renewals_late_total{{{HERE}}}[5m]))", "{{kind}} late"),
        Query(f"sum by (result) (rate({OURS}_lease_renewals_helped_total{{{HERE}}}[5m]))", "helped: {{result}}"),
    ], unit="ops"),
    Panel("Belief left, least", "At 0 nobody knows whether the beacon is still there.", [
        Query(f"bottomk(10, min by (pod) ({OURS}_lease_belief_seconds{{{HERE}}}))", "{{pod}}"),
    ], unit="s"),
    Panel("Beacons put back, holds taken back, late returns", "Per hour.", [
        Query(f"sum by (kind) (increase({OURS}_reattachments_total{{{HERE}}}[1h]))", "reattached: {{kind}}"),
        Query(f"sum(increase({OURS}_holds_taken_back_total{{{HERE}}}[1h]))", "holds taken back"),
        Query(f"sum(increase({OURS}_late_returns_total{{{HERE}}}[1h]))", "late returns"),
    ]),
    Panel("Holds", "What is held.", [Query(f"topk(10, {OURS}_holds{{{HERE}}})", "{{pod}}")]),
    Panel("Host alive", "1 while there is somebody to hold for.", [
        Query(f"sum({OURS}_host_alive{{{HERE}}})", "alive"),
    ]),
    Panel("Rules in use", "The same everywhere.", [
        Query(f"max({OURS}_rules{{{HERE}}})", "most"),
        Query(f"min({OURS}_rules{{{HERE}}})", "least"),
    ]),
])  # fmt: skip
TRAFFIC = Row("Traffic", [
    Panel("Connections", "Open, of all sidecars together.", [
        Query(f"sum({OURS}_connections{{{HERE}}})", "open"),
        Query(f"sum(rate({OURS}_connections_opened_total{{{HERE}}}[5m]))", "opened per second"),
    ]),
    Panel("Matched calls, by rule", "Per second.", [
        Query(f"sum by (rule) (rate({OURS}_matched_calls_total{{{HERE}}}[5m]))", "{{rule}}"),
    ], unit="ops"),
    Panel("Not seen", "Relayed blind on purpose, and observers that gave up; per hour.", [
        Query(f"sum by (reason) (increase({OURS}_uninspected_connections_total{{{HERE}}}[1h]))",
              "uninspected: {{reason}}"),
        Query(f"sum by (reason) (increase({OURS}_observer_gave_up_total{{{HERE}}}[1h]))", "gave up: {{reason}}"),
    ]),
    Panel("Refused and failed connections", "Per hour.", [
        Query(f"sum by (reason) (increase({OURS}_refused_connections_total{{{HERE}}}[1h]))", "refused: {{reason}}"),
        Query(f"sum by (reason) (increase({OURS}_connect_failures_total{{{HERE}}}[1h]))", "owner: {{reason}}"),
    ]),
    Panel("Bytes kept back", "Of all connections together.", [
        Query(f"topk(10, {OURS}_held_bytes{{{HERE}}})", "{{pod}}"),
        Query(f"sum by (direction) (increase({OURS}_holds_released_early_total{{{HERE}}}[1h]))",
              "released early: {{direction}}"),
    ], unit="bytes"),
])  # fmt: skip
BEING = Row("Being", [
    Panel("Event loop, 99 of 100", "How late it is.", [
        Query("topk(10, histogram_quantile(0.99, sum by (pod, le) "
              f"(rate({OURS}_event_loop_lag_seconds_bucket{{{HERE}}}[5m]))))", "{{pod}}"),
    ], unit="s", red=0.5),
    Panel("Memory", "Of the sidecars with most.", [
        Query(f"topk(10, process_resident_memory_bytes{{{HERE}}} and on (namespace, pod) {OURS}_degraded)",
              "{{pod}}"),
    ], unit="bytes"),
    Panel("CPU", "Of the sidecars with most; 1 is a whole core.", [
        Query(f"topk(10, rate(process_cpu_seconds_total{{{HERE}}}[5m]) and on (namespace, pod) {OURS}_degraded)",
              "{{pod}}"),
    ], red=0.9),
])  # fmt: skip

SIDECARS = Dashboard(
    "leasehold-sidecars", "Leasehold: sidecars", "Is what programs create registered, and are leases kept?",
    [GLANCE, REGISTERING, LEASES, TRAFFIC, BEING],
    [
        ("namespace", "label_values(leasehold_sidecar_degraded, namespace)"),
        ("pod", 'label_values(leasehold_sidecar_degraded{namespace=~"$namespace"}, pod)'),
    ],
)  # fmt: skip
