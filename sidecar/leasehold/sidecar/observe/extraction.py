"""Ids out of matched calls: validated, or refused with a reason that is a metric label. Pure.

What comes in here was written by whoever speaks to our app; nothing of it may raise, and no id may leave that the
owner's delete endpoint could misunderstand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, cast

import jmespath
import jmespath.parser
import msgspec
from google.protobuf.descriptor import MethodDescriptor

from leasehold.protocol.names import MAX_ID_BYTES, CallId, OwnerName, Resource, ResourceId, TypeName
from leasehold.protocol.protobuf import NamedField, Unreadable, read_numbered
from leasehold.protocol.requests import RequestTemplate
from leasehold.protocol.rules import Message, On, Owner, Rule, Side, Source
from leasehold.protocol.templates import PathTemplate, UnsafeId
from leasehold.sidecar.observe.checks import CONTROL, NoId, as_text, check, search
from leasehold.sidecar.observe.events import Creation, Deletion, Observation, Unusable, Use
from leasehold.sidecar.observe.references import IdPatterns, Referring, read_references

_ORIGIN: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*")

_PLAIN: Final = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9._~-]{{0,{MAX_ID_BYTES - 1}}}")
"""What ids nearly always look like: safe in any path, so that no other check needs to look at them."""


class Answer(msgspec.Struct, frozen=True):
    """What a matched call showed. ``headers`` are the response's, by lower-case name; ``document`` is its JSON body,
    ``messages`` the first gRPC message of each side, ``None`` (or missing) where no rule asked for one."""

    path: str
    variables: Mapping[str, str] | None
    headers: Mapping[str, bytes]
    document: object
    call: CallId
    trace: str
    messages: Mapping[Side, bytes] = MappingProxyType({})
    asked: object = None
    """The request's JSON body, where a rule asked for it and it could be read."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A compiled ``Source``. ``fields``: where the expression is nothing but names of fields, these, which are read
    without JMESPath (2 µs). ``named``: where it is a gRPC field given in names, and the descriptor set knows it."""

    source: Source
    expression: jmespath.parser.ParsedResult | None
    fields: tuple[str, ...] | None
    pattern: PathTemplate | None
    named: NamedField | None

    @classmethod
    def compile(cls, source: Source, method: MethodDescriptor | None) -> _Place:
        expression = None if source.json is None else jmespath.compile(source.json)
        return cls(
            source,
            expression,
            None if expression is None else _fields(expression.parsed),
            None if source.pattern is None else PathTemplate.compile(source.pattern),
            None if source.grpc is None or method is None else _named(source.grpc, method),
        )

    def read(self, answer: Answer) -> str:
        """Raises ``NoId``."""
        if self.fields is not None:
            return as_text(_walk(answer.document, self.fields))
        if self.expression is not None:
            return _from_json(self.expression, answer.document)
        if self.source.grpc is not None:
            return _from_message(self.source.grpc, self.named, answer)
        if self.source.header is not None:
            return _from_header(self.source.header, self.pattern, answer)
        return _from_path(self.source.path, answer.variables)


@dataclass(frozen=True, slots=True)
class Extractor:
    """Reads what one rule wants to know."""

    rule: Rule
    id_in_body: bool
    needs_body: bool
    id_in_message: Side | None
    needs_messages: frozenset[Side]
    needs_request: bool
    _id: _Place
    _incarnation: _Place | None
    _id_pattern: re.Pattern[str] | None
    _delete_path: PathTemplate | None
    _delete_request: RequestTemplate | None
    _references: tuple[Referring, ...]

    @classmethod
    def compile(
        cls,
        rule: Rule,
        owner: Owner,
        method: MethodDescriptor | None = None,
        patterns: IdPatterns = MappingProxyType({}),
    ) -> Extractor:
        """``rule`` must have been checked. ``method``: whose messages it reads, where a descriptor set tells; raises
        ``BadSchema`` when that does not have the fields. ``patterns`` are of what it may refer to."""
        delete = owner.delete_of(rule.type)
        messages = [source.grpc for source in (rule.id, rule.incarnation) if source is not None and source.grpc]
        return cls(
            rule,
            rule.id.json is not None,
            any(source is not None and source.json is not None for source in (rule.id, rule.incarnation))
            or any(reference.side is Side.RESPONSE for reference in rule.references),
            None if rule.id.grpc is None else rule.id.grpc.side,
            frozenset(message.side for message in messages),
            any(reference.side is Side.REQUEST for reference in rule.references),
            _Place.compile(rule.id, method),
            None if rule.incarnation is None else _Place.compile(rule.incarnation, method),
            None if rule.id_pattern is None else re.compile(rule.id_pattern),
            None if delete is None or delete.grpc is not None else PathTemplate.compile(delete.path),
            None if delete is None or delete.grpc is None else RequestTemplate.compile(delete.grpc.request),
            tuple(Referring.compile(one, patterns) for one in rule.references),
        )

    def read(self, answer: Answer) -> Observation | Unusable:
        """What the call meant. Never raises."""
        try:
            resource = self._resource(self._id.read(answer))
        except NoId as refused:
            return Unusable(self.rule, refused.reason)
        if self.rule.on is On.USE:
            return Use(self.rule, resource)
        if self.rule.on is On.DELETE:
            return Deletion(self.rule, resource)
        references, doubt = read_references(self._references, answer.document, answer.asked)
        return Creation(
            self.rule, resource, self._incarnation_in(answer), answer.call, answer.trace, references, doubt
        )  # fmt: skip

    def known_before(self, variables: Mapping[str, str] | None) -> Resource | None:
        """The resource, where the request alone names it."""
        if self.rule.id.path is None:
            return None
        try:
            return self._resource(_from_path(self.rule.id.path, variables))
        except NoId:
            return None

    def _resource(self, text: str) -> Resource:
        plain = _PLAIN.fullmatch(text) is not None
        if not plain:
            check(text)
        if self._id_pattern is not None and self._id_pattern.fullmatch(text) is None:
            raise NoId("pattern")
        if self._delete_path is not None and "/" in text and not self._delete_path.spans_segments:
            # It could be encoded, but owners and the proxies before them disagree on what %2F means.
            raise NoId("unsafe-path")
        try:
            if self._delete_path is not None and not plain:
                self._delete_path.expand({"id": text})
            if self._delete_request is not None:
                self._delete_request.check(text)
        except UnsafeId as error:
            raise NoId("unsafe-path") from error
        return Resource(OwnerName(self.rule.owner), TypeName(self.rule.type), ResourceId(text))

    def _incarnation_in(self, answer: Answer) -> str:
        if self._incarnation is not None:
            try:
                uid = self._incarnation.read(answer)
                check(uid)
            except NoId:
                pass  # the next best sign will do
            else:
                return f"uid:{uid}"
        etag = _text(answer.headers.get("etag", b""))
        if etag and not CONTROL.search(etag) and len(etag) <= MAX_ID_BYTES:
            return f"etag:{etag}"
        return f"call:{answer.call}"


def decode_json(body: bytes) -> object:
    """Raises ``ValueError`` for anything that is not JSON, or nested beyond reason."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError("expected JSON") from error


def _from_json(expression: jmespath.parser.ParsedResult, document: object) -> str:
    return as_text(search(expression, document))


def _fields(parsed: Mapping[str, object]) -> tuple[str, ...] | None:
    """The names, where an expression is ``a`` or ``a.b.c``."""
    if parsed["type"] == "field":
        return (str(parsed["value"]),)
    if parsed["type"] != "subexpression":
        return None
    children = cast("Sequence[Mapping[str, object]]", parsed["children"])
    parts = [_fields(child) for child in children]
    return None if None in parts else tuple(name for part in parts if part is not None for name in part)


def _walk(document: object, fields: Iterable[str]) -> object:
    for field in fields:
        document = document.get(field) if isinstance(document, dict) else None
    return document


def _named(message: Message, method: MethodDescriptor) -> NamedField | None:
    if message.numbers is not None:
        return None
    return NamedField(
        method.input_type if message.side is Side.REQUEST else method.output_type, message.field.split(".")
    )


def _from_message(place: Message, named: NamedField | None, answer: Answer) -> str:
    message = answer.messages.get(place.side)
    if message is None:
        raise NoId("no-id")
    numbers = place.numbers
    value: int | str | bytes | None
    try:
        if numbers is not None:
            value = read_numbered(message, numbers)
        elif named is not None:
            value = named.read(message)
        else:
            raise NoId("no-descriptor")
    except Unreadable as error:
        raise NoId("body-unreadable") from error
    if value is None:
        raise NoId("no-id")
    text = _text(value) if isinstance(value, bytes) else str(value)
    if text is None:
        raise NoId("not-utf8")
    return text


def _from_header(name: str, pattern: PathTemplate | None, answer: Answer) -> str:
    raw = answer.headers.get(name.lower())
    if raw is None:
        raise NoId("no-id")
    text = _text(raw)
    if text is None:
        raise NoId("not-utf8")
    if pattern is None:
        return text
    try:
        found = pattern.match(_location_path(text, answer.path))
    except UnsafeId as error:
        raise NoId("unsafe-path") from error
    if found is None:
        raise NoId("no-id")
    return found["id"]


def _from_path(name: str | None, variables: Mapping[str, str] | None) -> str:
    if variables is None:
        raise NoId("unsafe-path")
    if name is None or name not in variables:
        raise NoId("no-id")
    return variables[name]


def _location_path(location: str, base: str) -> str:
    """The path a Location points to; a relative one counts from ``base``. Dots are kept, for the template to refuse."""
    location = location.partition("#")[0].partition("?")[0]
    origin = _ORIGIN.match(location)
    if origin is not None:
        return location[origin.end() :]
    if location.startswith("/"):
        return location
    return base.rpartition("/")[0] + "/" + location


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
