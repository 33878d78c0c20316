"""``leasehold rules test`` as an operator has it: files in, an explanation and an exit code out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from leasehold.cli.__main__ import main
from tests.fakes.http2 import http2_rules
from tests.fakes.relay import RULES
from tests.unit.sidecar.test_captured import TRACE
from tests.unit.sidecar.test_protobuf import NAMED, descriptor_set

REQUEST = "POST /v1/blobs HTTP/1.1\nHost: blobs.test\n\n"
RESPONSE = 'HTTP/1.1 201 Created\nETag: "7"\n\n{"id": "b-1"}\n'


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in (("rules.yaml", RULES), ("grpc.yaml", http2_rules()), ("named.yaml", NAMED),
                       ("q.txt", REQUEST), ("a.txt", RESPONSE), ("call.txt", TRACE.decode())):  # fmt: skip
        Path(name).write_text(text)
    Path("blobs.pb").write_bytes(descriptor_set())
    return tmp_path


def try_rules(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(main, ["rules", "test", *arguments], input=text)


def test_a_rule_that_gives_a_resource_ends_with_0() -> None:
    result = try_rules("rules.yaml", "--request", "q.txt", "--response", "a.txt")
    assert result.exit_code == 0, result.output
    assert "blobs/blob/b-1" in result.stdout
    assert "status 201 is not among 202" in result.stdout


def test_one_trace_of_curl_may_hold_both_sides() -> None:
    result = try_rules("rules.yaml", "--request", "call.txt", "--response", "call.txt", "-o", "json")
    assert result.exit_code == 0, result.output
    assert [each["resource"] for each in json.loads(result.stdout)["verdicts"] if each["matched"]] == ["blobs/blob/b-1"]


@pytest.mark.parametrize(
    "request_",
    [
        REQUEST.replace("/v1/blobs", "/v1/none"),
        REQUEST.replace("blobs.test", "nobody.test"),
        REQUEST.replace("POST /v1/blobs", "GET /v1/blobs/.."),
        "nonsense",
        "",
    ],
)
def test_no_resource_ends_with_1_and_says_why(request_: str) -> None:
    result = try_rules("rules.yaml", "--request", "-", "--response", "a.txt", text=request_)
    assert result.exit_code == 1, result.output
    assert "does not fit" in result.stdout or "No rule can match" in result.stdout or "not POST" in result.stdout


def test_an_id_that_cannot_be_used_ends_with_1() -> None:
    response = 'HTTP/1.1 201 Created\n\n{"id": ".."}'
    result = try_rules("rules.yaml", "--request", "q.txt", "--response", "-", text=response)
    assert result.exit_code == 1
    assert "nothing is registered (unsafe-path)" in result.stdout


def test_the_rules_may_come_from_standard_input() -> None:
    assert try_rules("-", "--request", "q.txt", "--response", "a.txt", text=RULES).exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["rules.yaml"],
        ["rules.yaml", "--request", "q.txt"],
        ["rules.yaml", "--request", "-", "--response", "-"],
        ["-", "--request", "-", "--response", "a.txt"],
        ["rules.yaml", "--request", "q.txt", "--response", "nowhere.txt"],
        ["rules.yaml", "--request", "q.txt", "--response", "a.txt", "--status", "0"],
        ["grpc.yaml", "--grpc", "/blobs.v1.Blobs/Create"],
        ["grpc.yaml", "--grpc", "Create", "--destination", "blobs.test"],
        ["grpc.yaml", "--grpc", "/blobs.v1.Blobs/Create", "--destination", "blobs.test", "--status", "17"],
        ["grpc.yaml", "--grpc", "/blobs.v1.Blobs/Create", "--destination", "blobs.test", "--metadata", "x"],
    ],
)
def test_bad_usage_ends_with_2(arguments: list[str]) -> None:
    assert try_rules(*arguments, text="").exit_code == 2


def test_a_bad_rule_file_ends_with_78() -> None:
    Path("rules.yaml").write_text(RULES.replace("owner: s3", "owner: s4"))
    result = try_rules("rules.yaml", "--request", "q.txt", "--response", "a.txt")
    assert result.exit_code == 78
    assert "rules[7].owner" in result.stderr


@pytest.mark.parametrize(("status", "expected"), [(1, 1), (-9, 1), (78, 78), (2, 2)])
def test_what_the_sidecars_code_says_of_the_question_decides_the_exit_code(
    status: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(arguments: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(arguments, status, b"", b"it was odd")

    monkeypatch.setattr(subprocess, "run", ended)
    result = try_rules("rules.yaml", "--request", "q.txt", "--response", "a.txt")
    assert result.exit_code == expected
    assert "it was odd" in result.stderr
    assert not result.stdout


def test_a_grpc_call_is_tried_with_messages_in_json() -> None:
    Path("answer.json").write_text('{"blob": {"id": "b-1"}}')
    grpc = ["--grpc", "/blobs.v1.Blobs/Create", "--destination", "blobs.test", "--response", "answer.json"]
    result = try_rules("named.yaml", *grpc)
    assert result.exit_code == 0, result.output
    assert "blobs/blob/b-1" in result.stdout
    assert try_rules("named.yaml", *grpc, "--status", "5").exit_code == 1
    refused = try_rules("grpc.yaml", *grpc)
    assert refused.exit_code == 2
    assert "descriptor_set" in refused.stderr


def test_metadata_carries_an_id() -> None:
    grpc = ["--grpc", "/blobs.v1.Blobs/Tag", "--destination", "blobs.test", "--metadata", "x-blob: b-2"]
    result = try_rules("grpc.yaml", *grpc)
    assert result.exit_code == 0, result.output
    assert "blobs/blob/b-2" in result.stdout
