"""Reads one field out of a protobuf message: by numbers from the wire alone, or by names with a descriptor set. Pure.

Numbers need nothing from the owner but are blind to types: a varint is an unsigned number, eight or four bytes are
one, too, and anything with a length is text. Of a field that stands several times the last one counts, as in protobuf;
and, as there, an absent number or an empty text cannot be told from one that is not set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_NAMEABLE: Final = frozenset(
    {
        FieldDescriptor.TYPE_STRING,
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_SINT32,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_FIXED32,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED32,
        FieldDescriptor.TYPE_SFIXED64,
    }
)


class Unreadable(ValueError):
    """Not a protobuf message, or not of this kind."""


class BadSchema(ValueError):
    """The descriptor set does not have what a rule names; ``str()`` says what was expected."""


def read_numbered(message: bytes, numbers: Sequence[int]) -> int | bytes | None:
    """The value at the end of this path of field numbers; ``None`` if it is not there. Raises ``Unreadable``."""
    value: int | bytes | None = message
    found: int | bytes | None
    for number in numbers:
        if not isinstance(value, bytes):
            return None
        found = None
        for field, content in read_fields(value):
            if field == number:
                found = content
        value = found
    return value


def read_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """All fields as they come: number and value. Raises ``Unreadable``."""
    at, size = 0, len(message)
    while at < size:
        key, at = _varint(message, at)
        kind = key & 7
        value: int | bytes
        if kind == _VARINT:
            value, at = _varint(message, at)
        elif kind in {_FIXED64, _FIXED32}:
            begin, at = at, at + (8 if kind == _FIXED64 else 4)
            value = int.from_bytes(message[begin:at], "little")
        elif kind == _LENGTH:
            length, at = _varint(message, at)
            begin, at = at, at + length
            value = message[begin:at]
        else:
            raise Unreadable("groups and unknown wire types are not read")
        if at > size:
            raise Unreadable("cut short")
        yield key >> 3, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise Unreadable("a number is cut short or too long")


def field_at(descriptor: Descriptor, names: Sequence[str]) -> FieldDescriptor:
    """The field at the end of this path of names: a single text or whole number. Raises ``BadSchema``."""
    for n, name in enumerate(names):
        field = descriptor.fields_by_name.get(name)
        if field is None:
            known = ", ".join(sorted(descriptor.fields_by_name)) or "none"
            raise BadSchema(f"message {descriptor.full_name} has no field {name!r}; it has: {known}")
        last = n == len(names) - 1
        fits = field.type in _NAMEABLE if last else field.type == FieldDescriptor.TYPE_MESSAGE
        if field.is_repeated or not fits:
            wanted = "a single text or whole number" if last else "a single message"
            raise BadSchema(f"field {name!r} of message {descriptor.full_name}: expected {wanted}")
        if field.message_type is None:
            return field
        descriptor = field.message_type
    raise BadSchema("expected the name of a field")


class NamedField:
    """A field of one kind of message, by its names from the outside in."""

    __slots__ = ("_kind", "_names")

    def __init__(self, descriptor: Descriptor, names: Sequence[str]) -> None:
        """Raises ``BadSchema``."""
        field_at(descriptor, names)
        self._kind: type[Message] = GetMessageClass(descriptor)
        self._names = tuple(names)

    def read(self, message: bytes) -> int | str | None:
        """``None`` if it is not set. Raises ``Unreadable``."""
        try:
            value: Any = self._kind.FromString(message)
        except DecodeError as error:
            raise Unreadable("not a message of this kind") from error
        for name in self._names:
            descriptor = value.DESCRIPTOR.fields_by_name[name]
            if descriptor.has_presence and not value.HasField(name):
                return None
            value = getattr(value, name)
        found: int | str = value
        return found or None


class Schema:
    """A parsed descriptor set."""

    def __init__(self, descriptor_set: bytes) -> None:
        """Raises ``BadSchema``."""
        self._pool = DescriptorPool()
        try:
            files = FileDescriptorSet.FromString(descriptor_set).file
            for file in files:
                self._pool.Add(file)
            self._names = [f"{file.package}.{service.name}".lstrip(".") for file in files for service in file.service]
            for name in self._names:
                self._pool.FindServiceByName(name)
        except (DecodeError, TypeError, KeyError) as error:
            raise BadSchema(f"expected what protoc --include_imports --descriptor_set_out writes: {error}") from error

    def method(self, service: str, method: str) -> MethodDescriptor:
        """Raises ``BadSchema``."""
        if service not in self._names:
            known = ", ".join(sorted(self._names)) or "none"
            raise BadSchema(f"the descriptor set has no service {service!r}; it has: {known}")
        descriptor = self._pool.FindServiceByName(service)
        found: MethodDescriptor | None = descriptor.methods_by_name.get(method)
        if found is None:
            known = ", ".join(sorted(descriptor.methods_by_name)) or "none"
            raise BadSchema(f"service {service} has no method {method!r}; it has: {known}")
        return found
