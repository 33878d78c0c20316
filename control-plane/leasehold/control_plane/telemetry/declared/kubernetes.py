"""Only in a cluster: the webhooks, and owners and rules as objects."""

from __future__ import annotations

from leasehold.shell.declaring import counter, gauge, histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

ADMISSIONS = counter(
    "leasehold_admissions", "result",
    about="Pods the webhook was asked about, by what became of them",
    meaning="`injected`, or why not.",
    normal="`injected`, and `not-asked` for the others",
    act="log `pod_left_alone`, `review_failed`",
)  # fmt: skip
VALIDATIONS = counter(
    "leasehold_validations", "result",
    about="Owners and rules the webhook was asked about, by what became of them",
    meaning="`allowed`, `denied`, or what was wrong with the question.",
    normal="`allowed`",
    act="`denied` tells whoever applied it why",
)  # fmt: skip
ADMISSION_SECONDS = histogram(
    "leasehold_admission_seconds", bounds=SECONDS,
    about="How long the webhook takes for an answer",
    meaning="The API server waits for it with every new pod.",
    normal="below 0.1",
    act="slow: the API server is asked for the namespace's labels; is it slow?",
)  # fmt: skip
CERTIFICATE = gauge(
    "leasehold_webhook_certificate_not_after_seconds",
    about="When the webhook's certificate ends, in Unix time",
    meaning="Replaced long before, by us or by cert-manager.",
    normal="days ahead",
    act="not replaced: /readyz of the control plane says why, under notes",
    only="the webhook is served",
)  # fmt: skip
OBJECTS = gauge(
    "leasehold_objects", "kind", "accepted",
    about="Owners and rules as objects, by whether they are accepted",
    meaning="One that is not accepted leaves the last good version in force.",
    normal="`false`: 0",
    act="kubectl get owners,interceptionrules -o wide",
    only="`kubernetes: {objects: true}`",
)  # fmt: skip
OBJECTS_BEHIND = gauge(
    "leasehold_objects_behind",
    about="1 while etcd may not say what the objects say",
    meaning="The API server cannot be reached, or refuses.",
    normal="0",
    act="/readyz of the control plane says why, under notes",
    only="`kubernetes: {objects: true}`",
)  # fmt: skip
