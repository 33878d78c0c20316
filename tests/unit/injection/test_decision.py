"""Who is injected and who is left alone: the pod's word beats its namespace's, and some are never touched."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from leasehold.injection.decision import Refusal
from leasehold.injection.injecting import Injection, inject
from leasehold.injection.pod import Namespace, Pod
from tests.unit.injection.pods import ENABLED, OWNERS, injected, pod, settings


def code(it: Pod, **more: Any) -> str:
    found = inject(it, settings(**more), OWNERS)
    return found.code if isinstance(found, Refusal) else "injected"


def labelled(name: str, namespace: Mapping[str, str], where: str = "shop", **labels: str) -> Pod:
    document: Any = copy.deepcopy(pod(name).document)
    document["metadata"]["labels"] |= {f"leasehold.dev/{key}": value for key, value in labels.items()}
    return Pod(document, Namespace(where, namespace))


@pytest.mark.parametrize(
    ("namespace", "label", "expected"),
    [
        ({}, None, "not-selected"),
        ({"leasehold.dev/injection": "disabled"}, None, "not-selected"),
        (ENABLED, None, "injected"),
        ({}, "true", "injected"),
        (ENABLED, "false", "opted-out"),
        (ENABLED, "yes", "bad-label"),
    ],
)
def test_the_pods_label_beats_its_namespaces(namespace: Mapping[str, str], label: str | None, expected: str) -> None:
    assert code(labelled("deployment", namespace, **({"inject": label} if label else {}))) == expected


@pytest.mark.parametrize("where", ["kube-system", "kube-public", "leasehold-system"])
def test_some_namespaces_are_never_touched_even_when_asked(where: str) -> None:
    assert code(labelled("deployment", ENABLED, where, inject="true")) == "protected-namespace"


def test_a_revision_injects_only_what_is_its_own() -> None:
    canary = {**ENABLED, "leasehold.dev/revision": "canary"}
    assert code(labelled("deployment", canary)) == "other-revision"
    assert code(labelled("deployment", canary), revision="canary") == "injected"
    assert code(labelled("deployment", ENABLED), revision="canary") == "other-revision"
    assert code(labelled("deployment", canary, revision="default")) == "injected"


@pytest.mark.parametrize(("level", "expected"), [("privileged", "injected"), ("baseline", "pod-security"),
                                                 ("restricted", "pod-security")])  # fmt: skip
def test_a_redirect_that_pod_security_would_reject_is_not_even_tried(level: str, expected: str) -> None:
    labels = {**ENABLED, "pod-security.kubernetes.io/enforce": level}
    assert code(labelled("deployment", labels)) == expected
    assert code(pod("forward-proxy", labels)) == "injected"


def test_a_user_or_group_of_the_sidecars_is_a_clash_wherever_it_is_said() -> None:
    for section in ({"runAsUser": 15015}, {"runAsGroup": 15015}):
        document: Any = copy.deepcopy(pod("deployment").document)
        document["spec"]["securityContext"] = section
        assert code(Pod(document, Namespace("shop", ENABLED))) == "uid-clash"
        document["spec"]["containers"][0]["securityContext"] = dict.fromkeys(section, 1000)
        assert code(Pod(document, Namespace("shop", ENABLED))) == "injected", "the container's own word counts"
    document["spec"]["securityContext"] = {"fsGroup": 15015, "supplementalGroups": [15015]}
    assert code(Pod(document, Namespace("shop", ENABLED))) == "injected", "sockets have the primary group only"


def test_a_status_annotation_that_was_copied_along_is_no_sidecar() -> None:
    document: Any = copy.deepcopy(pod("deployment").document)
    document["metadata"]["annotations"] = dict(injected("deployment").annotations)
    assert code(Pod(document, Namespace("shop", ENABLED))) == "injected"


def test_every_mistake_in_the_annotations_is_told_at_once() -> None:
    found = inject(pod("bad-annotation"), settings(), OWNERS)
    assert isinstance(found, Refusal)
    assert "leasehold.dev/ttl: expected a duration" in found.reason
    assert "leasehold.dev/tll: not one of ours" in found.reason


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        ("patch", "no", "expected JSON"), ("patch", "[1]", "expected a list of operations"),
        ("patch", '[{"op": "remove", "path": "/name"}]', "its name left alone"),
        ("patch", '[{"op": "remove", "path": "/nowhere"}]', "cannot be applied"),
        ("rules", "rules: 7", "expected"), ("rules", "rules: [", "expected YAML"),
        ("rules", "owners: [{name: s, hosts: ['${X}'], endpoint: 'http://s'}]", "expected no ${...}"),
        ("host-probe", "http:0/", "expected http:8080/path"), ("host-probe", "tcp:80/x", "expected http:8080/path"),
        ("memory-limit", "much", "expected a quantity"), ("native-sidecar", "yes", "expected one of true, false"),
        ("service", "a/b", "expected 1 to 128"), ("capture", "magic", "expected one of transparent"),
        ("service-ttl", "1s", "expected 2s to 1d"), ("log-level", "loud", "expected one of"), ("image", "", "an image"),
    ],
)  # fmt: skip
def test_a_bad_annotation_leaves_the_pod_as_it_was_and_says_what_was_expected(
    annotation: str, value: str, expected: str
) -> None:
    document: Any = copy.deepcopy(pod("deployment").document)
    document["metadata"]["annotations"] = {f"leasehold.dev/{annotation}": value}
    found = inject(Pod(document, Namespace("shop", ENABLED)), settings(), OWNERS)
    assert isinstance(found, Refusal)
    assert found.code == "bad-annotation"
    assert expected in found.reason


@pytest.mark.parametrize("junk", [{}, {"spec": None}, {"spec": {"containers": "x"}}, {"metadata": [], "spec": []}])
def test_what_is_hardly_a_pod_is_refused_and_never_an_accident(junk: Any) -> None:
    assert code(Pod(junk, Namespace("shop", ENABLED))) in {"no-app-container", "unusable-pod"}


def test_a_pod_without_any_metadata_can_be_injected() -> None:
    bare = Pod({"spec": {"containers": [{"name": "app"}]}}, Namespace("shop", ENABLED))
    assert code(bare) == "no-service-name"
    named = Pod({"metadata": {"name": "x"}, "spec": {"containers": [{"name": "app"}]}}, Namespace("shop", ENABLED))
    assert isinstance(inject(named, settings(), OWNERS), Injection)
