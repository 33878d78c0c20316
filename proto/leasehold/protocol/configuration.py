"""Documents into typed models, with *every* mistake listed: file, path, what was expected.

One reader for all of them: sidecar and control-plane configuration, rule files, rules in etcd. Pure: the text and the
environment come in, a model or ``BadConfiguration`` goes out.
"""

from __future__ import annotations

import copy
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import msgspec
import yaml

from leasehold.protocol.errors import LeaseholdError
from leasehold.protocol.yaml_text import LARGEST_CHARACTERS, MOST_ITEMS, read_yaml, weight

EX_CONFIG = 78
"""Exit code for a bad configuration, from sysexits.h."""

_T = TypeVar("_T")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class Seconds(float):
    """A duration, written as ``500ms``, ``15s``, ``5m``, ``24h`` or ``7d``; counted in seconds."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Seconds:
        """Raises ``ValueError``. A bare number is refused: seconds or milliseconds, nobody knows."""
        found = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError(f"expected a duration like 500ms, 15s, 5m, 24h or 7d, got {value!r}")
        return cls(float(found[1]) * _UNITS[found[2]])

    def __str__(self) -> str:
        return f"{float(self)!r}s".replace(".0s", "s")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong. ``path`` looks like ``rules[2].grace``; empty for the document as a whole."""

    source: str
    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.source}: {self.path}: {self.problem}" if self.path else f"{self.source}: {self.problem}"


class BadConfiguration(LeaseholdError):
    """The document cannot be used; ``mistakes`` are all that was found."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


def parse_yaml(text: str, source: str) -> object:
    """Raises ``BadConfiguration`` with line and column."""
    if len(text) > LARGEST_CHARACTERS:
        raise BadConfiguration([Mistake(source, "", f"expected at most {LARGEST_CHARACTERS} characters")])
    try:
        document = read_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        if re.search(r"[{\[][^\n]{0,200}\$\{", text):
            problem += '; inside {} and [] write "${VAR}" with quotes'
        raise BadConfiguration([Mistake(source, where, f"expected YAML: {problem}")]) from error
    if weight(document) > MOST_ITEMS:
        problem = f"expected YAML that does not contain itself, with at most {MOST_ITEMS} items, aliases written out"
        raise BadConfiguration([Mistake(source, "", problem)])
    return document


def load(kind: type[_T], text: str, source: str, environment: Mapping[str, str]) -> _T:
    """YAML text to a model: parse, expand ``${VAR}`` and ``${VAR:-default}`` in strings, check, convert.

    Raises ``BadConfiguration``.
    """
    mistakes: list[Mistake] = []
    try:
        document = _expand(parse_yaml(text, source), "", source, environment, mistakes)
    except RecursionError as error:
        raise BadConfiguration([Mistake(source, "", "expected YAML that does not contain itself")]) from error
    if mistakes:
        raise BadConfiguration(mistakes)
    return convert(kind, document, source)


def convert(kind: type[_T], document: object, source: str) -> _T:
    """A parsed document to a model. Raises ``BadConfiguration`` with every mistake, not only the first."""
    mistakes = [
        Mistake(source, path, problem) for path, problem in _mistakes(msgspec.inspect.type_info(kind), document, "")
    ]
    if mistakes:
        raise BadConfiguration(mistakes)
    try:
        return msgspec.convert(document, kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise BadConfiguration([Mistake(source, "", str(error))]) from error


@dataclass(frozen=True, slots=True)
class Reading(Generic[_T]):
    """What could be understood of a document, and every mistake of its form.

    Where the form is wrong, that field is put aside, so that the rest can be checked for meaning all the same.
    ``model`` is ``None`` if nothing was left to check.
    """

    model: _T | None
    mistakes: tuple[Mistake, ...] = ()
    put_aside: frozenset[str] = frozenset()

    def with_meaning(self, source: str, nonsense: Iterable[tuple[str, str]]) -> tuple[Mistake, ...]:
        """All mistakes: of form, and those of meaning (path and problem) that do not follow from what was put aside."""
        meant = (Mistake(source, path, problem) for path, problem in nonsense if not _follows(path, self.put_aside))
        return tuple(dict.fromkeys((*self.mistakes, *meant)))


def read(
    kind: type[_T], text: str, source: str, environment: Mapping[str, str], neutral: Mapping[str, object]
) -> Reading[_T]:
    """Like ``load``, but what is wrong is put aside instead of raised.

    ``neutral`` says, by the name of a list, what stands in it for an item of a wrong form, so that the others keep
    their numbers.
    """
    put_aside: set[str] = set()
    try:
        return Reading(load(kind, text, source, environment))
    except BadConfiguration as error:
        mistakes = list(error.mistakes)
    try:
        rest = load(dict[str, Any], text, source, environment)
    except BadConfiguration:
        return Reading(None, tuple(mistakes))
    for _ in range(len(mistakes) + 8):
        try:
            return Reading(convert(kind, rest, source), tuple(mistakes), frozenset(put_aside))
        except BadConfiguration as error:
            found = error.mistakes
        mistakes += (one for one in found if one not in mistakes and not _follows(one.path, put_aside))
        for one in found:
            removed = _put_aside(rest, one.path, neutral)
            if not one.problem.startswith("not a field"):  # nothing is missing without it
                put_aside |= {one.path, removed}
    return Reading(None, tuple(mistakes))


def _follows(path: str, put_aside: Iterable[str]) -> bool:
    """Whether what is there, part of it or what it is part of was put aside: no second mistake then."""
    return any(_within(one, path) or _within(path, one) for one in put_aside)


def _within(path: str, outer: str) -> bool:
    return path == outer or path.startswith((f"{outer}.", f"{outer}["))


def _put_aside(document: Any, path: str, neutral: Mapping[str, object]) -> str:
    """Remove what stands at ``path``; if it is not there, what it is missing from. Returns the path of what went."""
    steps: list[str | int] = [
        int(step[1:-1]) if step[0] == "[" else step for step in re.findall(r"[^.\[]+|\[\d+\]", path)
    ]
    while steps:
        parent, last = document, steps[-1]
        try:
            for step in steps[:-1]:
                parent = parent[step]
            if isinstance(last, int):
                parent[last] = copy.deepcopy(neutral[str(steps[-2])])
            else:
                del parent[last]
        except (KeyError, IndexError, TypeError):
            steps.pop()
            continue
        return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
    return path


def to_json(model: object) -> bytes:
    """A model as the JSON document that ``convert`` reads back; always the same bytes for the same model."""
    return msgspec.json.encode(model, enc_hook=str)


def _decode(kind: type, value: object) -> object:
    if kind is Seconds:
        return Seconds.parse(value)
    raise NotImplementedError(kind)


def _expand(value: object, path: str, source: str, environment: Mapping[str, str], mistakes: list[Mistake]) -> object:
    if isinstance(value, dict):
        return {key: _expand(item, _join(path, str(key)), source, environment, mistakes) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, f"{path}[{n}]", source, environment, mistakes) for n, item in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value

    def replace(reference: re.Match[str]) -> str:
        name, default = reference[1], reference[2]
        found = environment.get(name) or default
        if found is None:
            mistakes.append(Mistake(source, path, f"expected the environment variable {name} to be set"))
            return ""
        return found

    expanded = _REFERENCE.sub(replace, value)
    # A value that was nothing but a reference may stand for a number or a boolean.
    return read_yaml(expanded) if _REFERENCE.fullmatch(value) and _is_scalar(expanded) else expanded


def _is_scalar(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,18})?|true|false", text) is not None


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _mistakes(kind: msgspec.inspect.Type, value: object, path: str) -> Iterator[tuple[str, str]]:
    """Walk model and document side by side. Structs, lists, maps and optionals are entered; the rest is a leaf."""
    kind = _present(kind, value)
    if isinstance(kind, msgspec.inspect.StructType) and isinstance(value, dict):
        yield from _struct_mistakes(kind, value, path)
    elif isinstance(kind, msgspec.inspect.ListType | msgspec.inspect.VarTupleType) and isinstance(value, list):
        for n, item in enumerate(value):
            yield from _mistakes(kind.item_type, item, f"{path}[{n}]")
    elif isinstance(kind, msgspec.inspect.DictType) and isinstance(value, dict):
        for key, item in value.items():
            yield from _mistakes(kind.value_type, item, _join(path, str(key)))
    else:
        yield from _leaf_mistakes(kind, value, path)


def _struct_mistakes(
    kind: msgspec.inspect.StructType, value: Mapping[object, object], path: str
) -> Iterator[tuple[str, str]]:
    fields = {field.encode_name: field for field in kind.fields}
    for name in value:
        if name not in fields:
            yield _join(path, str(name)), f"not a field here; expected one of: {', '.join(fields)}"
    for name, field in fields.items():
        if name in value:
            yield from _mistakes(field.type, value[name], _join(path, name))
        elif field.required:
            yield _join(path, name), f"missing; expected {_describe(field.type)}"


def _leaf_mistakes(kind: msgspec.inspect.Type, value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(kind, msgspec.inspect.CustomType):
        try:
            _decode(kind.cls, value)
        except ValueError as error:
            yield path, str(error)
        return
    try:
        msgspec.convert(value, _python_type(kind), dec_hook=_decode)
    except msgspec.ValidationError as error:
        problem = re.sub(r" - at `.*`$", "", str(error))
        yield path, f"expected {_describe(kind)}, got {reprlib.repr(value)} ({problem})"


def _present(kind: msgspec.inspect.Type, value: object) -> msgspec.inspect.Type:
    """Of an optional type, the part that ``value`` has to fit; of a union, the first of the same shape."""
    if not isinstance(kind, msgspec.inspect.UnionType):
        return kind
    options = [option for option in kind.types if not isinstance(option, msgspec.inspect.NoneType)]
    if value is None or len(options) != 1:
        return kind
    return options[0]


def _python_type(kind: msgspec.inspect.Type) -> Any:
    return _TypeExpression(kind).build()


@dataclass(frozen=True, slots=True)
class _TypeExpression:
    """From msgspec's description of a type back to the type; only what our models use."""

    kind: msgspec.inspect.Type

    def build(self) -> Any:
        kind = self.kind
        simple: dict[type, Any] = {
            msgspec.inspect.StrType: str, msgspec.inspect.BoolType: bool, msgspec.inspect.IntType: int,
            msgspec.inspect.FloatType: float, msgspec.inspect.NoneType: type(None), msgspec.inspect.AnyType: Any,
        }  # fmt: skip
        if type(kind) in simple:
            return simple[type(kind)]
        if isinstance(kind, msgspec.inspect.EnumType | msgspec.inspect.StructType | msgspec.inspect.CustomType):
            return kind.cls
        if isinstance(kind, msgspec.inspect.ListType):
            return list[_python_type(kind.item_type)]  # type: ignore[misc]
        if isinstance(kind, msgspec.inspect.VarTupleType):
            return tuple[_python_type(kind.item_type), ...]  # type: ignore[misc]
        if isinstance(kind, msgspec.inspect.DictType):
            return dict[str, _python_type(kind.value_type)]  # type: ignore[misc]
        if isinstance(kind, msgspec.inspect.LiteralType):
            return Literal.__getitem__(tuple(kind.values))
        if isinstance(kind, msgspec.inspect.UnionType):
            union = _python_type(kind.types[0])
            for option in kind.types[1:]:
                union = union | _python_type(option)
            return union
        raise NotImplementedError(type(kind))


_NOUNS: Sequence[tuple[type, str]] = (
    (msgspec.inspect.StrType, "text"),
    (msgspec.inspect.BoolType, "true or false"),
    (msgspec.inspect.IntType, "a whole number"),
    (msgspec.inspect.FloatType, "a number"),
    (msgspec.inspect.CustomType, "a duration like 15s"),
    (msgspec.inspect.ListType, "a list"),
    (msgspec.inspect.VarTupleType, "a list"),
    (msgspec.inspect.DictType, "a mapping"),
    (msgspec.inspect.NoneType, "nothing"),
)


def _describe(kind: msgspec.inspect.Type) -> str:
    if isinstance(kind, msgspec.inspect.StructType):
        return "a mapping with " + ", ".join(field.encode_name for field in kind.fields)
    if isinstance(kind, msgspec.inspect.EnumType):
        return "one of: " + ", ".join(str(member.value) for member in kind.cls)
    if isinstance(kind, msgspec.inspect.LiteralType):
        return "one of: " + ", ".join(str(value) for value in kind.values)
    if isinstance(kind, msgspec.inspect.UnionType):
        return " or ".join(
            _describe(option) for option in kind.types if not isinstance(option, msgspec.inspect.NoneType)
        )
    return next((noun for shape, noun in _NOUNS if isinstance(kind, shape)), "something else")
