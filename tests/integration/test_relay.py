"""The relay on real sockets: what HTTP/1 does, it lets through, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvloop
from leasehold.sidecar.capture.listener import Address
from leasehold.sidecar.capture.upstream import UpstreamListener

from tests.fakes.relay import World, world

GET = b"GET /other HTTP/1.1\r\nHost: blobs.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy()


@pytest.fixture
async def relayed() -> AsyncIterator[World]:
    async with world() as made:
        await made.listen(UpstreamListener(Address("127.0.0.1", 0), made.owner.address, made.relay))
        yield made


async def test_calls_follow_one_another_on_one_connection(relayed: World) -> None:
    app, owner = await relayed.pair()
    for _ in range(3):
        app.send(GET)
        await owner.expect(GET)
        owner.send(OK)
        await app.expect(OK)
    assert relayed.metrics.counts == {"opened": 1}


async def test_pipelined_calls_keep_their_order(relayed: World) -> None:
    app, owner = await relayed.pair()
    app.send(GET * 5)
    await owner.expect(GET * 5)
    owner.send(OK * 5)
    await app.expect(OK * 5)


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_every_kind_of_response_ends_where_it_ends(relayed: World, response: bytes) -> None:
    app, owner = await relayed.pair()
    for _ in range(2):
        app.send(GET)
        await owner.expect(GET)
        owner.send(response)
        await app.expect(response)
    assert relayed.metrics.counts == {"opened": 1}
