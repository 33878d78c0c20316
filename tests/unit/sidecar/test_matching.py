"""Which rules a call may match."""

from __future__ import annotations

import pytest

from leasehold.protocol.rules import load_rules
from leasehold.sidecar.observe.matching import Matcher, authority_of, chosen, normal_authority, path_of
from tests.fakes.relay import RULES, rules


def names(authority: str, destination: str, method: str, target: str) -> list[str]:
    found = Matcher.compile(rules()).owner_rules(authority, normal_authority(destination) if destination else "")
    return [] if found is None else [candidate.rule.name for candidate in found.candidates(method, target)]


@pytest.mark.parametrize(
    "authority", ["blobs.test", "BLOBS.test:80", "blobs.test.", "other.test:8080", "Other.Test:8080"]
)
def test_an_owner_is_known_by_each_of_its_authorities(authority: str) -> None:
    assert names(authority, "", "POST", "/v1/blobs") == ["create-blob", "make-blob"]


@pytest.mark.parametrize("authority", ["blobs.test:81", "other.test", "xblobs.test", "", "blobs.test:80:80"])
def test_another_authority_is_nobody(authority: str) -> None:
    assert names(authority, "", "POST", "/v1/blobs") == []


def test_an_owner_is_known_by_the_address_where_the_authority_names_nobody() -> None:
    assert names("127.0.0.1:15001", "other.test:8080", "POST", "/v1/blobs?x=1") == ["create-blob", "make-blob"]


def test_the_authority_goes_before_the_address() -> None:
    assert names("s3.test", "other.test:8080", "POST", "/v1/blobs") == []
    assert names("s3.test", "other.test:8080", "PUT", "/bucket/a/b") == ["put-object"]


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("POST", "/v1/blobs?a=/v1/x#f", ["create-blob", "make-blob"]),
        ("POST", "http://blobs.test/v1/blobs", ["create-blob", "make-blob"]),
        ("GET", "/v1/blobs/a%20b", ["use-blob"]),
        ("GET", "/v1/blobs/..", ["use-blob"]),
        ("GET", "/v1/blobs/a/b", []),
        ("GET", "/v1/blobs", []),
        ("post", "/v1/blobs", []),
        ("POST", "/v1/blobs/", []),
        ("OPTIONS", "*", []),
        ("CONNECT", "blobs.test:80", []),
    ],
)
def test_candidates_fit_by_method_and_path(method: str, target: str, expected: list[str]) -> None:
    assert names("blobs.test", "", method, target) == expected


def test_of_each_kind_the_first_rule_with_the_status_is_chosen() -> None:
    text = (
        RULES
        + """
  - name: post-uses
    owner: blobs
    type: blob
    on: use
    match: {method: POST, path: "/v1/blobs", status: [201, 202]}
    id: {header: X-Used}
    held_by: process
  - name: shadowed
    owner: blobs
    type: blob
    on: create
    match: {method: POST, path: "/v1/blobs", status: [201]}
    id: {json: other}
    held_by: process
"""
    )
    found = Matcher.compile(load_rules(text, "r", {})).owner_rules("blobs.test", "")
    assert found is not None
    candidates = found.candidates("POST", "/v1/blobs")
    assert [c.rule.name for c in chosen(candidates, 201)] == ["create-blob", "post-uses"]
    assert [c.rule.name for c in chosen(candidates, 202)] == ["make-blob", "post-uses"]
    assert chosen(candidates, 500) == ()


@pytest.mark.parametrize(
    ("target", "authority", "path"),
    [
        ("/a?b", "", "/a"),
        ("http://h:1/a?b", "h:1", "/a"),
        ("http://h", "h", ""),
        ("http://u:p@h/a", "h", "/a"),
        ("http://h?x=/y", "h", ""),
        ("/a://b/c", "", "/a://b/c"),
        ("*", "", ""),
    ],
)
def test_a_target_names_an_authority_and_a_path(target: str, authority: str, path: str) -> None:
    assert (authority_of(target), path_of(target)) == (authority, path)


@pytest.mark.parametrize(("text", "normal"), [("[::1]", "[::1]:80"), ("[::1]:8080", "[::1]:8080"), ("H:", "h:80")])
def test_an_authority_is_written_in_one_way(text: str, normal: str) -> None:
    assert normal_authority(text) == normal
