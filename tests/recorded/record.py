"""Writes the recordings anew: ``python -m tests.recorded.record`` (needs curl, nginx, nghttpd and nghttpx).

Each app runs its errands through a tap that notes every read. What is to be seen in a recording is what the relay sees
in it now; look at the difference before you commit it.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.integration.clients import owners, test_grpc_matrix, test_websocket
from tests.integration.clients.apps import HTTP1, HTTP2, UPGRADING
from tests.integration.clients.errands import CREATED_AT_ONCE, FILES, WHOLE, Errand
from tests.recorded.exchanges import HERE, Recorded, Turn, save
from tests.recorded.replay import replay

SMALL = [
    replace(one, body=one.body[:700])
    for one in WHOLE
    if one.path != "/large" and not (one.path == "/v1/blobs" and len(one.body) > 10)
]
SMALL_FILES = [one for one in FILES if one.path != "/large"]


class Tap:
    """Relays one connection after another, and notes who said what."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.connections: list[list[Turn]] = []

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turns: list[Turn] = []
        self.connections.append(turns)
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pass(reader, back, turns, True), self._pass(there, writer, turns, False))

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, turns: list[Turn], by_client: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                turns.append(Turn(by_client, data))
                writer.write(data)
        writer.close()


@contextlib.asynccontextmanager
async def tapped(port: int) -> AsyncIterator[tuple[int, Tap]]:
    tap = Tap(port)
    server = await asyncio.start_server(tap.take, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], tap


async def record(name: str, rules: str, port: int, app: Callable[[int], Awaitable[object]]) -> None:
    async with tapped(port) as (listening, tap):
        await app(listening)
        await asyncio.sleep(0.2)  # until the last words are noted
    found = []
    for turns in tap.connections:
        if turns:
            seen = (await replay(turns, rules)).seen
            found.append(Recorded("", rules, tuple(turns), tuple(seen)))
    save(name.replace(" ", "-").replace(".", ""), rules, found)
    print(name, [(len(one.turns), sum(len(turn.data) for turn in one.turns), one.seen) for one in found])


def runs(app: Any, errands: list[Errand]) -> Callable[[int], Awaitable[object]]:
    return lambda port: app(f"http://127.0.0.1:{port}", errands)


async def main() -> None:
    for path in HERE.glob("*.json"):
        path.unlink()
    for name, app in HTTP1.items():
        async with owners.everything() as (port, _):
            await record(f"{name} aiohttp", "store", port, runs(app, SMALL))
    with tempfile.TemporaryDirectory() as folder:
        async with owners.nginx(Path(folder)) as port:
            await record("curl nginx", "store", port, runs(HTTP1["curl"], [*SMALL_FILES, CREATED_AT_ONCE]))
    for name, app in (HTTP2 | UPGRADING).items():
        with tempfile.TemporaryDirectory() as folder:
            async with owners.nghttpx(Path(folder)) as port:
                await record(f"{name} nghttpx", "store", port, runs(app, [*SMALL_FILES, CREATED_AT_ONCE]))
    with tempfile.TemporaryDirectory() as folder:
        async with owners.nginx(Path(folder), http2=True) as port:
            await record("httpx h2 nginx", "store", port, runs(HTTP2["httpx h2"], [*SMALL_FILES, CREATED_AT_ONCE]))
    with tempfile.TemporaryDirectory() as folder:
        async with owners.nghttpd(Path(folder)) as port:
            await record("httpx h2 nghttpd", "store", port, runs(HTTP2["httpx h2"], SMALL_FILES))
    test_grpc_matrix.MESSAGES[:] = [b"echo" * n for n in range(5)]
    for server in (test_grpc_matrix.of_grpclib, test_grpc_matrix.of_grpcio):
        for ask in (test_grpc_matrix.by_grpclib, test_grpc_matrix.by_grpcio):
            async with server() as port:
                await record(f"grpc {ask.__name__} {server.__name__}", "grpc", port, ask)
    test_websocket.SIZES[:] = [0, 130, 300]
    async with test_websocket.talker() as port:
        await record("websocket", "store", port, lambda at: test_websocket.conversation(at, 0))


if __name__ == "__main__":
    asyncio.run(main())
