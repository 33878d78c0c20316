"""Calls to owners: how they answer, how fast, and whether they are called at all."""

from __future__ import annotations

from leasehold.shell.declaring import counter, gauge, histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

OWNER_CALLS = counter(
    "leasehold_owner_calls", "owner", "verdict",
    about="Sweep calls to owners, by verdict",
    meaning="What followed from the answer: `gone`, `absent`, `replaced`, `pending`, `refused`, `misconfigured`, "
    "`unverifiable`, `wait`, `unknown`.",
    normal="`gone` mostly; `unknown` for a while when an owner is down",
    act="`misconfigured`: credentials, path or method. `absent` for most: is this the right owner? Its sweeps stop",
)  # fmt: skip
OWNER_CALL_SECONDS = histogram(
    "leasehold_owner_call_seconds", "owner", bounds=SECONDS,
    about="How long owners take for a sweep call",
    meaning="A read, where one is configured, and the delete.",
    normal="what a delete takes there",
    act="slow: lower `limits.concurrency` of that owner",
)  # fmt: skip
OWNER_MISCONFIGURED = counter(
    "leasehold_owner_misconfigured", "owner",
    about="Answers that only an operator can mend",
    meaning="400, 401, 403, 405, a redirect, or what gRPC has for these.",
    normal="0",
    act="log `owner_misconfigured` has the answer: credentials, path or method in the owner's document",
)  # fmt: skip
OWNER_STOPPED = gauge(
    "leasehold_owner_stopped", "owner", "state",
    about="The breaker: 1 while an owner is not called, by state",
    meaning="`calling`; `unreachable` and `misconfigured`: one probe now and then; `suspect`: most deletes found "
    "nothing, and it stays so until its document changes or we restart.",
    normal="0 with `calling`",
    act="is it up? The log has its answers. `suspect`: is the endpoint still the right one?",
)  # fmt: skip
OWNER_QUESTIONS = counter(
    "leasehold_owner_questions", "owner", "answer",
    about="Lookups and listing pages asked of owners, by answer",
    meaning="`there`: there was an answer to read; otherwise the verdict.",
    normal="`there` mostly",
    act="log `inventory_failed`, `intent_suspect`",
)  # fmt: skip
OWNER_VERIFICATIONS = counter(
    "leasehold_owner_verifications", "owner", "verdict",
    about="Answers to whether something is in use",
    meaning="Asked before preparing and again before the first call, where the owner offers `verify`.",
    normal="`not-in-use` mostly",
    act="neither `in-use` nor `not-in-use`: the owner cannot say, and everything of it stays; see its log",
)  # fmt: skip
VETOED = counter(
    "leasehold_vetoed", "owner", "step",
    about="Resources kept because their owner said that they are in use",
    meaning="Nobody that we know of holds it, and the owner knows of somebody.",
    normal="rare",
    act="many: a user of that owner has no sidecar, or its calls are not seen (`uninspected_connections_total`)",
)  # fmt: skip
OWNER_NOTICES = counter(
    "leasehold_owner_notices", "owner", "call", "verdict",
    about="Calls that tell owners of condemnations, and of their end",
    meaning="`told`: heard. Anything else is told again.",
    normal="`told`",
    act="log `owner_not_told`",
)  # fmt: skip
