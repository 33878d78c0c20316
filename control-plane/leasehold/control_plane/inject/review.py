"""``AdmissionReview`` v1, in and out. Pure.

A webhook that does not want something answers *allowed* without a patch: a pod is never rejected for our sake. Only
what is no review at all is an error, and what that means for the pod is the ``failurePolicy``'s to say.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leasehold.injection.pod import mapping

API_VERSION = "admission.k8s.io/v1"
MAX_WARNING = 250
"""API servers cut warnings that are longer."""
MAX_WARNINGS = 8


class BadReview(ValueError):
    """Not an AdmissionReview that we can answer. ``str()`` says what was expected."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about."""

    uid: str
    operation: str
    kind: str
    namespace: str
    dry_run: bool
    object: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """Allowed, perhaps with a patch and with words to whoever asked."""

    operations: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = ()
    audit: Mapping[str, str] | None = None


def read_review(body: bytes) -> Question:
    """Raises ``BadReview``."""
    try:
        review = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadReview(f"expected JSON: {error}") from error
    if not isinstance(review, dict) or review.get("kind") != "AdmissionReview":
        raise BadReview("expected kind: AdmissionReview")
    if review.get("apiVersion") != API_VERSION:
        raise BadReview(f"expected apiVersion {API_VERSION}, got {review.get('apiVersion')!r}")
    request = review.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str) or not request["uid"]:
        raise BadReview("expected a request with a uid")
    kind = mapping(request.get("kind"))
    return Question(
        uid=request["uid"],
        operation=str(request.get("operation", "")),
        kind=str(kind.get("kind", "")) if not kind.get("group") else f"{kind.get('group')}/{kind.get('kind')}",
        namespace=str(request.get("namespace") or ""),
        dry_run=bool(request.get("dryRun")),
        object=mapping(request.get("object")),
    )


def write_review(question: Question, answer: Answer) -> dict[str, Any]:
    """The review that answers it."""
    response: dict[str, Any] = {"uid": question.uid, "allowed": True}
    if answer.operations:
        patch = json.dumps(list(answer.operations), separators=(",", ":"), ensure_ascii=False).encode()
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(patch).decode()}
    if answer.warnings:
        response["warnings"] = [f"leasehold: {text}"[:MAX_WARNING] for text in answer.warnings[:MAX_WARNINGS]]
    if answer.audit:
        response["auditAnnotations"] = dict(answer.audit)
    return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}
