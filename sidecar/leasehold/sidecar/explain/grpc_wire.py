"""Writes one unary gRPC call as the two directions of an HTTP/2 connection. Pure.

Messages may be given as JSON where the owner's descriptor set knows the method; a protobuf message never begins like
a JSON object (``{`` would be a group, which is long gone).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message_factory import GetMessageClass
from hpack import Encoder

from leasehold.protocol.protobuf import BadSchema, Schema
from leasehold.protocol.trials import CapturedGrpc
from leasehold.sidecar.observe.frames import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS

_MAX_FRAME: Final = 16 * 1024
_STREAM: Final = 1
_Fields = list[tuple[str, str]]


def wire(call: CapturedGrpc, authority: str, schema: Schema | None) -> tuple[bytes, bytes]:
    """What the client and the owner would send. Raises ``ValueError`` for JSON that cannot be translated."""
    asked = _message(call, call.request, schema, asking=True)
    answered = _message(call, call.response, schema, asking=False)
    head = [(":method", "POST"), (":scheme", "http"), (":path", call.path), (":authority", authority)]
    request = _connection(PREFACE, [*head, ("content-type", "application/grpc"), ("te", "trailers")], asked, None)
    metadata = [(name.lower(), value) for name, value in call.metadata.items()]
    response = _connection(
        b"",
        [(":status", "200"), ("content-type", "application/grpc"), *metadata],
        answered,
        [("grpc-status", str(call.status))],
    )
    return request, response


def _message(call: CapturedGrpc, given: bytes | None, schema: Schema | None, *, asking: bool) -> bytes | None:
    if given is None or not given.lstrip().startswith(b"{"):
        return given
    side = "request" if asking else "response"
    if schema is None:
        raise ValueError(f"the {side} is JSON: expected a protobuf message, or an owner with a descriptor_set")
    service, _, method = call.path.strip("/").rpartition("/")
    try:
        found = schema.method(service, method)
        return _translated(given, found.input_type if asking else found.output_type)
    except (BadSchema, json_format.ParseError) as error:
        raise ValueError(f"the {side} cannot be translated from JSON: {error}") from error


def _translated(given: bytes, kind: Descriptor) -> bytes:
    message = json_format.Parse(given, GetMessageClass(kind)())
    return message.SerializeToString()


def _connection(opening: bytes, head: _Fields, message: bytes | None, trailers: _Fields | None) -> bytes:
    encoder = Encoder()
    parts = [opening, _frame(SETTINGS, 0, 0, b""), _block(encoder, head, 0)]
    framed = b"" if message is None else b"\0" + len(message).to_bytes(4, "big") + message
    parts += _content(framed, last=trailers is None)
    if trailers is not None:
        parts.append(_block(encoder, trailers, END_STREAM))
    return b"".join(parts)


def _block(encoder: Encoder, fields: _Fields, flags: int) -> bytes:
    return _frame(HEADERS, END_HEADERS | flags, _STREAM, encoder.encode(fields))


def _content(data: bytes, *, last: bool) -> Iterable[bytes]:
    cuts = [data[at : at + _MAX_FRAME] for at in range(0, len(data), _MAX_FRAME)] or ([b""] if last else [])
    for n, cut in enumerate(cuts, 1):
        yield _frame(DATA, END_STREAM if last and n == len(cuts) else 0, _STREAM, cut)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
