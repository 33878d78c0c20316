"""Registrations and leases: what is recorded, what waits, and how long the lease may be believed."""

from __future__ import annotations

from leasehold.shell.declaring import counter, gauge, histogram
from leasehold.sidecar.telemetry.traffic import SECONDS

MEMBERS = (1, 2, 5, 10, 20, 50, 100)

REGISTRATIONS = counter(
    "leasehold_sidecar_registrations", "commit", "outcome",
    about="Observations that ended",
    meaning="By the rule's `commit` and by what became of it: `registered`, `already-held`, `forgotten`, `not-ours`, "
    "`being-swept` (too late), `unprotected`.",
    normal="follows your traffic; no `being-swept`, no `unprotected`",
    act="see `leasehold_sidecar_late_returns_total`, `leasehold_sidecar_unprotected_creations_total`",
)  # fmt: skip
UNPROTECTED = counter(
    "leasehold_sidecar_unprotected_creations", "reason",
    about="Held by nobody, because",
    meaning="`journal-full`: the disk is, or etcd was away for hours. `host-ended`: a call under way when the host "
    "died.",
    normal="0, but for `host-ended` at the end of a pod",
    act="`journal-full`: room for the journal; what was created meanwhile is found by an `inventory` only",
)  # fmt: skip
COMMITS = counter(
    "leasehold_sidecar_commits",
    about="Batches that took place",
    meaning="One etcd transaction each.",
    normal="follows creations",
    act="nothing",
)  # fmt: skip
COMMIT_MEMBERS = histogram(
    "leasehold_sidecar_commit_members", bounds=MEMBERS,
    about="Operations in a batch",
    meaning="Large batches are what makes many registrations cheap.",
    normal="1 to 100; larger under load",
    act="nothing",
)  # fmt: skip
COMMIT_SECONDS = histogram(
    "leasehold_sidecar_commit_seconds", bounds=SECONDS,
    about="How long a batch took",
    meaning="From sending the transaction to its answer.",
    normal="milliseconds",
    act="etcd is slow: its disk, its load, the way to it",
)  # fmt: skip
COMMIT_FAILURES = counter(
    "leasehold_sidecar_commit_failures", "reason",
    about="Batches that did not take place",
    meaning="Each is replayed as a whole; `no-beacon`: the lease had gone and is put back first.",
    normal="0 while etcd is there",
    act="staying: /readyz of the sidecar says why",
)  # fmt: skip
OPERATIONS = counter(
    "leasehold_sidecar_operations", "operation", "outcome",
    about="Operations that ended",
    meaning="What was written to etcd: registrations, acquires, releases, intents, and so on.",
    normal="follows your traffic",
    act="nothing",
)  # fmt: skip
OPERATION_SECONDS = histogram(
    "leasehold_sidecar_operation_seconds", bounds=SECONDS,
    about="From the observation to the end",
    meaning="Waiting in the journal included.",
    normal="milliseconds; as long as an outage of etcd after it",
    act="as for `leasehold_sidecar_journal_oldest_age_seconds`",
)  # fmt: skip
REJECTED_OPERATIONS = counter(
    "leasehold_sidecar_rejected_operations",
    about="Refused by etcd as malformed",
    meaning="A mistake of ours; what it was about is unprotected.",
    normal="0",
    act="report it, with the log",
)  # fmt: skip
LATE_RETURNS = counter(
    "leasehold_sidecar_late_returns",
    about="Came back to what was being swept, or was swept",
    meaning="Something may have been deleted that was needed.",
    normal="0, always",
    act="raise the grace above the longest time that this pod may be cut off; log `late_return`",
)  # fmt: skip
HOLDS_TAKEN_BACK = counter(
    "leasehold_sidecar_holds_taken_back",
    about="Believed, but not there: acquired anew",
    meaning="Keys were lost in etcd, or an operator released them.",
    normal="0",
    act="was etcd restored, or were keys deleted by hand?",
)  # fmt: skip
HOLDS = gauge(
    "leasehold_sidecar_holds",
    about="Holds remembered",
    meaning="What this sidecar's holders hold, as far as it remembers.",
    normal="follows what your program keeps",
    act="growing without end: your program creates and never deletes; `idle_release` lets go of what is not used",
)  # fmt: skip
LEASE_RENEWALS = counter(
    "leasehold_sidecar_lease_renewals", "kind", "result",
    about="Renewals asked for",
    meaning="`kept`, `failed` (tried again) or `lost` (the lease was gone). All three together are the attempts.",
    normal="`kept`, three times per TTL",
    act="`failed`: etcd. `lost`: renewals came too late; CPU, or a TTL that is too short",
)  # fmt: skip
LEASE_RENEWALS_LATE = counter(
    "leasehold_sidecar_lease_renewals_late", "kind",
    about="Renewals begun late: the loop stalled",
    meaning="By more than a sixth of the TTL.",
    normal="0",
    act="give the sidecar CPU; `leasehold_sidecar_event_loop_lag_seconds`",
)  # fmt: skip
LEASE_RENEWALS_HELPED = counter(
    "leasehold_sidecar_lease_renewals_helped", "result",
    about="Renewed for a loop that was late",
    meaning="By a thread of its own, while the relay is saturated.",
    normal="0",
    act="it wants more CPU; nothing is lost meanwhile",
)  # fmt: skip
REATTACHMENTS = counter(
    "leasehold_sidecar_reattachments", "kind",
    about="Beacons that were gone and put back",
    meaning="For a moment this holder looked dead. The grace covers it.",
    normal="0; some after an outage of etcd",
    act="often: a longer TTL; versions of etcd that revoke live leases (`leasehold doctor`)",
)  # fmt: skip
LEASE_BELIEF = gauge(
    "leasehold_sidecar_lease_belief_seconds", "kind",
    about="How long the lease may still be believed, of the holder with least",
    meaning="Counted from when a renewal was sent. At 0 nobody knows whether the beacon is still there.",
    normal="between two thirds of the TTL and the TTL",
    act="falling towards 0: etcd cannot be reached, or the loop stalls",
)  # fmt: skip
TIMERS = gauge(
    "leasehold_sidecar_timers",
    about="Beacons that nobody renews",
    meaning="One for each short window and TTL of rules with `held_by: timer`.",
    normal="the TTL divided by the window, for each such TTL",
    act="nothing",
)  # fmt: skip
JOURNAL_PENDING = gauge(
    "leasehold_sidecar_journal_pending",
    about="Operations waiting for etcd",
    meaning="On disk, and made as soon as etcd answers.",
    normal="0 but for moments",
    act="growing: etcd cannot be reached from here",
)  # fmt: skip
JOURNAL_OLDEST = gauge(
    "leasehold_sidecar_journal_oldest_age_seconds",
    about="Age of the oldest pending operation",
    meaning="What was created so long ago is not registered yet. Nothing is lost as long as this pod lives.",
    normal="below 1",
    act="etcd: /readyz of the sidecar says what is the trouble",
)  # fmt: skip
JOURNAL_BYTES = gauge(
    "leasehold_sidecar_journal_bytes",
    about="Size of the journal",
    meaning="Made smaller when most of it is dead.",
    normal="a few MB",
    act="near 256 MiB it is full, and what is created then is unprotected",
)  # fmt: skip
JOURNAL_FULL = gauge(
    "leasehold_sidecar_journal_full",
    about="1 while the journal takes nothing more",
    meaning="Too large, or the disk refuses: what is created now is unprotected. Traffic flows.",
    normal="0",
    act="room on the disk; then etcd, so that it empties",
)  # fmt: skip
JOURNAL_DAMAGE = counter(
    "leasehold_sidecar_journal_damage", "kind",
    about="Journal lines that could not be read",
    meaning="`torn`: the last line, when it was killed. `corrupt`: one in the middle.",
    normal="0; a `torn` one after a kill",
    act="`corrupt`: the disk",
)  # fmt: skip
JOURNAL_FAILURES = counter(
    "leasehold_sidecar_journal_failures",
    about="Writes that the disk refused",
    meaning="What was refused is kept in memory, and written when there is room.",
    normal="0",
    act="room on the disk",
)  # fmt: skip
