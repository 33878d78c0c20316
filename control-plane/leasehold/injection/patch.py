"""How what is added gets into the pod: a JSON patch (RFC 6902) that only adds.

Lists and maps that are not there are added whole; where they are, single items are put into them, so that nothing of
the app's is ever written again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jsonpatch import JsonPatch, JsonPatchException, JsonPointerException

from leasehold.injection.pod import Pod

Operation = dict[str, Any]


class BadPatch(ValueError):
    """It cannot be applied."""


def escaped(key: str) -> str:
    """A key as part of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def added_entries(path: str, present: Mapping[str, Any] | None, entries: Mapping[str, str]) -> list[Operation]:
    """Entries of a map at ``path``, which has ``present`` now, if anything."""
    if not entries:
        return []
    if not present:
        return [{"op": "add", "path": path, "value": dict(entries)}]
    return [{"op": "add", "path": f"{path}/{escaped(key)}", "value": value} for key, value in entries.items()]


def added_first(path: str, present: object, items: Sequence[Any]) -> list[Operation]:
    """Items before all others of a list, in their order."""
    if not items:
        return []
    if not present:
        return [{"op": "add", "path": path, "value": list(items)}]
    return [{"op": "add", "path": f"{path}/0", "value": item} for item in reversed(items)]


def added_last(path: str, present: object, items: Sequence[Any]) -> list[Operation]:
    """Items after all others of a list."""
    if not items:
        return []
    if not present:
        return [{"op": "add", "path": path, "value": list(items)}]
    return [{"op": "add", "path": f"{path}/-", "value": item} for item in items]


def metadata_operations(pod: Pod, labels: Mapping[str, str], annotations: Mapping[str, str]) -> list[Operation]:
    """Labels and annotations, also into a pod without any metadata."""
    present = pod.document.get("metadata")
    operations: list[Operation] = [] if present else [{"op": "add", "path": "/metadata", "value": {}}]
    return [
        *operations,
        *added_entries("/metadata/labels", pod.metadata.get("labels"), labels),
        *added_entries("/metadata/annotations", pod.metadata.get("annotations"), annotations),
    ]


def applied(operations: Sequence[Mapping[str, Any]], document: Any) -> Any:
    """The document with the patch applied; the one given stays as it is. Raises ``BadPatch``."""
    try:
        return JsonPatch(list(operations)).apply(document)
    except (JsonPatchException, JsonPointerException, TypeError, KeyError) as error:
        raise BadPatch(f"cannot be applied: {error}") from error
