"""The shell of unary calls against scripted servers on real sockets: deadlines, cancellations, many lives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import pytest
import uvloop

from leasehold.protocol.errors import Uncertain
from leasehold.protocol.etcd import frames as h2
from leasehold.protocol.etcd import unary_connection
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.connection import Endpoint
from leasehold.protocol.etcd.unary_call import Broken, Refused
from leasehold.protocol.etcd.unary_connection import UnaryConnection
from leasehold.protocol.store import Put, Txn
from tests.fakes.etcd import FakeEtcd
from tests.fakes.unary_peer import OPENING, Frame, answer, data, fields, goaway, headers, reset, window

DEADLINE = 5.0
LEADER = (("hasleader", "true"),)


class Server:
    """Accepts connections and hands their frames to the test, which answers by hand."""

    def __init__(self, settings: bytes | None = h2.settings([])) -> None:
        self.settings = settings
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.ended = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.reading.set()
        for writer in self.writers:
            writer.transport.abort()
        async with asyncio.timeout(DEADLINE):
            while self.ended < len(self.writers):
                await asyncio.sleep(0)

    @property
    def endpoint(self) -> Endpoint:
        assert self._server is not None
        return Endpoint.parse(f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}")

    def says(self, frames: bytes, connection: int = -1) -> None:
        self.writers[connection].write(frames)

    async def hears(self, kind: int) -> Frame:
        """The next frame of that type; others are skipped."""
        async with asyncio.timeout(DEADLINE):
            while True:
                frame = await self.frames.get()
                if frame[0] == kind:
                    return frame

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        if self.settings is not None:
            writer.write(self.settings)
        frames = h2.FrameReader()
        try:
            with contextlib.suppress(OSError):
                received = await reader.readexactly(len(h2.PREFACE))
                while received:
                    await self.reading.wait()
                    received = await reader.read(65536)
                    for frame in frames.feed(received):
                        self.frames.put_nowait(frame)
        finally:
            writer.close()
            self.ended += 1


@asynccontextmanager
async def connection_to(server: Server, connect_seconds: float = DEADLINE) -> AsyncIterator[UnaryConnection]:
    connection = UnaryConnection(server.endpoint, None, connect_seconds=connect_seconds)
    try:
        yield connection
    finally:
        await connection.aclose()
        assert not connection._wires


def calls(connection: UnaryConnection, request: bytes = b"request", deadline: float = DEADLINE) -> asyncio.Task[bytes]:
    return asyncio.create_task(
        connection.exchange("/p", LEADER, request, connect_deadline=deadline, deadline=deadline)
    )  # fmt: skip


async def failure(task: asyncio.Task[bytes]) -> Broken:
    with pytest.raises(Broken) as broken:
        await task
    return broken.value


async def test_a_call_is_asked_and_answered_and_carries_its_deadline() -> None:
    async with Server() as server, connection_to(server) as connection:
        call = calls(connection)
        head = fields(await server.hears(h2.HEADERS))
        assert (head["hasleader"], head[":authority"]) == ("true", server.endpoint.authority)
        assert 4000 < int(head["grpc-timeout"].removesuffix("m")) <= 5001
        assert await server.hears(h2.DATA) == (h2.DATA, h2.END_STREAM, 1, b"\0\0\0\0\x07request")
        server.says(answer(1))
        assert await call == b"done"


async def test_calls_share_a_connection_and_one_attempt_to_make_it() -> None:
    async with Server() as server, connection_to(server) as connection:
        under_way = [calls(connection) for _ in range(5)]
        for _ in under_way:
            server.says(answer((await server.hears(h2.HEADERS))[2]))
        assert await asyncio.gather(*under_way) == [b"done"] * 5
        assert len(server.writers) == 1


async def test_a_refusal_reaches_its_caller() -> None:
    async with Server() as server, connection_to(server) as connection:
        call = calls(connection)
        await server.hears(h2.HEADERS)
        server.says(headers(1, [*OPENING, ("grpc-status", "5"), ("grpc-message", "no")], end=True))
        with pytest.raises(Refused) as refused:
            await call
        assert refused.value.code == 5


async def test_a_server_that_never_says_its_settings_is_never_asked_anything() -> None:
    async with Server(settings=None) as server, connection_to(server, connect_seconds=0.2) as connection:
        assert (await failure(calls(connection))).untouched
        assert (await failure(calls(connection, deadline=0.05))).untouched
        kinds = {server.frames.get_nowait()[0] for _ in range(server.frames.qsize())}
        assert h2.HEADERS not in kinds


async def test_a_caller_who_gives_up_connecting_does_not_stop_the_others() -> None:
    async with Server(settings=None) as server, connection_to(server) as connection:
        first, second = calls(connection), calls(connection)
        await server.hears(h2.SETTINGS)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        server.says(h2.settings([]))
        server.says(answer((await server.hears(h2.HEADERS))[2]))
        assert await second == b"done"


async def test_a_cancelled_caller_is_cancelled_and_the_server_is_told() -> None:
    async with Server() as server, connection_to(server) as connection:
        call, other = calls(connection), calls(connection)
        await server.hears(h2.DATA)
        await server.hears(h2.DATA)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await server.hears(h2.RST_STREAM) == (h2.RST_STREAM, 0, 1, h2.number(h2.CANCEL))
        server.says(answer(1) + answer(3))
        assert await other == b"done"


async def test_a_missed_deadline_is_told_and_a_late_answer_hurts_nobody() -> None:
    async with Server() as server, connection_to(server) as connection:
        first = calls(connection)
        await server.hears(h2.DATA)
        server.says(answer(1))
        await first
        assert not (await failure(calls(connection, deadline=0.05))).untouched
        await server.hears(h2.RST_STREAM)
        server.says(answer(3))
        call = calls(connection)
        await server.hears(h2.DATA)
        server.says(answer(5))
        assert await call == b"done"
        assert len(server.writers) == 1


async def test_a_connection_that_says_nothing_is_given_up_with_the_first_missed_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unary_connection, "SILENCE_SECONDS", 0.05)
    async with Server() as server, connection_to(server) as connection:
        other = calls(connection)
        await server.hears(h2.DATA)
        await failure(calls(connection, deadline=0.2))
        assert not (await failure(other)).untouched
        again = calls(connection)
        await server.hears(h2.SETTINGS)
        server.says(answer((await server.hears(h2.HEADERS))[2]))
        assert await again == b"done"
        assert len(server.writers) == 2


async def test_a_server_that_goes_away_keeps_what_it_has_and_new_calls_go_over_a_new_connection() -> None:
    async with Server() as server, connection_to(server) as connection:
        kept, left = calls(connection), calls(connection)
        await server.hears(h2.DATA)
        await server.hears(h2.DATA)
        server.says(goaway(1))
        assert (await failure(left)).untouched
        fresh = calls(connection)
        await server.hears(h2.DATA)
        server.says(answer(1), connection=1)
        assert await fresh == b"done"
        server.says(answer(1), connection=0)
        assert await kept == b"done"
        async with asyncio.timeout(DEADLINE):
            while len(connection._wires) > 1:
                await asyncio.sleep(0)


async def test_a_refused_stream_surely_did_nothing_and_a_lost_connection_may_have() -> None:
    async with Server() as server, connection_to(server) as connection:
        refused, lost = calls(connection), calls(connection)
        await server.hears(h2.DATA)
        await server.hears(h2.DATA)
        server.says(reset(1, h2.REFUSED_STREAM))
        assert (await failure(refused)).untouched
        server.writers[0].transport.abort()
        assert not (await failure(lost)).untouched


async def test_nobody_listening_surely_did_nothing() -> None:
    async with Server() as server:
        endpoint = server.endpoint
    connection = UnaryConnection(endpoint, None, connect_seconds=DEADLINE)
    assert (await failure(calls(connection))).untouched
    await connection.aclose()


async def test_a_server_that_reads_nothing_is_handed_only_so_much_and_the_rest_surely_did_nothing() -> None:
    large = h2.settings([(h2.INITIAL_WINDOW_SIZE, 2**31 - 1), (h2.MAX_FRAME_SIZE, 2**24 - 1)]) + window(0, 2**30)
    async with Server(large) as server, connection_to(server) as connection:
        first = calls(connection)
        await server.hears(h2.DATA)
        server.says(answer(1))
        await first
        server.reading.clear()
        under_way = [calls(connection, b"x" * 2**20) for _ in range(40)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        [wire] = connection._wires
        assert wire._transport is not None
        assert wire._transport.get_write_buffer_size() < 42 * 2**20
        late = calls(connection)
        await asyncio.sleep(0)
        server.writers[0].transport.abort()
        outcomes = [await failure(call) for call in under_way]
        assert not outcomes[0].untouched
        assert (await failure(late)).untouched


async def test_closing_ends_what_is_under_way_even_with_a_peer_that_reads_nothing() -> None:
    async with Server() as server, connection_to(server) as connection:
        call = calls(connection)
        await server.hears(h2.DATA)
        server.reading.clear()
        await connection.aclose()
        assert not (await failure(call)).untouched
        assert (await failure(calls(connection))).untouched


async def test_closing_ends_an_attempt_to_connect() -> None:
    async with Server(settings=None) as server, connection_to(server) as connection:
        call = calls(connection)
        await server.hears(h2.SETTINGS)
        await connection.aclose()
        assert (await failure(call)).untouched


def test_what_was_still_to_be_written_when_the_connection_went_is_no_trouble_on_uvloop() -> None:
    mishaps: list[dict[str, object]] = []

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: mishaps.append(context))
        async with Server() as server, connection_to(server) as connection:
            call = calls(connection)
            await server.hears(h2.DATA)
            [wire] = connection._wires
            wire.drop("a test")
            await failure(call)
            await wire.gone.wait()
            wire.calls._out.append(h2.frame(h2.PING, h2.ACK, 0, b"12345678"))
            wire.flush_soon()
            await asyncio.sleep(0.01)

    uvloop.run(scenario())
    assert not mishaps


async def test_nonsense_from_the_server_ends_the_connection_and_the_next_call_makes_another() -> None:
    async with Server() as server, connection_to(server) as connection:
        call = calls(connection)
        await server.hears(h2.DATA)
        server.says(data(99, b"x"))
        assert not (await failure(call)).untouched
        assert (await server.hears(h2.GOAWAY))[3][4:] == h2.number(h2.PROTOCOL_ERROR)
        again = calls(connection)
        server_sees = await server.hears(h2.HEADERS)
        server.says(answer(server_sees[2]))
        assert await again == b"done"


@pytest.mark.parametrize("left_alone", [reset(1, h2.REFUSED_STREAM), goaway(0)])
async def test_a_transaction_goes_to_the_next_endpoint_only_when_the_server_says_that_it_left_it_alone(
    left_alone: bytes,
) -> None:
    txn = Txn((), [Put(b"/a", b"v")])
    async with Server() as server, FakeEtcd() as fake:
        config = EtcdConfig(endpoints=[str(server.endpoint), fake.endpoint])
        async with EtcdClient(config) as etcd:
            commit = asyncio.create_task(etcd.commit(txn, deadline=DEADLINE))
            await server.hears(h2.DATA)
            server.says(left_alone)
            assert (await commit).succeeded
        async with EtcdClient(config) as etcd:
            commit = asyncio.create_task(etcd.commit(txn, deadline=DEADLINE))
            await server.hears(h2.DATA)
            server.says(reset(1, h2.CANCEL))
            with pytest.raises(Uncertain):
                await commit
        assert fake.calls == ["Txn"]
