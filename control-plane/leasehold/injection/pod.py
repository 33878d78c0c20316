"""A pod as an injector sees it: the object as it came, and where it stands. Nothing here changes it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from leasehold.injection.conventions import CAPTURE_CONTAINER, DEFAULT_CONTAINER, SIDECAR_CONTAINER

Document = Mapping[str, Any]
_CRON = re.compile(r"(.+)-\d{8,12}")
"""A CronJob's jobs are called after it and the minute."""
KNATIVE_SERVICE = "serving.knative.dev/service"
"""Each of its revisions is a Deployment of its own."""
TEMPLATE_HASHES: Mapping[str, str] = {"pod-template-hash": "Deployment", "rollouts-pod-template-hash": "Rollout"}
"""What a ReplicaSet's name ends with, and who made it then."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What made the pod, as a person knows it: the Deployment, not its ReplicaSet."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Namespace:
    """Where it stands; ``labels`` as far as they are known."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pod:
    """``workload`` is known to whoever has the workload's own manifest; of a bare pod its owner tells."""

    document: Document
    namespace: Namespace
    workload: Workload | None = None

    @property
    def metadata(self) -> Document:
        return mapping(self.document.get("metadata"))

    @property
    def spec(self) -> Document:
        return mapping(self.document.get("spec"))

    @property
    def labels(self) -> Mapping[str, str]:
        return mapping(self.metadata.get("labels"))

    @property
    def annotations(self) -> Mapping[str, str]:
        return mapping(self.metadata.get("annotations"))

    @property
    def containers(self) -> Sequence[Document]:
        return listing(self.spec.get("containers"))

    @property
    def init_containers(self) -> Sequence[Document]:
        return listing(self.spec.get("initContainers"))

    @property
    def every_container(self) -> Iterator[Document]:
        yield from self.init_containers
        yield from self.containers

    @property
    def name(self) -> str:
        """For people: a pod that is being created may only have the beginning of a name."""
        generated = self.metadata.get("generateName")
        return str(self.metadata.get("name") or (f"{generated}*" if generated else "unnamed"))

    @property
    def is_injected(self) -> bool:
        """By the containers, not by an annotation: that may have been copied along."""
        ours = (CAPTURE_CONTAINER, SIDECAR_CONTAINER)
        return any(container.get("name") in ours for container in self.every_container)

    def container(self, name: str) -> Document | None:
        return next((one for one in self.every_container if one.get("name") == name), None)

    def app_container(self, asked: str | None = None) -> Document | None:
        """The one that is the app: the one asked for, or what kubectl takes for it, or the first."""
        name = asked or self.annotations.get(DEFAULT_CONTAINER)
        if name is None:
            return next(iter(self.containers), None)
        return next((one for one in self.containers if one.get("name") == name), None)


def owner_workload(pod: Pod) -> Workload | None:
    """Who made it, as it stays from release to release: a service that had another name with each would let go of what
    it holds. A ReplicaSet is named after what made it and the template's hash, a Job after its CronJob."""
    if pod.workload is not None:
        return pod.workload
    owners = listing(pod.metadata.get("ownerReferences"))
    owner = next((one for one in owners if one.get("controller")), None)
    if owner is None:
        return None
    kind, name = str(owner.get("kind", "")), str(owner.get("name", ""))
    if kind == "ReplicaSet":
        return _maker(pod.labels, name)
    if kind == "Job" and (found := _CRON.fullmatch(name)) is not None:
        return Workload("CronJob", found[1])
    return Workload(kind, name) if kind and name else None


def _maker(labels: Mapping[str, str], replica_set: str) -> Workload:
    if service := labels.get(KNATIVE_SERVICE):
        return Workload("KnativeService", service)
    for label, kind in TEMPLATE_HASHES.items():
        suffix = f"-{labels.get(label, '')}"
        if len(suffix) > 1 and replica_set.endswith(suffix):
            return Workload(kind, replica_set.removesuffix(suffix))
    return Workload("ReplicaSet", replica_set)


def mapping(value: object) -> Mapping[str, Any]:
    """What should be a mapping; empty for whatever else somebody wrote."""
    return value if isinstance(value, Mapping) else {}


def listing(value: object) -> Sequence[Mapping[str, Any]]:
    """What should be a list of mappings; what is none is passed over."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list | tuple) else []
