"""Whoever dies in the middle of whatever: the other side sees what it would have seen without a relay."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvloop

from leasehold.protocol.rules import RuleSet
from leasehold.sidecar.capture.listener import Address
from leasehold.sidecar.capture.upstream import UpstreamListener
from leasehold.sidecar.observe.matching import Matcher
from leasehold.sidecar.ports import Outcome
from tests.fakes.relay import SOON, Stream, World, world

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy:DeprecationWarning")
HEAD = b"POST /other HTTP/1.1\r\nHost: blobs.test\r\n"
GET = b"GET /other HTTP/1.1\r\nHost: blobs.test\r\n\r\n"
POST = b"POST /v1/blobs HTTP/1.1\r\nHost: blobs.test\r\nContent-Length: 0\r\n\r\n"
SIZED = b"Content-Length: 10\r\n\r\n12345"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
MOMENTS = {
    "before anything": (b"", b""),
    "in the request's head": (HEAD, b""),
    "in a sized request": (HEAD + SIZED, b""),
    "in the size of a chunk": (HEAD + CHUNKED + b"1", b""),
    "in a chunk": (HEAD + CHUNKED + b"a;x=y\r\n12345", b""),
    "before the last chunk": (HEAD + CHUNKED + b"2\r\nok\r\n", b""),
    "in the trailers": (HEAD + CHUNKED + b"0\r\nSum: ", b""),
    "waiting to be told to continue": (HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", b""),
    "told to continue": (HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "before the answer": (GET, b""),
    "in the answer's head": (GET, b"HTTP/1.1 200 OK\r\nContent-"),
    "in a sized answer": (GET, b"HTTP/1.1 200 OK\r\n" + SIZED),
    "in a chunked answer": (GET, b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"5\r\nab"),
    "before the answer's last chunk": (GET, b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"2\r\nab\r\n"),
    "in an answer until the close": (GET, b"HTTP/1.1 200 OK\r\n\r\nhalf of it"),
    "in the second of two answers": (
        GET * 2,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n" + SIZED,
    ),
    "between two calls": (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    "in a conversation that is no HTTP": (b"\0\1\2", b"\3\4"),
    "in an HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM", b""),
    "in an HTTP/2 frame": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\5", b"\0\0\0\4\0\0\0\0\0\0"),
}
each = pytest.mark.parametrize("moment", MOMENTS.values(), ids=list(MOMENTS))
dying = pytest.mark.parametrize("dies", ["app", "owner"])
View = tuple[bytes, str]


@pytest.fixture
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy()


@pytest.fixture
async def relayed() -> AsyncIterator[World]:
    async with world() as made:
        await made.listen(UpstreamListener(Address("127.0.0.1", 0), made.owner.address, made.relay))
        yield made


async def straight(made: World) -> tuple[Stream, Stream]:
    """The two without anything in between."""
    address = made.owner.address
    app = Stream(*await asyncio.open_connection(address.host, address.port))
    made.apps.append(app)
    return app, await made.owner.accepted()


async def sees(stream: Stream) -> View:
    """All that still comes, and how it ends."""
    got = b""
    try:
        while data := await stream.read():
            got += data
    except ConnectionResetError:
        return got, "reset"
    return got, "end"


def say(app: Stream, owner: Stream, moment: tuple[bytes, bytes]) -> None:
    asked, told = moment
    if asked:
        app.send(asked)
    if told:
        owner.send(told)


@each
@dying
@pytest.mark.parametrize("rules", ["with rules", "without rules"])
async def test_a_half_that_ends_ends_alike(relayed: World, moment: tuple[bytes, bytes], dies: str, rules: str) -> None:
    if rules == "without rules":
        relayed.rules.matcher = Matcher.compile(RuleSet())
    pairs = [await straight(relayed), await relayed.pair()]
    views = []
    for app, owner in pairs:
        say(app, owner, moment)
        one, other = (app, owner) if dies == "app" else (owner, app)
        one.end()
        views.append((await sees(other), other))
    assert views[0][0] == views[1][0] == (moment[0] if dies == "app" else moment[1], "end")
    # The other half still works.
    for (_, other), (app, owner) in zip(views, pairs, strict=True):
        other.send(b"more of it")
        other.end()
        assert await sees(app if dies == "app" else owner) == (moment[1 if dies == "app" else 0] + b"more of it", "end")


@each
@dying
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_who_dies_in_the_middle_is_seen_to_die_alike(
    relayed: World, moment: tuple[bytes, bytes], dies: str, how: str
) -> None:
    heard, said = moment[::-1] if dies == "app" else moment
    views = []
    for pair in (straight(relayed), relayed.pair()):
        app, owner = await pair
        say(app, owner, moment)
        one, other = (app, owner) if dies == "app" else (owner, app)
        # The one who dies has read all that reaches it; or closing would itself be a reset.
        await hear(relayed, one, len(heard), by_app=dies == "app")
        if how == "reset":
            await hear(relayed, other, len(said), by_app=dies != "app")
            one.reset()
            views.append(((await sees(other))[1], b""))
        else:
            await one.close()
            views.append((await sees(other))[::-1])
    assert views[0] == views[1] == (("end", said) if how == "close" else ("reset", b""))


async def hear(made: World, stream: Stream, size: int, *, by_app: bool) -> None:
    """Until so much was heard, but for what the relay withholds."""
    heard = 0
    async with asyncio.timeout(SOON):
        while heard + withheld(made, by_app=by_app) < size:
            with contextlib.suppress(TimeoutError):
                heard += len(await asyncio.wait_for(stream.reader.read(1000), 0.02))


def withheld(made: World, *, by_app: bool) -> int:
    """By the observer, in the direction that the app or the owner hears."""
    observers = [link.observer for link in made.listener._server._links]  # type: ignore[union-attr]
    kept = [one.withheld_response if by_app else one.withheld_request for one in observers if one is not None]
    return sum(map(len, kept))


# --- where bytes are held, or wait for a slow reader -------------------------------------------------------------


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("body", [SIZED, CHUNKED + b"5\r\nab", b"\r\nhalf"], ids=["sized", "chunked", "until close"])
async def test_an_owner_that_dies_in_a_held_answer_is_seen_to_die(relayed: World, body: bytes, how: str) -> None:
    relayed.registrar.answers = Outcome.REGISTERED
    app, owner = await relayed.pair()
    app.send(POST)
    await owner.expect(POST)
    answer = b"HTTP/1.1 201 Created\r\n" + body
    owner.send(answer)
    await relayed.metrics.until("matched create-blob")
    owner.reset() if how == "reset" else await owner.close()
    assert await sees(app) == (answer, "end" if how == "close" else "reset")


async def test_a_reset_in_a_body_until_the_close_is_no_end_of_it_for_a_slow_reader(relayed: World) -> None:
    app, owner = await relayed.pair()
    app.writer.transport.pause_reading()  # type: ignore[attr-defined]
    app.send(GET)
    await owner.expect(GET)
    owner.send(b"HTTP/1.1 200 OK\r\n\r\n")
    [link] = relayed.listener._server._links  # type: ignore[union-attr]
    async with asyncio.timeout(SOON):
        while not link.app.transport.get_write_buffer_size():
            owner.send(b"x" * 65536)
            await asyncio.sleep(0)
    owner.reset()
    async with asyncio.timeout(SOON):
        while not link._owner_gone:
            await asyncio.sleep(0)
    app.writer.transport.resume_reading()  # type: ignore[attr-defined]
    _, how = await sees(app)
    assert how == "reset"
