"""An owner's gRPC calls, bound to its descriptor set: requests as bytes go out, fields of answers come in. Pure.

Everything that can be wrong with a call is found when it is bound, so that an id is the only thing that can be wrong
when it is made. A whole number is taken from an id only in its plain form: "007" and "7" are two ids, and never one
resource.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import EncodeError, Message
from google.protobuf.message_factory import GetMessageClass

from leasehold.protocol.protobuf import BadSchema, NamedField, Schema, Unreadable, field_at, read_numbered
from leasehold.protocol.requests import GrpcCall, RequestTemplate, Slot
from leasehold.protocol.rules import Calls, Owner, Rule, RuleSet, Side, Source
from leasehold.protocol.rules import Message as Place
from leasehold.protocol.templates import BadTemplate, UnsafeId

_LONG_RUNNING: Final = "google.longrunning.Operation"
_PLAIN_NUMBER: Final = re.compile(r"0|-?[1-9][0-9]{0,19}")


class UnaryCall:
    """One call that can be made. ``promises``: its answer only says that the work has begun (Google AIP-151)."""

    __slots__ = ("_constants", "_slots", "metadata", "method", "path", "promises")

    def __init__(self, call: GrpcCall, schema: Schema) -> None:
        """Raises ``BadSchema`` with all that does not fit."""
        problems = [f"{where}: {problem}" for where, problem in call_mistakes(call, schema)]
        if problems:
            raise BadSchema(f"gRPC call {call.path}: {'; '.join(problems)}")
        self.method = schema.method(call.service, call.method)
        self.path, self.metadata = call.path, call.metadata
        self.promises = self.method.output_type.full_name == _LONG_RUNNING
        template = RequestTemplate.compile(call.request)
        self._constants = _constants(template, self.method.input_type)
        self._slots = [(slot, field_at(self.method.input_type, slot.path)) for slot in template.slots]

    def request(self, values: Mapping[str, str]) -> bytes:
        """The request's bytes. Raises ``UnsafeId`` when a value does not fit its field: nothing is to be sent."""
        message = type(self._constants)()
        message.CopyFrom(self._constants)
        for slot, field in self._slots:
            _put(message, slot, field, values)
        return message.SerializeToString(deterministic=True)


class FieldReader:
    """Reads one field out of a method's answers, by numbers or by names."""

    __slots__ = ("_named", "_numbers")

    def __init__(self, place: Place, method: MethodDescriptor) -> None:
        """Raises ``BadSchema``."""
        self._numbers = place.numbers
        self._named = None if self._numbers else NamedField(_side(method, place), place.field.split("."))

    def read(self, message: bytes) -> str | None:
        """The text; ``None`` when it is not set, or nothing that could be read."""
        try:
            value = self._named.read(message) if self._named else read_numbered(message, self._numbers or ())
            text = value.decode() if isinstance(value, bytes) else value
        except (Unreadable, UnicodeDecodeError):
            return None
        return str(text) if text else None


def schema_nonsense(rules: RuleSet, schemas: Mapping[str, Schema]) -> Iterator[tuple[str, str]]:
    """What the owners' descriptor sets (``schemas``, by owner) do not have, as path and problem."""
    for n, owner in enumerate(rules.owners):
        schema = schemas.get(owner.name)
        if schema is not None:
            for where, problem in _owner_mistakes(owner, schema):
                yield f"owners[{n}].{where}", problem
    for n, rule in enumerate(rules.rules):
        schema = schemas.get(rule.owner)
        if schema is not None:
            for where, problem in _rule_mistakes(rule, schema):
                yield f"rules[{n}].{where}", problem


def call_mistakes(call: GrpcCall, schema: Schema) -> Iterator[tuple[str, str]]:
    """What does not fit the schema, as place within the call and problem."""
    try:
        method = schema.method(call.service, call.method)
        template = RequestTemplate.compile(call.request)
    except (BadSchema, BadTemplate) as error:
        yield "method", str(error)
        return
    if method.client_streaming or method.server_streaming:
        yield "method", "expected a method with one request and one answer, this one streams"
        return
    mistakes = list(_request_mistakes(template, method.input_type))
    yield from mistakes or _filling_mistakes(template, method.input_type)


def _request_mistakes(template: RequestTemplate, kind: Descriptor) -> Iterator[tuple[str, str]]:
    for slot in template.slots:
        try:
            field = field_at(kind, slot.path)
        except BadSchema as error:
            yield f"request.{'.'.join(slot.path)}", str(error)
            continue
        if field.type != FieldDescriptor.TYPE_STRING and not slot.whole:
            yield f"request.{'.'.join(slot.path)}", f'expected nothing beside the variable in a number: "{slot.text}"'
    for name, value in template.constants.items():
        try:
            ParseDict({name: value}, GetMessageClass(kind)(), descriptor_pool=kind.file.pool)
        except (ParseError, RecursionError) as error:
            yield f"request.{name}", _line(error)


def _filling_mistakes(template: RequestTemplate, kind: Descriptor) -> Iterator[tuple[str, str]]:
    """Of a oneof only the last that is set counts: it might be the id that goes, or what was to narrow the request."""
    try:
        constants = _constants(template, kind)
        message = _constants(template, kind)
        for slot in template.slots:
            _put(message, slot, field_at(kind, slot.path), {"id": "1", "etag": "1"})
        message.SerializeToString()
    except ParseError as error:
        yield "request", _line(error)
        return
    except EncodeError as error:
        yield "request", f"expected all required fields: {error}"
        return
    lost = [slot for slot in template.slots if not getattr(_holder(message, slot), slot.path[-1])]
    for slot in template.slots:
        _holder(message, slot).ClearField(slot.path[-1])
    if lost or message != constants:
        yield "request", "expected fields that can stand together: of a oneof there can be only one"


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _constants(template: RequestTemplate, kind: Descriptor) -> Message:
    return ParseDict(dict(template.constants), GetMessageClass(kind)(), descriptor_pool=kind.file.pool)


def _put(message: Message, slot: Slot, field: FieldDescriptor, values: Mapping[str, str]) -> None:
    text = slot.fill(values)
    value: str | int = text
    if field.type != FieldDescriptor.TYPE_STRING:
        if not _PLAIN_NUMBER.fullmatch(text):
            raise UnsafeId(f"{text!r} cannot be field {field.full_name}: expected a whole number in its plain form")
        value = int(text)
    try:
        setattr(_holder(message, slot), field.name, value)
    except ValueError as error:
        raise UnsafeId(f"{text!r} cannot be field {field.full_name}: {error}") from error


def _holder(message: Message, slot: Slot) -> Message:
    for name in slot.path[:-1]:
        message = getattr(message, name)
    return message


# --- whole documents ---------------------------------------------------------------------------------------------


def _owner_mistakes(owner: Owner, schema: Schema) -> Iterator[tuple[str, str]]:
    yield from _calls_mistakes("", Calls(owner.delete, owner.read), schema)
    for kind, calls in owner.types.items():
        yield from _calls_mistakes(f"types.{kind}.", calls, schema)


def _calls_mistakes(prefix: str, calls: Calls, schema: Schema) -> Iterator[tuple[str, str]]:
    for name, call in (("delete", calls.delete), ("read", calls.read)):
        if call is not None and call.grpc is not None:
            for where, problem in call_mistakes(call.grpc, schema):
                yield f"{prefix}{name}.grpc.{where}", problem
    read = calls.read
    if read is None or read.grpc is None:
        return
    try:
        method = schema.method(read.grpc.service, read.grpc.method)
    except BadSchema:
        return  # said already
    yield from _place_mistakes(f"{prefix}read.", (("incarnation", read.incarnation), ("etag", read.etag)), method)


def _rule_mistakes(rule: Rule, schema: Schema) -> Iterator[tuple[str, str]]:
    match = rule.match.grpc
    if match is None:
        return
    for name in match.methods:
        try:
            method = schema.method(match.service, name)
        except BadSchema as error:
            yield "match.grpc.method", str(error)
        else:
            yield from _place_mistakes("", (("id", rule.id), ("incarnation", rule.incarnation)), method)


def _place_mistakes(
    prefix: str, sources: Iterable[tuple[str, Source | None]], method: MethodDescriptor
) -> Iterator[tuple[str, str]]:
    for name, source in sources:
        if source is not None and source.grpc is not None:
            try:
                FieldReader(source.grpc, method)
            except BadSchema as error:
                yield f"{prefix}{name}.grpc.field", str(error)


def _side(method: MethodDescriptor, place: Place) -> Descriptor:
    return method.input_type if place.side is Side.REQUEST else method.output_type
