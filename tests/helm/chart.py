"""The chart, rendered by a real ``helm``, with the sets of values that tests go through."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
CHART = HERE.parents[1] / "helm/leasehold"
NAMESPACE = "leasehold-system"
HELM_SECONDS = 60
EXTERNAL = ("--set", "etcd.external.endpoints={https://etcd-0:2379,https://etcd-1:2379}")
PLAIN = ("--set", "etcd.external.endpoints={http://etcd:2379}")
MONITORED = tuple(
    part
    for name in ("serviceMonitor", "podMonitor", "prometheusRule", "dashboard")
    for part in ("--set", f"monitoring.{name}.enabled=true")
)


def _set(*values: str) -> tuple[str, str]:
    return "--set", ",".join(values)


SETS: Mapping[str, Sequence[str]] = {
    "bundled": _set("etcd.mode=bundled"),
    "bundled-cluster-with-proxy": _set(
        "etcd.mode=bundled", "etcd.bundled.replicas=3", "etcd.bundled.storage.className=fast", "etcd.proxy.enabled=true"
    ),
    "external": PLAIN,
    "ha": ("-f", str(CHART / "values-ha.yaml"), *EXTERNAL),
    "server-tls-and-password": (
        *EXTERNAL, *_set("etcd.external.tls=server", "etcd.external.secret=e", "etcd.external.username=leasehold"),
    ),
    "canary": (*PLAIN, *_set("revision=canary", "crds.install=false")),
    "cert-manager": (*PLAIN, *_set("injector.certificates=cert-manager")),
    "cert-manager-of-theirs": (
        *PLAIN,
        *_set("injector.certificates=cert-manager", "injector.certManager.issuerRef.name=ca"),
        *_set("injector.certManager.issuerRef.kind=ClusterIssuer"),
    ),
    "provided-certificates": (
        *PLAIN, *_set("injector.certificates=provided", "injector.secret=tls", "injector.caBundle=Q0E="),
    ),
    "asks-nobody": (
        *PLAIN,
        *_set("injector.certificates=provided", "injector.secret=tls", "injector.caBundle=Q0E="),
        *_set("injector.namespaces=trust", "rules.source=etcd"),
    ),
    "rules-from-a-file": (*PLAIN, *_set("rules.source=file"), "--set-file", f"rules.file={HERE}/rules.yaml"),
    "nothing-but-collecting": (
        *PLAIN,
        *_set("injector.enabled=false", "validation.enabled=false", "rules.source=etcd", "networkPolicy.enabled=false"),
        *_set("serviceAccount.create=false", "controlPlane.replicas=1"),
    ),
    "monitored": (*PLAIN, *MONITORED),
    "everything-said": (*PLAIN, "-f", f"{HERE}/everything.yaml"),
}  # fmt: skip


def helm_binary() -> str:
    """The one beside this Python, else the one on the path."""
    beside = Path(sys.executable).parent / "helm"
    found = str(beside) if beside.exists() else shutil.which("helm")
    assert found, "no helm here: install the test extra"
    return found


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [helm_binary(), *arguments], capture_output=True, text=True, timeout=HELM_SECONDS, check=False
    )  # fmt: skip


@cache
def text(*arguments: str) -> str:
    """What would be applied."""
    done = helm("template", "leasehold", str(CHART), "--namespace", NAMESPACE, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(name: str) -> list[dict[str, Any]]:
    """Every object of one of the sets."""
    return [thing for thing in yaml.safe_load_all(text(*SETS[name])) if thing is not None]


def of_kind(things: Sequence[Mapping[str, Any]], kind: str, name: str | None = None) -> list[Mapping[str, Any]]:
    return [thing for thing in things if thing["kind"] == kind and name in {None, thing["metadata"]["name"]}]


def one(things: Sequence[Mapping[str, Any]], kind: str, name: str | None = None) -> Mapping[str, Any]:
    [found] = of_kind(things, kind, name)
    return found


def notes(folder: Path, *arguments: str) -> str:
    """What is told after an installation. ``helm template`` leaves that out: here it is an object of its own."""
    shutil.copytree(CHART, folder / "chart")
    templates = folder / "chart/templates"
    told = (templates / "NOTES.txt").read_text()
    (templates / "_notes.tpl").write_text('{{- define "test.notes" -}}\n' + told + "\n{{- end -}}\n")
    (templates / "notes.yaml").write_text('text: {{ include "test.notes" . | toJson }}\n')
    only = ("-s", "templates/notes.yaml", *arguments)
    done = helm("template", "leasehold", str(folder / "chart"), "--namespace", NAMESPACE, *only)
    assert done.returncode == 0, done.stderr
    return str(yaml.safe_load(done.stdout)["text"])


def refused(*arguments: str) -> str:
    """Why these values cannot be rendered."""
    done = helm("template", "leasehold", str(CHART), "--namespace", NAMESPACE, *arguments)
    assert done.returncode != 0, done.stdout
    return done.stderr


def pod_specs(things: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Every pod that would be, by its name."""
    found = []
    for thing in things:
        if thing["kind"] in {"Deployment", "StatefulSet"}:
            found.append((thing["metadata"]["name"], thing["spec"]["template"]["spec"]))
        elif thing["kind"] == "Pod":
            found.append((thing["metadata"]["name"], thing["spec"]))
    return found
