"""The admission review: what is nonsense is refused early, in the words of ``leasehold rules check``."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from leasehold.control_plane.kubernetes.kinds import OWNER, RULE, Kind
from leasehold.control_plane.kubernetes.review import BadReview, validate_review
from leasehold.protocol.configuration import BadConfiguration
from leasehold.protocol.rules import load_rules
from tests.unit.control_plane.kubernetes.objects import OWNER_SPEC, RULE_SPEC, changed, thing

NONSENSE: list[tuple[Kind, dict[str, Any]]] = [
    (OWNER, {"hosts": ["a b"], "endpoint": "ftp://x"}),
    (OWNER, {"delete__path": "/v1/blobs"}),
    (OWNER, {"limits__concurrency": 0}),
    (OWNER, {"retries__first": "0s"}),
    (OWNER, {"hosts": None}),
    (OWNER, {"surprise": 1}),
    (RULE, {"match__method": "post", "match__path": "v1"}),
    (RULE, {"match__method": {"a": 1}}),
    (RULE, {"id__json": "[["}),
    (RULE, {"id": {"path": "nowhere"}}),
    (RULE, {"grace": "0s", "id_pattern": "("}),
    (RULE, {"grace": "soon"}),
]


def review(kind: Kind, obj: dict[str, Any] | None, operation: str = "CREATE", **more: Any) -> dict[str, Any]:
    request = {
        "uid": "705ab4f5", "operation": operation, "object": obj,
        "kind": {"group": "leasehold.dev", "version": "v1alpha1", "kind": kind.name}, **more,
    }  # fmt: skip
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def answer(kind: Kind, changes: dict[str, Any], operation: str = "CREATE") -> dict[str, Any]:
    spec = changed(OWNER_SPEC if kind is OWNER else RULE_SPEC, changes)
    said = validate_review(review(kind, thing(kind, "blobs", spec), operation))
    assert (said["apiVersion"], said["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response: dict[str, Any] = said["response"]
    assert response["uid"] == "705ab4f5"
    return response


def words_of_the_file_check(kind: Kind, changes: dict[str, Any]) -> set[str]:
    """What a rule file with the same owner or rule is told, without its places."""
    owners = [{"name": "blobs", **(changed(OWNER_SPEC, changes) if kind is OWNER else OWNER_SPEC)}]
    rules = [{"name": "blobs", **changed(RULE_SPEC, changes)}] if kind is RULE else []
    with pytest.raises(BadConfiguration) as caught:
        load_rules(yaml.safe_dump({"owners": owners, "rules": rules}), "rules.yaml", {})
    return {mistake.problem for mistake in caught.value.mistakes}


@pytest.mark.parametrize("kind", [OWNER, RULE], ids=lambda kind: kind.name)
@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
def test_what_makes_sense_is_allowed(kind: Kind, operation: str) -> None:
    assert answer(kind, {}, operation) == {"uid": "705ab4f5", "allowed": True}


@pytest.mark.parametrize(("kind", "changes"), NONSENSE, ids=lambda value: str(value)[:40])
def test_nonsense_is_refused_with_every_mistake_in_the_words_of_rules_check(
    kind: Kind, changes: dict[str, Any]
) -> None:
    response = answer(kind, changes)
    assert response["allowed"] is False
    assert response["status"]["code"] == 422
    for words in words_of_the_file_check(kind, changes):
        assert words.split("; expected one of")[0] in response["status"]["message"]


def test_places_start_at_the_object() -> None:
    message = answer(RULE, {"match__path": "v1", "grace": "0s"})["status"]["message"]
    assert message.startswith("spec.match.path: ")
    assert "; spec.grace: expected at least 1s" in message


def test_a_rule_whose_owner_is_not_there_yet_is_allowed() -> None:
    assert answer(RULE, {"owner": "later"})["allowed"]


def test_a_deletion_is_never_refused() -> None:
    assert validate_review(review(RULE, None, "DELETE"))["response"]["allowed"]


def test_what_is_on_its_way_out_is_not_held_back_by_its_own_nonsense() -> None:
    obj = thing(RULE, "blobs", {"owner": 7})
    obj["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    assert validate_review(review(RULE, obj, "UPDATE"))["response"]["allowed"]


def test_what_is_none_of_ours_is_allowed_and_said_to_be() -> None:
    it = review(RULE, {})
    it["request"]["kind"] = {"group": "", "version": "v1", "kind": "Pod"}
    response = validate_review(it)["response"]
    assert response["allowed"]
    assert response["warnings"]


@pytest.mark.parametrize("broken", [
    {}, {"apiVersion": "admission.k8s.io/v1", "request": {}}, {"apiVersion": "admission.k8s.io/v1beta1"},
    review(RULE, None),
])  # fmt: skip
def test_what_is_no_review_is_told_so(broken: dict[str, Any]) -> None:
    with pytest.raises(BadReview, match="expected"):
        validate_review(broken)
