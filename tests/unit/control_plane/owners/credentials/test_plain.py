"""Secrets in files, headers in files, user names and passwords."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from leasehold.control_plane.owners.credentials import Credentials, NoCredential, Outgoing
from leasehold.control_plane.owners.credentials.secret_file import SecretFile
from leasehold.control_plane.owners.outcome import Verdict
from leasehold.protocol.rules import Auth, Basic
from tests.unit.control_plane.owners.test_http import document
from tests.unit.control_plane.world import Owner

SECRET = "hunter2 \\o/ "


def request(**headers: str) -> Outgoing:
    return Outgoing("DELETE", "http://store/v1/x", headers)


def test_a_secret_is_read_again_when_its_file_changes_even_within_one_tick_of_the_clock(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("one\n")
    secret = SecretFile("f", str(file))
    assert secret.read() == "one"
    seen = file.stat()
    other = tmp_path / "other"
    other.write_text("two\n")
    os.utime(other, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    other.replace(file)  # as mounted secrets are exchanged
    assert secret.read() == "two"


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines", b"\xff\xfe", b"a\0b", b"x" * 70000])
def test_what_is_no_secret_is_refused_without_a_word_of_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(NoCredential) as caught:
        SecretFile("bearer_token_file", str(file)).read()
    assert caught.value.verdict is Verdict.MISCONFIGURED
    assert str(caught.value) == f"bearer_token_file {file}: expected one line of visible ASCII text"
    assert caught.value.__context__ is None


def test_a_secret_that_vanished_is_not_used_any_more(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("one")
    secret = SecretFile("f", str(file))
    secret.read()
    file.unlink()
    with pytest.raises(NoCredential, match="No such file"):
        secret.read()


async def test_user_name_and_password_go_along(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(SECRET)
    described = Auth(basic=Basic("collector", str(tmp_path / "password")))
    async with Owner() as owner:
        credentials = Credentials(document(owner, auth=described))
        proven = await credentials.prove(request(**{"X-Team": "storage"}))
    assert dict(proven.headers) == {"X-Team": "storage", "Authorization": "Basic Y29sbGVjdG9yOmh1bnRlcjIgXG8v"}
    assert "Y29s" not in repr(proven)
    assert not credentials.turned_away(proven)


async def test_a_header_from_a_file_goes_along_and_nothing_is_sent_without_it(tmp_path: Path) -> None:
    from tests.unit.control_plane.owners.test_http import Caller

    key = tmp_path / "key"
    key.write_text("k1\n")
    async with Owner() as owner:
        described = document(owner, "never-reused", header_files={"X-Api-Key": str(key)})
        async with Caller(described) as caller:
            await caller.sweep("x")
            key.write_text("key2\n")
            await caller.sweep("x")
            key.unlink()
            verdict, detail = await caller.sweep("x")
    assert [seen["X-Api-Key"] for seen in owner.seen_headers] == ["k1", "key2"]
    assert verdict is Verdict.MISCONFIGURED
    assert detail.startswith("header_files.X-Api-Key")


async def test_the_port_replaces_headers_whatever_their_case() -> None:
    proven = request(authorization="old", other="kept").with_headers({"Authorization": "new"})
    assert dict(proven.headers) == {"other": "kept", "Authorization": "new"}


async def test_an_owner_that_asks_for_nothing_is_told_nothing() -> None:
    async with Owner() as owner:
        credentials = Credentials(replace(document(owner)))
        plain = request(a="b")
        assert await credentials.prove(plain) == plain
        assert not credentials.turned_away(plain)
