"""The definitions: generated, complete, structural, and of one mind with the model in what they refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import celpy
import jsonschema
import msgspec
import pytest
import yaml

from leasehold.control_plane.kubernetes.crds import as_yaml, crd
from leasehold.control_plane.kubernetes.kinds import KINDS, OWNER, RULE, Kind, declared
from tests.unit.control_plane.kubernetes.objects import OWNER_SPEC, RULE_SPEC, changed, thing

FOLDER = Path(__file__).parents[4] / "helm/leasehold/files/crds"
SPECS = {OWNER.name: OWNER_SPEC, RULE.name: RULE_SPEC}
ONE_OF_EACH = {"owner": OWNER, "rule": RULE}
SOURCE = "expected exactly one of json, header, path, grpc"

# What is refused by a check in CEL: the kind, what is said otherwise, and the beginning of what is said.
CROSSED: list[tuple[Kind, dict[str, Any], str]] = [
    (OWNER, {"hosts": []}, "hosts: expected at least one authority"),
    (OWNER, {"auth": {"basic": {"username": "u", "password_file": "p"}}, "bearer_token_file": "t"},
     "auth: expected only one of auth and bearer_token_file"),
    (OWNER, {"delete__precondition": "if-match", "read": None}, "delete.precondition: if-match needs to look first"),
    (OWNER, {"condemn": {"path": "/c/{id}"}}, "expected"),
    (OWNER, {"auth": {}}, "expected exactly one of basic, oauth2, aws"),
    (OWNER, {"tls": {"key": "k.pem"}}, "key: expected a cert beside the key"),
    (OWNER, {"delete__path": None}, "expected exactly one of path and grpc"),
    (OWNER, {"read__etag": {"header": "x"}}, "etag: an HTTP answer has its ETag header"),
    (OWNER, {"verify": {"path": "/v/{id}", "in_use": [200]}}, "expected json, or both in_use and not_in_use"),
    (OWNER, {"lookup": {"path": "/l/{key}", "id": {}}}, "expected exactly one of json and header"),
    (OWNER, {"read__incarnation": {}}, SOURCE),
    (RULE, {"id": {"json": "id", "header": "location"}}, SOURCE),
    (RULE, {"id": {"json": "id", "pattern": "/v1/{id}"}}, "pattern: expected only beside header"),
    (RULE, {"match__grpc": {"service": "s", "method": "m"}}, "expected either grpc, or method, path and status"),
    (RULE, {"held_by": None}, "held_by: missing; expected one of: process, service, timer (there is no default)"),
    (RULE, {"on": "delete"}, "held_by: a deletion holds nothing: expected no held_by"),
    (RULE, {"held_by": "timer"}, "ttl: missing; held_by: timer expects how long, e.g. ttl: 24h"),
    (RULE, {"ttl": "1h"}, "ttl: expected only beside held_by: timer"),
    (RULE, {"on_unavailable": "reject"}, "on_unavailable: reject is only possible before the request left"),
    (RULE, {"idempotency_key": {"header": "Idempotency-Key"}}, "idempotency_key: only an intent has one"),
]  # fmt: skip

# What is refused by the schema itself.
MALFORMED: list[tuple[Kind, dict[str, Any], str]] = [
    (OWNER, {"endpoint": None}, "spec"),
    (OWNER, {"hosts": "blobs"}, "spec.hosts"),
    (OWNER, {"delete__precondition": "maybe"}, "spec.delete.precondition"),
    (OWNER, {"limits__timeout": "10"}, "spec.limits.timeout"),
    (OWNER, {"limits__concurrency": 0}, "spec.limits.concurrency"),
    (OWNER, {"types": {"blob": {"inventory": {"path": "/l", "items": "i", "id": "id", "mode": "eat"}}}},
     "spec.types.blob.inventory.mode"),
    (RULE, {"on": None}, "spec"),
    (RULE, {"on": "make"}, "spec.on"),
    (RULE, {"true": "create"}, "spec.true"),
    (RULE, {"grace": 300}, "spec.grace"),
    (RULE, {"match__status": [99]}, "spec.match.status.0"),
    (RULE, {"match__status": []}, "spec.match.status"),
    (RULE, {"held_by": "nobody"}, "spec.held_by"),
    (RULE, {"body_limit": 0}, "spec.body_limit"),
]  # fmt: skip


def schema(kind: Kind) -> dict[str, Any]:
    [version] = crd(kind)["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


def walk(node: Mapping[str, Any], value: Any, path: str = "") -> Iterator[tuple[Mapping[str, Any], Any, str]]:
    """Schema and object side by side: each part of the object that a schema is about."""
    yield node, value, path
    if isinstance(value, dict):
        for name, item in value.items():
            inner = node.get("properties", {}).get(name) or node.get("additionalProperties")
            if inner is not None:
                yield from walk(inner, item, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from walk(node["items"], item, f"{path}[]")


def crossed_out(kind: Kind, spec: Mapping[str, Any]) -> list[str]:
    """The messages of all checks in CEL that do not hold."""
    environment = celpy.Environment()
    found = []
    for node, value, _ in walk(schema(kind), thing(kind, "blobs", spec)):
        for check in node.get("x-kubernetes-validations", ()):
            program = environment.program(environment.compile(check["rule"]))
            if not program.evaluate({"self": celpy.json_to_cel(value)}):
                found.append(check["message"])
    return found


def of_form(kind: Kind, spec: Mapping[str, Any]) -> list[str]:
    """Where an object does not have the schema's form."""
    validator = jsonschema.Draft202012Validator(schema(kind))
    return [".".join(map(str, error.absolute_path)) for error in validator.iter_errors(thing(kind, "blobs", spec))]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_the_committed_definitions_are_those_of_the_model(kind: Kind) -> None:
    assert (FOLDER / f"{kind.plural}.yaml").read_text() == as_yaml(kind), "run: make crds"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_every_field_of_the_model_but_the_name_can_be_said(kind: Kind) -> None:
    def fields(model: Any, node: Mapping[str, Any]) -> None:
        described = msgspec.inspect.type_info(model)
        names = {field.encode_name for field in described.fields}
        assert names - {"name"} <= node["properties"].keys()
        for field in described.fields:
            options = getattr(field.type, "types", (field.type,))
            for option in options:
                if isinstance(option, msgspec.inspect.StructType):
                    fields(option.cls, node["properties"][field.encode_name])

    fields(kind.model, schema(kind)["properties"]["spec"])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_the_schema_is_structural(kind: Kind) -> None:
    def structural(node: Mapping[str, Any], where: str) -> None:
        assert "type" in node or node.get("x-kubernetes-preserve-unknown-fields"), where
        assert not {"$ref", "anyOf", "oneOf", "allOf", "not", "$schema"} & node.keys(), where
        assert not ("properties" in node and "additionalProperties" in node), where
        for name, inner in node.get("properties", {}).items():
            structural(inner, f"{where}.{name}")
        for inner in (node.get("items"), node.get("additionalProperties")):
            if inner is not None:
                structural(inner, f"{where}[]")

    structural(schema(kind), kind.name)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_definitions_outlive_the_chart_and_show_what_was_accepted(kind: Kind) -> None:
    it = crd(kind)
    [version] = it["spec"]["versions"]
    assert it["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert version["subresources"] == {"status": {}}
    assert "Accepted" in {column["name"] for column in version["additionalPrinterColumns"]}
    assert "{{" not in as_yaml(kind)
    assert yaml.safe_load(as_yaml(kind)) == it


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_a_good_object_is_let_in_by_all_three(kind: Kind) -> None:
    assert of_form(kind, SPECS[kind.name]) == []
    assert crossed_out(kind, SPECS[kind.name]) == []
    assert declared(kind, thing(kind, "blobs", SPECS[kind.name])).problems == ()


@pytest.mark.parametrize(("kind", "changes", "said"), CROSSED, ids=lambda value: str(value)[:50])
def test_what_a_check_in_cel_refuses_the_model_refuses_in_the_same_words(
    kind: Kind, changes: dict[str, Any], said: str
) -> None:
    spec = changed(SPECS[kind.name], changes)
    assert of_form(kind, spec) == []
    [message] = [message for message in crossed_out(kind, spec) if message.startswith(said)]
    problems = " | ".join(declared(kind, thing(kind, "blobs", spec)).problems)
    words = message.split(": ", 1)[-1]
    assert words in problems or said == "expected", (message, problems)
    assert problems


def test_every_check_in_cel_is_seen_to_refuse_something() -> None:
    def checks(node: Mapping[str, Any]) -> Iterator[str]:
        yield from (check["message"] for check in node.get("x-kubernetes-validations", ()))
        for inner in (*node.get("properties", {}).values(), node.get("items"), node.get("additionalProperties")):
            if inner is not None:
                yield from checks(inner)

    every = {message for kind in KINDS for message in checks(schema(kind))}
    seen = {
        message for kind, changes, _ in CROSSED for message in crossed_out(kind, changed(SPECS[kind.name], changes))
    }
    assert every - seen == {"metadata.name: expected at most 128 characters"}


@pytest.mark.parametrize(("kind", "changes", "where"), MALFORMED, ids=lambda value: str(value)[:50])
def test_what_the_schema_refuses_the_model_refuses_too(kind: Kind, changes: dict[str, Any], where: str) -> None:
    spec = changed(SPECS[kind.name], changes)
    assert where in of_form(kind, spec)
    assert declared(kind, thing(kind, "blobs", spec)).problems


def test_an_unquoted_on_is_refused_with_a_word_about_quotes() -> None:
    read_by_kubectl = yaml.safe_load("on: create\nowner: blobs\n")  # PyYAML reads YAML 1.1 as kubectl does
    assert True in read_by_kubectl
    [hint] = schema(RULE)["properties"]["spec"]["properties"]["true"]["enum"]
    assert re.search('quotes: "on"', hint)
