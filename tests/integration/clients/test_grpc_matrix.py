"""grpclib and grpcio, each as client and as server: what the client is told is the same with the relay in between."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
import uvloop
from grpclib.client import Channel, StreamStreamMethod, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler
from grpclib.exceptions import GRPCError
from grpclib.server import Server

from tests.fakes.http2 import SERVICE, GrpclibBlobs, RawCodec, grpcio_blobs, http2_rules, text
from tests.fakes.relay import SOON
from tests.integration.clients.relaying import relay_to

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy:DeprecationWarning")
ECHO = "/echo.v1.Echo/Echo"
MESSAGES = [bytes([n]) * (n * 1500) for n in range(60)]
"""2.6 MB each way: far more than any window."""
UNARY = [
    ("Create", "b-1"),
    ("Create", "fail"),
    ("Intend", "b-2"),
    ("Other", "x"),
    ("Delete", "b-1"),
    ("Delete", "fail-9"),
]
SEEN = [
    ("create-blob", "b-1"),
    ("intend-blob", "b-2"),
    ("delete-blob", "b-1"),
    ("delete-blob", "fail-9"),
    ("watch-blob", "w-0"),
]
Ask = Callable[[int], Awaitable[list[object]]]


@pytest.fixture
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy()


async def by_grpclib(port: int) -> list[object]:
    told: list[object] = []
    channel = Channel("127.0.0.1", port, codec=RawCodec())
    try:
        for method, name in UNARY:
            unary = UnaryUnaryMethod(channel, f"/{SERVICE}/{method}", bytes, bytes)
            try:
                told.append(await unary(text(1, name.encode()), timeout=SOON, metadata={"x-from": "app"}))
            except GRPCError as error:
                told.append((error.status.value, error.message))
        watch = UnaryStreamMethod(channel, f"/{SERVICE}/Watch", bytes, bytes)
        told.append(await watch(text(1, b"w"), timeout=SOON))
        echoed = await StreamStreamMethod(channel, ECHO, bytes, bytes)(MESSAGES, timeout=SOON)
        told.append([hashlib.sha256(one).hexdigest() for one in echoed])
    finally:
        channel.close()
    return told


async def by_grpcio(port: int) -> list[object]:
    told: list[object] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for method, name in UNARY:
            unary = channel.unary_unary(f"/{SERVICE}/{method}")
            try:
                told.append(await unary(text(1, name.encode()), timeout=SOON, metadata=(("x-from", "app"),)))
            except grpc.aio.AioRpcError as error:
                told.append((error.code().value[0], error.details(), error.trailing_metadata()))
        told.append([one async for one in channel.unary_stream(f"/{SERVICE}/Watch")(text(1, b"w"), timeout=SOON)])
        echo = channel.stream_stream(ECHO)(iter(MESSAGES), timeout=SOON)
        told.append([hashlib.sha256(one).hexdigest() async for one in echo])
    return told


class GrpclibEcho:
    """Says everything again."""

    async def echo(self, stream: Any) -> None:
        async for message in stream:
            await stream.send_message(message)

    def __mapping__(self) -> dict[str, Handler]:
        return {ECHO: Handler(self.echo, Cardinality.STREAM_STREAM, bytes, bytes)}


@contextlib.asynccontextmanager
async def of_grpclib() -> AsyncIterator[int]:
    server = Server([GrpclibBlobs(), GrpclibEcho()], codec=RawCodec())
    await server.start("127.0.0.1", 0)
    try:
        yield server._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    finally:
        server.close()
        await server.wait_closed()


@contextlib.asynccontextmanager
async def of_grpcio() -> AsyncIterator[int]:
    server, port = grpcio_blobs(grpc.Compression.NoCompression)
    echo = grpc.stream_stream_rpc_method_handler(lambda messages, context: messages)
    service, _, method = ECHO[1:].partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: echo}),))
    try:
        yield port
    finally:
        await asyncio.to_thread(server.stop(None).wait)


@pytest.mark.parametrize("server", [of_grpclib, of_grpcio])
@pytest.mark.parametrize("ask", [by_grpclib, by_grpcio])
async def test_every_kind_of_call_is_told_alike(ask: Ask, server: Callable[[], Any]) -> None:
    async with server() as port:
        direct = await ask(port)
        assert len(direct[-1]) == len(MESSAGES)  # type: ignore[arg-type]
        async with relay_to(port, http2_rules(port).replace("{", "{{").replace("}", "}}")) as relayed:
            assert await ask(relayed.port) == direct
            assert relayed.seen == SEEN
    assert not [what for what in relayed.metrics.counts if what.startswith(("gave-up", "uninspected", "unusable"))]
