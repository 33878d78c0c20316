"""An owner and its rule as objects, and what is done to them in tests."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from leasehold.control_plane.kubernetes.kinds import OWNER, RULE, Declared, Kind, declared

OWNER_SPEC: Mapping[str, Any] = {
    "hosts": ["blobs.internal:8080"],
    "endpoint": "http://blobs.internal:8080",
    "delete": {"path": "/v1/blobs/{id}", "precondition": "never-reused"},
    "read": {"path": "/v1/blobs/{id}"},
}
RULE_SPEC: Mapping[str, Any] = {
    "owner": "blobs",
    "type": "blob",
    "on": "create",
    "match": {"method": "POST", "path": "/v1/blobs", "status": [201]},
    "id": {"json": "id"},
    "held_by": "process",
    "mode": "sweep",
    "grace": "5m",
}


def thing(kind: Kind, name: str, spec: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """An object as the API server shows it."""
    metadata = {"name": name, "uid": f"uid-{name}", "generation": 1, "resourceVersion": "7"}
    return {"apiVersion": "leasehold.dev/v1alpha1", "kind": kind.name, "metadata": metadata, "spec": dict(spec), **more}


def owner(name: str = "blobs", **changes: Any) -> Declared:
    return declared(OWNER, thing(OWNER, name, changed(OWNER_SPEC, changes)))


def rule(name: str = "create-blob", **changes: Any) -> Declared:
    return declared(RULE, thing(RULE, name, changed(RULE_SPEC, changes)))


def changed(spec: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with some fields said otherwise; ``None`` takes one away. ``a__b`` is ``b`` within ``a``."""
    result = copy.deepcopy(dict(spec))
    for path, value in changes.items():
        *outer, last = path.split("__")
        place = result
        for step in outer:
            place = place.setdefault(step, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return result
