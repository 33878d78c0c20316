"""Life-cycle events on their way to receivers."""

from __future__ import annotations

from leasehold.shell.declaring import counter, gauge

DELIVERED = counter(
    "leasehold_events_delivered", "sink", "type",
    about="Events that were confirmed, by receiver",
    meaning="At least once each: a control plane that ended in between delivers some again, with the same ids.",
    normal="as many as things happen",
    act="none at all while things are condemned: the receiver's configuration",
)  # fmt: skip
FAILED = counter(
    "leasehold_events_failed", "sink", "reason",
    about="Deliveries that were not confirmed",
    meaning="They are tried again, ever more slowly, for ever; collecting does not wait for them.",
    normal="0, or a few while the receiver is restarted",
    act="log `event_not_delivered`; mend the receiver before etcd's history is compacted",
)  # fmt: skip
GAPS = counter(
    "leasehold_event_gaps", "sink",
    about="How often etcd's history did not reach back to the cursor",
    meaning="The receiver was away for longer than etcd keeps its history: events are missing, and one of the type "
    "`gap` says so.",
    normal="0",
    act="compare what the receiver knows with `leasehold get resources`; keep more history (auto-compaction)",
)  # fmt: skip
LAG = gauge(
    "leasehold_events_lag_seconds", "sink",
    about="How long the oldest event in hand waits for its confirmation",
    meaning="0 when nothing waits.",
    normal="below a second",
    only="`events` are configured",
    act="as for `leasehold_events_failed_total`",
)  # fmt: skip
BEHIND = gauge(
    "leasehold_events_behind_revisions", "sink",
    about="Revisions of etcd between what was told and what is known",
    meaning="How far back etcd's history has to reach when this replica ends now.",
    normal="near 0; renewals and holds count as well",
    only="`events` are configured",
    act="growing: the receiver is too slow or away, as for `leasehold_events_failed_total`",
)  # fmt: skip
