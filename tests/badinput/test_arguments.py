"""The command line: what is wrong is said in one line, nothing is written, and nobody sees a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from leasehold.cli.__main__ import main

NOWHERE = ("--etcd", "http://127.0.0.1:1", "--timeout", "0.3")


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("--tenant", "../x", "status"), 2, "Invalid value for --tenant: expected 1 to 128 letters"),
        (("--tenant", "a/b", "status"), 2, "Invalid value for --tenant"),
        (("--tenant", "", "status"), 2, "Invalid value for --tenant"),
        (("--tenant", "a\nb", "status"), 2, "Invalid value for --tenant"),
        (("--tenant", "é", "status"), 2, "Invalid value for --tenant"),
        (("--tenant", "a" * 129, "status"), 2, "Invalid value for --tenant"),
        (("--etcd", "", "status"), 2, "Invalid value for --etcd: expected at least one URL"),
        (("--etcd", ",,", "status"), 2, "Invalid value for --etcd"),
        (("--etcd", "ftp://x", "status"), 2, "Invalid value for --etcd: expected http(s)://host:port, got 'ftp://x'"),
        (("--etcd", "http://x:99999", "status"), 2, "Invalid value for --etcd"),
        (("--etcd", "http://u:p@x", "status"), 2, "Invalid value for --etcd: expected http(s)://host:port without"),
        (("--etcd", "http://", "status"), 2, "Invalid value for --etcd"),
        (("--timeout", "0", "status"), 2, "Invalid value for '--timeout'"),
        (("--timeout", "-1", "status"), 2, "Invalid value for '--timeout'"),
        (("--timeout", "soon", "status"), 2, "Invalid value for '--timeout'"),
        (("--ca", "/nonexistent", "status"), 2, "Invalid value for '--ca'"),
        (("--cert", "/etc/hostname", "status"), 2, "expected --cert and --key together"),
        (("--user", "me", "status"), 2, "expected --user and --password-file together"),
        (("--password-file", "/etc/hostname", "status"), 2, "expected --user and --password-file together"),
        (("pin", "x", "--why", "w"), 2, "expected <owner>/<type>/<id>"),
        (("pin", "a/b", "--why", "w"), 2, "expected <owner>/<type>/<id>"),
        (("pin", "a/b/", "--why", "w"), 2, "expected <owner>/<type>/<id>"),
        (("pin", "../b/c", "--why", "w"), 2, "expected <owner>/<type>/<id>"),
        (("pin", "a b/c/d", "--why", "w"), 2, "expected <owner>/<type>/<id>"),
        (("pin", "a/b/c"), 2, "Missing option '--why'"),
        (("restore", "/a/b"), 2, "expected <owner>/<type>/<id>"),
        (("release", "a/b/c"), 2, "Missing option '--holder'"),
        (("brake", "trip"), 2, "Missing option '--reason'"),
        (("brake", "destroy"), 2, "No such command 'destroy'"),
        (("get", "secrets"), 2, "'secrets' is not one of"),
        (("get", "resources", "--state", "gone"), 2, "Invalid value for --state: expected one of held"),
        (("get", "resources", "-o", "xml"), 2, "Invalid value for '-o'"),
        (("etcd-roles", "--tenant", "a/b"), 2, "Invalid value for --tenant"),
        (("etcd-roles", "--service", "web@1"), 2, "Invalid value for --service"),
        (("etcd-roles", "--service", "web%40x"), 2, "Invalid value for --service"),
        (("etcd-roles", "--owner", "a/b"), 2, "Invalid value for --owner"),
        (("etcd-roles", "--owner", "x; rm -rf /"), 2, "Invalid value for --owner"),
        (("bug-report", "--lines", "0"), 2, "Invalid value for '--lines'"),
        (("bug-report", "-o", "/"), 2, "Invalid value for '-o'"),
        (("apply",), 2, "Missing option '-f'"),
        ((*NOWHERE, "pin", "a/b/c", "--why", "w"), 1, "leasehold: etcd cannot be reached"),
        ((*NOWHERE, "get", "resources"), 1, "leasehold: etcd cannot be reached"),
        ((*NOWHERE, "etcd-roles", "--apply"), 1, "leasehold: etcd cannot be reached"),
    ],
    ids=lambda value: " ".join(value)[:50].encode("unicode_escape").decode() if isinstance(value, tuple) else None,
)
def test_a_wrong_command_line_says_what_where_and_what_was_expected(
    arguments: tuple[str, ...], code: int, expected: str
) -> None:
    result = CliRunner().invoke(main, list(arguments))
    assert (result.exit_code, expected in result.output) == (code, True), result.output
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\0", b"[" * 5000, b"a: &a [*a]", b"owners: 5", b"\0", b"!!python/object:x.y {}"]
)
@pytest.mark.parametrize("command", [("rules", "check"), ("apply", "-f")])
def test_a_rule_file_that_is_none_is_78_and_nothing_is_asked_of_etcd(
    tmp_path: Path, content: bytes, command: tuple[str, ...]
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_bytes(content)
    result = CliRunner().invoke(main, [*NOWHERE, *command, str(file)])
    assert result.exit_code == 78, result.output
    assert str(file) in result.output
    assert "expected" in result.output
    assert "etcd cannot be reached" not in result.output


def test_a_password_in_an_endpoint_is_not_repeated() -> None:
    result = CliRunner().invoke(main, ["--etcd", "http://me:hunter2@127.0.0.1:1", "status"])
    assert result.exit_code == 2
    assert "hunter2" not in result.output
