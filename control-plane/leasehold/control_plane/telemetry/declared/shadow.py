"""The shadow report: what rules that only observe would have done."""

from __future__ import annotations

from leasehold.shell.declaring import gauge

SHADOW_WOULD_DELETE = gauge(
    "leasehold_shadow_would_delete", "rule",
    about="Would have been deleted, had the rule been allowed to",
    meaning="After a whole grace, not counting time under the brake or a warm-up.",
    normal="follows how programs end",
    act="`leasehold shadow`, before the rule's `mode` is raised",
)  # fmt: skip
SHADOW_WRONG = gauge(
    "leasehold_shadow_wrong", "rule",
    about="Of those, needed by somebody afterwards",
    meaning="Each is a mistake that was not made because the rule only observes.",
    normal="0",
    act="do not let this rule sweep: `leasehold shadow` shows by whom, and after how long",
)  # fmt: skip
SHADOW_BY_APP = gauge(
    "leasehold_shadow_by_app", "rule",
    about="Of those, deleted by their app itself",
    meaning="It would have been right, and was not needed.",
    normal="any",
    act="nothing",
)  # fmt: skip
SHADOW_UNHELD = gauge(
    "leasehold_shadow_unheld", "rule",
    about="Of those, missed by nobody yet",
    meaning="What sweeping would gain.",
    normal="any",
    act="nothing",
)  # fmt: skip
