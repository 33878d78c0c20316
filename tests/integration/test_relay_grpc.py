"""Real gRPC through the relay: grpclib and grpcio on both ends, unary and streaming, plain and compressed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
import uvloop
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server
from leasehold.sidecar.capture.listener import Address, RelaySettings
from leasehold.sidecar.capture.upstream import UpstreamListener
from leasehold.sidecar.observe.events import Creation, Deletion, Use
from leasehold.sidecar.observe.matching import Matcher
from leasehold.sidecar.ports import Outcome

from tests.fakes.http2 import SERVICE, GrpclibBlobs, RawCodec, blob, grpcio_blobs, http2_rules, text
from tests.fakes.relay import SOON, CountingMetrics, ManualRegistrar, Rules, rules

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy:DeprecationWarning")
PEERS = ["grpclib", "grpcio", "grpcio gzip", "grpcio deflate"]
COMPRESSION = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate, "": grpc.Compression.NoCompression}


@pytest.fixture
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy()


class GrpcWorld:
    """A client, the relay, a service. ``call`` and ``stream`` are the client's."""

    def __init__(self, registrar: ManualRegistrar, metrics: CountingMetrics, channel: Any) -> None:
        self.registrar = registrar
        self.metrics = metrics
        self.channel = channel

    async def call(self, method: str, name: str) -> bytes:
        request = text(1, name.encode())
        path = f"/{SERVICE}/{method}"
        if isinstance(self.channel, Channel):
            return await UnaryUnaryMethod(self.channel, path, bytes, bytes)(request, timeout=SOON)
        return await self.channel.unary_unary(path)(request, timeout=SOON)

    async def stream(self, method: str, name: str) -> list[bytes]:
        request = text(1, name.encode())
        path = f"/{SERVICE}/{method}"
        if isinstance(self.channel, Channel):
            return await UnaryStreamMethod(self.channel, path, bytes, bytes)(request, timeout=SOON)
        return [message async for message in self.channel.unary_stream(path)(request, timeout=SOON)]


@contextlib.asynccontextmanager
async def grpc_world(peer: str = "grpclib", **rule: str) -> AsyncIterator[GrpcWorld]:
    kind, _, encoding = peer.partition(" ")
    async with contextlib.AsyncExitStack() as stack:
        if kind == "grpclib":
            server = Server([GrpclibBlobs()], codec=RawCodec())
            await server.start("127.0.0.1", 0)
            port = server._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close)
        else:
            other, port = grpcio_blobs(COMPRESSION[encoding])
            stack.callback(lambda: other.stop(None))
        registrar, metrics = ManualRegistrar(), CountingMetrics()
        view = Rules(Matcher.compile(rules(http2_rules(port, **rule))))
        relay = RelaySettings(registrar, view, metrics, drain_deadline=0.05)
        listener = UpstreamListener(Address("127.0.0.1", 0), Address("127.0.0.1", port), relay)
        _, listening = await listener.start()
        stack.push_async_callback(listener.close)
        channel: Any
        if kind == "grpclib":
            channel = Channel("127.0.0.1", listening, codec=RawCodec())
            stack.callback(channel.close)
        else:
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{listening}", compression=COMPRESSION[encoding])
            stack.push_async_callback(channel.close)
        yield GrpcWorld(registrar, metrics, channel)


async def not_yet(task: asyncio.Task[Any]) -> None:
    done, _ = await asyncio.wait([task], timeout=0.1)
    assert not done


@pytest.mark.parametrize("peer", PEERS)
async def test_a_creation_is_answered_once_it_is_durable(peer: str) -> None:
    async with grpc_world(peer) as world:
        for n in range(3):
            call = asyncio.create_task(world.call("Create", f"b-{n}"))
            await world.registrar.was_asked()
            await not_yet(call)
            world.registrar.say()
            assert await call == blob(f"b-{n}")
        assert world.registrar.ids == ["b-0", "b-1", "b-2"]
        assert all(isinstance(seen, Creation) for seen in world.registrar.observations)
        assert world.metrics.counts == {"opened": 1, "matched create-blob": 3, "held response": 3}


@pytest.mark.parametrize("peer", PEERS)
async def test_calls_that_no_rule_knows_flow_while_another_is_held(peer: str) -> None:
    async with grpc_world(peer) as world:
        await world.call("Other", "warm")  # both directions' tables know the fields now
        held = asyncio.create_task(world.call("Create", "b-1"))
        await world.registrar.was_asked()
        for n in range(5):
            assert await world.call("Other", f"x-{n}") == blob(f"x-{n}")
        await not_yet(held)
        world.registrar.say()
        assert await held == blob("b-1")


@pytest.mark.parametrize("peer", PEERS)
async def test_a_call_that_failed_creates_nothing_and_is_not_delayed(peer: str) -> None:
    async with grpc_world(peer) as world:
        with pytest.raises((GRPCError, grpc.aio.AioRpcError)) as caught:
            await world.call("Create", "fail")
        code = caught.value.status if isinstance(caught.value, GRPCError) else caught.value.code()  # type: ignore[attr-defined]
        assert code in {Status.NOT_FOUND, grpc.StatusCode.NOT_FOUND}
        assert world.registrar.observations == []


@pytest.mark.parametrize("peer", PEERS)
async def test_an_id_may_come_from_the_request(peer: str) -> None:
    async with grpc_world(peer) as world:
        world.registrar.answers = Outcome.FORGOTTEN
        await world.call("Delete", "b-7")
        with pytest.raises((GRPCError, grpc.aio.AioRpcError)):
            await world.call("Delete", "fail-8")
        assert world.registrar.ids == ["b-7", "fail-8"]
        assert {type(seen) for seen in world.registrar.observations} == {Deletion}


@pytest.mark.parametrize("peer", PEERS)
async def test_of_a_stream_the_first_message_decides(peer: str) -> None:
    async with grpc_world(peer) as world:
        streaming = asyncio.create_task(world.stream("Watch", "b"))
        await world.registrar.was_asked()
        assert world.registrar.ids == ["b-0"]
        assert [type(seen) for seen in world.registrar.observations] == [Use]
        await not_yet(streaming)
        world.registrar.say()
        assert await streaming == [blob("b-0"), blob("b-1"), blob("b-2")]


async def test_an_id_may_come_from_metadata() -> None:
    async with grpc_world() as world:
        world.registrar.answers = Outcome.REGISTERED
        await world.call("Tag", "b-9")
        assert world.registrar.ids == ["b-9"]


@pytest.mark.parametrize("peer", PEERS)
async def test_the_intent_comes_before_the_request(peer: str) -> None:
    async with grpc_world(peer) as world:
        call = asyncio.create_task(world.call("Intend", "b-1"))
        await world.registrar.was_asked()
        [(rule, _, method, target, resource)] = world.registrar.intents
        assert (rule, method, target, resource) == ("intend-blob", "POST", f"/{SERVICE}/Intend", None)
        await not_yet(call)
        assert world.registrar.observations == []
        world.registrar.say()
        await world.registrar.was_asked()
        assert world.registrar.ids == ["b-1"]
        world.registrar.say()
        assert await call == blob("b-1")
        assert world.registrar.retracted == []


@pytest.mark.parametrize("peer", PEERS)
async def test_many_calls_at_once_are_all_seen_and_all_answered(peer: str) -> None:
    async with grpc_world(peer) as world:
        world.registrar.answers = Outcome.REGISTERED
        names = [f"b-{n}" for n in range(60)]
        methods = ["Create", "Intend", "Other"] * 20
        answers = await asyncio.gather(*(world.call(*one) for one in zip(methods, names, strict=True)))
        assert answers == [blob(name) for name in names]
        wanted = [name for method, name in zip(methods, names, strict=True) if method != "Other"]
        assert sorted(world.registrar.ids) == sorted(wanted)


async def test_at_the_deadline_the_request_goes_on() -> None:
    async with grpc_world(deadline="50ms") as world:
        call = asyncio.create_task(world.call("Intend", "b-1"))
        await world.registrar.was_asked(2)
        world.registrar.say()
        assert await call == blob("b-1")
        assert world.metrics.counts["deadline intend-blob"] == 1


# --- refusing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", PEERS)
async def test_what_cannot_be_recorded_is_refused_and_what_runs_already_goes_on(peer: str) -> None:
    async with grpc_world(peer, on_unavailable="reject") as world:
        await world.call("Other", "warm")
        held = asyncio.create_task(world.call("Create", "b-1"))
        await world.registrar.was_asked()
        call = asyncio.create_task(world.call("Intend", "b-2"))
        await world.registrar.was_asked()
        world.registrar.say(Outcome.UNPROTECTED)
        with pytest.raises((GRPCError, grpc.aio.AioRpcError)) as caught:
            await call
        assert "not recorded in time" in str(caught.value)
        world.registrar.say(at=0)
        assert await held == blob("b-1")
        await asyncio.sleep(0.3)  # by now the client knows that it needs another connection, if it does
        assert await world.call("Other", "after") == blob("after")
        assert world.metrics.counts["rejected intend-blob"] == 1
        assert world.registrar.retracted == [world.registrar.intents[0][1]]
        assert world.registrar.ids == ["b-1"]


async def test_calls_behind_a_refused_one_are_tried_again_elsewhere() -> None:
    async with grpc_world("grpcio", on_unavailable="reject") as world:
        await world.call("Other", "warm")
        refused = asyncio.create_task(world.call("Intend", "b-1"))
        await world.registrar.was_asked()
        behind = [asyncio.create_task(world.call("Other", f"x-{n}")) for n in range(5)]
        await not_yet(behind[0])
        world.registrar.say(Outcome.UNPROTECTED)
        with pytest.raises(grpc.aio.AioRpcError):
            await refused
        assert await asyncio.gather(*behind) == [blob(f"x-{n}") for n in range(5)]
        assert world.metrics.counts["opened"] == 2
