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
    """Who made it. A ReplicaSet of a Deployment is named after it and the template's hash, a Job after its CronJob."""
    if pod.workload is not None:
        return pod.workload
    owners = listing(pod.metadata.get("ownerReferences"))
    owner = next((one for one in owners if one.get("controller")), None)
    if owner is None:
        return None
    kind, name = str(owner.get("kind", "")), str(owner.get("name", ""))
    suffix = f"-{pod.labels.get('pod-template-hash', '')}"
    if kind == "ReplicaSet" and len(suffix) > 1 and name.endswith(suffix):
        return Workload("Deployment", name.removesuffix(suffix))
    if kind == "Job" and (found := _CRON.fullmatch(name)) is not None:
        return Workload("CronJob", found[1])
    return Workload(kind, name) if kind and name else None


def mapping(value: object) -> Mapping[str, Any]:
    """What should be a mapping; empty for whatever else somebody wrote."""
    return value if isinstance(value, Mapping) else {}


def listing(value: object) -> Sequence[Mapping[str, Any]]:
    """What should be a list of mappings; what is none is passed over."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list | tuple) else []
