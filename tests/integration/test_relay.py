"""The relay on real sockets: what HTTP/1 does, it lets through, byte by byte."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator

import pytest
import uvloop

from leasehold.protocol.rules import RuleSet
from leasehold.sidecar.capture.listener import Address
from leasehold.sidecar.capture.upstream import UpstreamListener
from leasehold.sidecar.observe.matching import Matcher
from leasehold.sidecar.ports import Outcome
from tests.fakes.relay import SOON, Stream, World, rules, world

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy:DeprecationWarning")
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


async def answered(app: Stream, owner: Stream, request: bytes = GET, response: bytes = OK) -> None:
    app.send(request)
    await owner.expect(request)
    owner.send(response)
    await app.expect(response)


async def test_a_request_body_waits_for_100_continue_as_ever(relayed: World) -> None:
    app, owner = await relayed.pair()
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    await answered(app, owner, head, b"HTTP/1.1 100 Continue\r\n\r\n")
    await answered(app, owner, b"abc", OK)
    await answered(app, owner)
    assert relayed.metrics.counts == {"opened": 1}


async def test_an_owner_may_answer_before_the_request_has_ended(relayed: World) -> None:
    app, owner = await relayed.pair()
    await answered(app, owner, b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc", OK)
    app.send(b"def")
    await owner.expect(b"def")
    await answered(app, owner)
    assert relayed.metrics.counts == {"opened": 1}


async def test_part_of_a_head_goes_on_at_once(relayed: World) -> None:
    relayed.rules.matcher = Matcher.compile(RuleSet())
    app, owner = await relayed.pair()
    for part in (GET[:1], GET[1:20], GET[20:]):
        app.send(part)
        await owner.expect(part)
    for part in (OK[:7], OK[7:30], OK[30:]):
        owner.send(part)
        await app.expect(part)


async def test_after_101_the_stream_is_opaque(relayed: World) -> None:
    app, owner = await relayed.pair()
    upgrade = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    await answered(app, owner, upgrade, switched + b"\x81\x00")
    await answered(app, owner, b"\x00\xff" * 100, b"\xff\x00" * 100)
    assert relayed.metrics.counts == {"opened": 1, "uninspected upgrade": 1}


async def test_a_declined_upgrade_is_no_upgrade(relayed: World) -> None:
    app, owner = await relayed.pair()
    await answered(app, owner, b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", OK)
    await answered(app, owner)
    assert relayed.metrics.counts == {"opened": 1}


@pytest.mark.parametrize(
    ("request_", "response", "count"),
    [
        (b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x03", "uninspected tls"),
        (b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n", "uninspected not-http"),
        (GET[:-4] + b"\r\nbroken header\r\n\r\n", b"HTTP/1.1 400 Bad\r\n\r\n", "gave-up bad-request"),
        (GET, b"HTTP/1.1 nonsense\r\n\r\n", "gave-up bad-response"),
        (GET, OK + b"what else", "gave-up unsolicited-response"),
        (GET * 100, OK * 100, "gave-up pipeline-too-deep"),
        (b"GET /" + b"a" * 100_000 + GET[4:], OK, "gave-up head-too-large"),
    ],
)
async def test_what_is_not_followed_is_relayed_and_counted(
    relayed: World, request_: bytes, response: bytes, count: str
) -> None:
    app, owner = await relayed.pair()
    await answered(app, owner, request_, response)
    await answered(app, owner, b"more", b"of the same")
    assert relayed.metrics.counts == {"opened": 1, count: 1}


async def test_an_owner_may_speak_first(relayed: World) -> None:
    app, owner = await relayed.pair()
    owner.send(b"220 ready\r\n")
    await app.expect(b"220 ready\r\n")
    await answered(app, owner, b"HELO\r\n", b"250 ok\r\n")
    assert relayed.metrics.counts == {"opened": 1, "uninspected server-first": 1}


# --- ends --------------------------------------------------------------------------------------------------------


async def test_a_body_until_the_close_ends_with_the_close(relayed: World) -> None:
    app, owner = await relayed.pair()
    response = b"HTTP/1.0 200 OK\r\n\r\nuntil the end"
    await answered(app, owner, b"GET / HTTP/1.0\r\n\r\n", response)
    await owner.close()
    assert await app.rest() == b""
    await app.close()
    await relayed.metrics.until("closed")


async def test_an_app_may_end_its_half_and_read_on(relayed: World) -> None:
    app, owner = await relayed.pair()
    app.send(GET)
    app.end()
    assert await owner.rest() == GET
    owner.send(OK)
    await app.expect(OK)
    owner.end()
    assert await app.rest() == b""
    await relayed.metrics.until("closed")


async def test_an_owner_may_end_its_half_and_read_on(relayed: World) -> None:
    app, owner = await relayed.pair()
    owner.send(b"hello")
    owner.end()
    assert await app.rest() == b"hello"
    app.send(b"still here")
    await owner.expect(b"still here")
    app.end()
    assert await owner.rest() == b""
    await relayed.metrics.until("closed")


@pytest.mark.parametrize("dies", ["app", "owner"])
async def test_a_reset_of_one_side_is_a_reset_of_the_other(relayed: World, dies: str) -> None:
    app, owner = await relayed.pair()
    await answered(app, owner)
    one, other = (app, owner) if dies == "app" else (owner, app)
    one.reset()
    with pytest.raises(ConnectionResetError):
        await other.rest()
    await relayed.metrics.until("closed")


async def test_an_owner_that_is_not_there_looks_like_a_reset() -> None:
    async with world() as made:
        await made.owner.close()
        await made.listen(UpstreamListener(Address("127.0.0.1", 0), made.owner.address, made.relay))
        app = await made.app()
        app.send(GET)
        with pytest.raises(ConnectionResetError):
            await app.rest()
        await made.metrics.until("closed")
        assert made.metrics.counts == {"opened": 1, "connect-failed refused": 1, "closed": 1}


async def test_what_never_reached_an_owner_leaves_no_intent() -> None:
    async with world() as made:
        await made.owner.close()
        await made.listen(UpstreamListener(Address("127.0.0.1", 0), made.owner.address, made.relay))
        app = await made.app()
        app.send(b"PUT /v1/blobs/x HTTP/1.1\r\nHost: blobs.test\r\nContent-Length: 0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await app.rest()
        await made.metrics.until("closed")
        assert made.registrar.retracted == [intent[1] for intent in made.registrar.intents]


# --- pressure ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["sized", "chunked", "close"])
async def test_a_large_body_passes_in_little_memory_at_the_pace_of_a_slow_reader(relayed: World, framing: str) -> None:
    app, owner = await relayed.pair()
    piece = b"x" * 100_000
    unit = piece if framing != "chunked" else b"186a0\r\n" + piece + b"\r\n"
    count = 1000
    heads = {
        "sized": b"Content-Length: %d\r\n" % (len(piece) * count),
        "chunked": b"Transfer-Encoding: chunked\r\n",
        "close": b"",
    }
    app.send(GET)
    await owner.expect(GET)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    async def produce() -> None:
        owner.send(b"HTTP/1.1 200 OK\r\n" + heads[framing] + b"\r\n")
        for _ in range(count):
            owner.send(unit)
            await owner.writer.drain()
        if framing == "chunked":
            owner.send(b"0\r\n\r\n")
        owner.end()

    async with asyncio.timeout(5 * SOON), asyncio.TaskGroup() as tasks:
        tasks.create_task(produce())
        await app.head()
        await asyncio.sleep(0.1)  # a slow reader: everything there is has piled up by now
        assert sum(link_bytes(relayed)) < 2_000_000
        total = 0
        while data := await app.reader.read(1 << 20):
            total += len(data)
    assert total >= count * len(piece)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # KiB; the body is 100 MB


def link_bytes(relayed: World) -> list[int]:
    links = relayed.listener._server._links  # type: ignore[union-attr]
    return [link.app.transport.get_write_buffer_size() + link.to_app._held for link in links]


# --- shutting down -----------------------------------------------------------------------------------------------


async def test_closing_ends_idle_connections_and_waits_for_the_others() -> None:
    async with world(drain_deadline=SOON) as made:
        listener = UpstreamListener(Address("127.0.0.1", 0), made.owner.address, made.relay)
        await made.listen(listener)
        idle, idle_owner = await made.pair()
        await answered(idle, idle_owner)
        busy, busy_owner = await made.pair()
        busy.send(GET)
        await busy_owner.expect(GET)
        closing = asyncio.create_task(listener.close())
        assert await idle.rest() == b""
        busy_owner.send(OK)
        assert await busy.rest() == OK
        await closing
        assert made.metrics.counts["closed"] == 2
        with pytest.raises(ConnectionRefusedError):
            await made.app()


async def test_closing_resets_what_does_not_end_in_time(relayed: World) -> None:
    app, owner = await relayed.pair()
    app.send(GET)
    await owner.expect(GET)
    assert relayed.listener is not None
    await relayed.listener.close()
    for stream in (app, owner):
        with pytest.raises(ConnectionResetError):
            await stream.rest()
    assert relayed.metrics.counts["closed"] == 1


# --- a broken observer -------------------------------------------------------------------------------------------


class Broken:
    """A matcher that fails when it is needed."""

    empty = False
    intends = True

    def owner_rules(self, authority: str, destination: str) -> None:
        raise ZeroDivisionError


async def test_an_observer_that_crashes_costs_the_traffic_nothing(relayed: World) -> None:
    relayed.rules.matcher = Broken()  # type: ignore[assignment]
    app, owner = await relayed.pair()
    app.send(GET[:10])
    app.send(GET[10:])
    await owner.expect(GET)
    owner.send(OK)
    await app.expect(OK)
    await answered(app, owner)
    assert relayed.metrics.counts == {"opened": 1, "gave-up crashed": 1}


async def test_a_registrar_that_crashes_costs_the_traffic_nothing_and_later_calls_are_still_seen(
    relayed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, owner = await relayed.pair()
    request = b"GET /v1/blobs/x HTTP/1.1\r\nHost: blobs.test\r\n\r\n"
    with monkeypatch.context() as broken:
        broken.setattr(relayed.registrar, "observed", lambda observation: 1 / 0)
        await answered(app, owner, request * 2, OK * 2)
    assert relayed.metrics.counts["unusable use-blob crashed"] == 2
    relayed.registrar.answers = Outcome.ALREADY_HELD
    await answered(app, owner, request)
    assert relayed.registrar.ids == ["x"]


@pytest.mark.parametrize("strict", [True, False])
async def test_a_registrar_that_crashes_over_an_intent_decides_as_if_it_were_not_there(
    relayed: World, monkeypatch: pytest.MonkeyPatch, strict: bool
) -> None:
    monkeypatch.setattr(relayed.registrar, "intend", lambda *_: 1 / 0)
    app, owner = await relayed.pair()
    request = b"PUT /v1/%s/x HTTP/1.1\r\nHost: blobs.test\r\nContent-Length: 0\r\n\r\n"
    if strict:
        app.send(request % b"blobs")
        assert b" 503 " in await app.head()
    else:
        app.send(request % b"notes")
        await owner.expect(request % b"notes")
    assert relayed.metrics.counts["unusable put-blob crashed" if strict else "unusable put-note crashed"] == 1


async def test_new_rules_hold_for_the_next_call_of_an_old_connection(relayed: World) -> None:
    relayed.rules.matcher = Matcher.compile(RuleSet())
    app, owner = await relayed.pair()
    request = b"GET /v1/blobs/x HTTP/1.1\r\nHost: blobs.test\r\n\r\n"
    await answered(app, owner, request)
    relayed.rules.matcher = Matcher.compile(rules())
    relayed.registrar.answers = Outcome.ALREADY_HELD
    await answered(app, owner, request)
    assert relayed.registrar.ids == ["x"]
