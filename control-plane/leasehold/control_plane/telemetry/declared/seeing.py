"""How well a control plane sees and reaches etcd, for which shards it acts, and how it is itself."""

from __future__ import annotations

from leasehold.shell.declaring import counter, gauge, histogram

LAG = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

LEADER = gauge(
    "leasehold_leader",
    about="1 while this replica does what is done once per tenant",
    meaning="It acts for the tenant's shard.",
    normal="1 on one replica",
    act="none for minutes: see `leasehold_shards_free`",
)  # fmt: skip
REPLICAS = gauge(
    "leasehold_replicas",
    about="Control planes that are alive, as this replica sees it",
    meaning="Each has a key with a lease.",
    normal="as many as you run, seen alike by all",
    act="fewer: its log; can it reach etcd?",
)  # fmt: skip
SHARDS = gauge(
    "leasehold_shards",
    about="Shards of the tenant",
    meaning="A fact of the tenant, in `control/cluster`. 0: not known yet.",
    normal="64",
    act="never edit it while control planes run",
)  # fmt: skip
SHARDS_HELD = gauge(
    "leasehold_shards_held",
    about="Shards this replica acts for",
    meaning="Its share.",
    normal="about even over the replicas",
    act="0 for long on one: its log",
)  # fmt: skip
SHARDS_FREE = gauge(
    "leasehold_shards_free",
    about="Shards nobody acts for, as this replica sees it",
    meaning="What is in them is collected by nobody.",
    normal="0; some for seconds when a replica ends",
    act="is a control plane alive that cannot claim? See its log, or stop it",
)  # fmt: skip
SHARDS_WARMING_UP = gauge(
    "leasehold_shards_warming_up",
    about="Shards of this replica in which nothing is prepared yet",
    meaning="They were gained lately.",
    normal="0; after a start or a rollout all, for 1.5 times the longest TTL",
    act="all the time: shards change hands all the time; `leasehold_shard_moves_total`",
)  # fmt: skip
SHARD_MOVES = counter(
    "leasehold_shard_moves", "how",
    about="Shards that were gained, left or lost",
    meaning="`lost` is not of our own will: the lease ended.",
    normal="with starts and rollouts of control planes only",
    act="`lost`: the replica stalls, or etcd is slow; `leasehold_event_loop_lag_seconds`",
)  # fmt: skip
WATCH_LAG = gauge(
    "leasehold_watch_lag_seconds",
    about="Since etcd was last heard from",
    meaning="etcd reports progress every second. `+Inf` before the first list.",
    normal="below 2",
    act="is etcd reachable and has it a leader? Nothing is prepared meanwhile",
)  # fmt: skip
SCAN_AGE = gauge(
    "leasehold_scan_age_seconds",
    about="Since all keys were last compared with what is known",
    meaning="A list at the start, then a scan every few minutes beside the watch. `+Inf` before the first.",
    normal="below twice the scan interval",
    act="log `scan_failed`: etcd; or the loop has no time for it",
)  # fmt: skip
SCAN_CORRECTIONS = counter(
    "leasehold_scan_corrections",
    about="Keys the scan found wrong",
    meaning="The watch had missed something; the scan mended it.",
    normal="0",
    act="which version of etcd? Some lose events: `leasehold_etcd_known_defects`",
)  # fmt: skip
UNREADABLE = gauge(
    "leasehold_unreadable_records",
    about="Keys that cannot be read",
    meaning="What they are about is kept.",
    normal="0",
    act="`unreadable` in `/v1/status` names them, and why",
)  # fmt: skip
ETCD_DEFECTS = gauge(
    "leasehold_etcd_known_defects", "severity",
    about="Defects known to matter here that the etcd in use has, by severity",
    meaning="`deadly`: data may be lost or invented. `risky`: leases may end too early, events get lost, or the like. "
    "That of the worst member; asked every minute.",
    normal="0",
    act="`leasehold doctor` names them, and the version to upgrade to",
)  # fmt: skip
ETCD_MEMBERS = gauge(
    "leasehold_etcd_members", "version",
    about="Members of etcd that answered, by version",
    meaning="Of the configured endpoints.",
    normal="all of them, of one version",
    act="several versions: finish the upgrade",
)  # fmt: skip
ETCD_UNREACHABLE = gauge(
    "leasehold_etcd_unreachable_endpoints",
    about="Configured endpoints of etcd that did not answer",
    meaning="The others serve meanwhile.",
    normal="0",
    act="is that member up? Is the endpoint still right?",
)  # fmt: skip
ETCD_ALARMS = gauge(
    "leasehold_etcd_alarms",
    about="Alarms that etcd has raised",
    meaning="With NOSPACE nothing is written: no registrations, no renewals of new leases.",
    normal="0",
    act="compact and defragment, or raise the quota; then `etcdctl alarm disarm`",
)  # fmt: skip
ETCD_DATABASE = gauge(
    "leasehold_etcd_database_bytes",
    about="Size of etcd's database, of the largest member",
    meaning="At the quota (2 GiB unless configured) etcd raises NOSPACE.",
    normal="below three quarters of the quota",
    act="compaction and defragmentation; a million resources take about 1 GiB",
)  # fmt: skip
LOOP_LAG = histogram(
    "leasehold_event_loop_lag_seconds", bounds=LAG,
    about="How late the event loop was",
    meaning="Looked at four times a second.",
    normal="below 0.05",
    act="above a second renewals suffer and shards are lost: give it a core",
)  # fmt: skip
BUILD = gauge(
    "leasehold_build_info", "version",
    about="1; the version is in the label",
    meaning="Which version this replica runs.",
    normal="one version, but for rollouts",
    act="nothing",
)  # fmt: skip
FAILED_ROUNDS = counter(
    "leasehold_failed_rounds", "whose",
    about="Rounds that failed at etcd and are tried again, by whose",
    meaning="`vigil`: the brake's; `shadow`: the shadow report's. Neither is lost, both are late.",
    normal="0",
    act="growing: etcd's state, as for `leasehold_failed_steps_total`",
)  # fmt: skip
