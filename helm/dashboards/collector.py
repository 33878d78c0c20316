"""The control planes of one namespace: does what is abandoned go, and if not, what stops it?"""

from __future__ import annotations

from helm.dashboards.grafana import Dashboard, Panel, Query, Row

HERE = 'namespace=~"$namespace"'
OWNER = f'{HERE}, owner=~"$owner"'


def stat(title: str, about: str, expr: str, *, unit: str = "short", red: float | None = None) -> Panel:
    return Panel(title, about, [Query(expr)], unit, "stat", width=4, height=4, red=red)


GLANCE = Row("At a glance", [
    stat("Collecting is allowed", "0: braked, or etcd cannot be seen.", f"max(leasehold_armed{{{HERE}}})"),
    stat("Held by nobody", "Leaks, if they stay.",
         f"sum(max by (owner, type) (leasehold_orphaned_resources{{{HERE}}}))"),
    stat("Overdue", "Their two graces are over.",
         f"sum(max by (owner) (leasehold_overdue_age_seconds_count{{{HERE}}}))", red=1),
    stat("In quarantine", "Owners that cannot be made to delete.",
         f'max(leasehold_cleanup_resources{{{HERE}, stage="quarantined"}})', red=1),
    stat("Late returns, one day", "Expected: none, ever.", f"sum(increase(leasehold_late_returns_total{{{HERE}}}[1d]))",
         red=1),
    stat("Shards nobody acts for", "What is in them is not collected.", f"min(leasehold_shards_free{{{HERE}}})", red=1),
])  # fmt: skip
RESOURCES = Row("Resources", [
    Panel("By state", "Every recorded resource is counted once.", [
        Query(f"sum by (state) (max by (owner, type, state) (leasehold_resources{{{OWNER}}}))", "{{state}}"),
    ]),
    Panel("Held by nobody, by owner and type", "Rises when something dies, and falls within two graces.", [
        Query(f"max by (owner, type) (leasehold_orphaned_resources{{{OWNER}}})", "{{owner}}/{{type}}"),
    ]),
    Panel("On the way out, by stage", "Depth of the cleanup backlog.", [
        Query(f"max by (stage) (leasehold_cleanup_resources{{{HERE}}})", "{{stage}}"),
    ]),
    Panel("Oldest, by stage", "Since it was condemned.", [
        Query(f"max by (stage) (leasehold_cleanup_oldest_age_seconds{{{HERE}}})", "{{stage}}"),
    ], unit="s"),
    Panel("How long overdue, nine of ten", "By so much the two graces are over.", [
        Query("histogram_quantile(0.9, max by (owner, le) "
              f"(leasehold_overdue_age_seconds_bucket{{{OWNER}}}))", "{{owner}}"),
    ], unit="s"),
    Panel("Unaccounted, and cycles too large", "Kept because nothing proves them unheld.", [
        Query(f"max(leasehold_unaccounted_resources{{{HERE}}})", "unaccounted"),
        Query(f"max(leasehold_cycles_too_large{{{HERE}}})", "cycles too large"),
    ]),
])  # fmt: skip
SWEEPING = Row("Condemning and sweeping", [
    Panel("Steps", "Per second.", [
        Query(f"sum(rate(leasehold_condemned_total{{{HERE}}}[5m]))", "condemned"),
        Query(f"sum(rate(leasehold_prepared_total{{{HERE}}}[5m]))", "prepared"),
        Query(f"sum by (outcome) (rate(leasehold_swept_total{{{OWNER}}}[5m]))", "swept: {{outcome}}"),
    ], unit="ops"),
    Panel("Given up", "Aborted and quarantined, per second.", [
        Query(f"sum by (owner, reason) (rate(leasehold_aborted_total{{{OWNER}}}[5m]))",
              "{{owner}} aborted: {{reason}}"),
        Query(f"sum by (owner, reason) (rate(leasehold_quarantined_total{{{OWNER}}}[5m]))",
              "{{owner}} quarantined: {{reason}}"),
        Query(f"sum by (owner, step) (rate(leasehold_vetoed_total{{{OWNER}}}[5m]))", "{{owner}} vetoed at {{step}}"),
    ], unit="ops"),
    Panel("Near misses", "Came back: within the grace, just before the first call, too late.", [
        Query(f"sum by (reason) (increase(leasehold_revived_total{{{HERE}}}[1h]))", "revived: {{reason}}"),
        Query(f'sum(increase(leasehold_aborted_total{{{HERE}, reason="held"}}[1h]))', "just in time"),
        Query(f"sum(increase(leasehold_late_returns_total{{{HERE}}}[1h]))", "too late"),
    ]),
    Panel("Work waiting, by step", "Of all replicas.", [
        Query(f"sum by (step) (leasehold_backlog_items{{{HERE}}})", "{{step}}"),
    ]),
    Panel("Oldest work, by step", "Since it was first offered.", [
        Query(f"max by (step) (leasehold_backlog_oldest_age_seconds{{{HERE}}})", "{{step}}"),
    ], unit="s"),
    Panel("Steps that failed or were not borne out", "Per second.", [
        Query(f"sum by (step) (rate(leasehold_failed_steps_total{{{HERE}}}[5m]))", "failed: {{step}}"),
        Query(f"sum by (step) (rate(leasehold_refused_transactions_total{{{HERE}}}[5m]))", "refused: {{step}}"),
        Query(f"sum by (step, reason) (rate(leasehold_kept_total{{{HERE}}}[5m]))", "kept at {{step}}: {{reason}}"),
    ], unit="ops"),
])  # fmt: skip
BRAKE = Row("What stops it", [
    Panel("Brake and canary", "1: collecting is allowed, or the self-test failed.", [
        Query(f"max(leasehold_armed{{{HERE}}})", "armed"),
        Query(f"max(leasehold_canary_failed{{{HERE}}})", "canary failed"),
        Query(f"max(leasehold_cluster_distrusted{{{HERE}}})", "etcd is not what it was"),
        Query(f"sum by (cause) (increase(leasehold_brake_trips_total{{{HERE}}}[5m]))", "tripped: {{cause}}"),
    ]),
    Panel("The brake's window", "What vanished without a word lately, beside what was live.", [
        Query(f"max(leasehold_window_carried_resources{{{HERE}}})", "carried by who vanished"),
        Query(f"max(leasehold_window_lost_resources{{{HERE}}})", "lost keys"),
        Query(f"max(leasehold_window_live_resources{{{HERE}}})", "live"),
    ]),
    Panel("Warm-up", "Nothing is prepared meanwhile.", [
        Query(f"max(leasehold_warm_up_left_seconds{{{HERE}}} < Inf)", "left"),
    ], unit="s"),
    Panel("Caps", "How many wait for their turn.", [
        Query(f"max by (owner) (leasehold_cap_waiting_resources{{{OWNER}}})", "{{owner}}"),
        Query(f"sum by (cap) (increase(leasehold_cap_reached_total{{{HERE}}}[5m]))", "reached: {{cap}}"),
    ]),
    Panel("Shards", "Who acts for how many.", [
        Query(f"sum by (pod) (leasehold_shards_held{{{HERE}}})", "{{pod}}"),
        Query(f"max(leasehold_shards_free{{{HERE}}})", "free"),
        Query(f"sum(leasehold_shards_warming_up{{{HERE}}})", "warming up"),
    ]),
    Panel("Shards that change hands", "Lost ones are not of our own will.", [
        Query(f"sum by (how) (increase(leasehold_shard_moves_total{{{HERE}}}[5m]))", "{{how}}"),
    ]),
])  # fmt: skip
OWNERS = Row("Owners", [
    Panel("Calls, by verdict", "Per second.", [
        Query(f"sum by (owner, verdict) (rate(leasehold_owner_calls_total{{{OWNER}}}[5m]))", "{{owner}} {{verdict}}"),
    ], unit="ops"),
    Panel("How long they take, nineteen of twenty", "A read and the delete.", [
        Query("histogram_quantile(0.95, sum by (owner, le) "
              f"(rate(leasehold_owner_call_seconds_bucket{{{OWNER}}}[5m])))", "{{owner}}"),
    ], unit="s"),
    Panel("Not called", "1 while the breaker is open, by why.", [
        Query(f"max by (owner, state) (leasehold_owner_stopped{{{OWNER}}})", "{{owner}} {{state}}"),
    ], red=1),
])  # fmt: skip
FINDING = Row("What nobody recorded", [
    Panel("Intents and suspects", "Calls whose outcome is not known.", [
        Query(f"max(leasehold_intents{{{HERE}}})", "intents"),
        Query(f"max by (reason) (leasehold_suspects{{{HERE}}})", "suspects: {{reason}}"),
    ]),
    Panel("Inventory", "What owners list, and we do not know.", [
        Query(f"max by (owner, type) (leasehold_unmanaged_resources{{{OWNER}}})", "{{owner}}/{{type}} unmanaged"),
        Query(f"max by (owner, type) (leasehold_inventory_candidates{{{OWNER}}})", "{{owner}}/{{type}} candidates"),
        Query(f"max by (owner, type) (leasehold_inventory_missing{{{OWNER}}})", "{{owner}}/{{type}} missing"),
    ]),
    Panel("Shadow", "What rules that only observe would have deleted, and how much of it wrongly.", [
        Query(f"max by (rule) (leasehold_shadow_would_delete{{{HERE}}})", "{{rule}} would delete"),
        Query(f"max by (rule) (leasehold_shadow_wrong{{{HERE}}})", "{{rule}} wrong"),
    ]),
])  # fmt: skip
SEEING = Row("Seeing, and being", [
    Panel("Since etcd was heard, and since all was compared", "", [
        Query(f"max by (pod) (leasehold_watch_lag_seconds{{{HERE}}} < Inf)", "{{pod}} watch"),
        Query(f"max by (pod) (leasehold_scan_age_seconds{{{HERE}}} < Inf)", "{{pod}} scan"),
    ], unit="s"),
    Panel("etcd", "Known defects, alarms and endpoints that do not answer.", [
        Query(f"max by (severity) (leasehold_etcd_known_defects{{{HERE}}})", "{{severity}} defects"),
        Query(f"max(leasehold_etcd_alarms{{{HERE}}})", "alarms"),
        Query(f"max(leasehold_etcd_unreachable_endpoints{{{HERE}}})", "unreachable"),
    ]),
    Panel("etcd's database", "Its default quota is 2 GiB.", [
        Query(f"max(leasehold_etcd_database_bytes{{{HERE}}})", "size"),
    ], unit="bytes", red=1610612736),
    Panel("Event loop, 99 of 100", "How late it is.", [
        Query("histogram_quantile(0.99, sum by (pod, le) "
              f"(rate(leasehold_event_loop_lag_seconds_bucket{{{HERE}}}[5m])))", "{{pod}}"),
    ], unit="s", red=1),
    Panel("Pods at the webhook", "What became of those it was asked about.", [
        Query(f"sum by (result) (increase(leasehold_admissions_total{{{HERE}}}[5m]))", "{{result}}"),
    ]),
    Panel("Events", "How long the oldest waits to be confirmed by its receiver.", [
        Query(f"max by (sink) (leasehold_events_lag_seconds{{{HERE}}})", "{{sink}}"),
    ], unit="s"),
    Panel("Memory", "Of the control planes.", [
        Query(f"process_resident_memory_bytes{{{HERE}}} and on (namespace, pod) leasehold_replicas", "{{pod}}"),
    ], unit="bytes"),
    Panel("CPU", "1 is a whole core.", [
        Query(f"rate(process_cpu_seconds_total{{{HERE}}}[5m]) and on (namespace, pod) leasehold_replicas", "{{pod}}"),
    ], red=0.9),
])  # fmt: skip

COLLECTOR = Dashboard(
    "leasehold-collector", "Leasehold: collector", "Does what is abandoned go, and if not, what stops it?",
    [GLANCE, RESOURCES, SWEEPING, BRAKE, OWNERS, FINDING, SEEING],
    [
        ("namespace", "label_values(leasehold_replicas, namespace)"),
        ("owner", "label_values(leasehold_resources, owner)"),
    ],
)  # fmt: skip
