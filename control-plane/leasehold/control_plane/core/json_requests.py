"""From JSON, or a query, to a request message: every wrong field is named, with what was expected. Pure.

Stricter than the generated classes: those take a 1 for "yes", and a number for a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import betterproto2

M = TypeVar("M", bound=betterproto2.Message)
_UINT32 = 2**32


class BadRequest(ValueError):
    """``str()`` names the field and what was expected."""


def read_message(kind: type[M], value: object, where: str = "") -> M:
    """Raises ``BadRequest``. Field names in lowerCamelCase or as the .proto has them; ``null`` is as if left out."""
    if not isinstance(value, Mapping):
        raise BadRequest(f"{where or 'request'}: expected an object, got {_told(value)}")
    known = _shape(kind).meta_by_field_name
    found: dict[str, Any] = {}
    for key, one in value.items():
        name, path = _snake(str(key)), f"{where}.{key}" if where else str(key)
        if name not in known:
            raise BadRequest(f"{path}: no such field; expected {', '.join(known) or 'none'}")
        if one is not None:
            found[name] = _field(kind, name, one, path)
    return kind(**found)


def nested(pairs: Iterable[tuple[str, str]], kind: type[betterproto2.Message]) -> dict[str, Any]:
    """A query (``filter.owner=x&filter.states=held&pageSize=5``) as the JSON it stands for. Raises ``BadRequest``."""
    whole: dict[str, Any] = {}
    for key, text in pairs:
        *outer, last = key.split(".")
        place, message = whole, kind
        for part in outer:
            inner = _shape(message).cls_by_field.get(_snake(part))
            if inner is None or not issubclass(inner, betterproto2.Message):
                raise BadRequest(f"{key}: no such field")
            place, message = place.setdefault(part, {}), inner
        meta = _shape(message).meta_by_field_name.get(_snake(last))
        if meta is None:
            raise BadRequest(f"{key}: no such field")
        if meta.repeated:
            place.setdefault(last, []).append(text)
        elif last in place:
            raise BadRequest(f"{key}: expected once")
        else:
            place[last] = _of_text(meta.proto_type, text, key)
    return whole


def _shape(kind: Any) -> Any:
    """What a message class consists of. Its descriptor is of no type that a type checker follows."""
    return kind._betterproto


def _of_text(kind: str, text: str, where: str) -> object:
    if kind == betterproto2.TYPE_BOOL:
        if text not in {"true", "false"}:
            raise BadRequest(f"{where}: expected true or false, got {text!r}")
        return text == "true"
    if kind == betterproto2.TYPE_UINT32:
        if not (text.isascii() and text.isdecimal()):
            raise BadRequest(f"{where}: expected a whole number, got {text!r}")
        return int(text)
    return text


def _field(kind: type[betterproto2.Message], name: str, value: object, where: str) -> object:
    meta, inner = _shape(kind).meta_by_field_name[name], _shape(kind).cls_by_field[name]
    if not meta.repeated:
        return _single(meta.proto_type, inner, value, where)
    if not isinstance(value, list):
        raise BadRequest(f"{where}: expected a list, got {_told(value)}")
    return [_single(meta.proto_type, inner, one, f"{where}[{n}]") for n, one in enumerate(value)]


def _single(proto_type: str, kind: type, value: object, where: str) -> object:
    if proto_type == betterproto2.TYPE_MESSAGE:
        return read_message(kind, value, where)
    if proto_type == betterproto2.TYPE_STRING and isinstance(value, str):
        return value
    if proto_type == betterproto2.TYPE_BOOL and isinstance(value, bool):
        return value
    if proto_type == betterproto2.TYPE_UINT32 and type(value) is int and 0 <= value < _UINT32:
        return value
    raise BadRequest(f"{where}: expected {_EXPECTED.get(proto_type, proto_type)}, got {_told(value)}")


_EXPECTED = {
    betterproto2.TYPE_STRING: "a string",
    betterproto2.TYPE_BOOL: "true or false",
    betterproto2.TYPE_UINT32: f"a whole number below {_UINT32}",
}


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _told(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
