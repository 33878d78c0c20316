"""What an explanation says of references: what the relay would register, and why that may be everything of a type."""

from __future__ import annotations

import json

import pytest

from leasehold.protocol.transactions import MAX_REFERENCES
from leasehold.protocol.trials import CapturedHttp, Verdict
from leasehold.sidecar.explain.trial import explain
from tests.unit.sidecar.test_explain import trial, verdict

RULES = """
owners:
  - {name: store, hosts: ["store.test"], endpoint: "http://store.test"}
  - {name: shelf, hosts: ["shelf.test"], endpoint: "http://shelf.test"}
rules:
  - name: compose
    owner: store
    type: manifest
    on: create
    match: {method: POST, path: "/v1/manifests", status: [201]}
    id: {json: id}
    held_by: process
    references:
      - {owner: store, type: manifest, ids: "parents || `[]`"}
      - {owner: shelf, type: blob, ids: "parts[].blob_id", from: request}
  - name: shelve
    owner: shelf
    type: blob
    on: create
    match: {method: POST, path: "/v1/blobs", status: [201]}
    id: {json: id}
    held_by: process
"""
HEAD = "POST /v1/manifests HTTP/1.1\nHost: store.test\nContent-Length: {}\n\n"


def composed(asked: object | None, answered: object, *, note: str = "") -> Verdict:
    body = "" if asked is None else json.dumps(asked)
    request = HEAD.format(len(body) or 40) + body + note
    answer = json.dumps(answered)
    response = f"HTTP/1.1 201 Created\nContent-Length: {len(answer)}\n\n{answer}"
    found = explain(trial(CapturedHttp(request.encode(), response.encode()), RULES))
    return verdict(found, "compose")


def test_references_are_told_from_both_halves_of_the_call() -> None:
    found = composed({"parts": [{"blob_id": "b1"}, {"blob_id": "b2"}]}, {"id": "m2", "parents": ["m1"]})
    assert found.references == ("store/manifest/m1", "shelf/blob/b1", "shelf/blob/b2")
    assert found.doubt == ""


def test_the_line_end_that_editors_add_is_no_part_of_the_request() -> None:
    assert composed({"parts": [{"blob_id": "b1"}]}, {"id": "m"}, note="\n").references == ("shelf/blob/b1",)


@pytest.mark.parametrize("asked", [None, {}, {"parts": [{"blob_id": {}}]}])
def test_what_cannot_be_read_is_told_with_the_place_where_it_was_looked_for(asked: object) -> None:
    found = composed(asked, {"id": "m"})
    assert found.resource == "store/manifest/m"
    assert found.references == ("shelf/blob/*",)
    assert "parts[].blob_id of the request" in found.doubt
    assert "parents" not in found.doubt


def test_more_than_a_record_holds_is_told() -> None:
    found = composed({"parts": [{"blob_id": f"b{n}"} for n in range(MAX_REFERENCES + 1)]}, {"id": "m"})
    assert found.references == ("shelf/blob/*",)
    assert str(MAX_REFERENCES) in found.doubt


def test_another_owner_of_the_same_file_is_no_reason_for_a_warning() -> None:
    assert not any("refer" in warning for warning in composed({"parts": []}, {"id": "m"}).warnings)
