"""The way of a resource: held, abandoned, condemned, swept."""

from __future__ import annotations

from leasehold.shell.declaring import counter, gauge, histogram

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

RESOURCES = gauge(
    "leasehold_resources", "owner", "type", "state",
    about="Resources by state",
    meaning="Every recorded resource is counted once. `observe-only` is unheld, and its rule permits no more; "
    "`unaccounted` is kept because nothing proves it unheld.",
    normal="`held` follows your traffic; the others are small beside it and come and go",
    act="see the metric of the state that grows",
)  # fmt: skip
ORPHANED = gauge(
    "leasehold_orphaned_resources", "owner", "type",
    about="Resources that nobody holds and that are still there",
    meaning="Unheld, observe-only, or anywhere on the way from condemned to swept: what would be a leak if it stayed.",
    normal="rises when something dies, and falls again within two graces; flat where rules only observe",
    act="rising for hours is a leak: `leasehold status`, then the stage in which it collects "
    "(`leasehold_cleanup_resources`)",
)  # fmt: skip
CLEANUP = gauge(
    "leasehold_cleanup_resources", "stage",
    about="Depth of the cleanup backlog, by stage",
    meaning="`condemned`: has a tombstone, waits for an epoch. `in-grace`: its epoch runs, or is over and its turn has "
    "not come. `prepared`, `sent`: being swept. `quarantined`: its owner cannot be made to delete it.",
    normal="`prepared` and `sent` near 0; `quarantined` 0",
    act="`in-grace` that stays: brake, warm-up or caps. `sent` that stays: the owner. `quarantined`: "
    "`leasehold get sweeps --state quarantined`",
)  # fmt: skip
CLEANUP_OLDEST = gauge(
    "leasehold_cleanup_oldest_age_seconds", "stage",
    about="Age of the oldest of each stage, since it was condemned",
    meaning="At least so old: looked at every few seconds, and known to that. 0 when the stage is empty.",
    normal="up to two graces, and a little",
    act="older: as for `leasehold_cleanup_resources`; `leasehold why RESOURCE` of one of them tells exactly",
)  # fmt: skip
OVERDUE_AGE = histogram(
    "leasehold_overdue_age_seconds", "owner",
    bounds=(MINUTE, 5 * MINUTE, 30 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY, 30 * DAY),
    about="How long condemned resources have outlived their two graces, of those there now",
    meaning="What nobody holds is promised to be gone two graces after it was condemned. This is a picture of the "
    "present: its counts fall again, so ask it without `rate`.",
    normal="count 0",
    act="something holds cleaning up: brake, caps, warm-up, or the owner's state",
)  # fmt: skip
BACKLOG = gauge(
    "leasehold_backlog_items", "step",
    about="Waiting for a step, or in hand, by step",
    meaning="The work of this replica: `condemn`, `revive`, `prepare`, `sweep`.",
    normal="0 but for bursts",
    act="staying high: is etcd slow (`leasehold_failed_steps_total`), or an owner (`leasehold_owner_stopped`)?",
)  # fmt: skip
BACKLOG_OLDEST = gauge(
    "leasehold_backlog_oldest_age_seconds", "step",
    about="Since when the oldest waits for a step, by step",
    meaning="Seconds since it was first offered, retries included. For `sweep`, quarantined ones are in it for ever.",
    normal="seconds; for `prepare` up to the warm-up",
    act="as for `leasehold_backlog_items`",
)  # fmt: skip
FAILED_STEPS = counter(
    "leasehold_failed_steps", "step",
    about="Steps that failed on etcd or on a mistake of ours, by step",
    meaning="Each is tried again, later and later.",
    normal="0, or a few while etcd is away",
    act="log `step_failed`: etcd. Log `step_broken`: a mistake of ours, report it",
)  # fmt: skip
CONDEMNED = counter(
    "leasehold_condemned",
    about="Tombstones put",
    meaning="Somebody ended, and what it alone held begins its grace.",
    normal="follows how your programs end",
    act="a sudden rise: did something big die? The brake sees that, too",
)  # fmt: skip
REVIVED = counter(
    "leasehold_revived", "reason",
    about="Resurrections: tombstones taken away again, by reason",
    meaning="A holder came back within the grace (`held`, `restless`), or the owner said `in-use`. The grace did "
    "its work.",
    normal="rare",
    act="many: leases end too early. A longer TTL, more CPU for sidecars, or a look at etcd's elections",
)  # fmt: skip
PREPARED = counter(
    "leasehold_prepared",
    about="Resources prepared for sweeping",
    meaning="Proven unheld for one whole grace; from here on nobody may hold it, unless an abort comes first.",
    normal="about `leasehold_condemned_total`, a grace later",
    act="0 while `in-grace` grows: brake, warm-up or caps",
)  # fmt: skip
SWEPT = counter(
    "leasehold_swept", "owner", "outcome",
    about="Sweeps finished",
    meaning="`gone`: deleted, or not there any more. `replaced`: another incarnation has its place, untouched.",
    normal="`gone` mostly",
    act="`replaced` often: ids are used again; see that the owner's `precondition` fits",
)  # fmt: skip
ABORTED = counter(
    "leasehold_aborted", "owner", "reason",
    about="Sweeps given up, by reason",
    meaning="`held` is a near miss: a holder came back after the grace was over, just before the first call. "
    "`refused`, `in-use`, `unverified`: the owner had something against it. `not-permitted`: the rule changed.",
    normal="0 for `held`",
    act="`held`: raise the grace of those rules, or find out what cut the holder off for so long",
)  # fmt: skip
QUARANTINED = counter(
    "leasehold_quarantined", "owner", "reason",
    about="Sweeps put into quarantine",
    meaning="Given up on for now; tried again slowly, for ever.",
    normal="0",
    act="`leasehold get sweeps --state quarantined` shows the owner's last answer",
)  # fmt: skip
LATE_RETURNS = counter(
    "leasehold_late_returns",
    about="Holders that came back after the first send",
    meaning="Something may have been deleted that was needed: the one loss that no lease scheme can exclude.",
    normal="0, always",
    act="raise the grace above the longest time that anybody may be cut off; log `late_return` says who and what",
)  # fmt: skip
KEPT = counter(
    "leasehold_kept", "step", "reason",
    about="Nominations that a look in etcd did not bear out",
    meaning="The memory of the control plane nominated, the evidence in etcd said no.",
    normal="rare, just after changes",
    act="one reason all the time: the index is wrong; `leasehold_scan_corrections_total`, and report it",
)  # fmt: skip
REFUSED = counter(
    "leasehold_refused_transactions", "step",
    about="Guarded transactions whose guard said no",
    meaning="Something changed between reading and writing; read anew and tried again.",
    normal="rare",
    act="all the time at one step: two control planes with one name? `leasehold doctor`",
)  # fmt: skip
CYCLES_TOO_LARGE = gauge(
    "leasehold_cycles_too_large",
    about="Dead reference cycles kept because no transaction holds them",
    meaning="About 17 resources that refer to each other in a ring are the most that can be condemned as a whole.",
    normal="0",
    act="break the ring at the owner, by deleting one of them there",
)  # fmt: skip
UNACCOUNTED = gauge(
    "leasehold_unaccounted_resources",
    about="Kept because nothing proves them unheld",
    meaning="No hold at all, or a holder nothing is known of: absence permits nothing.",
    normal="0",
    act="keys were lost or written by hand: `leasehold get resources --state unaccounted`, then `leasehold release`",
)  # fmt: skip
NOTICES_OWED = gauge(
    "leasehold_notices_owed", "owner", "call",
    about="Condemnations and restores that owners have yet to be told",
    meaning="Told again until heard; nothing else waits for it.",
    normal="0 but for moments",
    act="log `owner_not_told` has the owner's answer",
)  # fmt: skip
STRUCK = counter(
    "leasehold_struck",
    about="Long-gone holders taken off the roster",
    meaning="Tidying up: nothing refers to them any more.",
    normal="follows how your programs come and go",
    act="nothing",
)  # fmt: skip
