"""Ids out of other people's traffic: what may become part of a key and of a ``DELETE``'s path, and what may not."""

from __future__ import annotations

import asyncio
from urllib.parse import unquote

import pytest

from leasehold.control_plane.owners.http import HttpOwner
from leasehold.control_plane.owners.outcome import Verdict
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import OwnerName, Resource, ResourceId, Tenant, TypeName
from leasehold.protocol.rules import load_rules
from leasehold.protocol.templates import PathTemplate, UnsafeId

ONE, SEVERAL = PathTemplate.compile("/v1/blobs/{id}"), PathTemplate.compile("/bucket/{+id}")
KEYS = Keyspace(Tenant("t"))
NEVER = ["", ".", "..", "\0", "a\0b", "\ud800"]
ODD = [
    "../../admin", "..%2f..%2fadmin", "%2e%2e", "a/b", "a\\b", "a?b=c", "a#b", "a;b", "a b", "a\tb", "{id}", "{+id}",
    "${HOME}", "{{7*7}}", "%00", "%", "%zz", "a%2Fb", "é", "\u202etxt.exe", "\ufeff", "ｏ", "💥", "x HTTP/1.1",
    "x\r\nX-Evil: 1", "x\nHost: evil", "x\r\n\r\nDELETE /all HTTP/1.1", "\x1b[31m", "\x7f", "\x85", "\u2028",
    "//evil.example/x", "http://evil.example/x", "@evil.example", ":80", "*", "'; DROP TABLE--", "$(id)", "`id`", "a&b",
    "a=b", "~", "-rf", "a" * 1024,
]  # fmt: skip


@pytest.mark.parametrize("identity", NEVER)
def test_what_is_no_segment_is_never_put_into_a_path(identity: str) -> None:
    with pytest.raises(UnsafeId):
        ONE.expand({"id": identity})
    with pytest.raises(UnsafeId):
        SEVERAL.expand({"id": identity})


@pytest.mark.parametrize("identity", ["a//b", "/a", "a/", "a/../b", "a/./b", "../x", "a/.."])
def test_no_part_of_a_spanning_id_is_empty_or_a_dot(identity: str) -> None:
    with pytest.raises(UnsafeId):
        SEVERAL.expand({"id": identity})


@pytest.mark.parametrize("identity", ODD, ids=lambda text: text[:20].encode("unicode_escape").decode())
def test_an_id_is_one_segment_of_visible_ascii_and_comes_back_as_it_was(identity: str) -> None:
    path = ONE.expand({"id": identity})
    segment = path.removeprefix("/v1/blobs/")
    assert segment.isascii()
    assert segment.isprintable()
    assert not set(segment) & set('/?#\\ "<>{}|^`')
    assert unquote(segment, errors="strict") == identity
    assert path.count("/") == 3


@pytest.mark.parametrize("identity", ODD, ids=lambda text: text[:20].encode("unicode_escape").decode())
def test_an_id_forges_no_key(identity: str) -> None:
    resource = Resource(OwnerName("o"), TypeName("t"), ResourceId(identity))
    for key in (KEYS.record(resource), KEYS.tombstone(resource), KEYS.pin(resource)):
        assert key in KEYS.everything
        parsed = KEYS.parse(key)
        assert parsed is not None
        assert parsed.resource == resource


async def test_what_an_owner_is_asked_to_delete_is_one_request_for_that_id_on_its_own_origin() -> None:
    """On the wire, byte by byte: no id splits a request, changes its host or adds a header."""
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    document = load_rules(
        f"""
owners:
  - name: o
    hosts: [h]
    endpoint: http://127.0.0.1:{port}/prefix
    delete: {{path: "/b/{{id}}", precondition: never-reused}}
""",
        "rules.yaml",
        {},
    ).owners[0]
    client = HttpOwner(document)
    try:
        for identity in ODD:
            resource = Resource(OwnerName("o"), TypeName("t"), ResourceId(identity))
            await client.sweep(resource, "call:1", first=True)
        for identity in NEVER:
            resource = Resource(OwnerName("o"), TypeName("t"), ResourceId(identity))
            refused = await client.sweep(resource, "call:1", first=True)
            assert refused.verdict is Verdict.UNVERIFIABLE, identity
            assert refused.detail.startswith("nothing was sent")
    finally:
        await client.close()
        server.close()
        await server.wait_closed()
    assert len(heads) == len(ODD), "nothing was sent for what cannot be an id"
    for head, identity in zip(heads, ODD, strict=True):
        lines = head.decode("ascii").split("\r\n")
        method, target, version = lines[0].split(" ")
        assert (method, version) == ("DELETE", "HTTP/1.1")
        assert target.startswith("/prefix/b/")
        assert unquote(target.removeprefix("/prefix/b/")) == identity
        names = sorted(line.split(":")[0].lower() for line in lines[1:] if line)
        assert set(names) <= {"host", "user-agent", "accept", "accept-encoding", "content-length"}
        assert "Content-Length: 0" in lines or "content-length" not in names
        assert f"Host: 127.0.0.1:{port}" in lines
