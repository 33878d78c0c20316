"""What stops cleaning up, and for how long: brake, warm-up, caps, canary."""

from __future__ import annotations

from leasehold.shell.declaring import counter, gauge

ARMED = gauge(
    "leasehold_armed",
    about="1 while collecting is allowed",
    meaning="0: `control/armed` is missing, etcd is not what it was, or it has not been read yet.",
    normal="1",
    act="`leasehold status` and /readyz say why; `leasehold brake arm` when that is understood",
)  # fmt: skip
BRAKE_TRIPS = counter(
    "leasehold_brake_trips", "cause",
    about="How often this replica tripped the brake, by cause",
    meaning="`vanished`: too much lost its holders at once. `lost`: keys went without a transaction of ours. "
    "`rewound`: etcd is an older one. `canary`: the guards do not guard.",
    normal="0",
    act="docs/operations.md, the brake: what each cause means and what arms again",
)  # fmt: skip
BRAKE_ARMS = counter(
    "leasehold_brake_arms", "why",
    about="How often this replica armed the brake, by why",
    meaning="`returned`: of what had vanished, enough is held again.",
    normal="0",
    act="nothing: it mended itself. Look for what was away",
)  # fmt: skip
REWINDS = counter(
    "leasehold_rewinds",
    about="How often etcd's past was another",
    meaning="A snapshot was restored, or the store was wiped, under a running control plane.",
    normal="0",
    act="arm again when all sidecars are attached; what was registered since the snapshot is registered anew by them",
)  # fmt: skip
WINDOW_HOLDERS = gauge(
    "leasehold_window_holders",
    about="Holders that vanished within the brake's window",
    meaning="Without a reported death.",
    normal="0, or a few",
    act="see `leasehold_window_carried_resources`",
)  # fmt: skip
WINDOW_CARRIED = gauge(
    "leasehold_window_carried_resources",
    about="Resources that only those hold",
    meaning="Above `brake.count` and above `brake.fraction` of the live ones it trips.",
    normal="far below both",
    act="near them: what is vanishing? A zone, a network, a deployment without its sidecars' reports",
)  # fmt: skip
WINDOW_LIVE = gauge(
    "leasehold_window_live_resources",
    about="Resources that were live before",
    meaning="What the fraction is taken of; as the control plane that keeps the window noted it last.",
    normal="about the `held` of `leasehold_resources`",
    act="nothing",
)  # fmt: skip
WINDOW_LOST = gauge(
    "leasehold_window_lost_resources",
    about="Resources that keys went of without a transaction of ours",
    meaning="Somebody deletes keys in etcd.",
    normal="0",
    act="find out who; above `brake.losses` it trips",
)  # fmt: skip
WARM_UP_LEFT = gauge(
    "leasehold_warm_up_left_seconds",
    about="Until when nothing is prepared",
    meaning="After a gap whoever may return gets 1.5 times its TTL to do so. `+Inf` while the gap lasts.",
    normal="0; after a start up to 1.5 times the longest TTL",
    act="again and again: gaps in the watch; `leasehold_warm_ups_total`, `leasehold_watch_lag_seconds`",
)  # fmt: skip
WARM_UPS = counter(
    "leasehold_warm_ups", "reason",
    about="Warm-ups begun, by reason",
    meaning="`gap`: something may have been missed. `shards`: shards were gained.",
    normal="with starts and rollouts of control planes only",
    act="`gap` otherwise: etcd's elections, compactions, or a network that stalls",
)  # fmt: skip
CAP_REACHED = counter(
    "leasehold_cap_reached", "cap",
    about="How often a cap on prepares was reached",
    meaning="`overall`, or the owner's name.",
    normal="0",
    act="a large clean-up takes its time on purpose; `caps` in the configuration if that is too slow",
)  # fmt: skip
CAP_WAITING = gauge(
    "leasehold_cap_waiting_resources", "owner",
    about="Wait for a cap on prepares",
    meaning="Proven unheld, and their turn comes later.",
    normal="0",
    act="as for `leasehold_cap_reached_total`",
)  # fmt: skip
CANARIES = counter(
    "leasehold_canaries", "outcome",
    about="Self-tests, by how they ended",
    meaning="`passed`, `failed`, or `not-tested` while etcd could not be asked.",
    normal="`passed` grows by one a minute, over all replicas",
    act="`failed`: log `canary_failed`",
)  # fmt: skip
CANARY_FAILED = gauge(
    "leasehold_canary_failed",
    about="1 after a self-test that failed",
    meaning="What is held would have been condemned (then the brake is on), or what is abandoned would not.",
    normal="0",
    act="do not arm; `leasehold status` tells what was wrong: report it",
)  # fmt: skip
VERSION_GATE = gauge(
    "leasehold_version_gate",
    about="1 while we do not understand this tenant's keys",
    meaning="A newer version has been at work here; this replica keeps out.",
    normal="0",
    act="upgrade this control plane",
)  # fmt: skip
CLUSTER_DISTRUSTED = gauge(
    "leasehold_cluster_distrusted",
    about="1 while etcd is not what it was",
    meaning="Another cluster than the pinned one, a rewound one, or one whose pin is missing.",
    normal="0",
    act="wrong endpoint? Restored? docs/operations.md, the brake",
)  # fmt: skip
