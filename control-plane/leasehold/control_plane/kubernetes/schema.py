"""A model as the structural schema by which an API server checks objects. Pure.

What the model says is said here too: fields, types, enumerations, what is required. What a schema cannot say exactly
(a field that is one text or several) is let through as it is: the admission review and the controller, which use the
model itself, refuse nonsense all the same. No defaults are written into objects: they would stay when ours change.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

DURATION = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"
MOST_ITEMS = 1024
"""Of a list or mapping: the API server bounds what a check may cost by it."""
MOST_CHARACTERS = 8192
AS_IT_IS: Mapping[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """A rule in CEL, and what is said when it does not hold: in the words of the model's own check."""

    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Extras:
    """What the types do not say: checks by model, and more keywords by model and field."""

    checks: Mapping[type, Sequence[Check]] = field(default_factory=dict)
    keywords: Mapping[tuple[type, str], Mapping[str, Any]] = field(default_factory=dict)


def schema_of(model: type[msgspec.Struct], extras: Extras, *, without: frozenset[str] = frozenset()) -> Schema:
    """The schema of a model, leaving out some of its own fields."""
    return _struct(msgspec.inspect.type_info(model), extras, without)  # type: ignore[arg-type]


def _struct(kind: msgspec.inspect.StructType, extras: Extras, without: frozenset[str] = frozenset()) -> Schema:
    properties = {}
    for each in kind.fields:
        if each.encode_name not in without:
            more = extras.keywords.get((kind.cls, each.encode_name), {})
            properties[each.encode_name] = {**_described(each), **_of(each.type, extras), **more}
    schema: Schema = {"type": "object", "description": _about(kind.cls), "properties": properties}
    if needed := [each.encode_name for each in kind.fields if each.required and each.encode_name not in without]:
        schema["required"] = needed
    if checks := extras.checks.get(kind.cls):
        schema["x-kubernetes-validations"] = [{"rule": one.rule, "message": one.message} for one in checks]
    return schema


def _of(kind: msgspec.inspect.Type, extras: Extras) -> Schema:
    if isinstance(kind, msgspec.inspect.UnionType):
        options = [option for option in kind.types if not isinstance(option, msgspec.inspect.NoneType)]
        return _of(options[0], extras) if len(options) == 1 else dict(AS_IT_IS)
    if isinstance(kind, msgspec.inspect.StructType):
        return _struct(kind, extras)
    if isinstance(kind, msgspec.inspect.EnumType):
        return {"type": "string", "enum": [member.value for member in kind.cls]}
    if isinstance(kind, msgspec.inspect.VarTupleType | msgspec.inspect.ListType):
        return {"type": "array", "maxItems": MOST_ITEMS, "items": _of(kind.item_type, extras)}
    if isinstance(kind, msgspec.inspect.DictType):
        return _mapping(kind, extras)
    return _leaf(kind)


def _mapping(kind: msgspec.inspect.DictType, extras: Extras) -> Schema:
    if isinstance(kind.value_type, msgspec.inspect.AnyType):
        return {"type": "object", **AS_IT_IS}
    return {"type": "object", "maxProperties": MOST_ITEMS, "additionalProperties": _of(kind.value_type, extras)}


def _leaf(kind: msgspec.inspect.Type) -> Schema:
    if isinstance(kind, msgspec.inspect.CustomType):
        return {"type": "string", "maxLength": 32, "pattern": DURATION}
    simple: Mapping[type, Schema] = {
        msgspec.inspect.StrType: {"type": "string", "maxLength": MOST_CHARACTERS},
        msgspec.inspect.BoolType: {"type": "boolean"},
        msgspec.inspect.IntType: {"type": "integer", "format": "int64"},
        msgspec.inspect.FloatType: {"type": "number"},
    }
    return dict(simple[type(kind)])


def _described(each: msgspec.inspect.Field) -> Schema:
    """What a field is by default; the object's own description says what it is for."""
    default = each.default
    if default in (msgspec.NODEFAULT, None, "", ()) or isinstance(default, msgspec.Struct):
        return {}
    written = ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    return {"description": f"Default: {written.lower() if isinstance(default, bool) else written}."}


def _about(model: type) -> str:
    """A model's docstring, as one text."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(model.__doc__ or ""))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).replace("``", "`")
