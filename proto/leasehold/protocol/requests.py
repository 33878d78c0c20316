"""A gRPC call as an owner's document describes it, and the template of its request. Pure, and blind to any schema.

In the request's values ``{id}`` and ``{etag}`` are filled in; nested mappings are nested messages; everything else is
constant. What is filled in never becomes more than the text it is: it is not looked at for variables again, and where
the id is only a part of a text, as in the name ``projects/p/blobs/{id}``, it stays one segment of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from leasehold.protocol.templates import BadTemplate, UnsafeId

_VARIABLE: Final = re.compile(r"\{(id|etag)\}")
_PROTO_NAME: Final = "[A-Za-z_][A-Za-z0-9_]*"
_METADATA_NAME: Final = re.compile(r"[0-9a-z_.-]+")
_METADATA_VALUE: Final = re.compile(r"[!-~]([ -~]*[!-~])?")
_NOT_METADATA: Final = frozenset(
    {"connection", "content-type", "host", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade",
     "user-agent"}
)  # fmt: skip
_NOT_A_SEGMENT: Final = frozenset({"", ".", "..", "-"})
"""``-`` stands for "all of them" in resource names (Google AIP-159)."""


class GrpcCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One unary call: ``service`` with its package, ``method``, the request's template, and constant metadata."""

    service: str
    method: str
    request: dict[str, Any] = {}
    metadata: dict[str, str] = {}

    @property
    def path(self) -> str:
        """What HTTP/2 sees of it."""
        return f"/{self.service}/{self.method}"


@dataclass(frozen=True, slots=True)
class Slot:
    """A text field to be filled in. ``path`` are its names from the outside in."""

    path: tuple[str, ...]
    text: str

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(_VARIABLE.findall(self.text))

    @property
    def whole(self) -> bool:
        """Whether the variable is all there is."""
        return _VARIABLE.fullmatch(self.text) is not None

    def fill(self, values: Mapping[str, str]) -> str:
        """Raises ``UnsafeId``, or ``KeyError`` for a missing variable."""
        for name in self.variables:
            value = values[name]
            if not value:
                raise UnsafeId(f"an empty {name} cannot be part of a request")
            if name == "id" and not self.whole and (value in _NOT_A_SEGMENT or "/" in value):
                raise UnsafeId(f"{value!r} cannot be one segment of {self.text!r}")
        return _VARIABLE.sub(lambda found: values[found[1]], self.text)


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """A compiled template: what is filled in, and all the rest."""

    slots: tuple[Slot, ...]
    constants: Mapping[str, object]

    @classmethod
    def compile(cls, request: Mapping[str, object]) -> RequestTemplate:
        """Raises ``BadTemplate`` with the first mistake."""
        for where, problem in _stray(request, "request"):
            raise BadTemplate(f"{where}: {problem}")
        slots: list[Slot] = []
        constants = _divided(request, (), slots)
        return cls(tuple(slots), constants)

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(name for slot in self.slots for name in slot.variables)

    def check(self, resource_id: str) -> None:
        """Raises ``UnsafeId`` if this id cannot be asked about."""
        for slot in self.slots:
            slot.fill({"id": resource_id, "etag": "etag"})


def _divided(request: Mapping[str, object], path: tuple[str, ...], slots: list[Slot]) -> dict[str, object]:
    constants: dict[str, object] = {}
    for name, value in request.items():
        if isinstance(value, str) and _VARIABLE.search(value):
            slots.append(Slot((*path, name), value))
        elif isinstance(value, Mapping):
            constants[name] = _divided(value, (*path, name), slots)
        else:
            constants[name] = value
    return constants


def call_nonsense(call: GrpcCall, *, etag: bool) -> Iterator[tuple[str, str]]:
    """What is wrong with a call, as place and problem. ``etag``: whether it must carry the ETag just read."""
    if not re.fullmatch(rf"{_PROTO_NAME}(\.{_PROTO_NAME})*", call.service):
        yield "service", f"expected a service with its package, like blobs.v1.Blobs, got {call.service!r}"
    if not re.fullmatch(_PROTO_NAME, call.method):
        yield "method", f"expected the name of a gRPC method, like DeleteBlob, got {call.method!r}"
    stray = list(_stray(call.request, "request"))
    yield from stray
    if not stray:
        yield from _variables_nonsense(RequestTemplate.compile(call.request).variables, etag=etag)
    for name, value in call.metadata.items():
        problem = not_metadata(name, value)
        if problem:
            yield f"metadata.{name}", problem


def _variables_nonsense(variables: tuple[str, ...], *, etag: bool) -> Iterator[tuple[str, str]]:
    if variables.count("id") != 1:
        yield "request", f'expected "{{id}}" exactly once among the values, got it {variables.count("id")} times'
    if etag and variables.count("etag") != 1:
        yield (
            "request",
            f'if-match expects "{{etag}}" exactly once among the values, got it {variables.count("etag")} times',
        )
    if not etag and "etag" in variables:
        yield "request", "expected {etag} only in a delete with precondition: if-match"


def not_metadata(name: str, value: str) -> str:
    """Why this cannot be sent as metadata of a call; empty if it can. Upper-case names are taken as lower-case."""
    lower = name.lower()
    if not _METADATA_NAME.fullmatch(lower) or lower in _NOT_METADATA or lower.startswith("grpc-"):
        return "expected a name that metadata may have (no HTTP header of the connection, none of gRPC's own)"
    if lower.endswith("-bin"):
        return "expected no binary metadata (-bin)"
    return "" if _METADATA_VALUE.fullmatch(value) else f"expected visible ASCII text, got {value!r}"


def _stray(value: object, where: str, *, fillable: bool = True) -> Iterator[tuple[str, str]]:
    """Braces that are no variable, or stand where nothing is filled in: sent as they are, they would hit anything."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str) or "{" in key or "}" in key:
                yield where, f"expected the name of a field, got {key!r}"
            else:
                yield from _stray(item, f"{where}.{key}", fillable=fillable)
    elif isinstance(value, list | tuple):
        for n, item in enumerate(value):
            yield from _stray(item, f"{where}[{n}]", fillable=False)
    elif isinstance(value, str):
        rest = _VARIABLE.sub("", value) if fillable else value
        if "{" in rest or "}" in rest:
            wanted = "no braces but {id} and {etag}" if fillable else "no braces in a list: it is constant"
            yield where, f"expected {wanted}, got {value!r}"
