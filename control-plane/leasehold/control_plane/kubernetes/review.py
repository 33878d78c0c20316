"""The admission review of our objects: an ``AdmissionReview`` in, one with the answer out. Pure.

It only looks at the object by itself, since objects come in any order: whether a rule's owner is there and fits is for
the controller to say, in the object's status. What is refused here is what would be refused there in any case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leasehold.control_plane.kubernetes.kinds import GROUP, KINDS, Kind, declared, written
from leasehold.protocol.errors import LeaseholdError

_API_VERSION = "admission.k8s.io/v1"


class BadReview(LeaseholdError):
    """Not an AdmissionReview of ``admission.k8s.io/v1``. Whoever sent it is told so; a retry does not help."""


def validate_review(review: Mapping[str, Any]) -> dict[str, Any]:
    """Allowed, or denied with every mistake, in the words of ``leasehold rules check``. Raises ``BadReview``.

    What is none of our kinds is allowed, with a warning: this webhook should not have been asked.
    """
    request = review.get("request")
    if review.get("apiVersion") != _API_VERSION or not isinstance(request, dict) or not request.get("uid"):
        raise BadReview(f"expected an AdmissionReview of {_API_VERSION} with a request and its uid")
    answer: dict[str, Any] = {"uid": request["uid"], "allowed": True}
    kind = _kind(request)
    if kind is None:
        answer["warnings"] = ["leasehold: not one of its kinds: allowed without a look"]
    elif request.get("operation") in {"CREATE", "UPDATE"} and (problems := _problems(kind, request)):
        answer["allowed"] = False
        answer["status"] = {"code": 422, "reason": "Invalid", "message": written(problems)}
    return {"apiVersion": _API_VERSION, "kind": "AdmissionReview", "response": answer}


def _kind(request: Mapping[str, Any]) -> Kind | None:
    named = request.get("kind")
    if not isinstance(named, dict) or named.get("group") != GROUP:
        return None
    return next((kind for kind in KINDS if kind.name == named.get("kind")), None)


def _problems(kind: Kind, request: Mapping[str, Any]) -> tuple[str, ...]:
    thing = request.get("object")
    if not isinstance(thing, dict):
        raise BadReview("expected the object beside the operation")
    metadata = thing.get("metadata")
    if isinstance(metadata, dict) and "name" not in metadata and metadata.get("generateName"):
        return ("metadata.generateName: expected a name: rules name their owner by it",)
    if isinstance(metadata, dict) and metadata.get("deletionTimestamp"):
        return ()  # it is on its way out: nothing may stand in its way
    return declared(kind, thing).problems
