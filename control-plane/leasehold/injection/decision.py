"""Whether a pod is to be injected. Whoever is not is left as it was, for a reason with a stable code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from leasehold.injection.conventions import (
    MIRROR,
    NAMESPACE_LABEL,
    OUR_PORTS,
    OUR_VOLUMES,
    POD_LABEL,
    POD_SECURITY,
    REVISION_LABEL,
)
from leasehold.injection.pod import Pod, listing, mapping, owner_workload
from leasehold.injection.settings import InjectSection
from leasehold.injection.wishes import Wishes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a pod is left alone. ``asked``: somebody expects it to be injected, and should be told."""

    code: str
    reason: str
    hint: str = ""
    asked: bool = True

    def __str__(self) -> str:
        return f"{self.reason} ({self.code}){f'; {self.hint}' if self.hint else ''}"


def is_asked_for(pod: Pod) -> bool:
    """By the pod's label, or else by its namespace's."""
    by_pod = pod.labels.get(POD_LABEL)
    return by_pod == "true" if by_pod is not None else pod.namespace.labels.get(NAMESPACE_LABEL) == "enabled"


def left_alone(pod: Pod, section: InjectSection) -> Refusal | None:
    """Whose turn it is not: asked or not, nothing is wrong with these."""
    by_pod, name = pod.labels.get(POD_LABEL), pod.namespace.name
    if pod.is_injected:
        return Refusal("already-injected", "it carries a sidecar already", asked=False)
    if by_pod == "false":
        return Refusal("opted-out", f"its label {POD_LABEL} says false", asked=False)
    if by_pod is not None and by_pod != "true":
        return Refusal("bad-label", f'its label {POD_LABEL} is {by_pod!r}, expected "true" or "false"')
    if not is_asked_for(pod):
        return Refusal(
            "not-selected", f"neither its namespace ({NAMESPACE_LABEL}: enabled) asks for it nor itself", asked=False
        )
    revision = pod.labels.get(REVISION_LABEL) or pod.namespace.labels.get(REVISION_LABEL) or "default"
    if revision != section.revision:
        told = f"revision {revision} is to inject it, this is {section.revision}"
        return Refusal("other-revision", told, asked=False)
    if name.startswith("kube-") or name == section.namespace:
        return Refusal(
            "protected-namespace",
            f"nothing is injected in namespace {name}",
            "the cluster's own parts, and Leasehold's, must start without it",
        )
    if MIRROR in pod.annotations:
        return Refusal("mirror-pod", "a static pod cannot be changed here")
    return None


def unfit(pod: Pod, section: InjectSection, wishes: Wishes) -> Refusal | None:
    """What stands in the way of a pod that should be injected: the first of these."""
    return next(_obstacles(pod, section, wishes), None)


def _obstacles(pod: Pod, section: InjectSection, wishes: Wishes) -> Iterator[Refusal]:
    for holder, fields, kind, told in (
        (pod.document, ("metadata",), dict, "a mapping"),
        (pod.spec, ("initContainers", "containers", "volumes"), list, "a list"),
        (pod.metadata, ("labels", "annotations"), dict, "a mapping"),
    ):
        for field in fields:
            if not isinstance(holder.get(field) or kind(), kind):
                yield Refusal("unusable-pod", f"its {field} should be {told}")
    if pod.spec.get("hostNetwork"):
        yield Refusal(
            "host-network",
            "it uses the node's network, where a redirect would be everybody's",
            "use leasehold run, or a forward proxy, beside it",
        )
    if mapping(pod.spec.get("os")).get("name") == "windows":
        yield Refusal("windows", "there is no sidecar for Windows")
    if pod.app_container(wishes.container) is None:
        yield Refusal(
            "no-app-container",
            f"there is no container {wishes.container or 'at all'}",
            "see the annotation leasehold.dev/container",
        )
    yield from _clashes(pod, section, wishes)
    level = pod.namespace.labels.get(POD_SECURITY)
    if wishes.capture == "transparent" and level in {"baseline", "restricted"}:
        yield Refusal(
            "pod-security",
            f"its namespace enforces pod security {level}, which would reject the redirect",
            "leasehold.dev/capture: forward-proxy needs no NET_ADMIN",
        )
    if not wishes.native and completes(pod):
        yield Refusal(
            "job-needs-native-sidecar",
            "beside a plain sidecar it would never complete",
            "native sidecars need Kubernetes 1.29 or newer",
        )


def _clashes(pod: Pod, section: InjectSection, wishes: Wishes) -> Iterator[Refusal]:
    who = clashing_user(pod, section.uid, section.gid) if wishes.capture == "transparent" else None
    if who is not None:
        yield Refusal(
            "uid-clash",
            f"container {who} runs as the sidecar's user or group: it would not be captured",
            "choose another runAsUser, or inject.uid and inject.gid",
        )
    taken = [one.get("containerPort") for container in pod.every_container for one in listing(container.get("ports"))]
    ports = [port for port in OUR_PORTS if port in taken]
    if ports:
        yield Refusal("port-clash", f"it uses port {ports[0]} itself, which is one of the sidecar's")
    volumes = [one.get("name") for one in listing(pod.spec.get("volumes")) if one.get("name") in OUR_VOLUMES]
    if volumes:
        yield Refusal("name-clash", f"it has a volume {volumes[0]} already, without a sidecar")


def clashing_user(pod: Pod, uid: int | None, gid: int | None) -> str | None:
    """A container whose connections the redirect would take for those of this user or group."""
    ours = mapping(pod.spec.get("securityContext"))
    for container in pod.every_container:
        context = mapping(container.get("securityContext"))
        user = context.get("runAsUser", ours.get("runAsUser"))
        group = context.get("runAsGroup", ours.get("runAsGroup"))
        if (user is not None and user == uid) or (group is not None and group == gid):
            return str(container.get("name"))
    return None


def completes(pod: Pod) -> bool:
    """Whether it is meant to end by itself."""
    workload = owner_workload(pod)
    return pod.spec.get("restartPolicy", "Always") != "Always" or (
        workload is not None and workload.kind in {"Job", "CronJob"}
    )
