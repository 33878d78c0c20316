"""TLS that the sidecar speaks to the owner, and TLS that the app speaks itself."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
import uvloop

from leasehold.sidecar.capture.address import Address
from leasehold.sidecar.capture.dialler import OwnerTls
from leasehold.sidecar.capture.upstream import UpstreamListener
from leasehold.sidecar.ports import Outcome
from tests.fakes.relay import SOON, World, world

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy:DeprecationWarning")
CREATE = b"POST /v1/blobs HTTP/1.1\r\nHost: blobs.test\r\nContent-Length: 0\r\n\r\n"
CREATED = b'HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"id":"b1"}'


@pytest.fixture(params=["uvloop", "asyncio"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


class Papers:
    """An authority, and what it has signed, as files."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = str(folder / f"{name}.pem")
        self.authority.cert_pem.write_to_path(self.ca)

    def server(self, *names: str, clients: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*names).configure_cert(context)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context

    def client_files(self) -> tuple[str, str]:
        issued = self.authority.issue_cert("client@test")
        cert, key = self.folder / "client.pem", self.folder / "client.key"
        for blob in issued.cert_chain_pems:
            blob.write_to_path(str(cert), append=True)
        issued.private_key_pem.write_to_path(str(key))
        return str(cert), str(key)


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return Papers(tmp_path)


@contextlib.asynccontextmanager
async def relayed(server: ssl.SSLContext | None, tls: OwnerTls | None, host: str = "") -> AsyncIterator[World]:
    async with world(tls=server) as made:
        made.registrar.answers = Outcome.REGISTERED
        to = Address(host or made.owner.address.host, made.owner.address.port)
        await made.listen(UpstreamListener(Address("127.0.0.1", 0), to, made.relay, tls))
        yield made


async def created(made: World) -> None:
    """One call, read along."""
    app, owner = await made.pair()
    app.send(CREATE)
    await owner.expect(CREATE)
    owner.send(CREATED)
    await app.expect(CREATED)
    assert made.registrar.ids == ["b1"]


async def reset(made: World) -> None:
    """What the app sees of an owner that TLS came to nothing with."""
    app = await made.app()
    with pytest.raises(ConnectionResetError):
        await app.read()
    await made.metrics.until("connect-failed tls")
    assert made.owner.waiting == 0


async def test_a_call_is_read_along_and_reaches_the_owner_encrypted(papers: Papers) -> None:
    async with relayed(papers.server("127.0.0.1"), OwnerTls(ca=papers.ca)) as made:
        await created(made)


async def test_an_owner_that_wants_a_certificate_gets_it(papers: Papers) -> None:
    cert, key = papers.client_files()
    async with relayed(papers.server("127.0.0.1", clients=True), OwnerTls(papers.ca, cert, key)) as made:
        await created(made)


async def test_without_the_certificate_that_it_wants_the_owner_ends_the_connection(papers: Papers) -> None:
    async with relayed(papers.server("127.0.0.1", clients=True), OwnerTls(papers.ca)) as made:
        app = await made.app()
        app.send(CREATE)
        with contextlib.suppress(ConnectionResetError):  # the client of TLS 1.3 is done before the server objects
            assert await app.rest() == b""
        assert made.registrar.ids == []


@pytest.mark.parametrize(("tls", "asked"), [(None, "localhost"), ("owner.test", "owner.test")])
async def test_the_name_asked_for_is_the_configured_one_or_the_hosts(
    papers: Papers, tls: str | None, asked: str
) -> None:
    server = papers.server("localhost", "owner.test")
    names: list[str | None] = []
    server.sni_callback = lambda _, name, __: names.append(name)
    async with relayed(server, OwnerTls(papers.ca, server_name=tls), "localhost") as made:
        await created(made)
    assert names == [asked]


async def test_what_is_offered_is_what_is_configured(papers: Papers) -> None:
    server = papers.server("127.0.0.1")
    server.set_alpn_protocols(["h2", "http/1.1"])
    for offered, agreed in (((), None), (("h2",), "h2")):
        async with relayed(server, OwnerTls(papers.ca, alpn=offered)) as made:
            _, owner = await made.pair()
            assert owner.writer.get_extra_info("ssl_object").selected_alpn_protocol() == agreed


async def test_an_owner_of_another_name_is_not_spoken_to(papers: Papers) -> None:
    async with relayed(papers.server("other.test"), OwnerTls(papers.ca)) as made:
        await reset(made)


async def test_an_owner_of_an_unknown_authority_is_not_spoken_to(papers: Papers) -> None:
    async with relayed(papers.server("127.0.0.1"), OwnerTls()) as made:
        await reset(made)


async def test_an_owner_without_tls_is_not_spoken_to(papers: Papers) -> None:
    async with relayed(None, OwnerTls(papers.ca)) as made:
        app, owner = await made.pair()
        owner.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await app.read()
        await made.metrics.until("connect-failed tls")


async def test_a_rotated_authority_is_taken_up_without_a_restart(papers: Papers) -> None:
    old = Papers(papers.folder, "old")
    Path(papers.ca).write_bytes(Path(old.ca).read_bytes())
    async with relayed(papers.server("127.0.0.1"), OwnerTls(papers.ca)) as made:
        await reset(made)
        papers.authority.cert_pem.write_to_path(papers.ca)
        await created(made)


async def test_a_file_that_is_gone_costs_the_connection_and_nothing_else(papers: Papers) -> None:
    async with relayed(papers.server("127.0.0.1"), OwnerTls(papers.ca)) as made:
        text = Path(papers.ca).read_bytes()
        Path(papers.ca).unlink()
        await reset(made)
        Path(papers.ca).write_bytes(text)
        await created(made)


async def test_files_of_no_use_are_told_when_the_listener_starts(papers: Papers) -> None:
    Path(papers.ca).write_text("no certificate")
    with pytest.raises(OSError):
        async with relayed(None, OwnerTls(papers.ca)):
            pass


async def test_an_app_may_end_its_half_and_gets_the_whole_answer(papers: Papers) -> None:
    async with relayed(papers.server("127.0.0.1"), OwnerTls(papers.ca)) as made:
        app, owner = await made.pair()
        app.send(CREATE)
        app.end()
        await owner.expect(CREATE)
        owner.send(CREATED[:-4])
        await app.expect(CREATED[:-4])
        owner.send(CREATED[-4:])
        assert await app.rest() == CREATED[-4:]
        assert await owner.rest() == b"", "and the owner hears of the end once it has answered"


async def test_an_answer_until_the_close_ends_with_the_close(papers: Papers) -> None:
    async with relayed(papers.server("127.0.0.1"), OwnerTls(papers.ca)) as made:
        app, owner = await made.pair()
        app.send(b"GET /x HTTP/1.0\r\n\r\n")
        await owner.expect(b"GET /x HTTP/1.0\r\n\r\n")
        owner.send(b"HTTP/1.0 200 OK\r\n\r\nall of it")
        await owner.close()
        assert await app.rest() == b"HTTP/1.0 200 OK\r\n\r\nall of it"
        await app.close()
        await made.metrics.until("closed")


async def test_large_bodies_pass_both_ways(papers: Papers) -> None:
    size = 8 * 1024 * 1024
    async with relayed(papers.server("127.0.0.1"), OwnerTls(papers.ca)) as made:
        app, owner = await made.pair()
        head = f"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode()
        app.send(head + b"u" * size)
        await owner.expect(head + b"u" * size)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode()
        owner.send(head + b"d" * size)
        await app.expect(head + b"d" * size)


async def test_a_reset_owner_is_a_reset(papers: Papers) -> None:
    async with relayed(papers.server("127.0.0.1"), OwnerTls(papers.ca)) as made:
        app, owner = await made.pair()
        app.send(CREATE)
        await owner.expect(CREATE)
        owner.reset()
        with pytest.raises(ConnectionResetError):
            await app.read()


async def test_tls_of_the_apps_own_is_relayed_blind_and_counted(papers: Papers) -> None:
    async with relayed(papers.server("blobs.test"), None) as made:
        context = ssl.create_default_context(cafile=papers.ca)
        async with asyncio.timeout(SOON):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", made.port, ssl=context, server_hostname="blobs.test"
            )
        owner = await made.owner.accepted()
        writer.write(CREATE)
        await owner.expect(CREATE)
        owner.send(CREATED)
        assert await reader.readexactly(len(CREATED)) == CREATED
        writer.close()
        assert made.metrics.counts["uninspected tls"] == 1
        assert made.registrar.ids == []
        await made.metrics.until("closed")
