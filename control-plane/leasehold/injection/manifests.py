"""Where pods are in manifests: as themselves, as the template of a workload, in lists of such objects."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leasehold.injection.patch import applied
from leasehold.injection.pod import Document, Namespace, Pod, Workload, listing, mapping

TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""Where the pod is in an object of each kind."""


@dataclass(frozen=True, slots=True)
class Place:
    """One pod in a manifest. ``path``: the steps to it from the whole document."""

    kind: str
    name: str
    pod: Pod
    path: tuple[str | int, ...]

    @property
    def is_template(self) -> bool:
        """What pods are made of, in contrast to one that may be running."""
        return self.kind != "Pod"

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name} ({self.pod.namespace.name})"


def places(document: Any, namespaces: Mapping[str, Mapping[str, str]], default_namespace: str) -> Iterator[Place]:
    """Every pod in an object or a list of objects. ``namespaces``: labels, as far as known."""
    for path, thing in objects(document):
        kind = str(thing.get("kind", ""))
        if kind not in TEMPLATES:
            continue
        inside = thing
        for step in TEMPLATES[kind]:
            inside = mapping(inside.get(step))
        metadata = mapping(thing.get("metadata"))
        where = str(metadata.get("namespace") or default_namespace)
        name = str(metadata.get("name") or metadata.get("generateName") or "unnamed")
        workload = None if kind == "Pod" else _workload(kind, name, metadata)
        pod = Pod(inside, Namespace(where, namespaces.get(where, {})), workload)
        yield Place(kind, name, pod, (*path, *TEMPLATES[kind]))


def objects(document: Any) -> Iterator[tuple[tuple[str | int, ...], Document]]:
    """The objects of a document with the steps to them: itself, or the items of a list."""
    if not isinstance(document, Mapping):
        return
    if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
        for n, item in enumerate(document["items"]):
            for path, thing in objects(item):
                yield ("items", n, *path), thing
    else:
        yield (), document


def namespace_labels(documents: Iterable[Any]) -> dict[str, Mapping[str, str]]:
    """Of the Namespace objects among the documents."""
    found = {}
    for document in documents:
        for _, thing in objects(document):
            if thing.get("kind") == "Namespace":
                metadata = mapping(thing.get("metadata"))
                found[str(metadata.get("name"))] = mapping(metadata.get("labels"))
    return found


def patched(document: Any, place: Place, operations: Sequence[Mapping[str, Any]]) -> Any:
    """The whole document with one of its pods patched; the one given stays as it is. Raises ``BadPatch``."""
    result = copy.deepcopy(document)
    if not place.path:
        return applied(operations, result)
    parent = result
    for step in place.path[:-1]:
        parent = parent[step]
    parent[place.path[-1]] = applied(operations, parent[place.path[-1]])
    return result


def _workload(kind: str, name: str, metadata: Document) -> Workload:
    """A Job of a CronJob and a ReplicaSet of a Deployment belong to these."""
    owner = next((one for one in listing(metadata.get("ownerReferences")) if one.get("controller")), None)
    return Workload(kind, name) if owner is None else Workload(str(owner.get("kind")), str(owner.get("name")))
