"""Calls bound to a descriptor set: what is wrong is found before anything is sent, and ids stay themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from hypothesis import given
from hypothesis import strategies as st

from leasehold.protocol.grpc_calls import FieldReader, UnaryCall, call_mistakes, schema_nonsense
from leasehold.protocol.protobuf import BadSchema, Schema
from leasehold.protocol.requests import GrpcCall
from leasehold.protocol.rules import Message, load_rules
from leasehold.protocol.templates import UnsafeId
from tests.fakes.grpc_owner import MESSAGES, SERVICE, descriptor_set, grpc_rules

SCHEMA = Schema(descriptor_set())


def call(request: dict[str, Any], method: str = "DeleteBlob", service: str = SERVICE) -> GrpcCall:
    return GrpcCall(service, method, request)


def made(request: dict[str, Any], resource_id: str = "b-1", etag: str = "e-1") -> Any:
    return MESSAGES["DeleteBlobRequest"].FromString(
        UnaryCall(call(request), SCHEMA).request({"id": resource_id, "etag": etag})
    )


def mistakes(request: dict[str, Any], **more: str) -> list[str]:
    return [f"{where}: {problem}" for where, problem in call_mistakes(call(request, **more), SCHEMA)]


def test_a_request_is_made_of_constants_and_what_is_filled_in() -> None:
    message = made(
        {"name": "blobs/{id}", "etag": "{etag}", "number": "12", "options": {"force": True, "reason": "was {id}"}}
    )
    assert (message.name, message.etag, message.number) == ("blobs/b-1", "e-1", 12)
    assert (message.options.force, message.options.reason) == (True, "was b-1")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(min_size=1))
def test_an_id_arrives_as_it_is_or_not_at_all(resource_id: str, etag: str) -> None:
    try:
        message = made({"name": "{id}", "etag": "{etag}"}, resource_id, etag)
    except UnsafeId:
        assert any("\ud800" <= letter <= "\udfff" for letter in etag)
    else:
        assert (message.name, message.etag) == (resource_id, etag)


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_number_in_its_plain_form_may_be_an_id(number: int) -> None:
    assert made({"number": "{id}"}, str(number)).number == number


@pytest.mark.parametrize(
    "text", ["007", "+7", "-0", " 7", "7 ", "1_000", "1e3", "٣", "7.0", "0x7", "x", str(2**63), "9" * 5000]
)
def test_two_spellings_of_a_number_are_never_one_resource(text: str) -> None:
    with pytest.raises(UnsafeId):
        made({"number": "{id}"}, text)


@pytest.mark.parametrize(
    ("request_", "more", "expected"),
    [
        ({"name": "{id}"}, {"service": "blobs.v1.Blob"}, "method: the descriptor set has no service 'blobs.v1.Blob'"),
        ({"name": "{id}"}, {"method": "Delete"}, f"method: service {SERVICE} has no method 'Delete'; it has: Create"),
        ({"name": "{id}"}, {"method": "WatchBlob"}, "method: expected a method with one request and one answer"),
        ({"nam": "{id}"}, {}, "request.nam: message blobs.v1.DeleteBlobRequest has no field 'nam'; it has:"),
        ({"options": {"nam": "{id}"}}, {}, "request.options.nam: message blobs.v1.Options has no field 'nam'"),
        ({"raw": "{id}"}, {}, "request.raw: field 'raw' of message blobs.v1.DeleteBlobRequest: expected a single text"),
        ({"options": "{id}"}, {}, "request.options: field 'options'"),
        ({"number": "1{id}"}, {}, "request.number: expected nothing beside the variable in a number"),
        ({"name": "{id}", "size": 3}, {}, 'request.size: Message type "blobs.v1.DeleteBlobRequest" has no field named'),
        ({"name": "{id}", "number": "x"}, {}, "request.number: "),
        ({"name": "{id}", "options": {"force": 3}}, {}, "request.options: "),
        ({"by_alias": "{id}", "by_label": "x"}, {}, "request: expected fields that can stand together"),
        ({"by_alias": "x", "by_label": "{id}"}, {}, "request: expected fields that can stand together"),
        ({"by_alias": "{etag}", "by_label": "{id}"}, {}, "request: expected fields that can stand together"),
        ({"by_alias": "x", "by_label": "y", "name": "{id}"}, {}, "request: "),
    ],
)
def test_what_does_not_fit_the_schema_is_named_with_its_place(
    request_: dict[str, Any], more: dict[str, str], expected: str
) -> None:
    [mistake] = mistakes(request_, **more)
    assert mistake.startswith(expected)
    assert "\n" not in mistake
    with pytest.raises(BadSchema):
        UnaryCall(call(request_, **more), SCHEMA)


def test_a_required_field_that_is_missing_is_a_mistake() -> None:
    files = FileDescriptorSet.FromString(descriptor_set())
    for file in files.file:
        file.syntax = "proto2"
        for message in file.message_type:
            for field in message.field:
                field.label = field.LABEL_REQUIRED if field.name == "etag" else field.label
    schema = Schema(files.SerializeToString())
    [(where, problem)] = call_mistakes(call({"name": "{id}"}), schema)
    assert (where, problem.split(":")[0]) == ("request", "expected all required fields")
    assert list(call_mistakes(call({"name": "{id}", "etag": "{etag}"}), schema)) == []


@pytest.mark.parametrize("field", ["uid", "2"])
def test_fields_of_an_answer_are_read_by_name_or_number_and_never_guessed(field: str) -> None:
    reader = FieldReader(Message(field), SCHEMA.method(SERVICE, "GetBlob"))
    assert reader.read(MESSAGES["Blob"](uid="u").SerializeToString()) == "u"
    assert reader.read(b"") is None
    assert reader.read(b"\xff") is None
    assert reader.read(b"\x12\x01\xff") is None


def test_a_rule_file_is_compared_with_the_descriptor_sets_that_are_known(tmp_path: Path) -> None:
    text = grpc_rules("http://x", tmp_path / "blobs.pb", precondition="if-match")
    assert list(schema_nonsense(load_rules(text, "r", {}), {"store": SCHEMA})) == []
    bad = text.replace("field: uid", "field: uuid").replace("method: CreateBlob", "method: MakeBlob")
    bad = bad.replace('name: "{id}", etag', 'id: "{id}", etag').replace(
        "id: {grpc: {field: name}}", "id: {grpc: {field: n}}"
    )
    rules = load_rules(bad, "r", {})
    assert {where for where, _ in schema_nonsense(rules, {"store": SCHEMA})} == {
        "owners[0].delete.grpc.request.id", "owners[0].read.incarnation.grpc.field", "rules[0].match.grpc.method",
        "rules[1].id.grpc.field",
    }  # fmt: skip
    assert list(schema_nonsense(rules, {})) == []
