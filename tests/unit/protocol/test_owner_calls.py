"""Owners that are called by gRPC: what a document may say, and what is a mistake before any descriptor set is read."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.protocol.configuration import BadConfiguration, to_json
from leasehold.protocol.rules import Mode, permitted_mode, warnings
from tests.unit.protocol.test_rules import GOOD, load, rule

DELETE = 'delete: {grpc: {service: b.v1.Blobs, method: Delete, request: {name: "{id}"}}, precondition: never-reused}'
READ = 'read: {grpc: {service: b.v1.Blobs, method: Get, request: {name: "{id}"}}}'
BY_GRPC = GOOD.replace(
    'delete: {method: DELETE, path: "/v1/blobs/{id}", precondition: never-reused}',
    f"{DELETE}\n    descriptor_set: blobs.pb",
).replace('read: {path: "/v1/blobs/{id}"}', READ)


def test_an_owner_may_be_called_by_grpc_and_its_rules_may_sweep() -> None:
    rules = load(BY_GRPC)
    assert warnings(rules) == []
    assert permitted_mode(rule("create-blob", rules), rules.owners[0]) is Mode.SWEEP
    assert msgspec.json.decode(to_json(rules))["owners"][0]["delete"]["grpc"]["request"] == {"name": "{id}"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("delete: {", 'delete: {path: "/v1/{id}", ', "delete: expected exactly one of path and grpc; got both"),
        (DELETE, "delete: {precondition: never-reused}", "delete: expected exactly one of path and"),
        ("descriptor_set: blobs.pb", "", "delete.grpc: messages are built with a descriptor_set"),
        (READ, 'read: {path: "/v1/{id}"}', "delete: expected delete and read both by path or both by grpc"),
        ("endpoint: http://127.0.0.1:9000", "endpoint: http://h/v1", "endpoint: gRPC knows no path prefix"),
        ("limits:", "headers: {Host: x}\n    limits:", "headers.Host: it goes along as gRPC metadata"),
        ("limits:", "types: {f: {read: {path: '/{id}'}}}\n    limits:", "types.f.read: expected delete and read both"),
        ('"{id}"}}}\n', '"{id}"}}, incarnation: {json: uid}}\n', "read.incarnation: this read is a gRPC call"),
        ('"{id}"}}}\n', '"{id}"}}, etag: {grpc: {field: e, from: request}}}\n', "read.etag.grpc.from: the request is"),
        ('"{id}"}}, prec', '"{ID}"}}, prec', "delete.grpc.request.name: expected no braces but {id} and {etag}"),
    ],
)  # fmt: skip
def test_nonsense_is_named_with_its_place(old: str, new: str, expected: str) -> None:
    assert old in BY_GRPC
    with pytest.raises(BadConfiguration) as caught:
        load(BY_GRPC.replace(old, new, 1))
    assert str(caught.value.mistakes[0]).startswith(f"rules.yaml: owners[0].{expected}")


def test_if_match_by_grpc_needs_an_etag_on_both_sides() -> None:
    text = BY_GRPC.replace("never-reused", "if-match")
    with pytest.raises(BadConfiguration) as caught:
        load(text)
    assert [mistake.path for mistake in caught.value.mistakes] == ["owners[0].delete.grpc.request", "owners[0].delete"]
    load(
        text.replace('"{id}"}}, prec', '"{id}", etag: "{etag}"}}, prec').replace(
            '"{id}"}}}\n', '"{id}"}}, incarnation: {grpc: {field: etag}}}\n'
        )
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('{path: "/v1", json: used}', "verify.path: expected {id}"),
        ('{path: "/{id}"}', "verify: expected json, or both in_use and not_in_use"),
        ('{path: "/{id}", in_use: [200]}', "verify: expected json, or both in_use and not_in_use"),
        ('{path: "/{id}", json: "a["}', "verify.json: expected a JMESPath"),
        ('{path: "/{id}", method: get, json: a}', "verify.method: expected an upper-case"),
        ('{path: "/{id}", in_use: [200], not_in_use: [200]}', "verify.not_in_use[0]: expected no code that means"),
        ('{path: "/{id}", in_use: [200], not_in_use: [403]}', "verify.not_in_use[0]: expected 200 to 299, 404"),
        ('{path: "/{id}", in_use: [500], not_in_use: [404]}', "verify.in_use[0]: expected a response code from 200"),
    ],
)  # fmt: skip
def test_a_question_that_could_mislead_is_named_with_its_place(said: str, expected: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        load(GOOD.replace("limits:", f"verify: {said}\n    limits:"))
    [mistake] = caught.value.mistakes
    assert str(mistake).startswith(f"rules.yaml: owners[0].{expected}")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("{first: 10ms}", "first: expected 0.1s to 86400s, got 0.01s"),
        ("{first: 2h}", "longest: expected 7200s to 604800s, got 3600s"),
        ("{budget: 30m}", "budget: expected 3600s to"),
        ("{budget: 400d}", "budget: expected 3600s to"),
        ("{refusals: 0}", "refusals: expected 1 to 1000, got 0"),
        ("{slow: 0s}", "slow: expected 1s to"),
    ],
)
def test_retries_that_make_no_sense_are_named(said: str, expected: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        load(GOOD.replace("limits:", f"retries: {said}\n    limits:"))
    [mistake] = caught.value.mistakes
    assert str(mistake).startswith(f"rules.yaml: owners[0].retries.{expected}")


def test_a_type_may_be_asked_about_differently() -> None:
    said = (
        'verify: {path: "/{id}", json: used}\n    types: {folder: {verify: {path: "/f/{id}", json: used}}}\n    limits:'
    )
    [owner] = load(GOOD.replace("limits:", said)).owners
    assert owner.is_asked
    paths = [call.path for kind in ("blob", "folder") if (call := owner.verify_of(kind))]
    assert paths == ["/{id}", "/f/{id}"]
    assert load().owners[0].verify_of("blob") is None


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('condemn: {path: "/{id}"}', "condemn: expected a restore beside it"),
        ('restore: {path: "/{id}"}', "restore: expected a condemn beside it"),
        ('condemn: {path: "/x"}\n    restore: {path: "/{id}"}', "condemn.path: expected {id}"),
        ('condemn: {path: "/{id}"}\n    restore: {path: "/{id}", method: x}', "restore.method: expected an upper"),
    ],
)
def test_a_notice_that_could_not_be_taken_back_is_a_mistake(said: str, expected: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        load(GOOD.replace("limits:", f"{said}\n    limits:"))
    [mistake] = caught.value.mistakes
    assert str(mistake).startswith(f"rules.yaml: owners[0].{expected}")
