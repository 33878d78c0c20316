"""The first reason why a rule did not match, and what it finds where it did."""

from __future__ import annotations

import functools
import io
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from leasehold.protocol.configuration import EX_CONFIG, BadConfiguration
from leasehold.protocol.rules import load_rules
from leasehold.protocol.trials import CapturedGrpc, CapturedHttp, Explanation, Trial, Verdict
from leasehold.sidecar.explain.__main__ import main
from leasehold.sidecar.explain.trial import explain
from tests.fakes.http2 import blob, http2_rules, text
from tests.fakes.relay import RULES
from tests.unit.sidecar.test_protobuf import NAMED, descriptor_set

MORE = (
    RULES
    + """
  - name: again
    owner: blobs
    type: blob
    on: create
    match: {method: POST, path: "/v1/blobs", status: [201]}
    id: {json: other}
    held_by: timer
    ttl: 1h
    id_pattern: "[a-z]+"
  - name: first-named
    owner: blobs
    type: other
    on: use
    match: {method: POST, path: "/v1/blobs", status: [201]}
    id: {json: name}
    id_pattern: "[a-z]+"
    held_by: service
"""
)


@functools.cache
def documents(rules: str) -> dict[str, list[dict[str, Any]]]:
    """A rule file as its documents would be stored."""
    found: dict[str, list[dict[str, Any]]] = msgspec.to_builtins(load_rules(rules, "rules.yaml", {}), enc_hook=str)
    return found


def trial(call: CapturedHttp | CapturedGrpc, rules: str = MORE, destination: str = "") -> Trial:
    return Trial(documents(rules)["owners"], documents(rules)["rules"], call, destination)


def http(
    line: str = "POST /v1/blobs", status: str = "201 Created", body: str = '{"id": "b-1"}', head: str = "", **how: Any
) -> Explanation:
    host = how.pop("host", "blobs.test")
    request = f"{line} HTTP/1.1\nHost: {host}\n\n".encode()
    response = f"HTTP/1.1 {status}\n{head}Content-Length: {len(body)}\n\n{body}".encode()
    return explain(trial(CapturedHttp(request, response), **how))


def grpc(method: str, rules: str | None = None, **how: Any) -> Explanation:
    call = CapturedGrpc(f"/blobs.v1.Blobs/{method}", how.pop("request", None), how.pop("response", None), **how)
    return explain(trial(call, rules or http2_rules(), "blobs.test"))


def verdict(found: Explanation, rule: str) -> Verdict:
    return next(each for each in found.verdicts if each.rule == rule)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("make-blob", "status"),
        ("put-blob", "method"),
        ("log-blob", "path"),
        ("again", "earlier-rule"),
        ("create-blob", ""),
        ("first-named", "no-id"),
    ],
)
def test_each_rule_of_the_owner_says_the_first_reason_why_not(rule: str, reason: str) -> None:
    found = verdict(http(), rule)
    assert (found.reason, found.matched) == (reason, reason in {"", "no-id"})
    assert bool(found.why) == bool(reason)


def test_a_resource_is_told_with_all_that_would_be_registered() -> None:
    found = verdict(http(head='ETag: "7"\n'), "create-blob")
    assert (found.resource, found.incarnation) == ("blobs/blob/b-1", 'etag:"7"')
    assert (found.held_by, found.commit, found.holds) == ("process", "before-response", ("response",))
    assert (found.mode, found.hold_deadline_seconds) == ("observe", 2.0)


def test_an_intent_holds_the_request_whatever_the_answer() -> None:
    found = http("PUT /v1/blobs/b-2", "500 No", "")
    assert verdict(found, "put-blob").holds == ("request",)
    assert verdict(found, "put-blob").reason == "status"
    assert verdict(http("PUT /v1/blobs/b-2"), "put-blob").holds == ("request", "response")


@pytest.mark.parametrize(
    ("line", "body", "rule", "reason"),
    [
        ("POST /v1/blobs", '{"id": {}}', "create-blob", "not-text"),
        ("POST /v1/blobs", '{"id": ""}', "create-blob", "empty"),
        ("POST /v1/blobs", '{"id": ".."}', "create-blob", "unsafe-path"),
        ("POST /v1/blobs", '{"name": "B1"}', "first-named", "pattern"),
        ("POST /v1/blobs", "<html>", "create-blob", "body-unreadable"),
        ("POST /v1/blobs", '{"id": "' + "x" * 70_000 + '"}', "create-blob", "body-too-large"),
        ("PUT /v1/blobs/a%2Fb", "{}", "put-blob", "unsafe-path"),
        ("GET /v1/blobs/%zz", "{}", "use-blob", "unsafe-path"),
    ],
)
def test_an_id_that_cannot_be_used_is_no_resource(line: str, body: str, rule: str, reason: str) -> None:
    status = "200 OK" if line.startswith(("GET", "PUT")) else "201 Created"
    found = http(line, status, body)
    assert (verdict(found, rule).matched, verdict(found, rule).reason) == (True, reason)
    assert verdict(found, rule).resource is None
    assert "{" not in verdict(found, rule).why.replace("{id}", "")


def test_an_unknown_authority_names_whom_the_rules_know() -> None:
    found = http(host="elsewhere.test")
    assert (found.owner, found.verdicts, found.found) == (None, (), False)
    assert "elsewhere.test" in found.trouble
    assert found.hosts == {"blobs": ("blobs.test", "other.test:8080"), "s3": ("s3.test",)}


def test_the_destination_names_the_owner_where_the_authority_does_not() -> None:
    found = http(host="elsewhere.test", destination="other.test:8080")
    assert (found.owner, found.known_by, found.found) == ("blobs", "destination", True)
    assert http(destination="s3.test").known_by == "authority"


def test_a_mode_that_the_owner_does_not_permit_is_told() -> None:
    rules = MORE.replace("precondition: never-reused", "precondition: none").replace(
        "    body_limit: 4096", "    mode: sweep"
    )
    found = verdict(http(rules=rules), "create-blob")
    assert (found.mode, found.mode_wanted) == ("observe", "sweep")
    assert len(found.warnings) == 1


@pytest.mark.parametrize(
    ("request_", "response", "word"),
    [
        (b"\x16\x03\x01 hello", b"HTTP/1.1 200 OK\n\n", "encrypted"),
        (b"hello", b"HTTP/1.1 200 OK\n\n", "not-http"),
        (b"", b"HTTP/1.1 200 OK\n\n", "no request"),
        (b"POST /v1/blobs HTTP/1.1\nHost: blobs.test\n\n", b"220 mail.test ESMTP\n", "bad-response"),
    ],
)
def test_what_cannot_be_followed_is_said(request_: bytes, response: bytes, word: str) -> None:
    found = explain(trial(CapturedHttp(request_, response)))
    assert word in found.trouble
    assert not found.found


@pytest.mark.parametrize("response", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_call_without_an_answer_is_unfinished(response: bytes) -> None:
    found = explain(trial(CapturedHttp(b"PUT /v1/blobs/b HTTP/1.1\nHost: blobs.test\n\n", response)))
    assert not found.found
    assert "unfinished" in {each.reason for each in found.verdicts} or found.trouble


def test_of_several_calls_the_first_is_explained_and_that_is_said() -> None:
    request = b"GET /v1/none HTTP/1.1\r\nHost: blobs.test\r\n\r\nGET /v1/blobs/b-2 HTTP/1.1\r\nHost: blobs.test\r\n\r\n"
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" * 2
    found = explain(trial(CapturedHttp(request, response)))
    assert (found.target, found.found) == ("/v1/none", False)
    assert len(found.remarks) >= 1


def test_a_head_request_is_understood() -> None:
    found = http("HEAD /v1/blobs/b-1", "200 OK", "")
    assert (found.method, found.status) == ("HEAD", 200)


# --- gRPC --------------------------------------------------------------------------------------------------------


def test_a_grpc_call_is_explained_from_its_messages() -> None:
    found = grpc("Create", response=blob("b-1"))
    assert verdict(found, "create-blob").resource == "blobs/blob/b-1"
    assert {each.rule: each.reason for each in found.verdicts if not each.matched} == {
        "intend-blob": "path", "watch-blob": "path", "delete-blob": "path", "tag-blob": "path", "post-blob": "path",
        "put-blob": "method",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "how", "rule", "resource"),
    [
        ("Delete", {"request": text(1, b"b-1"), "status": 5}, "delete-blob", "blobs/blob/b-1"),
        ("Tag", {"response": b"", "metadata": {"X-Blob": "b-2"}}, "tag-blob", "blobs/blob/b-2"),
        ("Tag", {"metadata": {"X-Blob": "b-2"}}, "tag-blob", "blobs/blob/b-2"),
        ("Watch", {"response": blob("b-3")}, "watch-blob", "blobs/blob/b-3"),
    ],
)
def test_ids_come_from_requests_metadata_and_streams(
    method: str, how: dict[str, Any], rule: str, resource: str
) -> None:
    assert verdict(grpc(method, **how), rule).resource == resource


def test_another_grpc_status_is_the_reason() -> None:
    assert verdict(grpc("Create", response=blob("b-1"), status=5), "create-blob").reason == "status"


def test_a_grpc_message_beyond_a_frame_is_explained() -> None:
    rules = http2_rules().replace("body_limit: 4096", "body_limit: 100000")
    message = text(1, text(2, b"b-1")) + b"\x1a\xa0\x9c\x01" + b"x" * 20_000
    assert verdict(grpc("Create", rules, response=message), "create-blob").resource == "blobs/blob/b-1"
    assert verdict(grpc("Create", response=message), "create-blob").reason == "body-too-large"


def test_json_is_translated_where_the_descriptor_set_knows_the_method(tmp_path: Path) -> None:
    (tmp_path / "blobs.pb").write_bytes(descriptor_set())
    rules = NAMED.replace("blobs.pb", str(tmp_path / "blobs.pb"))
    found = grpc("Create", rules, request=b'{"name": "x"}', response=b'{"blob": {"id": "b-1"}}')
    assert verdict(found, "create-blob").resource == "blobs/blob/b-1"
    with pytest.raises(ValueError, match="blub"):
        grpc("Create", rules, response=b'{"blub": 1}')
    with pytest.raises(ValueError, match="no method"):
        grpc("Other", rules, response=b"{}")


def test_json_without_a_descriptor_set_is_refused() -> None:
    with pytest.raises(ValueError, match="descriptor_set"):
        grpc("Create", response=b"{}")


def test_a_descriptor_set_that_cannot_be_read_is_a_remark() -> None:
    found = grpc("Create", NAMED, response=blob("b-1"))
    assert verdict(found, "create-blob").reason == "no-descriptor"
    assert any("blobs.pb" in remark for remark in found.remarks)


# --- the process -------------------------------------------------------------------------------------------------


class Pipe:
    def __init__(self, content: bytes = b"") -> None:
        self.buffer = io.BytesIO(content)


@pytest.mark.parametrize(("question", "status"), [(b"{", 2), (b'{"call": 1}', 2), (b"[]", 2)])
def test_a_question_that_is_none_is_refused(question: bytes, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Pipe(question))
    assert main() == status


def test_bad_rules_are_a_bad_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = msgspec.structs.replace(trial(CapturedHttp(b"", b"")), owners=[])
    with pytest.raises(BadConfiguration):
        explain(asked)
    monkeypatch.setattr(sys, "stdin", Pipe(msgspec.json.encode(asked)))
    assert main() == EX_CONFIG
