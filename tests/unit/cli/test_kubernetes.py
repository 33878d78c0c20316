"""``leasehold inject`` and ``leasehold analyze`` on manifests: every kind of workload, and what is wrong with them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner, Result

from leasehold.cli.__main__ import main
from leasehold.cli.kubernetes.yaml_files import read_manifests, write_manifests

SHOP = Path(__file__).parents[2] / "fixtures" / "manifests" / "shop.yaml"
RULES = """
owners: [{name: store, hosts: ["store.shop:8080"], endpoint: "http://store.shop:8080"}]
rules:
  - {name: make, owner: store, type: blob, on: create, held_by: process, id: {json: id},
     match: {method: POST, path: /v1/blobs, status: [201]}}
"""


@pytest.fixture
def rules(tmp_path: Path) -> str:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return str(path)


def leasehold(*arguments: str, manifests: Any = None) -> Result:
    text = SHOP.read_text() if manifests is None else json.dumps(manifests)
    return CliRunner().invoke(main, ["--etcd", "http://etcd.x:2379", *arguments], input=text)


def documents(text: str) -> list[Any]:
    return list(yaml.safe_load_all(text))


def pods(text: str) -> dict[str, Any]:
    """Specs of all pods, by the name of what they are in."""
    every = []
    for one in documents(text):
        every += one["items"] if one["kind"] == "List" else [one]
    found = {}
    for one in every:
        if one["kind"] == "CronJob":
            found[one["metadata"]["name"]] = one["spec"]["jobTemplate"]["spec"]["template"]
        elif one["kind"] == "Pod":
            found[one["metadata"]["name"]] = one
        elif "template" in one.get("spec", {}):
            found[one["metadata"]["name"]] = one["spec"]["template"]
    return found


@pytest.mark.parametrize(("etcd", "reachable"), [
    ("http://127.0.0.1:2379", False), ("http://localhost:2379", False), ("http://[::1]:2379", False),
    ("http://etcd.leasehold-system:2379", True), ("http://127.0.0.1:1,http://10.0.0.1:2379", True),
])  # fmt: skip
def test_an_etcd_that_would_be_the_pod_itself_is_told_when_injecting_and_when_analyzing(
    etcd: str, *, reachable: bool, rules: str
) -> None:
    app = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "a"}]}}
    done = CliRunner().invoke(main, ["--etcd", etcd, "inject", "-f", "-", "--rules", rules], input=json.dumps(app))
    assert done.exit_code == 0
    assert ("the pod itself" in done.stderr) is not reachable
    found = leasehold("analyze", "-f", "-", "-o", "json", manifests=yaml.safe_load(done.stdout))
    codes = {one["code"]: one["level"] for one in json.loads(found.stdout)}
    assert codes.get("etcd-on-loopback") == (None if reachable else "fail")


def test_every_kind_of_workload_is_injected_and_each_is_accounted_for(rules: str) -> None:
    done = leasehold("inject", "-f", "-", "--rules", rules)
    assert done.exit_code == 1, "one of them should be injected and cannot be"
    for line in (
        "deployment/uploader (shop): injected as service uploader.shop",
        "statefulset/db (shop): injected as service db.shop",
        "daemonset/agent (shop): not injected: it uses the node's network",
        "cronjob/report (shop): injected as service report.shop",
        "cronjob/report (shop): note: the app has no livenessProbe",
        "job/migrate (shop): not injected: its label leasehold.dev/inject says false (opted-out)",
        "pod/debug (shop): injected as service debug.shop",
    ):
        assert line in done.stderr
    injected = {
        name: [one["name"] for one in pod["spec"].get("initContainers", ())] for name, pod in pods(done.stdout).items()
    }
    ours = ["leasehold-capture", "leasehold-sidecar"]
    assert injected == {"uploader": ours, "db": ours, "agent": [], "report": ours, "migrate": [], "debug": ours}


def test_what_is_printed_is_valid_and_says_what_it_said(rules: str) -> None:
    before, printed = SHOP.read_text(), leasehold("inject", "-f", "-", "--rules", rules).stdout
    for one in documents(printed):
        for item in one["items"] if one["kind"] == "List" else [one]:
            kubernetes_validate.validate(item, "1.37", strict=True)
    old, new = documents(before), documents(printed)
    assert [one["kind"] for one in old] == [one["kind"] for one in new]
    assert (old[0], old[6]) == (new[0], new[6])
    assert old[5]["items"][2] == new[5]["items"][2], "what is no workload stays as it is"
    env = pods(printed)["uploader"]["spec"]["containers"][0]["env"]
    assert [one["value"] for one in env] == ["yes", "2026-01-01", "12:30"]


def test_injecting_what_is_printed_prints_the_same_again(rules: str) -> None:
    once = leasehold("inject", "-f", "-", "--rules", rules).stdout
    again = CliRunner().invoke(main, ["inject", "-f", "-", "--rules", rules], input=once)
    assert again.stdout == once
    assert "pod/debug (shop): not injected: it carries a sidecar already (already-injected)" in again.stderr


def test_without_rules_the_owners_are_read_from_etcd_in_the_pod() -> None:
    done = leasehold("inject", "-f", "-")
    arguments = pods(done.stdout)["uploader"]["spec"]["initContainers"][0]["args"]
    assert "--from-etcd" in arguments
    assert arguments[:2] == ["--etcd", "http://etcd.x:2379"]


def test_the_control_planes_configuration_says_what_the_webhook_would_do(tmp_path: Path) -> None:
    config = tmp_path / "control-plane.yaml"
    config.write_text("""
tenant: acme
etcd: {endpoints: ["http://etcd.a:2379"]}
rules: {etcd: true}
inject: {image: "leasehold/sidecar:canary", uid: 2000, log_level: debug}
""")
    done = leasehold("inject", "-f", "-", "--config", str(config), "--image", "mine:1")
    capture, sidecar = pods(done.stdout)["uploader"]["spec"]["initContainers"]
    assert (sidecar["image"], sidecar["args"][-1]) == ("mine:1", "debug")
    assert sidecar["securityContext"]["runAsUser"] == 2000
    assert capture["args"][:4] == ["--etcd", "http://etcd.a:2379", "--tenant", "acme"]


@pytest.mark.parametrize(
    ("section", "expected"),
    [("{uid: 0}", "inject.uid: expected 1 to"), ("{imge: x}", "imge: not a field here"),
     ("{etcd: {tls: mutual}}", "inject.etcd.secret: missing"), ("{journal_size: much}", "expected a quantity")],
)  # fmt: skip
def test_bad_settings_are_told_with_every_mistake(section: str, expected: str, tmp_path: Path) -> None:
    config = tmp_path / "control-plane.yaml"
    config.write_text(f"inject: {section}\n")
    done = leasehold("inject", "-f", "-", "--config", str(config))
    assert done.exit_code == 78
    assert expected in done.stderr


def test_what_is_no_yaml_is_told_with_its_place() -> None:
    done = CliRunner().invoke(main, ["inject", "-f", "-"], input="a: [\n")
    assert done.exit_code == 78
    assert "<stdin>: line 2, column 1: expected YAML" in done.stderr
    assert leasehold("inject", "-f", "nowhere.yaml").exit_code == 78


def test_yaml_is_read_as_kubectl_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("{on: yes, mode: 0644, day: 2026-01-01, at: 12:30, hex: 0x10, half: 0.5, none: ~}\n")
    [found] = read_manifests([str(path)])
    assert found == {
        True: True,
        "mode": 0o644,
        "day": "2026-01-01",
        "at": "12:30",
        "hex": 16,
        "half": 0.5,
        "none": None,
    }
    assert "'2026-01-01'" in write_manifests([{"day": "2026-01-01"}])


# --- analyze ------------------------------------------------------------------------------------------------------


def findings(*arguments: str, manifests: Any = None) -> dict[tuple[str, str], str]:
    done = leasehold("analyze", "-f", "-", "-o", "json", *arguments, manifests=manifests)
    assert done.exit_code in {0, 1}, done.output
    found = json.loads(done.stdout)
    assert done.exit_code == (1 if any(one["level"] == "fail" for one in found) else 0)
    return {(one["code"], one["where"]): one["level"] for one in found}


def live(name: str, rules: str, **metadata: Any) -> Any:
    """A pod as it runs, injected."""
    printed = leasehold("inject", "-f", "-", "--rules", rules).stdout
    pod = copy.deepcopy(pods(printed)[name])
    return {
        "apiVersion": "v1", "kind": "Pod", "spec": pod["spec"],
        "metadata": {**pod.get("metadata", {}), "name": f"{name}-1", "namespace": "shop", "uid": "1", **metadata},
    }  # fmt: skip


def test_workloads_that_cannot_be_injected_are_found_before_anybody_wonders(rules: str) -> None:
    found = findings("--rules", rules)
    assert found[("host-network", "daemonset/agent (shop)")] == "fail"
    assert found[("host-not-probed", "cronjob/report (shop)")] == "warn"
    assert not any(where == "deployment/uploader (shop)" for _, where in found)


def test_a_pod_that_is_labelled_and_not_injected_is_found() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a"}]},
           "metadata": {"name": "a", "uid": "1", "labels": {"leasehold.dev/inject": "true"}}}  # fmt: skip
    assert findings(manifests=pod)[("labelled-not-injected", "pod/a (default)")] == "fail"
    del pod["metadata"]["labels"]  # type: ignore[attr-defined]
    assert findings(manifests=pod) == {}


def test_an_injected_pod_with_nothing_wrong_is_fine(rules: str) -> None:
    assert findings("--rules", rules, manifests=live("uploader", rules)) == {
        ("injected", "pod/uploader-1 (shop)"): "ok"
    }


def test_what_went_wrong_with_injected_pods_is_found(rules: str, tmp_path: Path) -> None:
    newer = tmp_path / "newer.yaml"
    newer.write_text(RULES.replace("store.shop:8080", 'store.shop:8080", "blobs.shop:80', 1))
    where = "pod/uploader-1 (shop)"
    pod = live("uploader", rules)
    assert findings("--rules", str(newer), manifests=pod)[("owner-not-captured", where)] == "warn"
    assert findings("--image", "other", manifests=pod)[("outdated-sidecar", where)] == "warn"
    clash = copy.deepcopy(pod)
    clash["spec"]["containers"][0]["securityContext"] = {"runAsUser": 15015}
    assert findings(manifests=clash)[("uid-clash", where)] == "fail"
    stuck = copy.deepcopy(pod)
    state = {"waiting": {"reason": "ImagePullBackOff"}}
    stuck["status"] = {"initContainerStatuses": [{"name": "leasehold-sidecar", "state": state}]}
    assert findings(manifests=stuck)[("sidecar-not-running", where)] == "fail"
    copied = {**pod, "spec": {"containers": [{"name": "a"}]}}
    assert findings(manifests=copied)[("status-without-sidecar", where)] == "warn"


@pytest.mark.parametrize(
    ("host", "code", "level"),
    [
        ("store.shop:8080", None, ""), ("store.shop:81", "rule-cannot-match", "fail"),
        ("store.other:443", "rule-cannot-match", "fail"), ("store:8080", "owner-host-relative", "warn"),
    ],
)  # fmt: skip
def test_rules_that_cannot_match_are_found(host: str, code: str | None, level: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES.replace('hosts: ["store.shop:8080"]', f'hosts: ["{host}"]'))
    found = {code: level for (code, where), level in findings("--rules", str(path)).items() if where == "owner store"}
    assert found == ({} if code is None else {code: level})


def test_a_headless_owner_is_found(rules: str) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "store", "namespace": "shop"},
               "spec": {"clusterIP": "None", "ports": [{"port": 8080}]}}  # fmt: skip
    assert findings("--rules", rules, manifests=service) == {("owner-headless", "owner store"): "warn"}
