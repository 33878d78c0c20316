"""Templates of gRPC requests: what is filled in stays in its place, and nothing else is filled in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.protocol.requests import GrpcCall, RequestTemplate, Slot, call_nonsense, not_metadata
from leasehold.protocol.templates import BadTemplate, UnsafeId


def test_a_template_is_divided_into_slots_and_constants() -> None:
    request = {"name": "{id}", "options": {"etag": "{etag}", "force": True, "deep": {"tags": ["a"]}}, "size": 7}
    template = RequestTemplate.compile(request)
    assert template.slots == (Slot(("name",), "{id}"), Slot(("options", "etag"), "{etag}"))
    assert template.constants == {"options": {"force": True, "deep": {"tags": ["a"]}}, "size": 7}
    assert template.variables == ("id", "etag")


@given(st.text(min_size=1), st.text(min_size=1))
def test_values_are_filled_in_as_they_are_and_never_looked_at_again(resource_id: str, etag: str) -> None:
    values = {"id": resource_id, "etag": etag}
    assert Slot(("name",), "{id}").fill(values) == resource_id
    assert Slot(("etag",), 'W/"{etag}"').fill(values) == f'W/"{etag}"'


@given(st.text(), st.text())
def test_two_ids_never_become_one_name(one: str, other: str) -> None:
    slot = Slot(("name",), "projects/p/blobs/{id}/versions/1")
    names = []
    for value in (one, other):
        try:
            names.append(slot.fill({"id": value}))
        except UnsafeId:
            assert value in {"", ".", "..", "-"} or "/" in value
    assert len(set(names)) == len(names) or one == other


@pytest.mark.parametrize("name", ["", "a/b", "/", ".", "..", "-"])
def test_a_part_of_a_name_stays_one_segment(name: str) -> None:
    with pytest.raises(UnsafeId):
        RequestTemplate.compile({"name": "blobs/{id}"}).check(name)


def test_a_whole_field_takes_any_id_but_none() -> None:
    template = RequestTemplate.compile({"name": "{id}", "etag": "{etag}"})
    for name in ("a/b", "..", "-", "projects/p/blobs/b", "{etag}"):
        template.check(name)
    with pytest.raises(UnsafeId):
        template.check("")


@pytest.mark.parametrize("value", ["{ID}", "{id", "id}", "{name}", "{{id}}", ["{id}"], [{"name": "{id}"}], {"{id}": 1}])
def test_braces_that_would_be_sent_as_they_are_are_a_mistake(value: object) -> None:
    with pytest.raises(BadTemplate):
        RequestTemplate.compile({"id": "{id}", "x": value})


def nonsense(*, etag: bool = False, **call: Any) -> list[str]:
    good: dict[str, Any] = {"service": "blobs.v1.Blobs", "method": "DeleteBlob", "request": {"name": "{id}"}}
    return [f"{where}: {problem}" for where, problem in call_nonsense(GrpcCall(**{**good, **call}), etag=etag)]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"service": "blobs/v1"}, "service: expected a service with its package"),
        ({"method": ""}, "method: expected the name of a gRPC method"),
        ({"request": {}}, 'request: expected "{id}" exactly once'),
        ({"request": {"a": "{id}", "b": "{id}"}}, 'request: expected "{id}" exactly once among the values, got it 2'),
        ({"request": {"a": "{id}/{id}"}}, 'request: expected "{id}" exactly once among the values, got it 2'),
        ({"request": {"a": "{id}", "b": "{etag}"}}, "request: expected {etag} only in a delete with"),
        ({"etag": True}, 'request: if-match expects "{etag}" exactly once'),
        ({"request": {"a": "{id}", "b": {"c": "{Id}"}}}, "request.b.c: expected no braces but {id} and {etag}"),
        ({"request": {"a": "{id}", 7: "x"}}, "request: expected the name of a field, got 7"),
        ({"metadata": {"grpc-timeout": "1S"}}, "metadata.grpc-timeout: expected a name that metadata may have"),
        ({"metadata": {"x": "ä"}}, "metadata.x: expected visible ASCII text"),
        ({"metadata": {"x-bin": "a"}}, "metadata.x-bin: expected no binary metadata"),
    ],
)
def test_nonsense_in_a_call_is_named_with_its_place(call: dict[str, Any], expected: str) -> None:
    [mistake] = nonsense(**call)
    assert mistake.startswith(expected)


def test_a_good_call_has_no_mistakes() -> None:
    assert nonsense() == []
    assert nonsense(request={"name": "{id}", "etag": "{etag}"}, etag=True, metadata={"X-Team": "a b"}) == []


@pytest.mark.parametrize("name", [":path", "Connection", "Host", "content-type", "a b", "", "TE", "user-agent"])
def test_headers_of_the_connection_are_no_metadata(name: str) -> None:
    assert not_metadata(name, "x")
