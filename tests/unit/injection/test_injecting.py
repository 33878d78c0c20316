"""Many shapes of pods: Kubernetes takes the pod that results, and the sidecar the configuration it is told."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from leasehold.injection.conventions import CAPTURE_CONTAINER, OUR_PORTS, SIDECAR_CONTAINER, STATUS
from leasehold.injection.decision import Refusal
from leasehold.injection.injecting import Injection, inject
from leasehold.injection.patch import applied
from leasehold.injection.pod import Pod
from leasehold.injection.settings import EtcdAccess, Resources
from leasehold.protocol.rules import load_rules
from leasehold.sidecar.config import load_settings
from tests.unit.injection.pods import (
    INJECTED,
    LEFT_ALONE,
    NAMES,
    OWNERS,
    SECTION,
    injected,
    pod,
    settings,
    told,
    variable,
)

IN_POD = {
    "LEASEHOLD_POD_NAME": "uploader-7d4b9c6f5d-x7k2p",
    "LEASEHOLD_POD_NAMESPACE": "shop",
    "LEASEHOLD_POD_UID": "0b7b4d1f-9f59-4f11-8f11-0d0d5e4c8f11",
    "LEASEHOLD_POD_IP": "fd00::7",
    "LEASEHOLD_NODE": "10",
    "LEASEHOLD_LABEL_0": "1.4",
}


def shape(pod: Pod) -> tuple[list[str], list[str]]:
    return [str(one["name"]) for one in pod.init_containers], [str(one["name"]) for one in pod.containers]


def test_the_schema_refuses_what_kubernetes_would_refuse() -> None:
    for field, value in (("restartPolicie", "Always"), ("env", "x")):
        document: Any = copy.deepcopy(injected("deployment").document)
        document["spec"]["initContainers"][0][field] = value
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(document, "1.37", strict=True)


@pytest.mark.parametrize("version", ["1.29", "1.37"])
@pytest.mark.parametrize("name", INJECTED)
def test_what_is_injected_is_a_pod_by_the_schema_of_kubernetes(name: str, version: str) -> None:
    before = pod(name)
    kubernetes_validate.validate(before.document, version, strict=True)
    for more in ({}, {"etcd": EtcdAccess(("https://etcd:2379",), "mutual", "etcd-client", "sidecar")}):
        kubernetes_validate.validate(injected(name, **more).document, version, strict=True)


@pytest.mark.parametrize("name", INJECTED)
def test_the_sidecar_takes_the_configuration_it_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sidecar = injected(name).container(SIDECAR_CONTAINER)
    assert sidecar is not None
    document = told(sidecar)
    document["journal"] = "/tmp"  # it must be a folder that is there
    monkeypatch.setenv("LEASEHOLD_CONFIG", json.dumps(document))
    found = load_settings(Path("env:LEASEHOLD_CONFIG"), IN_POD)
    assert found.instance in {IN_POD["LEASEHOLD_POD_NAME"], IN_POD["LEASEHOLD_POD_UID"]}
    assert found.about is not None
    assert found.about["pod"] == "shop/uploader-7d4b9c6f5d-x7k2p"
    assert found.about["node"] == "node 10"


@pytest.mark.parametrize("name", NAMES)
def test_injecting_what_is_injected_changes_nothing(name: str) -> None:
    found = inject(pod(name), settings(), OWNERS)
    if isinstance(found, Refusal):
        assert found.code == LEFT_ALONE[name]
        assert "opted-out" in found.code or found.asked
        return
    again = inject(injected(name), settings(), OWNERS)
    assert isinstance(again, Refusal)
    assert (again.code, again.asked) == ("already-injected", False)


@pytest.mark.parametrize("name", INJECTED)
def test_nothing_of_the_apps_own_is_touched(name: str) -> None:
    before, after = pod(name), injected(name)
    untouched = copy.deepcopy(before.document)
    for kind in ("initContainers", "containers", "volumes"):
        ours = [one for one in after.spec.get(kind, ()) if str(one["name"]).startswith("leasehold-")]
        assert [one for one in after.spec.get(kind, ()) if one not in ours] == (untouched["spec"].get(kind) or [])
    rest = {key: value for key, value in after.spec.items() if key not in {"initContainers", "containers", "volumes"}}
    assert rest.items() <= untouched["spec"].items()
    assert before.document == untouched, "the pod given is not changed in place"


@pytest.mark.parametrize("name", INJECTED)
def test_only_the_init_container_may_touch_the_network_and_it_stays_no_longer(name: str) -> None:
    for container in injected(name).every_container:
        capabilities = container.get("securityContext", {}).get("capabilities", {})
        if container["name"] == CAPTURE_CONTAINER:
            assert capabilities == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
            assert "restartPolicy" not in container
        elif container["name"] == SIDECAR_CONTAINER:
            assert capabilities == {"drop": ["ALL"]}
            context = container["securityContext"]
            assert (context["runAsUser"], context["runAsGroup"], context["runAsNonRoot"]) == (15015, 15015, True)
            assert context["readOnlyRootFilesystem"]
            assert not context["allowPrivilegeEscalation"]
        elif "istio" not in name and "linkerd" not in name:
            assert "add" not in capabilities


IN_USE = {
    "istio": {15000, 15001, 15002, 15004, 15006, 15008, 15009, 15020, 15021, 15053, 15090},
    "consul": {15001, 19000, 20000, 20100, 20200, 20300, 20600},
    "linkerd": {4140, 4143, 4190, 4191},
    "dapr": {3500, 3501, 9090, 50001, 50002},
}
"""What proxies of others listen on in a pod, whether they declare it or not."""


@pytest.mark.parametrize("mesh", IN_USE)
def test_beside_a_mesh_no_two_sidecars_want_the_same_port(mesh: str) -> None:
    assert not IN_USE[mesh] & set(OUR_PORTS)


@pytest.mark.parametrize(("name", "rest"), [("istio", ["istio-init"]), ("istio-native", ["istio-init", "istio-proxy"]),
                                            ("native-sidecar-of-theirs", ["log-shipper", "migrate"])])  # fmt: skip
def test_sidecars_of_others_start_after_it_in_the_order_they_had(name: str, rest: list[str]) -> None:
    assert shape(injected(name))[0] == [CAPTURE_CONTAINER, SIDECAR_CONTAINER, *rest]


def test_a_native_sidecar_is_there_before_the_apps_own_init_containers() -> None:
    after = injected("init-containers")
    assert shape(after) == ([CAPTURE_CONTAINER, SIDECAR_CONTAINER, "migrate", "warm-up"], ["app"])
    sidecar = after.container(SIDECAR_CONTAINER)
    assert sidecar is not None
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["startupProbe"]["httpGet"] == {"path": "/livez", "port": 15421}
    assert "lifecycle" not in sidecar
    assert "readinessProbe" not in sidecar, "a degraded sidecar must not make the app unready"
    assert "livenessProbe" not in sidecar


def test_a_plain_sidecar_comes_first_of_the_containers_and_redirects_after_the_init_containers() -> None:
    after = injected("plain-sidecar")
    assert shape(after) == (["migrate", CAPTURE_CONTAINER], [SIDECAR_CONTAINER, "app"])
    sidecar = after.container(SIDECAR_CONTAINER)
    assert sidecar is not None
    assert "restartPolicy" not in sidecar
    assert "ends_first" not in told(sidecar)["host"], "it is told to stop at the same time as the app: that is no news"


def test_the_app_stays_the_default_container() -> None:
    for name, app in (("deployment", "app"), ("two-containers", "web"), ("named-container", "web")):
        assert injected(name).annotations["kubectl.kubernetes.io/default-container"] == app
    assert injected("two-containers").annotations["prometheus.io/scrape"] == "true"


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("deployment", "uploader.shop"), ("statefulset", "db.shop"), ("daemonset", "agent.shop"),
        ("job", "migrate.shop"), ("cronjob", "report.shop"), ("bare", "debug.shop"), ("many-annotations", "media"),
        ("replicaset", "cache.shop"), ("replication-controller", "old.shop"), ("indexed-job", "resize.shop"),
        ("knative", "hello.shop"), ("argo-rollout", "uploader.shop"), ("argo-workflow", "etl-7xk2p.shop"),
        ("numeric-name", "report.shop"),
    ],
)  # fmt: skip
def test_a_service_is_called_after_its_workload_and_its_namespace(name: str, service: str) -> None:
    after = injected(name)
    sidecar = after.container(SIDECAR_CONTAINER)
    assert sidecar is not None
    assert told(sidecar)["service"] == service
    assert json.loads(after.annotations[STATUS])["service"] == service


def host(name: str) -> Any:
    sidecar = injected(name).container(SIDECAR_CONTAINER)
    assert sidecar is not None
    return told(sidecar)["host"]


def test_the_apps_own_liveness_probe_tells_whether_it_lives() -> None:
    at = "${LEASEHOLD_POD_HOST}"
    url = f"http://{at}:8080/healthz"
    assert host("deployment") == {
        "http": {"url": url, "interval": "5s", "timeout": "2s", "failures": 4}, "ends_first": True,
    }  # fmt: skip
    assert host("statefulset")["tcp"]["address"] == f"{at}:5432"
    assert host("daemonset")["grpc"]["address"] == f"{at}:9000"
    assert host("daemonset")["grpc"]["service"] == "agent.v1"
    assert host("many-annotations")["http"]["url"] == f"http://{at}:8080/live"


def test_what_the_sidecar_cannot_probe_alike_is_probed_less_or_not_at_all_and_that_is_said() -> None:
    assert set(host("https-liveness")) == {"tcp", "ends_first"}
    assert host("exec-liveness") == host("job") == {"ends_first": True}
    for name, word in (
        ("https-liveness", "speaks HTTPS"),
        ("exec-liveness", "is a command"),
        ("job", "no livenessProbe"),
    ):
        found = inject(pod(name), settings(), OWNERS)
        assert isinstance(found, Injection)
        assert any(word in note for note in found.notes)


def test_a_plain_sidecar_that_could_not_tell_when_the_app_ends_is_refused() -> None:
    document = copy.deepcopy(pod("bare").document)
    document["metadata"]["annotations"] = {"leasehold.dev/native-sidecar": "false"}  # type: ignore[index]
    found = inject(Pod(document, pod("bare").namespace), settings(), OWNERS)
    assert isinstance(found, Refusal)
    assert found.code == "no-host-probe"


def test_every_annotation_has_its_effect() -> None:
    after = injected("many-annotations")
    sidecar = after.container(SIDECAR_CONTAINER)
    capture = after.container(CAPTURE_CONTAINER)
    assert sidecar is not None
    assert capture is not None
    document = told(sidecar)
    assert document["lease"] == {"ttl": "20s", "service_ttl": "120s"}
    assert sidecar["args"][-1] == "debug"
    assert sidecar["resources"]["requests"] == {"cpu": "50m", "memory": "64Mi"}
    assert sidecar["resources"]["limits"] == {"memory": "512Mi"}
    assert sidecar["image"] == capture["image"] == "registry.example/leasehold/sidecar:canary"
    assert sidecar["env"][-1] == {"name": "SSL_CERT_DIR", "value": "/certs"}
    assert [rule["name"] for rule in document["rules"]["extra"]["rules"]] == ["scratch-file"]
    captured = load_rules(variable(capture, "LEASEHOLD_OWNERS"), "owners", {})
    assert [owner.name for owner in captured.owners] == ["store", "scratch"]


def test_a_pod_with_a_forward_proxy_needs_no_redirect_and_no_capability() -> None:
    after = injected("forward-proxy")
    assert shape(after)[0] == [SIDECAR_CONTAINER]
    sidecar = after.container(SIDECAR_CONTAINER)
    assert sidecar is not None
    assert [way["mode"] for way in told(sidecar)["capture"]] == ["forward-proxy"]


def test_owners_that_are_too_many_for_a_variable_or_not_known_are_read_from_etcd() -> None:
    for owners in (None, OWNERS * 2000):
        capture = injected("deployment", owners).container(CAPTURE_CONTAINER)
        assert capture is not None
        assert capture["args"][-1] == "--from-etcd"
        assert capture["env"] == []


def test_what_kubernetes_would_expand_is_escaped() -> None:
    document = copy.deepcopy(pod("bare").document)
    rules = 'rules: [{name: "$(HOSTNAME)"}]'
    document["metadata"]["annotations"] = {"leasehold.dev/rules": rules}  # type: ignore[index]
    refused = inject(Pod(document, pod("bare").namespace), settings(), OWNERS)
    assert isinstance(refused, Refusal), "such a name is none; but a path may look so"
    rules = """
rules:
  - {name: odd, owner: store, type: blob, on: delete, id: {path: id},
     match: {method: DELETE, path: "/v1/$(HOSTNAME)/{id}", status: [204]}}
"""
    document["metadata"]["annotations"] = {"leasehold.dev/rules": rules}  # type: ignore[index]
    found = inject(Pod(document, pod("bare").namespace), settings(), OWNERS)
    assert isinstance(found, Injection)
    sidecar = Pod(applied(found.operations, document), pod("bare").namespace).container(SIDECAR_CONTAINER)
    assert sidecar is not None
    assert "/v1/$$(HOSTNAME)/{id}" in variable(sidecar, "LEASEHOLD_CONFIG")


def test_the_template_hash_tells_other_settings_and_other_versions_apart() -> None:
    hashes = {settings().template_hash, settings(uid=7).template_hash, settings(image="x").template_hash}
    assert len(hashes) == 3
    assert settings().template_hash == settings().template_hash
    status = json.loads(injected("deployment").annotations[STATUS])
    assert status["template"] == settings().template_hash
    assert SECTION.revision == status["revision"]


def test_where_a_quota_asks_for_limits_both_containers_have_them() -> None:
    after = injected("deployment", resources=Resources(cpu_limit="1"))
    for name in (CAPTURE_CONTAINER, SIDECAR_CONTAINER):
        container = after.container(name)
        assert container is not None
        assert container["resources"]["limits"]["cpu"] == "1"
