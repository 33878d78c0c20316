"""What the chart would apply: valid by Kubernetes' own schemas, restricted, and no more than what is needed."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from leasehold.protocol.etcd.known_bad import defects_of, parse_version
from tests.helm.chart import (
    CHART,
    EXTERNAL,
    NAMESPACE,
    PLAIN,
    SETS,
    helm,
    notes,
    of_kind,
    one,
    pod_specs,
    refused,
    rendered,
    text,
)

KUBERNETES = ("1.29", "1.37")
OF_OTHERS = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "Certificate", "Issuer"}
"""Kinds of operators that are not Kubernetes': no schema of theirs is here."""
each_set = pytest.mark.parametrize("name", SETS)


@each_set
def test_helm_lint_has_nothing_to_say(name: str) -> None:
    done = helm("lint", "--strict", str(CHART), *SETS[name])
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


@cache  # many objects are the same in several sets
def valid(version: str, thing: str) -> None:
    kubernetes_validate.validate(json.loads(thing), version, strict=True)


@each_set
@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_valid_by_kubernetes_own_schemas(name: str, version: str) -> None:
    checked = 0
    for thing in rendered(name):
        if thing["kind"] not in OF_OTHERS:
            valid(version, json.dumps(thing, sort_keys=True))
            checked += 1
    assert checked > 5


@each_set
def test_every_object_has_its_labels_and_stands_once(name: str) -> None:
    seen = set()
    for thing in rendered(name):
        metadata = thing["metadata"]
        assert metadata["labels"]["app.kubernetes.io/part-of"] == "leasehold"
        place = (thing["kind"], metadata.get("namespace"), metadata["name"])
        assert place not in seen
        seen.add(place)
        assert metadata.get("namespace", NAMESPACE) == NAMESPACE


@each_set
def test_every_pod_meets_the_restricted_pod_security_standard(name: str) -> None:
    for pod, spec in pod_specs(rendered(name)):
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, pod
        assert security["runAsUser"] > 0, pod
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, pod
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), pod
        for volume in spec.get("volumes", []):
            assert {"configMap", "secret", "projected", "emptyDir"} & volume.keys(), pod
        for container in spec["containers"]:
            inner = container["securityContext"]
            assert inner["allowPrivilegeEscalation"] is False, pod
            assert inner["capabilities"] == {"drop": ["ALL"]}, pod
            assert inner["readOnlyRootFilesystem"] is True, pod
            assert container["resources"]["requests"], pod
            assert container["resources"]["limits"]["memory"], pod


@each_set
def test_no_image_floats(name: str) -> None:
    for _, spec in pod_specs(rendered(name)):
        for container in spec["containers"]:
            assert re.search(r"(:v?\d+\.\d+\.\d+|@sha256:[0-9a-f]{64})$", container["image"]), container["image"]


@pytest.mark.parametrize("members", [1, 3])
def test_the_pinned_etcd_has_no_defect_that_is_known_to_matter(members: int) -> None:
    tag = yaml.safe_load((CHART / "values.yaml").read_text())["images"]["etcd"]["tag"]
    version = parse_version(tag)
    assert version is not None
    assert defects_of(version, members) == []


@each_set
def test_every_mount_has_its_volume_and_every_selector_its_pods(name: str) -> None:
    things = rendered(name)
    for pod, spec in pod_specs(things):
        claims = {
            claim["metadata"]["name"]
            for thing in of_kind(things, "StatefulSet", pod)
            for claim in thing["spec"]["volumeClaimTemplates"]
        }
        volumes = {volume["name"] for volume in spec.get("volumes", [])} | claims
        mounts = [mount for container in spec["containers"] for mount in container.get("volumeMounts", [])]
        assert {mount["name"] for mount in mounts} == volumes, pod
        paths = [mount["mountPath"] for mount in mounts]
        # A folder cannot be made within what is mounted read-only.
        assert not [inner for inner in paths for outer in paths if inner != outer and inner.startswith(outer + "/")]
    labels = [
        thing["spec"]["template"]["metadata"]["labels"]
        for thing in things
        if thing["kind"] in {"Deployment", "StatefulSet"}
    ]
    selectors = [thing["spec"]["selector"] for thing in of_kind(things, "Service")]
    selectors += [thing["spec"]["selector"]["matchLabels"] for thing in of_kind(things, "PodDisruptionBudget")]
    selectors += [thing["spec"]["podSelector"]["matchLabels"] for thing in of_kind(things, "NetworkPolicy")]
    for selector in selectors:
        assert sum(selector.items() <= each.items() for each in labels) == 1, selector


@each_set
def test_ports_are_called_by_names_that_exist(name: str) -> None:
    things = rendered(name)
    for thing in of_kind(things, "Service"):
        selector = thing["spec"]["selector"].items()
        [template] = [
            each["spec"]["template"] for each in things
            if each["kind"] in {"Deployment", "StatefulSet"}
            and selector <= each["spec"]["template"]["metadata"]["labels"].items()
        ]  # fmt: skip
        known = {port["name"] for container in template["spec"]["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in thing["spec"]["ports"]} <= known


def test_replicas_keep_apart_and_are_not_all_taken_away() -> None:
    things = rendered("ha")
    control_plane = one(things, "Deployment", "leasehold-control-plane")
    spec = control_plane["spec"]["template"]["spec"]
    assert control_plane["spec"]["replicas"] == 3
    [term] = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert spec["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "DoNotSchedule"
    assert one(things, "PodDisruptionBudget", "leasehold-control-plane")["spec"]["maxUnavailable"] == 1
    # With as many nodes as replicas, one has to go before another can come.
    assert control_plane["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 1


def test_a_lone_replica_has_no_budget_that_could_hold_up_a_drain() -> None:
    things = rendered("nothing-but-collecting")
    assert not of_kind(things, "PodDisruptionBudget")
    assert one(things, "Deployment")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_the_control_plane_may_do_what_it_needs_and_nothing_else() -> None:
    things = rendered("bundled")
    rules = one(things, "ClusterRole")["rules"] + one(things, "Role")["rules"]
    assert not [rule for rule in rules if "*" in rule["verbs"] + rule["resources"] + rule["apiGroups"]]
    assert not [rule for rule in rules if {"delete", "deletecollection", "bind", "escalate"} & set(rule["verbs"])]
    may = {(resource, verb): rule for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    assert ("owners", "patch") not in may
    assert ("owners/status", "patch") in may
    for (resource, verb), rule in may.items():
        if resource == "namespaces":
            assert verb == "get"
        if resource in {"secrets", "mutatingwebhookconfigurations", "validatingwebhookconfigurations"}:
            assert rule["resourceNames"], (resource, verb)
    assert not [verb for _, verb in may if verb == "create"], "the chart makes what is written into"
    secret = one(things, "Secret")
    assert ("data" in secret, [secret["metadata"]["name"]]) == (False, may["secrets", "update"]["resourceNames"])


def roles(name: str) -> set[str]:
    """Which resources it may touch at all."""
    things = rendered(name)
    found = [*of_kind(things, "ClusterRole"), *of_kind(things, "Role")]
    return {resource.split("/")[0] for role in found for rule in role["rules"] for resource in rule["resources"]}


@pytest.mark.parametrize(("name", "may"), [
    ("nothing-but-collecting", set()),
    ("asks-nobody", set()),
    ("cert-manager", {"owners", "interceptionrules", "namespaces"}),
    ("provided-certificates", {"owners", "interceptionrules", "namespaces"}),
])  # fmt: skip
def test_without_need_there_are_no_roles_and_no_token(name: str, may: set[str]) -> None:
    things = rendered(name)
    assert roles(name) == may
    assert bool(of_kind(things, "ClusterRole")) == bool(may)
    assert one(things, "Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is bool(may)
    assert not of_kind(things, "Secret"), "certificates of others are theirs to keep"


def test_the_control_plane_never_uses_the_proxy_and_sidecars_only_it() -> None:
    for name in ("ha", "bundled-cluster-with-proxy"):
        config = yaml.safe_load(
            one(rendered(name), "ConfigMap", "leasehold-control-plane")["data"]["control-plane.yaml"]
        )
        assert not any("proxy" in endpoint for endpoint in config["etcd"]["endpoints"])
        assert config["inject"]["etcd"]["endpoints"] == [f"http://leasehold-etcd-proxy.{NAMESPACE}.svc:2379"]


def test_members_of_the_bundled_etcd_know_each_other_from_the_start() -> None:
    stateful = one(rendered("bundled-cluster-with-proxy"), "StatefulSet")
    environment = {
        each["name"]: each.get("value") for each in stateful["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    members = environment["ETCD_INITIAL_CLUSTER"].split(",")
    assert [member.split("=")[0] for member in members] == [f"leasehold-etcd-{n}" for n in range(3)]
    service = stateful["spec"]["serviceName"]
    assert members[0].split("=")[1] == f"http://leasehold-etcd-0.{service}.{NAMESPACE}.svc:2380"
    peers = one(rendered("bundled-cluster-with-proxy"), "Service", service)
    assert peers["spec"]["publishNotReadyAddresses"] is True


# --- webhooks -----------------------------------------------------------------------------------------------------


def webhooks(name: str) -> list[dict[str, Any]]:
    things = rendered(name)
    found = [*of_kind(things, "MutatingWebhookConfiguration"), *of_kind(things, "ValidatingWebhookConfiguration")]
    return [webhook for thing in found for webhook in thing["webhooks"]]


def test_by_default_no_pod_waits_for_a_webhook_that_is_not_there() -> None:
    assert {webhook["failurePolicy"] for webhook in webhooks("bundled")} == {"Ignore"}
    assert {webhook["failurePolicy"] for webhook in webhooks("ha")} == {"Fail"}


@pytest.mark.parametrize("name", ["bundled", "canary", "ha"])
def test_no_webhook_can_keep_the_cluster_or_ourselves_from_starting(name: str) -> None:
    for webhook in webhooks(name):
        if webhook["clientConfig"]["service"]["path"] == "/v1/inject":
            [protected] = [
                each["values"] for each in webhook["namespaceSelector"]["matchExpressions"]
                if each["key"] == "kubernetes.io/metadata.name" and each["operator"] == "NotIn"
            ]  # fmt: skip
            assert {"kube-system", NAMESPACE} <= set(protected)
            assert webhook["rules"][0]["operations"] == ["CREATE"]
        assert webhook["sideEffects"] == "None"
        assert webhook["timeoutSeconds"] <= 10


def matches(expressions: list[dict[str, Any]], labels: dict[str, str]) -> bool:
    for each in expressions:
        if each["operator"] == "DoesNotExist":
            if each["key"] in labels:
                return False
            continue
        inside = labels.get(each["key"]) in each["values"]
        if inside is not (each["operator"] == "In"):
            return False
    return True


def asked(name: str, namespace: dict[str, str], pod: dict[str, str]) -> int:
    """How many webhooks are asked about such a pod."""
    namespace = {"kubernetes.io/metadata.name": "shop", **namespace}
    return sum(
        matches(webhook["namespaceSelector"]["matchExpressions"], namespace)
        and matches(webhook["objectSelector"]["matchExpressions"], pod)
        for webhook in webhooks(name) if webhook["clientConfig"]["service"]["path"] == "/v1/inject"
    )  # fmt: skip


ENABLED, CANARY = {"leasehold.dev/injection": "enabled"}, {"leasehold.dev/revision": "canary"}
YES, NO = {"leasehold.dev/inject": "true"}, {"leasehold.dev/inject": "false"}


def test_namespaces_ask_for_injection_and_a_pods_own_label_beats_them() -> None:
    assert asked("bundled", {}, {}) == 0
    assert asked("bundled", ENABLED, {}) == 1
    assert asked("bundled", ENABLED, YES) == 1
    assert asked("bundled", ENABLED, NO) == 0
    assert asked("bundled", {}, YES) == 1
    assert asked("bundled", {"kubernetes.io/metadata.name": "kube-system"}, YES) == 0


def test_a_canary_is_asked_about_pods_of_its_revision_only() -> None:
    assert asked("canary", ENABLED, {}) == 0
    assert asked("canary", {**ENABLED, **CANARY}, {}) >= 1
    assert asked("canary", ENABLED, CANARY) >= 1
    assert asked("canary", {}, {**YES, **CANARY}) >= 1
    assert asked("canary", {**ENABLED, **CANARY}, NO) == 0


def test_where_nobody_is_asked_for_labels_the_selector_decides_what_they_would_have_decided() -> None:
    assert asked("asks-nobody", ENABLED, {}) == 1
    assert asked("asks-nobody", {}, YES) == 1
    assert asked("asks-nobody", {**ENABLED, **CANARY}, {}) == 0, "another revision's"
    for level in ("baseline", "restricted"):
        assert asked("asks-nobody", {**ENABLED, "pod-security.kubernetes.io/enforce": level}, YES) == 0
    assert asked("asks-nobody", {**ENABLED, "pod-security.kubernetes.io/enforce": "privileged"}, {}) == 1


def test_an_outage_of_etcd_takes_no_replica_from_the_webhook() -> None:
    container = one(rendered("ha"), "Deployment", "leasehold-control-plane")["spec"]["template"]["spec"]["containers"][
        0
    ]
    assert container["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/livez"


def test_a_canary_shares_no_name_with_what_it_stands_beside() -> None:
    def places(name: str) -> set[tuple[str, str]]:
        return {(thing["kind"], thing["metadata"]["name"]) for thing in rendered(name)}

    assert not places("canary") & places("external")


def test_certificates_come_from_where_the_values_say() -> None:
    provided = webhooks("provided-certificates")
    assert {webhook["clientConfig"]["caBundle"] for webhook in provided} == {"Q0E="}
    managed = rendered("cert-manager")
    injected = one(managed, "MutatingWebhookConfiguration")["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
    certificate = one(managed, "Certificate")
    assert injected == f"{NAMESPACE}/{certificate['metadata']['name']}"
    assert f"leasehold-control-plane.{NAMESPACE}.svc" in certificate["spec"]["dnsNames"]
    volumes = one(managed, "Deployment", "leasehold-control-plane")["spec"]["template"]["spec"]["volumes"]
    assert certificate["spec"]["secretName"] in {volume.get("secret", {}).get("secretName") for volume in volumes}
    assert of_kind(managed, "Issuer")
    assert not of_kind(rendered("cert-manager-of-theirs"), "Issuer")


# --- values -------------------------------------------------------------------------------------------------------


def test_without_an_etcd_it_is_said_what_can_be_done() -> None:
    assert "--set etcd.mode=bundled" in refused()


@pytest.mark.parametrize(("values", "said"), [
    ("controlPlane.replica=3", "replica"),
    ("etcd.mode=embedded", "mode"),
    ("controlPlane.replicas=0", "replicas"),
    ("etcd.bundled.replicas=2", "replicas"),
    ("injector.failurePolicy=Maybe", "failurePolicy"),
    ("etcd.external.tls=mutual", "etcd.external.secret"),
    ("rules.source=file", "rules.file"),
    ("injector.certificates=provided", "injector.caBundle"),
    ("controlPlane.leaseTtl=5", "leaseTtl"),
    ("etcd.external.tls=server,etcd.external.secret=e,etcd.proxy.enabled=true", "etcd.proxy.secret"),
])  # fmt: skip
def test_values_that_make_no_sense_are_refused_by_name(values: str, said: str) -> None:
    assert said in refused(*EXTERNAL, "--set", values)


def test_every_value_is_in_the_schema() -> None:
    def missing(values: dict[str, Any], schema: dict[str, Any], path: str) -> list[str]:
        properties = schema.get("properties")
        if properties is None:
            return []
        return [
            where
            for name, value in values.items()
            for where in (
                [f"{path}.{name}"] if name not in properties
                else missing(value, properties[name], f"{path}.{name}") if isinstance(value, dict) else []
            )
        ]  # fmt: skip

    schema = json.loads((CHART / "values.schema.json").read_text())
    assert missing(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "") == []
    assert schema["additionalProperties"] is False


def test_the_notes_tell_the_next_step_and_warn_of_what_is_for_trying_out(tmp_path: Path) -> None:
    told = notes(tmp_path / "bundled", *SETS["bundled"])
    assert "kubectl label namespace MY-NAMESPACE leasehold.dev/injection=enabled\n" in told
    assert "this etcd is for trying out" in told
    told = notes(tmp_path / "canary", *SETS["canary"])
    assert "leasehold.dev/revision=canary" in told
    assert "trying out" not in told


def test_definitions_are_installed_unless_told_otherwise_and_kept() -> None:
    definitions = of_kind(rendered("bundled"), "CustomResourceDefinition")
    assert {each["spec"]["names"]["kind"] for each in definitions} == {"Owner", "InterceptionRule"}
    assert {each["metadata"]["annotations"]["helm.sh/resource-policy"] for each in definitions} == {"keep"}
    assert not of_kind(rendered("canary"), "CustomResourceDefinition")


def test_a_changed_configuration_starts_the_control_plane_anew() -> None:
    def checksum(*more: str) -> str:
        things = [thing for thing in yaml.safe_load_all(text(*PLAIN, *more)) if thing]
        template = one(things, "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    assert checksum() == checksum()
    assert checksum() != checksum("--set", "controlPlane.leaseTtl=7s")
