"""WebSockets by aiohttp, on both ends: after the upgrade the stream is opaque, and a client is told the same."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
import uvloop
from aiohttp import web

from tests.fakes.relay import SOON
from tests.integration.clients.relaying import relay_to

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy:DeprecationWarning")
SIZES = [0, 1, 125, 126, 65_535, 65_536, 3_000_000]


@pytest.fixture
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy()


async def talk(request: web.Request) -> web.StreamResponse:
    if "socket" not in request.query:
        return web.json_response({"id": "b-1"}, status=201)
    socket = web.WebSocketResponse(max_msg_size=0, protocols=["chat"])
    await socket.prepare(request)
    await socket.send_str("welcome")  # perhaps in one segment with the 101
    async for message in socket:
        if message.data == "bye":
            await socket.close(code=4001, message=b"farewell")
        elif message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data[::-1])
        else:
            await socket.send_bytes(message.data[::-1])
    return socket


@contextlib.asynccontextmanager
async def talker() -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_route("*", "/v1/blobs", talk)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def conversation(port: int, compress: int) -> list[object]:
    told: list[object] = []
    url = f"http://127.0.0.1:{port}/v1/blobs"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(SOON)) as session:
        # A creation before, on the connection that is then upgraded.
        async with session.post(url) as made:
            told.append((made.status, await made.json()))
        async with session.ws_connect(url + "?socket", max_msg_size=0, compress=compress, protocols=["chat"]) as socket:
            told.append((socket.protocol, socket.compress, await socket.receive_str()))
            for size in SIZES:
                await socket.send_str("é" * size)
                told.append(hashlib.sha256((await socket.receive_str()).encode()).hexdigest())
                await socket.send_bytes(bytes(range(256)) * (size // 256))
                told.append(hashlib.sha256(await socket.receive_bytes()).hexdigest())
            await socket.ping(b"are you there")
            await asyncio.gather(*(socket.send_str(str(n)) for n in range(500)))
            told.append([await socket.receive_str() for _ in range(500)])
            await socket.send_str("bye")
            end = await socket.receive()
            told.append((end.type, end.data, end.extra, socket.close_code))
    return told


@pytest.mark.parametrize("compress", [0, 15])
async def test_a_websocket_is_told_alike(compress: int) -> None:
    async with talker() as port:
        direct = await conversation(port, compress)
        async with relay_to(port) as relayed:
            assert await conversation(relayed.port, compress) == direct
            assert relayed.seen == [("post", "b-1")]
            assert relayed.metrics.counts["uninspected upgrade"] == 1
            assert not [what for what in relayed.metrics.counts if what.startswith("gave-up")]


async def test_many_websockets_at_once_do_not_disturb_one_another() -> None:
    async with talker() as port, relay_to(port) as relayed, aiohttp.ClientSession() as session:

        async def one(n: int) -> None:
            async with session.ws_connect(f"{relayed.base}/v1/blobs?socket") as socket:
                assert await socket.receive_str() == "welcome"
                for turn in range(20):
                    await socket.send_str(f"{n}-{turn}")
                    assert await socket.receive_str() == f"{n}-{turn}"[::-1]

        async with asyncio.timeout(SOON):
            await asyncio.gather(*(one(n) for n in range(50)))
        assert relayed.metrics.counts["uninspected upgrade"] == 50


async def test_an_upgrade_that_is_declined_is_a_call_like_any_other() -> None:
    async with talker() as port, relay_to(port) as relayed, aiohttp.ClientSession() as session:
        for _ in range(2):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="201"):
                await session.ws_connect(f"{relayed.base}/v1/blobs")
            async with session.post(f"{relayed.base}/v1/blobs") as made:
                assert made.status == 201
        assert relayed.seen == [("post", "b-1")] * 2
        assert relayed.metrics.counts["uninspected upgrade"] == 0
