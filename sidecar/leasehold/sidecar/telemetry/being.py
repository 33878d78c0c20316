"""How the sidecar itself is: its rules, its host, its event loop."""

from __future__ import annotations

from leasehold.shell.declaring import counter, gauge, histogram
from leasehold.sidecar.telemetry.traffic import SECONDS

DEGRADED = gauge(
    "leasehold_sidecar_degraded",
    about="1 while what is created may not be registered at once",
    meaning="Any reason that /readyz gives. Traffic flows all the same.",
    normal="0",
    act="/readyz of the sidecar says why",
)  # fmt: skip
HOST_ALIVE = gauge(
    "leasehold_sidecar_host_alive",
    about="1 while there is somebody to hold for",
    meaning="The process, or the probe, that this sidecar speaks for.",
    normal="1",
    act="0 for long: is `host` right? What is created meanwhile is unprotected",
)  # fmt: skip
RULES = gauge(
    "leasehold_sidecar_rules",
    about="Rules in use",
    meaning="Without rules nothing is observed.",
    normal="as many as were applied, the same everywhere",
    act="0: `leasehold apply`; fewer than elsewhere: `leasehold_sidecar_rules_skipped_total`",
)  # fmt: skip
RULES_SKIPPED = counter(
    "leasehold_sidecar_rules_skipped", "kind",
    about="Rule documents in etcd that were passed over",
    meaning="The last good version of each stays in use.",
    normal="0",
    act="`leasehold rules check`; the log says what is wrong",
)  # fmt: skip
LOOP_LAG = histogram(
    "leasehold_sidecar_event_loop_lag_seconds", bounds=SECONDS,
    about="How late the event loop was",
    meaning="Looked at four times a second.",
    normal="below 0.05",
    act="give the sidecar CPU",
)  # fmt: skip
BUILD = gauge(
    "leasehold_sidecar_build_info", "version",
    about="1; the version is in the label",
    meaning="Which version this sidecar runs.",
    normal="one version, but for rollouts",
    act="nothing",
)  # fmt: skip
