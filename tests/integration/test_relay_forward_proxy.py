"""The forward proxy on real sockets: several owners, one connection, and signatures that survive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvloop

from leasehold.sidecar.capture.forward_proxy import ForwardProxyListener, ProxyLink, to_origin_form
from leasehold.sidecar.capture.listener import Address
from leasehold.sidecar.capture.sides import Why
from leasehold.sidecar.observe.matching import Matcher
from leasehold.sidecar.ports import Outcome
from tests.fakes.relay import RULES, ScriptedOwner, Stream, World, rules, world
from tests.integration.sidecar_world import eventually

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy:DeprecationWarning")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy()


@pytest.fixture
async def other() -> AsyncIterator[ScriptedOwner]:
    owner = ScriptedOwner()
    await owner.start()
    yield owner
    await owner.close()


@pytest.fixture
async def proxied() -> AsyncIterator[World]:
    async with world() as made:
        await made.listen(ForwardProxyListener(Address("127.0.0.1", 0), made.relay))
        yield made


def get(owner: ScriptedOwner, path: str = "/x", method: str = "GET", more: str = "") -> bytes:
    return f"{method} http://{owner.address}{path} HTTP/1.1\r\nHost: blobs.test\r\n{more}\r\n".encode()


def origin(path: str = "/x", method: str = "GET", more: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: blobs.test\r\n{more}\r\n".encode()


@pytest.mark.parametrize(
    ("head", "rewritten"),
    [
        (b"GET http://h:1/a?b=http://c HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /a?b=http://c HTTP/1.1\r\nHost: h\r\n\r\n"),
        (b"GET HTTP://h HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"),
        (b"GET http://h?q HTTP/1.1\r\n\r\n", b"GET /?q HTTP/1.1\r\n\r\n"),
        (b"OPTIONS http://h HTTP/1.1\r\n\r\n", b"OPTIONS * HTTP/1.1\r\n\r\n"),
        (b"GET  http://h/a  HTTP/1.1\r\n\r\n", b"GET /a HTTP/1.1\r\n\r\n"),
        (b"GET http://h/a\r\n\r\n", b"GET /a\r\n\r\n"),
        (
            b"GET http://h/ HTTP/1.1\r\nA: 1\r\nproxy-connection: close\r\nProxy-Authorization: x\r\nX-P: 2\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: 1\r\nX-P: 2\r\n\r\n",
        ),
    ],
)
def test_only_the_request_line_and_our_own_headers_change(head: bytes, rewritten: bytes) -> None:
    assert to_origin_form(head) == rewritten


async def test_calls_to_one_owner_use_one_connection(proxied: World) -> None:
    app = await proxied.app()
    app.send(get(proxied.owner)[:20])
    app.send(get(proxied.owner)[20:] + get(proxied.owner, "/y"))
    owner = await proxied.owner.accepted()
    await owner.expect(origin() + origin("/y"))
    owner.send(OK + OK)
    await app.expect(OK + OK)
    app.send(get(proxied.owner))
    await owner.expect(origin())


async def test_calls_to_several_owners_are_answered_in_order(proxied: World, other: ScriptedOwner) -> None:
    app = await proxied.app()
    body = "Content-Length: 3\r\n"
    app.send(
        get(proxied.owner, "/1", "POST", body) + b"abc" + get(other, "/2") + get(other, "/3") + get(proxied.owner, "/4")
    )
    first = await proxied.owner.accepted()
    await first.expect(origin("/1", "POST", body) + b"abc")
    assert other.waiting == 0
    first.send(OK)
    await app.expect(OK)
    second = await other.accepted()
    await second.expect(origin("/2") + origin("/3"))
    assert await first.rest() == b""
    second.send(OK + OK)
    await app.expect(OK + OK)
    third = await proxied.owner.accepted()
    await third.expect(origin("/4"))
    third.send(OK)
    await app.expect(OK)


async def test_calls_through_the_proxy_are_observed(proxied: World) -> None:
    proxied.registrar.answers = Outcome.REGISTERED
    app = await proxied.app()
    app.send(get(proxied.owner, "/v1/blobs/b-1"))
    owner = await proxied.owner.accepted()
    await owner.expect(origin("/v1/blobs/b-1"))
    owner.send(OK)
    await app.expect(OK)
    assert proxied.registrar.ids == []  # the target names the owner, and it is not the one of the Host header
    text = RULES.replace("other.test:8080", str(proxied.owner.address))
    proxied.rules.matcher = Matcher.compile(rules(text))
    app.send(get(proxied.owner, "/v1/blobs/b-1") + get(proxied.owner, "/v1/blobs/b-2", "PUT", "Content-Length: 0\r\n"))
    await owner.expect(origin("/v1/blobs/b-1") + origin("/v1/blobs/b-2", "PUT", "Content-Length: 0\r\n"))
    owner.send(OK + OK)
    await app.expect(OK + OK)
    assert proxied.registrar.ids == ["b-1", "b-2"]
    assert [intent[0] for intent in proxied.registrar.intents] == ["put-blob"]


async def test_an_owner_that_closes_between_calls_is_called_anew(proxied: World) -> None:
    app = await proxied.app()
    for _ in range(2):
        app.send(get(proxied.owner))
        owner = await proxied.owner.accepted()
        await owner.expect(origin())
        owner.send(OK)
        await app.expect(OK)
        owner.end()
        assert await owner.rest() == b""


async def test_an_owner_that_closes_in_a_response_ends_the_connection(proxied: World) -> None:
    app = await proxied.app()
    app.send(get(proxied.owner))
    owner = await proxied.owner.accepted()
    await owner.expect(origin())
    owner.send(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
    owner.end()
    assert await app.rest() == b"HTTP/1.0 200 OK\r\n\r\nuntil the end"


async def test_connect_is_a_blind_tunnel(proxied: World) -> None:
    app = await proxied.app()
    app.send(f"CONNECT {proxied.owner.address} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + b"\x16\x03\x01")
    owner = await proxied.owner.accepted()
    await app.expect(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await owner.expect(b"\x16\x03\x01")
    app.send(origin("/v1/blobs/x"))
    await owner.expect(origin("/v1/blobs/x"))
    owner.send(b"anything")
    owner.end()
    assert await app.rest() == b"anything"
    assert proxied.metrics.counts["uninspected connect"] == 1


async def says(app: Stream, status: bytes) -> bytes:
    text = await app.rest()
    assert text.startswith(b"HTTP/1.1 " + status + b"\r\n"), text
    assert b"Connection: close" in text
    return text


@pytest.mark.parametrize("method", ["GET", "CONNECT", "HEAD"])
async def test_an_owner_that_is_not_there_is_a_502(proxied: World, other: ScriptedOwner, method: str) -> None:
    await other.close()
    app = await proxied.app()
    target = str(other.address) if method == "CONNECT" else f"http://{other.address}/x"
    app.send(f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    text = await says(app, b"502 Bad Gateway")
    assert (b"refused" in text) == (method != "HEAD")


async def test_a_502_comes_after_the_answers_to_earlier_calls(proxied: World, other: ScriptedOwner) -> None:
    await other.close()
    app = await proxied.app()
    app.send(get(proxied.owner) + get(other) + get(proxied.owner))
    owner = await proxied.owner.accepted()
    await owner.expect(origin())
    owner.send(OK)
    await app.expect(OK)
    await says(app, b"502 Bad Gateway")
    assert await owner.rest() == b""


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a:99999/x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_a_proxy_cannot_forward_is_a_400(proxied: World, request_: bytes) -> None:
    app = await proxied.app()
    app.send(request_)
    assert b"HTTP_PROXY" in await says(app, b"400 Bad Request")


async def test_a_host_that_cannot_be_resolved_is_a_502(proxied: World) -> None:
    app = await proxied.app()
    app.send(b"GET http://" + b"a" * 300 + b"/ HTTP/1.1\r\nHost: a\r\n\r\n")
    await says(app, b"502 Bad Gateway")


async def test_what_cannot_be_read_goes_to_no_owner(proxied: World, other: ScriptedOwner) -> None:
    app = await proxied.app()
    app.send(get(proxied.owner))
    owner = await proxied.owner.accepted()
    await owner.expect(origin())
    owner.send(OK)
    await app.expect(OK)
    app.send(get(other, more="Authorization: secret\r\nbroken\r\n"))
    await says(app, b"400 Bad Request")
    assert await owner.rest() == b""
    assert proxied.metrics.counts["gave-up bad-request"] == 1


async def test_an_owner_that_was_left_no_longer_decides_whether_the_app_is_read(
    proxied: World, other: ScriptedOwner
) -> None:
    links: set[ProxyLink] = proxied.listener._server._links  # type: ignore[union-attr, attr-defined]
    app = await proxied.app()
    app.send(get(proxied.owner))
    first = await proxied.owner.accepted()
    await first.expect(origin())
    [link] = links
    left = link.owner
    assert left is not None
    left.pause_writing()  # it is full: of the body of a call that it answers without reading it
    app.send(get(other))
    link.app.resume(Why.PEER_FULL)  # the app's next request came in the same piece as the end of that body
    await eventually("it is read", lambda: link._switches)  # type: ignore[attr-defined]
    left.pause_writing()
    first.send(OK)
    await app.expect(OK)
    second = await other.accepted()
    await second.expect(origin())
    left.pause_writing()
    second.send(OK)
    await app.expect(OK)
    app.send(get(other, "/again"))
    await second.expect(origin("/again"))
