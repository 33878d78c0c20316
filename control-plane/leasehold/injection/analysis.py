"""What is wrong with pods that are, or should be, injected. Pure: from manifests to findings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from leasehold.injection.conventions import (
    CAPTURE_CONTAINER,
    CONFIG_VARIABLE,
    OWNERS_VARIABLE,
    SIDECAR_CONTAINER,
    STATUS,
)
from leasehold.injection.decision import clashing_user, is_asked_for
from leasehold.injection.injecting import Injection, inject
from leasehold.injection.manifests import Place
from leasehold.injection.pod import Pod, listing, mapping
from leasehold.injection.settings import ON_LOOPBACK, Settings, all_on_loopback
from leasehold.protocol.rules import Owner

RESTART = "make it again, e.g. kubectl rollout restart"


class Level(StrEnum):
    """How bad it is. Only ``fail`` makes ``leasehold analyze`` exit with 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at. ``code`` is stable: scripts and documents refer to it."""

    code: str
    level: Level
    where: str
    what: str
    hint: str = ""


def about_pod(place: Place, settings: Settings, owners: tuple[Owner, ...] | None) -> Iterator[Finding]:
    """``owners``: those that rules name now; ``None``: nobody knows."""
    if place.pod.is_injected:
        yield from _about_injected(place, settings, owners)
    else:
        yield from _about_bare(place, settings)


def _about_bare(place: Place, settings: Settings) -> Iterator[Finding]:
    pod, where = place.pod, str(place)
    if STATUS in pod.annotations:
        yield Finding(
            "status-without-sidecar",
            Level.WARN,
            where,
            "its annotation says that it is injected; it is not",
            f"take away the annotation {STATUS}: it was copied along",
        )
    if not is_asked_for(pod):
        return
    result = inject(pod, settings, None)
    if isinstance(result, Injection):
        yield from (Finding("host-not-probed", Level.WARN, where, note) for note in result.notes)
        if not place.is_template and _is_live(pod):
            yield Finding(
                "labelled-not-injected",
                Level.FAIL,
                where,
                "it is labelled for injection and has no sidecar",
                f"it is older than the label, or the webhook was not reached: {RESTART}",
            )
        return
    if result.asked:
        yield Finding(result.code, Level.FAIL, where, f"it will not be injected: {result.reason}", result.hint)
    elif result.code == "other-revision":
        yield Finding(result.code, Level.WARN, where, result.reason, "is there a control plane of that revision?")


def _about_injected(place: Place, settings: Settings, owners: tuple[Owner, ...] | None) -> Iterator[Finding]:
    pod, where = place.pod, str(place)
    found = [
        *_about_version(pod, where, settings),
        *_about_users(pod, where),
        *_about_etcd(pod, where),
        *_about_owners(pod, where, owners),
        *_about_state(pod, where),
    ]
    yield from found or [Finding("injected", Level.OK, where, "it carries the sidecar of these settings")]


def _about_version(pod: Pod, where: str, settings: Settings) -> Iterator[Finding]:
    try:
        status: Any = json.loads(pod.annotations.get(STATUS, "{}"))
    except ValueError:
        status = {}
    status = mapping(status)
    if status.get("template") != settings.template_hash:
        told = status.get("version", "unknown")
        what = f"its sidecar is of version {told}" if told != settings.version else "its sidecar is of older settings"
        yield Finding("outdated-sidecar", Level.WARN, where, what, RESTART)


def _about_users(pod: Pod, where: str) -> Iterator[Finding]:
    sidecar = pod.container(SIDECAR_CONTAINER)
    if pod.container(CAPTURE_CONTAINER) is None or sidecar is None:
        return
    context = mapping(sidecar.get("securityContext"))
    ours = (SIDECAR_CONTAINER, CAPTURE_CONTAINER)
    others = {
        kind: [one for one in listing(pod.spec.get(kind)) if one.get("name") not in ours]
        for kind in ("initContainers", "containers")
    }
    who = clashing_user(
        Pod({"spec": {**pod.spec, **others}}, pod.namespace), context.get("runAsUser"), context.get("runAsGroup")
    )
    if who is not None:
        yield Finding(
            "uid-clash",
            Level.FAIL,
            where,
            f"container {who} runs as the sidecar's user or group: its calls are not captured",
            "choose another runAsUser, or inject.uid and inject.gid",
        )


def _about_etcd(pod: Pod, where: str) -> Iterator[Finding]:
    sidecar = pod.container(SIDECAR_CONTAINER)
    told = [one for one in listing((sidecar or {}).get("env")) if one.get("name") == CONFIG_VARIABLE]
    try:
        document = mapping(json.loads(str(told[0].get("value")))) if told else {}
    except ValueError:
        return  # its own affair: the annotation `patch`
    endpoints = mapping(document.get("etcd")).get("endpoints")
    if isinstance(endpoints, list) and all_on_loopback(endpoints):
        yield Finding("etcd-on-loopback", Level.FAIL, where, ON_LOOPBACK, "inject it again, with --etcd or --config")


def _about_owners(pod: Pod, where: str, owners: tuple[Owner, ...] | None) -> Iterator[Finding]:
    captured = captured_owners(pod)
    if owners is None or captured is None:
        return
    lacking = sorted(owner.name for owner in owners if not set(owner.hosts) <= captured.get(owner.name, set()))
    if lacking:
        yield Finding(
            "owner-not-captured",
            Level.WARN,
            where,
            f"calls to {', '.join(lacking)} are not captured: it was made before these rules",
            RESTART,
        )


def captured_owners(pod: Pod) -> dict[str, set[str]] | None:
    """The owners' hosts that its redirect was made of; ``None``: that was only known in the pod."""
    capture = pod.container(CAPTURE_CONTAINER)
    told = [one for one in listing((capture or {}).get("env")) if one.get("name") == OWNERS_VARIABLE]
    try:
        document: Mapping[str, Any] = json.loads(str(told[0].get("value")).replace("$$(", "$("))
        return {str(owner["name"]): {str(host) for host in owner["hosts"]} for owner in document["owners"]}
    except (IndexError, ValueError, KeyError, TypeError):
        return None


def _about_state(pod: Pod, where: str) -> Iterator[Finding]:
    """Of a pod that runs: what kubelet says of our containers."""
    status = mapping(pod.document.get("status"))
    for kind in ("initContainerStatuses", "containerStatuses"):
        for one in listing(status.get(kind)):
            if one.get("name") not in (SIDECAR_CONTAINER, CAPTURE_CONTAINER):
                continue
            waiting = mapping(mapping(one.get("state")).get("waiting")).get("reason")
            if waiting not in (None, "PodInitializing", "ContainerCreating"):
                yield Finding(
                    "sidecar-not-running",
                    Level.FAIL,
                    where,
                    f"container {one.get('name')} waits: {waiting}",
                    f"kubectl logs -c {one.get('name')} tells why",
                )


def _is_live(pod: Pod) -> bool:
    """Whether an API server gave it to us, in contrast to a file somebody wrote."""
    return "uid" in pod.metadata
