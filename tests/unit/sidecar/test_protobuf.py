"""Ids out of protobuf messages: by numbers from the wire, by names with a descriptor set; and never by luck."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import structlog
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from leasehold.protocol.names import CallId
from leasehold.protocol.protobuf import BadSchema, NamedField, Schema, Unreadable, read_numbered
from leasehold.protocol.rules import Side
from leasehold.sidecar.observe.events import Unusable
from leasehold.sidecar.observe.extraction import Answer
from leasehold.sidecar.observe.matching import Matcher
from leasehold.sidecar.schemas import compile_rules
from tests.fakes.http2 import blob, http2_rules, text
from tests.fakes.relay import rules


def descriptor_set() -> bytes:
    """``service blobs.v1.Blobs { rpc Create (Named) returns (Answer); rpc Watch (Named) returns (stream Answer) }``."""
    file = FileDescriptorProto(name="blobs.proto", package="blobs.v1", syntax="proto3")
    kinds = FieldDescriptorProto
    shapes = {
        "Named": [("name", 1, kinds.TYPE_STRING, ""), ("size", 2, kinds.TYPE_SINT64, "")],
        "Blob": [("id", 2, kinds.TYPE_STRING, ""), ("raw", 3, kinds.TYPE_BYTES, "")],
        "Answer": [("blob", 1, kinds.TYPE_MESSAGE, ".blobs.v1.Blob"), ("pad", 3, kinds.TYPE_STRING, "")],
    }
    for shape, fields in shapes.items():
        message = file.message_type.add(name=shape)
        for name, number, kind, type_name in fields:
            message.field.add(
                name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL, type_name=type_name or None
            )
    service = file.service.add(name="Blobs")
    for method in ("Create", "Slow", "Intend", "Delete", "Tag"):
        service.method.add(name=method, input_type=".blobs.v1.Named", output_type=".blobs.v1.Answer")
    service.method.add(
        name="Watch", input_type=".blobs.v1.Named", output_type=".blobs.v1.Answer", server_streaming=True
    )
    return FileDescriptorSet(file=[file]).SerializeToString()


NAMED = http2_rules().replace('{field: "1.2"}', '{field: "blob.id"}').replace(
    "endpoint: http://blobs.test", "endpoint: http://blobs.test\n    descriptor_set: blobs.pb"
)  # fmt: skip


def found(matcher: Matcher, message: bytes, method: str = "Create") -> str:
    owner = matcher.owner_rules("blobs.test", "")
    assert owner is not None
    [candidate] = owner.grpc_candidates(f"/blobs.v1.Blobs/{method}")
    answer = Answer("/", {}, {}, None, CallId("c"), "", {Side.RESPONSE: message})
    finding = candidate.compiled.extractor.read(answer)
    if isinstance(finding, Unusable):
        return finding.reason
    return finding.resource.id


@pytest.mark.parametrize(
    ("message", "numbers", "value"),
    [
        (text(1, b"b-1"), (1,), b"b-1"),
        (blob("b-1"), (1, 2), b"b-1"),
        (b"\x08\x96\x01", (1,), 150),
        (b"\x09" + bytes([7, 0, 0, 0, 0, 0, 0, 0]), (1,), 7),
        (b"\x0d" + bytes([7, 0, 0, 0]), (1,), 7),
        (text(1, b"a") + text(1, b"b"), (1,), b"b"),
        (b"", (1,), None),
        (b"\x08\x01", (1, 2), None),
    ],
)
def test_numbers_lead_to_a_value(message: bytes, numbers: tuple[int, ...], value: object) -> None:
    assert read_numbered(message, numbers) == value


@pytest.mark.parametrize("message", [b"\x0a\x05ab", b"\x08", b"\x0b", b"\x08" + b"\xff" * 11, b"\x09abc", b"\x0f"])
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(Unreadable):
        read_numbered(message, (1,))


@given(st.binary(max_size=60))
def test_no_bytes_break_either_reader(message: bytes) -> None:
    pool = DescriptorPool()
    pool.Add(FileDescriptorSet.FromString(descriptor_set()).file[0])
    named = NamedField(pool.FindMessageTypeByName("blobs.v1.Answer"), ("blob", "id"))
    for read in (lambda: read_numbered(message, (1, 2)), lambda: named.read(message)):
        with contextlib.suppress(Unreadable):
            read()


@given(st.text(max_size=30), st.integers(-(2**63), 2**63 - 1))
def test_names_and_numbers_find_what_protobuf_wrote(name: str, size: int) -> None:
    schema = Schema(descriptor_set())
    kind = schema.method("blobs.v1.Blobs", "Create").input_type
    message = GetMessageClass(kind)(name=name, size=size).SerializeToString()
    assert (NamedField(kind, ("name",)).read(message) or "") == name
    assert (NamedField(kind, ("size",)).read(message) or 0) == size
    assert (read_numbered(message, (1,)) or b"") == name.encode()


def test_a_rule_reads_by_names_with_the_descriptor_set() -> None:
    matcher = Matcher.compile(rules(NAMED), {"blobs": Schema(descriptor_set())})
    assert matcher.troubles == ()
    assert found(matcher, blob("b-1")) == "b-1"
    assert found(matcher, b"") == "no-id"
    assert found(matcher, b"\xff") == "body-unreadable"


def test_a_descriptor_set_knows_what_streams() -> None:
    text_ = NAMED.replace(", streaming: true", "")
    matcher = Matcher.compile(rules(text_), {"blobs": Schema(descriptor_set())})
    owner = matcher.owner_rules("blobs.test", "")
    assert owner is not None
    assert [owner.grpc_candidates(f"/blobs.v1.Blobs/{name}")[0].compiled.streaming for name in ("Create", "Watch")] == [
        False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "trouble"),
    [
        ("blob.id", "blob.name", "message blobs.v1.Blob has no field 'name'; it has: id, raw"),
        ("blob.id", "blob", "field 'blob' of message blobs.v1.Answer: expected a single text or whole number"),
        ("blob.id", "pad.id", "field 'pad' of message blobs.v1.Answer: expected a single message"),
        ("blob.id", "blob.raw", "field 'raw' of message blobs.v1.Blob: expected a single text"),
        ("[Create, Slow]", "[Make]", "service blobs.v1.Blobs has no method 'Make'"),
        ("service: blobs.v1.Blobs", "service: blobs.Blobs", "has no service 'blobs.Blobs'; it has: blobs.v1.Blobs"),
    ],
)
def test_what_the_descriptor_set_does_not_have_is_said(old: str, new: str, trouble: str) -> None:
    matcher = Matcher.compile(rules(NAMED.replace(old, new)), {"blobs": Schema(descriptor_set())})
    assert any(trouble in one for one in matcher.troubles)


def test_without_its_descriptor_set_a_rule_says_so_with_every_call(tmp_path: Path) -> None:
    for content in (None, b"nonsense"):
        file = tmp_path / "blobs.pb"
        if content is not None:
            file.write_bytes(content)
        matcher = compile_rules(rules(NAMED.replace("blobs.pb", str(file))))
        assert found(matcher, blob("b-1")) == "no-descriptor"


def test_a_descriptor_set_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "blobs.pb"
    file.write_bytes(descriptor_set())
    matcher = compile_rules(rules(NAMED.replace("blobs.pb", str(file))))
    assert found(matcher, blob("b-1")) == "b-1"


def test_nonsense_is_no_descriptor_set() -> None:
    with pytest.raises(BadSchema):
        Schema(b"nonsense")


@pytest.mark.parametrize(("rules_text", "level"), [(NAMED, "error"), (NAMED.replace("blob.id", "1.2"), "info")])
def test_a_descriptor_set_that_is_not_here_is_an_error_only_where_a_rule_needs_it(rules_text: str, level: str) -> None:
    """The collector has its own use for it, on its own host."""
    with structlog.testing.capture_logs() as logs:
        matcher = compile_rules(rules(rules_text))
    assert [(log["event"], log["log_level"]) for log in logs] == [("descriptor_set_unusable", level)]
    assert found(matcher, blob("b-1")) == ("no-descriptor" if level == "error" else "b-1")
