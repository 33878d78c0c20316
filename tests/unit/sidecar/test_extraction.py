"""Ids out of calls: the right ones come out, hostile ones do not, and nothing raises."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.protocol.names import CallId
from leasehold.protocol.requests import GrpcCall
from leasehold.protocol.rules import DeleteCall, Source
from leasehold.sidecar.observe.events import Creation, Deletion, Unusable, Use
from leasehold.sidecar.observe.extraction import Answer, Extractor, decode_json
from tests.fakes.relay import rules

RULES = rules()


def read(rule: str, *, variables: dict[str, str] | None = None, headers: dict[str, bytes] | None = None,
         document: object = None, path: str = "/v1/blobs", **changes: Any) -> object:  # fmt: skip
    found = RULES.rule(rule)
    assert found is not None
    found = msgspec.structs.replace(found, **changes)
    owner = RULES.owner(found.owner)
    assert owner is not None
    answer = Answer(path, variables if variables is not None else {}, headers or {}, document, CallId("c1"), "t")
    return Extractor.compile(found, owner).read(answer)


def outcome(found: object) -> str:
    if isinstance(found, Unusable):
        return found.reason
    assert isinstance(found, Creation | Use | Deletion)
    return f"id {found.resource.id}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("b-1", "id b-1"), ("a b", "id a b"), ("ü", "id ü"), (12, "id 12"), (0, "id 0"), (-3, "id -3"),
        (True, "not-text"), (1.0, "not-text"), (None, "no-id"), ([], "not-text"), (["a"], "not-text"),
        ({"a": 1}, "not-text"), ("", "empty"), ("a\0b", "control-characters"), ("a\nb", "control-characters"),
        ("a\x7fb", "control-characters"), ("a\x85b", "control-characters"), ("\ud800", "not-utf8"),
        ("x" * 1024, "id " + "x" * 1024), ("x" * 1025, "too-long"), ("ü" * 513, "too-long"), ("x" * 4096, "too-long"),
        ("..", "unsafe-path"), (".", "unsafe-path"), ("a/b", "unsafe-path"), ("/", "unsafe-path"),
        ("../../etc", "unsafe-path"), ("a..b", "id a..b"), ("%2e%2e", "id %2e%2e"),
    ],
)  # fmt: skip
def test_an_id_from_a_body_is_text_that_can_be_one_path_segment(value: object, expected: str) -> None:
    assert outcome(read("create-blob", document={"id": value})) == expected


def test_a_number_of_thousands_of_digits_is_too_long() -> None:
    assert outcome(read("create-blob", document={"id": 10**5000})) == "too-long"


@pytest.mark.parametrize("document", [None, [], "id", 3, {}, {"ID": "x"}, [{"id": "x"}]])
def test_a_document_without_the_id_has_none(document: object) -> None:
    assert outcome(read("create-blob", document=document)) == "no-id"


@pytest.mark.parametrize("expression", ["sort(@)", "sum(@)", "join('', @)", "max_by(@, &a)", "@[0] > @[1]", "keys(@)"])
@pytest.mark.parametrize("document", [[1, "a", None], {"a": [1]}, "text", [{"a": 1}, {"a": "b"}], 10**40])
def test_an_expression_that_meets_the_wrong_data_finds_no_id(expression: str, document: object) -> None:
    assert isinstance(read("create-blob", document=document, id=Source(json=expression)), Unusable)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"/v1/blobs/b1", "id b1"), (b"http://h:1/v1/blobs/b1?x=1#f", "id b1"), (b"//h/v1/blobs/b1", "id b1"),
        (b"b1", "no-id"), (b"blobs/b1", "id b1"), (b"/v1/blobs/a%2Fb", "unsafe-path"), (b"/v1/blobs/a%20b", "id a b"),
        (b"/v1/blobs/..", "unsafe-path"), (b"/v1/blobs/%2e%2e", "unsafe-path"), (b"/v1/blobs/%00", "unsafe-path"),
        (b"/v1/blobs/\xff", "not-utf8"), (b"/v1/blobs/%ff", "unsafe-path"), (b"/v1/blobs/a/b", "no-id"),
        (b"/v1/blobs/../x", "no-id"), (b"", "no-id"), (b"https://h", "no-id"),
    ],
)  # fmt: skip
def test_an_id_from_a_location_is_what_the_pattern_finds_in_its_path(value: bytes, expected: str) -> None:
    assert outcome(read("make-blob", headers={"location": value})) == expected


def test_a_header_without_a_pattern_is_the_id() -> None:
    assert outcome(read("make-blob", headers={"x-id": b"b1"}, id=Source(header="X-Id"))) == "id b1"
    assert outcome(read("make-blob", headers={}, id=Source(header="X-Id"))) == "no-id"
    assert outcome(read("make-blob", headers={"x-id": b"\xff"}, id=Source(header="X-Id"))) == "not-utf8"


def test_an_id_with_slashes_needs_a_delete_path_that_takes_them() -> None:
    assert outcome(read("put-object", variables={"key": "a/b/c.txt"})) == "id a/b/c.txt"
    assert outcome(read("put-object", variables={"key": "a/../c"})) == "unsafe-path"
    assert outcome(read("put-object", variables={"key": "a//c"})) == "unsafe-path"
    assert outcome(read("use-blob", variables={"id": "a/b"})) == "unsafe-path"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("blobs/{id}", "b-1", "id b-1"), ("blobs/{id}", "a/b", "unsafe-path"), ("blobs/{id}", "-", "unsafe-path"),
        ("{id}", "a/b", "id a/b"), ("{id}", "..", "id .."),
    ],
)  # fmt: skip
def test_an_id_must_fit_the_request_of_a_delete_by_grpc(name: str, value: str, expected: str) -> None:
    found, owner = RULES.rule("create-blob"), RULES.owner("blobs")
    assert found is not None
    assert owner is not None
    delete = DeleteCall(grpc=GrpcCall("b.v1.Blobs", "Delete", {"name": name}))
    owner = msgspec.structs.replace(owner, delete=delete)
    answer = Answer("/v1/blobs", {}, {}, {"id": value}, CallId("c"), "")
    assert outcome(Extractor.compile(found, owner).read(answer)) == expected


def test_a_path_that_cannot_be_decoded_names_nothing() -> None:
    found = RULES.rule("use-blob")
    owner = RULES.owner("blobs")
    assert found is not None
    assert owner is not None
    answer = Answer("/v1/blobs/..", None, {}, None, CallId("c"), "")
    assert Extractor.compile(found, owner).read(answer) == Unusable(found, "unsafe-path")
    assert Extractor.compile(found, owner).known_before(None) is None


def test_the_id_pattern_must_fit_the_whole_id() -> None:
    assert outcome(read("create-blob", document={"id": "b-12"}, id_pattern="b-[0-9]+")) == "id b-12"
    assert outcome(read("create-blob", document={"id": "b-12x"}, id_pattern="b-[0-9]+")) == "pattern"
    assert outcome(read("create-blob", document={"id": "b-12\n"}, id_pattern="b-[0-9]+$")) == "control-characters"


@pytest.mark.parametrize(
    ("changes", "headers", "document", "expected"),
    [
        ({}, {}, {"id": "b"}, "call:c1"),
        ({}, {"etag": b'"1"'}, {"id": "b"}, 'etag:"1"'),
        ({}, {"etag": b'W/"1"'}, {"id": "b"}, 'etag:W/"1"'),
        ({}, {"etag": b"\xff"}, {"id": "b"}, "call:c1"),
        ({"incarnation": Source(json="uid")}, {"etag": b'"1"'}, {"id": "b", "uid": "u1"}, "uid:u1"),
        ({"incarnation": Source(json="uid")}, {"etag": b'"1"'}, {"id": "b"}, 'etag:"1"'),
        ({"incarnation": Source(json="uid")}, {}, {"id": "b", "uid": "a\0"}, "call:c1"),
        ({"incarnation": Source(header="X-Uid")}, {"x-uid": b"7"}, {"id": "b"}, "uid:7"),
    ],
)
def test_an_incarnation_is_the_best_sign_there_is(
    changes: dict[str, Any], headers: dict[str, bytes], document: object, expected: str
) -> None:
    found = read("create-blob", headers=headers, document=document, **changes)
    assert isinstance(found, Creation)
    assert found.incarnation == expected
    assert (found.call, found.trace) == ("c1", "t")


def test_the_kind_of_rule_is_the_kind_of_observation() -> None:
    assert isinstance(read("use-blob", variables={"id": "b"}), Use)
    assert isinstance(read("delete-blob", variables={"id": "b"}), Deletion)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_like)
def test_no_document_makes_extraction_raise(document: object) -> None:
    assert isinstance(read("create-blob", document=document), Creation | Unusable)
    assert isinstance(read("create-blob", document={"id": document}), Creation | Unusable)


@given(st.binary(), st.sampled_from(["make-blob", "create-blob"]))
def test_no_header_makes_extraction_raise(value: bytes, rule: str) -> None:
    found = read(rule, headers={"location": value, "etag": value}, document={"id": "b"})
    assert isinstance(found, Creation | Unusable)


@given(st.binary())
@pytest.mark.parametrize("prefix", [b"", b"[" * 100_000, b'{"id": "\\ud800', b"1" * 5000])
def test_no_body_makes_decoding_raise_anything_but_value_error(prefix: bytes, body: bytes) -> None:
    try:
        document = decode_json(prefix + body)
    except ValueError:
        return
    assert isinstance(read("create-blob", document=document), Creation | Unusable)
