"""The client of the API server: who it believes, what it shows, and what becomes of what goes wrong."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import trustme

from leasehold.control_plane.kubernetes.api_server import Access, ApiError, ApiServer, Expired, NotThere
from tests.fakes.api_server import FakeApiServer, listed
from tests.unit.control_plane.kubernetes.objects import OWNER_SPEC

OWNERS = "/apis/leasehold.dev/v1alpha1/owners"


def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
async def cluster() -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer() as it:
        yield it


async def test_the_token_is_read_again_for_each_call(cluster: FakeApiServer, tmp_path: Path) -> None:
    (token := tmp_path / "token").write_text("old\n")
    cluster.token = "old"
    async with ApiServer(Access(cluster.url, token)) as api:
        assert await listed(api, "owners") == set()
        cluster.token = "new"
        with pytest.raises(ApiError, match="401"):
            await listed(api, "owners")
        token.write_text("new\n")
        assert await listed(api, "owners") == set()


async def test_only_the_authority_of_the_file_is_believed_and_a_new_file_counts_without_a_restart(
    tmp_path: Path,
) -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    ca = tmp_path / "ca.crt"
    theirs.cert_pem.write_to_path(ca)
    async with FakeApiServer(server_tls(ours)) as cluster, ApiServer(Access(cluster.url, None, ca)) as api:
        with pytest.raises(ApiError, match="certificate"):
            await listed(api, "owners")
        ours.cert_pem.write_to_path(ca)
        assert await listed(api, "owners") == set()


async def test_a_missing_token_is_told_by_name_and_nothing_is_sent(cluster: FakeApiServer, tmp_path: Path) -> None:
    async with ApiServer(Access(cluster.url, tmp_path / "token")) as api:
        with pytest.raises(ApiError, match="token: No such file"):
            await listed(api, "owners")
    assert cluster.calls == []


async def test_an_api_server_that_is_not_there_is_an_error_to_retry() -> None:
    async with ApiServer(Access("http://127.0.0.1:1")) as api:
        with pytest.raises(ApiError, match=f"GET {OWNERS}"):
            await listed(api, "owners")


async def test_one_that_does_not_answer_is_not_waited_for_longer_than_the_deadline() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, ApiServer(Access(f"http://127.0.0.1:{port}", deadline_seconds=0.2)) as api:
        with pytest.raises(ApiError, match="no answer in time"):
            await listed(api, "owners")


async def test_what_is_no_json_is_an_error_and_an_error_page_is_told_by_its_code() -> None:
    async def answering(status: str) -> str:
        async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>".encode())
            writer.close()

        server = await asyncio.start_server(page, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, ApiServer(Access(f"http://127.0.0.1:{port}")) as api:
            with pytest.raises(ApiError) as caught:
                await listed(api, "owners")
        return str(caught.value)

    assert "JSONDecodeError" in await answering("200 OK")
    assert await answering("502 Bad Gateway") == f"GET {OWNERS}: 502"


async def test_a_version_that_is_gone_is_its_own_error_and_so_is_a_kind_that_is_not_served(
    cluster: FakeApiServer,
) -> None:
    await cluster.compact()
    async with ApiServer(Access(cluster.url)) as api:
        with pytest.raises(Expired, match="too old"):
            async with aclosing(api.watch(OWNERS, "", "1")) as events:
                await anext(events)
        cluster.served.clear()
        with pytest.raises(NotThere):
            await listed(api, "owners")


async def test_an_event_longer_than_a_line_that_aiohttp_would_take_arrives_whole(cluster: FakeApiServer) -> None:
    spec = {**OWNER_SPEC, "headers": {f"X-{n}": "v" * 1000 for n in range(500)}}
    async with ApiServer(Access(cluster.url)) as api:
        _, version = await api.list(OWNERS, "")
        async with asyncio.timeout(20), aclosing(api.watch(OWNERS, "", version)) as events:
            await cluster.apply("owners", "large", spec)
            while True:
                kind, thing = await anext(events)
                if kind == "ADDED":
                    break
    assert thing["spec"] == spec
