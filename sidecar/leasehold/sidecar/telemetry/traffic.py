"""Connections and calls: what is relayed, what is read along, what is held back."""

from __future__ import annotations

from leasehold.shell.declaring import counter, gauge, histogram

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)

CONNECTIONS = gauge(
    "leasehold_sidecar_connections",
    about="Connections that are open",
    meaning="Of all ways in. Looked at once a second.",
    normal="follows your traffic, below `limits.connections`",
    act="at the limit: new ones are reset; raise it, or see who does not close",
)  # fmt: skip
CONNECTIONS_OPENED = counter(
    "leasehold_sidecar_connections_opened",
    about="Connections accepted",
    meaning="Refused ones are not in it.",
    normal="follows your traffic; far fewer than calls, where clients keep connections",
    act="as many as calls: the client does not keep connections",
)  # fmt: skip
CONNECTIONS_CLOSED = counter(
    "leasehold_sidecar_connections_closed",
    about="Connections that ended",
    meaning="However they did.",
    normal="as many as were opened, later",
    act="nothing",
)  # fmt: skip
REFUSED_CONNECTIONS = counter(
    "leasehold_sidecar_refused_connections", "reason",
    about="Accepted and reset at once",
    meaning="`limit`: too many are open. `loop`: it would have called itself. `not-redirected`: nobody knows where to.",
    normal="0",
    act="`limit`: raise `limits.connections`. The others: docs/capture.md",
)  # fmt: skip
CONNECT_FAILURES = counter(
    "leasehold_sidecar_connect_failures", "reason",
    about="Owners that could not be reached",
    meaning="`refused`, `deadline`, `unreachable` or `tls`; the app sees what it would see without us.",
    normal="0 while owners are up",
    act="`tls`: the certificates of that capture. Otherwise the owner, or the network",
)  # fmt: skip
OBSERVER_GAVE_UP = counter(
    "leasehold_sidecar_observer_gave_up", "reason",
    about="HTTP that turned into a plain relay",
    meaning="The observer could not follow; the bytes went on as they came, and what that connection creates from here "
    "on is not seen. `crashed` is a mistake of ours.",
    normal="0",
    act="`crashed`: the log has the trace, report it. Others: a client or owner that bends HTTP; the reason says how",
)  # fmt: skip
UNINSPECTED = counter(
    "leasehold_sidecar_uninspected_connections", "reason",
    about="Relayed blind on purpose",
    meaning="`tls`, `not-http`, `server-first`, `upgrade`, `connect`, `http2`: what cannot be read along.",
    normal="0 for owners whose calls matter",
    act="docs/capture.md, what cannot be seen: let the sidecar speak TLS to the owner",
)  # fmt: skip
MATCHED_CALLS = counter(
    "leasehold_sidecar_matched_calls", "rule",
    about="Calls that a rule matched",
    meaning="By request and status; an id is looked for afterwards.",
    normal="follows your traffic",
    act="0 for a rule that should match: `leasehold rules test`",
)  # fmt: skip
UNUSABLE_CALLS = counter(
    "leasehold_sidecar_unusable_calls", "rule", "reason",
    about="Matched, but without a usable id",
    meaning="What it created is not registered; `aborted` is a call that broke off.",
    normal="0, but for `aborted`",
    act="the rule does not fit the owner's answer: `leasehold rules test` with a captured call",
)  # fmt: skip
HOLD_SECONDS = histogram(
    "leasehold_sidecar_hold_seconds", "direction", bounds=SECONDS,
    about="How long bytes were kept back",
    meaning="What we add to a matched call: `request` with `commit: before-request`, else `response`.",
    normal="a round trip to etcd: milliseconds",
    act="etcd is slow or far; `commit: background` where registering may come later",
)  # fmt: skip
HOLD_DEADLINES = counter(
    "leasehold_sidecar_hold_deadlines_passed", "rule",
    about="Holds that ended unregistered",
    meaning="The rule's `hold_deadline` came first; `on_unavailable` decided.",
    normal="0 while etcd is there",
    act="etcd; or a longer `hold_deadline`",
)  # fmt: skip
HOLDS_RELEASED_EARLY = counter(
    "leasehold_sidecar_holds_released_early", "direction",
    about="Holds that the memory cap ended",
    meaning="All that is held together had become too much (`limits.held_bytes`).",
    normal="0",
    act="large bodies on matched calls: raise the limit, or `commit: background`",
)  # fmt: skip
HELD_BYTES = gauge(
    "leasehold_sidecar_held_bytes",
    about="Bytes kept back, of all connections together",
    meaning="Looked at once a second.",
    normal="small, and 0 in between",
    act="near `limits.held_bytes`: see `leasehold_sidecar_hold_seconds`",
)  # fmt: skip
REJECTED_CALLS = counter(
    "leasehold_sidecar_rejected_calls", "rule",
    about="Answered 503 before they left",
    meaning="`on_unavailable: reject`, and what it would have created could not be recorded in time.",
    normal="0 while etcd is there",
    act="etcd; or `on_unavailable: forward`",
)  # fmt: skip
IDEMPOTENCY_KEYS = counter(
    "leasehold_sidecar_idempotency_keys", "rule", "outcome",
    about="Requests whose rule wants one",
    meaning="`inserted` by us, `from-app`, or why there is none.",
    normal="`inserted` and `from-app`",
    act="anything else: docs/rules.md, idempotency keys",
)  # fmt: skip
