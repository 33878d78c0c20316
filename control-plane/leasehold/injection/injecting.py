"""The whole: from a pod, where it stands and what the operator decided, to a patch or to a reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from leasehold.injection.configuration import configuration
from leasehold.injection.containers import capture_container, sidecar_container, volumes
from leasehold.injection.conventions import (
    DEFAULT_CONTAINER,
    GROUP,
    INJECTED_LABEL,
    SIDECAR_CONTAINER,
    STATUS,
)
from leasehold.injection.decision import Refusal, left_alone, unfit
from leasehold.injection.host_probe import HostProbe, probe_from_text, probe_of
from leasehold.injection.patch import (
    BadPatch,
    Operation,
    added_first,
    added_last,
    applied,
    metadata_operations,
)
from leasehold.injection.pod import Pod
from leasehold.injection.settings import Settings
from leasehold.injection.wishes import Wishes, read_wishes
from leasehold.injection.workload import service_name
from leasehold.protocol.rules import Owner


@dataclass(frozen=True, slots=True)
class Injection:
    """What is done to a pod, and what its people should know about it."""

    operations: tuple[Operation, ...]
    service: str
    notes: tuple[str, ...] = ()


def inject(pod: Pod, settings: Settings, owners: Sequence[Owner] | None) -> Injection | Refusal:
    """``owners``: whose calls are to be captured; ``None``: those that are in etcd when the pod starts."""
    section = settings.section
    refusal = left_alone(pod, section)
    if refusal is not None:
        return refusal
    wishes, problems = read_wishes(pod.annotations, section)
    if problems:
        return Refusal("bad-annotation", "; ".join(problems), "see docs/kubernetes.md")
    refusal = unfit(pod, section, wishes)
    if refusal is not None:
        return refusal
    service = service_name(pod, wishes.service)
    if service is None:
        return Refusal(
            "no-service-name", "nothing says which service it is part of", f"set the annotation {GROUP}/service"
        )
    probe = _probe(pod, wishes)
    if not wishes.native and not probe.section:
        return Refusal(
            "no-host-probe",
            f"a plain sidecar could not tell when it ends: {probe.note or 'no probe'}",
            f"set the annotation {GROUP}/host-probe",
        )
    try:
        operations = _operations(pod, settings, wishes, service, probe, owners)
    except BadPatch as error:
        return Refusal("bad-annotation", f"annotation {GROUP}/patch: {error}")
    return Injection(tuple(operations), service, (probe.note,) if probe.note else ())


def _probe(pod: Pod, wishes: Wishes) -> HostProbe:
    if wishes.host_probe is not None:
        return probe_from_text(wishes.host_probe)
    return probe_of(pod.app_container(wishes.container) or {})


def _operations(
    pod: Pod, settings: Settings, wishes: Wishes, service: str, probe: HostProbe, owners: Sequence[Owner] | None
) -> list[Operation]:
    document = configuration(pod, settings, wishes, service, probe.section)
    sidecar = applied(wishes.patch, sidecar_container(pod, settings, wishes, document))
    redirecting = wishes.capture == "transparent"
    capture = [capture_container(settings, wishes, _with_extra(owners, wishes))] if redirecting else []
    inits, containers = pod.spec.get("initContainers"), pod.spec.get("containers")
    if wishes.native:
        # First of all: the app's own init containers call owners, too.
        placed = added_first("/spec/initContainers", inits, [*capture, sidecar])
    else:
        # The redirect comes after the init containers, whose calls nobody could accept yet.
        placed = [
            *added_last("/spec/initContainers", inits, capture),
            *added_first("/spec/containers", containers, [sidecar]),
        ]
    return [
        *metadata_operations(pod, {INJECTED_LABEL: "true"}, _annotations(pod, settings, wishes, service)),
        *placed,
        *added_last("/spec/volumes", pod.spec.get("volumes"), volumes(settings)),
    ]


def _with_extra(owners: Sequence[Owner] | None, wishes: Wishes) -> Sequence[Owner] | None:
    """Owners that the pod itself brings are captured, too; unless they are to be read from etcd, where they are not."""
    if owners is None or wishes.rules is None:
        return owners
    known = {owner.name for owner in owners}
    return [*owners, *(owner for owner in wishes.rules.owners if owner.name not in known)]


def _annotations(pod: Pod, settings: Settings, wishes: Wishes, service: str) -> dict[str, str]:
    status = {
        "version": settings.version,
        "template": settings.template_hash,
        "revision": settings.section.revision,
        "service": service,
        "container": SIDECAR_CONTAINER,
    }
    added = {STATUS: json.dumps(status, separators=(",", ":"))}
    app = pod.app_container(wishes.container)
    if DEFAULT_CONTAINER not in pod.annotations and app is not None:
        added[DEFAULT_CONTAINER] = str(app.get("name"))
    return added
