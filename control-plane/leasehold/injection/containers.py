"""The two containers. Only the first, which is gone before the app starts, may touch the pod's network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from leasehold.injection.configuration import POD_FIELDS, as_value, etcd_files, label_variables, owners_document
from leasehold.injection.conventions import (
    CAPTURE_CONTAINER,
    CONFIG_VARIABLE,
    ETCD_FOLDER,
    ETCD_VOLUME,
    HEALTH_PORT,
    HEALTH_PORT_NAME,
    JOURNAL_FOLDER,
    JOURNAL_VOLUME,
    OWNERS_VARIABLE,
    SIDECAR_CONTAINER,
    TOKEN_FOLDER,
    TOKEN_VOLUME,
    TRANSPARENT_PORT,
)
from leasehold.injection.pod import Pod
from leasehold.injection.settings import EtcdAccess, Resources, Settings
from leasehold.injection.wishes import Wishes
from leasehold.protocol.rules import Owner

Container = dict[str, Any]
MAX_OWNERS_BYTES = 64 * 1024
"""A variable may be twice as long; beyond this the owners are read from etcd when the pod starts."""
CAPTURE_RESOURCES = Resources("10m", "64Mi", None, "128Mi")
STARTUP_SECONDS = 120
"""Long: the way in must be open before the app's first call. It does not wait for etcd."""


def capture_container(settings: Settings, wishes: Wishes, owners: Sequence[Owner] | None) -> Container:
    """Installs the redirect for the owners, and ends. ``owners``: those known now; ``None``: those in etcd then.

    It needs root, because only root's capabilities come without help of the image, but of these none but NET_ADMIN.
    """
    section = settings.section
    told = None if owners is None else as_value(owners_document(owners))
    inline = told is not None and len(told.encode()) <= MAX_OWNERS_BYTES
    arguments = [
        *_etcd_arguments(section.etcd), "--tenant", settings.tenant, "capture", "install", "--fail-open", "--no-verify",
        "--listen-port", str(TRANSPARENT_PORT), "--uid", str(section.uid), "--gid", str(section.gid),
        *(f"--control-plane={address}" for address in section.control_plane),
        *(("--rules", f"env:{OWNERS_VARIABLE}") if inline else ("--from-etcd",)),
    ]  # fmt: skip
    mounts = [{"name": ETCD_VOLUME, "mountPath": ETCD_FOLDER, "readOnly": True}] if section.etcd.secret else []
    return {
        "name": CAPTURE_CONTAINER,
        "image": wishes.image or settings.image,
        "imagePullPolicy": section.pull_policy,
        "command": ["leasehold"],
        "args": arguments,
        "env": [{"name": OWNERS_VARIABLE, "value": told}] if inline else [],
        # Where a quota asks for limits of CPU, it asks every container.
        "resources": _resources(msgspec.structs.replace(CAPTURE_RESOURCES, cpu_limit=wishes.resources.cpu_limit)),
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def sidecar_container(pod: Pod, settings: Settings, wishes: Wishes, document: Mapping[str, Any]) -> Container:
    """Stays beside the app; native: started before it, told to stop after it."""
    section = settings.section
    container: Container = {
        "name": SIDECAR_CONTAINER,
        "image": wishes.image or settings.image,
        "imagePullPolicy": section.pull_policy,
        "command": ["leasehold-sidecar"],
        "args": ["--config", f"env:{CONFIG_VARIABLE}", "--log-level", wishes.log_level],
        "env": [
            *(_field(name, path) for name, path in POD_FIELDS.items()),
            *(_field(name, f"metadata.labels['{label}']") for name, label in label_variables(pod, settings).items()),
            {"name": CONFIG_VARIABLE, "value": as_value(document)},
        ],
        "ports": [{"name": HEALTH_PORT_NAME, "containerPort": HEALTH_PORT, "protocol": "TCP"}],
        "resources": _resources(wishes.resources),
        "securityContext": {
            "runAsUser": section.uid,
            "runAsGroup": section.gid,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": JOURNAL_VOLUME, "mountPath": JOURNAL_FOLDER},
            *([{"name": TOKEN_VOLUME, "mountPath": TOKEN_FOLDER, "readOnly": True}] if section.token_audience else []),
            *([{"name": ETCD_VOLUME, "mountPath": ETCD_FOLDER, "readOnly": True}] if section.etcd.secret else []),
        ],
    }
    if wishes.native:
        container["restartPolicy"] = "Always"
        container["startupProbe"] = {
            "httpGet": {"path": "/livez", "port": HEALTH_PORT},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": STARTUP_SECONDS,
        }
    return container


def volumes(settings: Settings) -> list[dict[str, Any]]:
    """What the two need. The journal is in memory: it has to outlive the sidecar, not the pod."""
    section = settings.section
    found: list[dict[str, Any]] = [
        {"name": JOURNAL_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": section.journal_size}}
    ]
    if section.token_audience:
        token = {"audience": section.token_audience, "expirationSeconds": 3600, "path": "token"}
        found.append({"name": TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}})
    if section.etcd.secret:
        found.append({"name": ETCD_VOLUME, "secret": {"secretName": section.etcd.secret}})
    return found


def _etcd_arguments(etcd: EtcdAccess) -> list[str]:
    arguments = ["--etcd", ",".join(etcd.endpoints)]
    for option, file in etcd_files(etcd).items():
        arguments += [f"--{option}", file]
    if etcd.username is not None:
        arguments += ["--user", etcd.username, "--password-file", f"{ETCD_FOLDER}/password"]
    return arguments


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _resources(wanted: Resources) -> dict[str, Any]:
    requests = {"cpu": wanted.cpu_request, "memory": wanted.memory_request}
    limits = {"cpu": wanted.cpu_limit, "memory": wanted.memory_limit}
    return {
        kind: {name: amount for name, amount in amounts.items() if amount is not None}
        for kind, amounts in (("requests", requests), ("limits", limits))
        if any(amounts.values())
    }
