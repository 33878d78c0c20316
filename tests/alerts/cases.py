"""For each alert a story in which it must fire, and one, as like it as can be, in which it must not.

Series are written as promtool has them, one value a minute: ``0x10 1x50`` is ten minutes of 0 and fifty of 1, ``_`` a
minute without a value. Both stories of one alert are told over the same time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Series = Mapping[str, str]


@dataclass(frozen=True)
class Story:
    """What is scraped, and at which time one looks. ``labels`` and ``value`` are those of the alert that fires."""

    at: str
    fires: Series
    silent: Series
    labels: Mapping[str, str] = field(default_factory=dict)
    value: str = ""


def plane(name: str, **labels: str) -> str:
    return _series(f"leasehold_{name}", {"namespace": "gc", "pod": "plane-0", **labels})


def other(name: str, **labels: str) -> str:
    return _series(f"leasehold_{name}", {"namespace": "gc", "pod": "plane-1", **labels})


def sidecar(name: str, **labels: str) -> str:
    return _series(f"leasehold_sidecar_{name}", {"namespace": "shop", "pod": "web-1", **labels})


def _series(name: str, labels: Mapping[str, str]) -> str:
    told = ", ".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{told}}}"


LAG_BELOW_1, LAG_BELOW_2_5, LAG_AT_ALL = (
    plane("event_loop_lag_seconds_bucket", le=le) for le in ("1.0", "2.5", "+Inf")
)
PROCESS_BELIEF, SERVICE_BELIEF = (sidecar("lease_belief_seconds", kind=kind) for kind in ("process", "service"))
GC, SHOP = {"namespace": "gc"}, {"namespace": "shop"}
GC_POD, SHOP_POD = {**GC, "pod": "plane-0"}, {**SHOP, "pod": "web-1"}
STORE = {**GC, "owner": "store"}


def level(name: str, at: str, *, normal: float = 0, wrong: float = 1, short: int, labels: Mapping[str, str] = GC,
          value: str = "", **more: str) -> Story:  # fmt: skip
    """A gauge that is wrong for long; silent: wrong for ``short`` minutes only, or never if that is 0."""
    return Story(
        at, {plane(name, **more): f"{wrong:g}x2000"},
        {plane(name, **more): f"{normal:g}x{2000 - short}" if not short else f"{wrong:g}x{short} {normal:g}x2000"},
        labels, value,
    )  # fmt: skip


STORIES: Mapping[str, Story] = {
    "LeaseholdLateReturn": Story(
        "30m", {plane("late_returns_total"): "0x10 1x50"}, {plane("late_returns_total"): "1x60"}, GC_POD
    ),
    # Its first event makes the series: nothing was there before that could have increased.
    "LeaseholdNearMiss": Story(
        "30m",
        {plane("aborted_total", owner="store", reason="held"): "_x20 1x50"},
        {plane("aborted_total", owner="store", reason="refused"): "_x20 1x50"},
        STORE,
    ),
    "LeaseholdBrakeTripped": Story(
        "25m",
        {plane("brake_trips_total", cause="vanished"): "_x20 1x50"},
        {plane("brake_trips_total", cause="vanished"): "_x2 1x90"},
        {**GC, "cause": "vanished"},
    ),
    "LeaseholdCanaryFailed": level("canary_failed", "5m", short=3),
    "LeaseholdEtcdUnsafe": Story(
        "15m",
        {plane("etcd_known_defects", severity="deadly"): "1x60", plane("etcd_known_defects", severity="risky"): "0x60"},
        {plane("etcd_known_defects", severity="deadly"): "0x60", plane("etcd_known_defects", severity="risky"): "3x60"},
        GC,
    ),
    "LeaseholdEtcdRisky": Story(
        "70m",
        {plane("etcd_known_defects", severity="risky"): "2x90"},
        {plane("etcd_known_defects", severity="risky"): "2x30 0x60"},
        GC,
    ),
    "LeaseholdUnreadable": level("unreadable_records", "20m", wrong=3, short=10, value="3"),
    "LeaseholdScanCorrected": Story(
        "30m", {plane("scan_corrections_total"): "0x10 2x50"}, {plane("scan_corrections_total"): "2x60"}, GC_POD
    ),
    "LeaseholdResurrections": Story(
        "50m",
        {plane("revived_total", reason="held"): "0+2x60"},
        {plane("revived_total", reason="held"): "0x10 20x50"},
        GC,
    ),
    "LeaseholdLeakGrowing": Story(
        "10h",
        {plane("orphaned_resources", owner="store", type="blob"): "100+1x900"},
        # Rises and falls, as what is collected does.
        {plane("orphaned_resources", owner="store", type="blob"): " ".join(["100+10x30 400-10x29"] * 15)},
        STORE,
    ),
    "LeaseholdBacklogNotDraining": Story(
        "20m",
        {
            plane("overdue_age_seconds_count", owner="store"): "7x60",
            plane("overdue_age_seconds_bucket", owner="store", le="3600.0"): "3x60",
        },
        {
            plane("overdue_age_seconds_count", owner="store"): "7x60",
            plane("overdue_age_seconds_bucket", owner="store", le="3600.0"): "7x60",
        },
        STORE, "4",
    ),
    "LeaseholdNothingSwept": Story(
        "100m",
        {
            plane("backlog_items", step="prepare"): "0x200",
            plane("cleanup_resources", stage="sent"): "5x200",
            plane("cleanup_resources", stage="quarantined"): "0x200",
            plane("swept_total", owner="store", outcome="gone"): "9x200",
        },
        {
            plane("backlog_items", step="prepare"): "5x200",
            plane("cleanup_resources", stage="sent"): "5x200",
            plane("cleanup_resources", stage="quarantined"): "5x200",
            plane("swept_total", owner="store", outcome="gone"): "_x80 1x100",
        },
        GC,
    ),
    "LeaseholdStopped": Story(
        "20m",
        {plane("armed"): "0x60", other("armed"): "0x60"},
        {plane("armed"): "0x60", other("armed"): "1x60"},
        GC,
    ),
    "LeaseholdWarmUpLong": Story(
        "40m", {plane("warm_up_left_seconds"): "600x60"}, {plane("warm_up_left_seconds"): "30x20 0x60"}, GC
    ),
    "LeaseholdCapWaiting": level(
        "cap_waiting_resources", "70m", wrong=4, short=30, labels=STORE, value="4", owner="store"
    ),
    "LeaseholdShardsFree": Story(
        "10m",
        {plane("shards_free"): "12x60", other("shards_free"): "12x60"},
        # One replica that has not heard yet is no news.
        {plane("shards_free"): "12x60", other("shards_free"): "0x60"},
        GC, "12",
    ),
    "LeaseholdNoControlPlane": Story("15m", {sidecar("degraded"): "0x60"}, {plane("replicas"): "2x60"}),
    "LeaseholdWatchLag": level("watch_lag_seconds", "10m", normal=1, wrong=300, short=3, labels=GC_POD),
    "LeaseholdScanOld": level("scan_age_seconds", "15m", normal=200, wrong=4000, short=5, labels=GC_POD),
    "LeaseholdLoopLag": Story(
        "20m",
        {LAG_BELOW_1: "0+100x60", LAG_BELOW_2_5: "0+110x60", LAG_AT_ALL: "0+110x60"},
        {LAG_BELOW_1: "0+110x60", LAG_BELOW_2_5: "0+110x60", LAG_AT_ALL: "0+110x60"},
        GC_POD,
    ),
    "LeaseholdUnaccounted": level("unaccounted_resources", "70m", wrong=8, short=30, value="8"),
    "LeaseholdQuarantined": Story(
        "30m",
        {plane("quarantined_total", owner="store", reason="refused"): "_x20 1x50"},
        {plane("quarantined_total", owner="store", reason="refused"): "_x0"},
        {**STORE, "reason": "refused"},
    ),
    "LeaseholdQuarantineGrowing": Story(
        "420m",
        {plane("cleanup_resources", stage="quarantined"): "0+0.1x500"},
        {plane("cleanup_resources", stage="quarantined"): "40x500"},
        GC,
    ),
    "LeaseholdOwnerMisconfigured": Story(
        "25m",
        {plane("owner_misconfigured_total", owner="store"): "_x20 1x50"},
        {plane("owner_misconfigured_total", owner="store"): "_x2 1x60"},
        STORE,
    ),
    "LeaseholdOwnerStopped": Story(
        "70m",
        # It changes its mind about why, and is not called all the same.
        {
            plane("owner_stopped", owner="store", state="unreachable"): "1x30 _x60",
            plane("owner_stopped", owner="store", state="misconfigured"): "_x30 1x60",
        },
        {
            plane("owner_stopped", owner="store", state="unreachable"): "1x30 _x60",
            plane("owner_stopped", owner="store", state="calling"): "_x30 0x60",
        },
        STORE,
    ),
    "LeaseholdSuspects": Story(
        "25h",
        {plane("suspects", reason="no-lookup"): "2x1600", plane("suspects", reason="no-id"): "1x1600"},
        {plane("suspects", reason="no-lookup"): "2x600"},
        GC, "3",
    ),
    "LeaseholdInventoryBraked": level(
        "inventory_braked", "70m", short=30, labels={**STORE, "type": "blob"}, owner="store", type="blob"
    ),
    "LeaseholdEtcdAlarm": level("etcd_alarms", "10m", short=3),
    "LeaseholdEtcdDatabaseLarge": level("etcd_database_bytes", "40m", normal=1e9, wrong=1.7e9, short=10),
    "LeaseholdCertificateExpiring": level(
        "webhook_certificate_not_after_seconds", "20m", normal=864000, wrong=200000, short=5
    ),
    "LeaseholdAdmissionFailed": Story(
        "20m",
        {plane("admissions_total", result="too-late"): "0x10 1x50"},
        {plane("admissions_total", result="injected"): "0x10 1x50"},
        {**GC, "result": "too-late"},
    ),
    "LeaseholdAdmissionRefused": Story(
        "20m",
        {plane("admissions_total", result="host-network"): "0x10 1x50"},
        {plane("admissions_total", result="opted-out"): "0x10 1x50"},
        {**GC, "result": "host-network"},
    ),
    "LeaseholdObjectNotAccepted": Story(
        "20m",
        {plane("objects", kind="Owner", accepted="false"): "2x60"},
        {plane("objects", kind="Owner", accepted="true"): "2x60"},
        {**GC, "kind": "Owner"}, "2",
    ),
    "LeaseholdObjectsBehind": level("objects_behind", "20m", short=10),
    "LeaseholdVersionGate": level("version_gate", "10m", short=3, labels=GC_POD),
    "LeaseholdSidecarUnprotected": Story(
        "25m",
        {sidecar("unprotected_creations_total", reason="journal-full"): "_x20 1x50"},
        {sidecar("unprotected_creations_total", reason="journal-full"): "_x2 1x50"},
        {**SHOP, "reason": "journal-full"},
    ),
    "LeaseholdSidecarRenewalsFailing": Story(
        "20m",
        {sidecar("lease_renewals_total", kind="process", result="failed"): "0+1x60"},
        {
            sidecar("lease_renewals_total", kind="process", result="kept"): "0+12x60",
            sidecar("lease_renewals_total", kind="process", result="failed"): "0x15 1x60",
        },
        SHOP_POD,
    ),
    "LeaseholdSidecarBeliefLost": Story(
        "5m",
        {PROCESS_BELIEF: "0x60", SERVICE_BELIEF: "9x60"},
        {PROCESS_BELIEF: "9x60", SERVICE_BELIEF: "9x60"},
        SHOP_POD,
    ),
    "LeaseholdSidecarStalled": Story(
        "20m",
        {sidecar("lease_renewals_late_total", kind="process"): "0+1x60"},
        {sidecar("lease_renewals_late_total", kind="process"): "0x10 1x60"},
        SHOP_POD,
    ),
    "LeaseholdSidecarJournalAging": Story(
        "10m", {sidecar("journal_oldest_age_seconds"): "0+60x60"}, {sidecar("journal_oldest_age_seconds"): "20x60"},
        SHOP_POD,
    ),
    "LeaseholdSidecarJournalFull": Story(
        "10m", {sidecar("journal_full"): "0x5 1x60"}, {sidecar("journal_full"): "1x5 0x60"}, SHOP_POD
    ),
    "LeaseholdSidecarObserverCrashed": Story(
        "30m",
        {sidecar("observer_gave_up_total", reason="crashed"): "_x20 1x50"},
        {sidecar("observer_gave_up_total", reason="framing"): "_x20 1x50"},
        SHOP_POD,
    ),
    "LeaseholdSidecarDegraded": Story(
        "20m", {sidecar("degraded"): "1x60"}, {sidecar("degraded"): "1x10 0x60"}, SHOP_POD
    ),
    "LeaseholdSidecarUnusableCalls": Story(
        "50m",
        {sidecar("unusable_calls_total", rule="make", reason="no-id"): "0+1x60"},
        {sidecar("unusable_calls_total", rule="make", reason="aborted"): "0+1x60"},
        {**SHOP, "rule": "make"},
    ),
}  # fmt: skip
