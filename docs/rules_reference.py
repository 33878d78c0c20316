"""``rules-reference.md``, made of the model of a rule file: ``python docs/rules_reference.py`` prints it.

Fields, types, defaults and what is required come from the types; the words are the models' own docstrings, so that
there is one place to mend them. ``make rules-docs`` writes the page, and a test says when it is out of date.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator

import msgspec

from leasehold.protocol.rules.interception import Rule
from leasehold.protocol.rules.owners import Owner

_HEAD = """\
<!-- Made by `make rules-docs` from proto/leasehold/protocol. Do not edit. -->
# Every field of a rule file

A file has `owners`, a list of [Owner](#owner), and `rules`, a list of [Rule](#rule). What is not listed here is
refused, and `leasehold rules check` says where. How the fields play together, with examples: [rules.md](rules.md).
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(section(model) for model in models(Owner, Rule))])


def models(*first: type) -> Iterator[type]:
    """Those, and every model that a field of theirs leads to; each once, outer before inner."""
    waiting, seen = list(first), set(first)
    while waiting:
        yield (model := waiting.pop(0))
        for inner in _inner(msgspec.inspect.type_info(model)):
            if inner not in seen:
                seen.add(inner)
                waiting.append(inner)


def _inner(kind: msgspec.inspect.Type) -> Iterator[type]:
    if isinstance(kind, msgspec.inspect.StructType):
        for field in kind.fields:
            yield from _named(field.type)


def _named(kind: msgspec.inspect.Type) -> Iterator[type]:
    """The models and enumerations that a type mentions."""
    if isinstance(kind, msgspec.inspect.StructType | msgspec.inspect.EnumType):
        yield kind.cls
    for part in getattr(kind, "types", ()):
        yield from _named(part)
    for name in ("item_type", "value_type"):
        if (part := getattr(kind, name, None)) is not None:
            yield from _named(part)


def section(model: type) -> str:
    """One model or enumeration: its docstring, and a line per field or value."""
    kind = msgspec.inspect.type_info(model)
    about = inspect.cleandoc(model.__doc__ or "").replace("``", "`")
    if not isinstance(kind, msgspec.inspect.StructType):
        values = ", ".join(f"`{value.value}`" for value in model)  # type: ignore[attr-defined]
        return f"## {model.__name__}\n\n{about}\n\nOne of {values}.\n"
    lines = [f"| `{field.encode_name}` | {_type(field.type)} | {_default(field)} |" for field in kind.fields]
    return f"## {model.__name__}\n\n{about}\n\n| field | type | default |\n|---|---|---|\n" + "\n".join(lines) + "\n"


def _type(kind: msgspec.inspect.Type) -> str:
    if isinstance(kind, msgspec.inspect.UnionType):
        return " or ".join(_type(each) for each in kind.types if not isinstance(each, msgspec.inspect.NoneType))
    if isinstance(kind, msgspec.inspect.StructType | msgspec.inspect.EnumType):
        return f"[{kind.cls.__name__}](#{kind.cls.__name__.lower()})"
    if isinstance(kind, msgspec.inspect.VarTupleType | msgspec.inspect.ListType):
        return f"list of {_type(kind.item_type)}"
    if isinstance(kind, msgspec.inspect.DictType):
        return f"mapping from text to {_type(kind.value_type)}"
    if isinstance(kind, msgspec.inspect.CustomType):
        return "duration"
    name = re.sub("Type$", "", type(kind).__name__).lower()
    return _NAMES[name]


_NAMES = {"str": "text", "int": "whole number", "float": "number", "bool": "`true` or `false`", "any": "anything"}


def _default(field: msgspec.inspect.Field) -> str:
    if field.required:
        return "**required**"
    default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if isinstance(default, msgspec.Struct):
        return "those of its fields"
    if default is None or default in ("", (), {}):
        return "none"
    if isinstance(default, tuple):
        return "`[" + ", ".join(map(str, default)) + "]`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    sys.stdout.write(page())
