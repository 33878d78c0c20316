"""Pods as an API server sends them, and what was made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from leasehold.injection.conventions import CONFIG_VARIABLE
from leasehold.injection.injecting import Injection, inject
from leasehold.injection.patch import applied
from leasehold.injection.pod import Namespace, Pod
from leasehold.injection.settings import EtcdAccess, InjectSection, Settings
from leasehold.protocol.rules import Owner

REVIEWS = Path(__file__).parents[2] / "fixtures" / "admission"
NAMES = sorted(path.stem for path in REVIEWS.glob("*.json"))
LEFT_ALONE = {
    "bad-annotation": "bad-annotation", "bad-patch": "bad-annotation", "bad-rules": "bad-annotation",
    "gid-clash": "uid-clash", "host-network": "host-network", "job-plain-sidecar": "job-needs-native-sidecar",
    "mirror": "mirror-pod", "name-clash": "name-clash", "opted-out-by-pod": "opted-out",
    "plain-sidecar-unprobed": "no-host-probe", "port-clash": "port-clash", "uid-clash": "uid-clash",
    "unknown-container": "no-app-container", "windows": "windows",
}  # fmt: skip
"""Which of them are not injected in a namespace that asks for it, and why."""
INJECTED = [name for name in NAMES if name not in LEFT_ALONE]
OWNERS = (Owner("store", ("store.shop:8080",), "http://store.shop:8080"),)
SECTION = InjectSection(etcd=EtcdAccess(("http://etcd.leasehold-system:2379",)))
ENABLED: Mapping[str, str] = {"leasehold.dev/injection": "enabled"}


def settings(**more: Any) -> Settings:
    return Settings(msgspec.structs.replace(SECTION, **more), "0.1.0")


def review(name: str) -> Any:
    return json.loads((REVIEWS / f"{name}.json").read_text())


def pod(name: str, labels: Mapping[str, str] = ENABLED, namespace: str = "shop") -> Pod:
    return Pod(review(name)["request"]["object"], Namespace(namespace, labels))


def injected(name: str, owners: Sequence[Owner] | None = OWNERS, **more: Any) -> Pod:
    before = pod(name)
    found = inject(before, settings(**more), owners)
    assert isinstance(found, Injection), found
    return Pod(applied(found.operations, before.document), before.namespace)


def told(container: Mapping[str, Any]) -> Any:
    """The sidecar's configuration, as it is written in the pod."""
    return json.loads(variable(container, CONFIG_VARIABLE))


def variable(container: Mapping[str, Any], name: str) -> str:
    return next(str(one["value"]) for one in container["env"] if one["name"] == name)
