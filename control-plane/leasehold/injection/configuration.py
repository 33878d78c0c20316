"""What the sidecar is told: its whole configuration, as one document in one environment variable.

What is only known in the pod (its name, its address) stands in it as ``${VARIABLE}``, which the sidecar expands; the
variables come from the downward API. A reference that is a whole value might be read as a number there, so it never is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from leasehold.injection.conventions import (
    ADMIN_PORT,
    ETCD_FOLDER,
    HEALTH_PORT,
    JOURNAL_FOLDER,
    PROXY_PORT,
    TRANSPARENT_PORT,
)
from leasehold.injection.pod import Pod, owner_workload
from leasehold.injection.settings import EtcdAccess, Settings
from leasehold.injection.wishes import Wishes
from leasehold.protocol.configuration import to_json
from leasehold.protocol.rules import Owner, RuleSet

POD_FIELDS: Mapping[str, str] = {
    "LEASEHOLD_POD_NAME": "metadata.name",
    "LEASEHOLD_POD_NAMESPACE": "metadata.namespace",
    "LEASEHOLD_POD_UID": "metadata.uid",
    "LEASEHOLD_POD_IP": "status.podIP",
    "LEASEHOLD_NODE": "spec.nodeName",
}
MAX_INSTANCE = 200
"""Longer names than this cannot name an instance; pods may have them."""


def configuration(
    pod: Pod, settings: Settings, wishes: Wishes, service: str, host: Mapping[str, Any]
) -> dict[str, Any]:
    """The sidecar's configuration document."""
    rules: dict[str, Any] = {"etcd": True}
    if wishes.rules is not None:
        rules["extra"] = as_document(wishes.rules)
    return {
        "tenant": settings.tenant,
        "service": service,
        "instance": _instance(pod),
        "etcd": etcd_section(settings.section.etcd),
        "lease": {"ttl": str(wishes.ttl), "service_ttl": str(wishes.service_ttl)},
        "host": {**host, **({"ends_first": True} if wishes.native else {})},
        "capture": _ways(wishes),
        "rules": rules,
        "journal": JOURNAL_FOLDER,
        "admin": {"listen": f"127.0.0.1:{ADMIN_PORT}", "health_port": HEALTH_PORT},
        "about": _about(pod, settings),
    }


def etcd_section(etcd: EtcdAccess) -> dict[str, Any]:
    """The ``etcd:`` section; files are where the secret is mounted."""
    section: dict[str, Any] = {"endpoints": list(etcd.endpoints)}
    section |= {"tls": tls} if (tls := etcd_files(etcd)) else {}
    if etcd.username is not None:
        section |= {"username": etcd.username, "password_file": f"{ETCD_FOLDER}/password"}
    return section


def etcd_files(etcd: EtcdAccess) -> dict[str, str]:
    """CA, certificate and key, as far as there are any."""
    if etcd.tls == "none":
        return {}
    own = {"cert": f"{ETCD_FOLDER}/tls.crt", "key": f"{ETCD_FOLDER}/tls.key"} if etcd.tls == "mutual" else {}
    return {"ca": f"{ETCD_FOLDER}/ca.crt", **own}


def owners_document(owners: Sequence[Owner]) -> dict[str, Any]:
    """Of the owners only what a redirect needs to know."""
    return {"owners": [{"name": one.name, "hosts": list(one.hosts), "endpoint": one.endpoint} for one in owners]}


def label_variables(pod: Pod, settings: Settings) -> dict[str, str]:
    """Variables for the labels that are to be told, as far as this pod has them, and the labels' names."""
    present = [label for label in settings.section.labels if label in pod.labels]
    return {f"LEASEHOLD_LABEL_{n}": label for n, label in enumerate(present)}


def as_value(document: Mapping[str, Any]) -> str:
    """A document as the value of a variable: Kubernetes would expand ``$(...)`` in it."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).replace("$(", "$$(")


def as_document(rules: RuleSet) -> dict[str, Any]:
    """Rules as a person would write them."""
    document: dict[str, Any] = json.loads(to_json(rules))
    return document


def _instance(pod: Pod) -> str:
    name = str(pod.metadata.get("name") or "")
    odd = len(name) > MAX_INSTANCE or re.fullmatch(r"[\d.]+|true|false", name)
    return "${LEASEHOLD_POD_UID}" if odd else "${LEASEHOLD_POD_NAME}"


def _ways(wishes: Wishes) -> list[dict[str, Any]]:
    if wishes.capture == "forward-proxy":
        return [{"mode": "forward-proxy", "listen": f"127.0.0.1:{PROXY_PORT}"}]
    return [
        {"mode": "transparent", "listen": f"{loopback}:{TRANSPARENT_PORT}", "if_present": True}
        for loopback in ("127.0.0.1", "[::1]")
    ]


def _about(pod: Pod, settings: Settings) -> dict[str, str]:
    workload = owner_workload(pod)
    labels = label_variables(pod, settings).items()
    return {
        "pod": "${LEASEHOLD_POD_NAMESPACE:-}/${LEASEHOLD_POD_NAME:-}",
        "pod_uid": "uid ${LEASEHOLD_POD_UID:-}",
        "node": "node ${LEASEHOLD_NODE:-}",
        **({"workload": f"{workload.kind}/{workload.name}"} if workload else {}),
        **({"labels": ", ".join(f"{label}=${{{name}:-}}" for name, label in labels)} if labels else {}),
    }
