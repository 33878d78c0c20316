"""HTTP/2 on real sockets, scripted frame by frame with h2 on both ends: how it begins, what is held, how it ends."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
import uvloop

from leasehold.sidecar.capture.listener import Address
from leasehold.sidecar.capture.upstream import UpstreamListener
from leasehold.sidecar.observe.frames import PREFACE
from leasehold.sidecar.ports import Outcome
from tests.fakes.http2 import http2_rules
from tests.fakes.relay import SOON, Stream, World, world

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy:DeprecationWarning")
HASTY = http2_rules().replace("id: {json: id}", "id: {json: id}\n    hold_deadline: 20ms")
STRICT = http2_rules(on_unavailable="reject")


@pytest.fixture
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy()


@pytest.fixture
async def relayed(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world(getattr(request, "param", http2_rules())) as made:
        await made.listen(UpstreamListener(Address("127.0.0.1", 0), made.owner.address, made.relay))
        yield made


hasty = pytest.mark.parametrize("relayed", [HASTY], indirect=True)
strict = pytest.mark.parametrize("relayed", [STRICT], indirect=True)


class Peer:
    """One end: an h2 connection on a scripted stream, and what it heard, as ``(stream, what)``."""

    def __init__(self, stream: Stream, *, client: bool) -> None:
        self.stream = stream
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client, header_encoding="utf-8"))
        self.heard: list[tuple[int, object]] = []
        self.ended = False

    def flush(self) -> None:
        if not self.ended:
            self.stream.send(self.h2.data_to_send())

    def end(self) -> None:
        self.ended = True
        self.stream.end()

    def ask(self, method: str, path: str, *, end: bool = True) -> int:
        stream = self.h2.get_next_available_stream_id()
        headers = [(":method", method), (":scheme", "http"), (":authority", "blobs.test"), (":path", path)]
        self.h2.send_headers(stream, headers, end_stream=end)
        self.flush()
        return stream

    def answer(self, stream: int, status: int, body: bytes = b"", **more: str) -> None:
        headers = [(":status", str(status)), *more.items()]
        self.h2.send_headers(stream, headers, end_stream=not body)
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        self.flush()

    async def hear(self, *wanted: tuple[int, object]) -> None:
        """Until all of it was heard."""
        async with asyncio.timeout(SOON):
            while not set(wanted) <= set(self.heard):
                self.take(await self.stream.read())

    def take(self, data: bytes) -> None:
        assert data, "the connection has ended"
        for event in self.h2.receive_data(data):
            stream = getattr(event, "stream_id", None) or 0
            if isinstance(event, h2.events.RequestReceived):
                self.heard.append((stream, dict(event.headers or ())[":path"]))
            elif isinstance(event, h2.events.ResponseReceived):
                self.heard.append((stream, int(dict(event.headers or ())[":status"])))
            elif isinstance(event, h2.events.DataReceived):
                self.heard.append((stream, bytes(event.data or b"")))
            elif isinstance(event, h2.events.StreamReset):
                self.heard.append((stream, f"reset {int(event.error_code or 0)}"))
            else:
                self.heard.append((stream, type(event).__name__))
        self.flush()

    def heard_of(self, stream: int) -> list[object]:
        return [what for one, what in self.heard if one == stream and what != "StreamEnded"]


async def peers(relayed: World) -> tuple[Peer, Peer]:
    """After the handshake."""
    one, other = await relayed.pair()
    app, owner = Peer(one, client=True), Peer(other, client=False)
    for peer in (app, owner):
        peer.h2.initiate_connection()
        peer.flush()
    for peer in (owner, app):
        await peer.hear((0, "RemoteSettingsChanged"))
    for peer in (owner, app):
        await peer.hear((0, "SettingsAcknowledged"))
    return app, owner


# --- how it begins -----------------------------------------------------------------------------------------------


async def test_a_preface_in_pieces_is_a_preface(relayed: World) -> None:
    app, owner = await relayed.pair()
    hello = PREFACE + b"\0\0\0\4\0\0\0\0\0"
    for part in (hello[:1], hello[1:5], hello[5:20], hello[20:]):
        app.send(part)
        await asyncio.sleep(0.02)
    await owner.expect(hello)
    assert relayed.metrics.counts == {"opened": 1}


async def test_a_server_may_send_its_settings_first(relayed: World) -> None:
    one, other = await relayed.pair()
    owner, app = Peer(other, client=False), Peer(one, client=True)
    owner.h2.initiate_connection()
    owner.flush()
    await asyncio.sleep(0.05)
    app.h2.initiate_connection()
    app.flush()
    await app.hear((0, "RemoteSettingsChanged"))
    stream = app.ask("PUT", "/v1/blobs/b-1")
    await relayed.registrar.was_asked()
    relayed.registrar.say()
    await owner.hear((stream, "/v1/blobs/b-1"))
    assert relayed.metrics.counts["uninspected server-first"] == 0


async def test_an_upgraded_call_is_the_first_stream(relayed: World) -> None:
    one, other = await relayed.pair()
    app, owner = Peer(one, client=True), Peer(other, client=False)
    wanted = app.h2.initiate_upgrade_connection()
    assert wanted is not None
    head = (
        b"POST /v1/blobs HTTP/1.1\r\nHost: blobs.test\r\nContent-Length: 4\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: " + wanted + b"\r\n\r\ndata"
    )
    one.send(head)
    await other.expect(head)
    switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    owner.h2.initiate_upgrade_connection(wanted)
    other.send(switched + owner.h2.data_to_send())
    await one.expect(switched)
    app.flush()
    await app.hear((0, "RemoteSettingsChanged"))
    await owner.hear((0, "SettingsAcknowledged"))
    owner.answer(1, 201, b'{"id": "b-1"}')
    await relayed.registrar.was_asked()
    assert relayed.registrar.ids == ["b-1"]
    other_stream = app.ask("GET", "/other")
    await owner.hear((other_stream, "/other"))
    owner.answer(other_stream, 200, b"ok")
    relayed.registrar.say()
    await app.hear((1, 201), (1, b'{"id": "b-1"}'), (other_stream, b"ok"))
    assert relayed.metrics.counts == {"opened": 1, "matched post-blob": 1, "held response": 1}


async def test_an_upgrade_to_something_else_is_opaque(relayed: World) -> None:
    app, owner = await relayed.pair()
    head = (
        b"GET / HTTP/1.1\r\nHost: blobs.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c, websocket\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    )
    app.send(head)
    await owner.expect(head)
    switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello"
    owner.send(switched)
    await app.expect(switched)
    assert relayed.metrics.counts == {"opened": 1, "uninspected upgrade": 1}


@pytest.mark.skipif(shutil.which("nghttpd") is None or shutil.which("curl") is None, reason="nghttpd and curl wanted")
async def test_curl_and_nghttpd(tmp_path: Path, unused_tcp_port: int) -> None:
    (tmp_path / "page").write_bytes(b"x" * 300_000)
    server = subprocess.Popen(
        ["nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", str(tmp_path), str(unused_tcp_port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with world(http2_rules()) as made:
            await made.listen(
                UpstreamListener(Address("127.0.0.1", 0), Address("127.0.0.1", unused_tcp_port), made.relay)
            )
            await asyncio.sleep(0.3)
            url = f"http://127.0.0.1:{made.port}/page"
            curl = await asyncio.create_subprocess_exec(
                "curl", "-s", "--http2-prior-knowledge", url, stdout=asyncio.subprocess.PIPE
            )
            got, _ = await curl.communicate()
            assert got == b"x" * 300_000
            await made.metrics.until("closed")
            assert made.metrics.counts == {"opened": 1, "closed": 1}
    finally:
        server.kill()
        server.wait()


# --- holding -----------------------------------------------------------------------------------------------------


async def test_one_stream_is_held_and_the_others_flow(relayed: World) -> None:
    app, owner = await peers(relayed)
    held, other = app.ask("POST", "/v1/blobs"), app.ask("GET", "/other")
    await owner.hear((other, "/other"))
    owner.answer(held, 201, b'{"id": "b-1"}')
    owner.answer(other, 200, b"ok")
    await app.hear((other, b"ok"))
    await relayed.registrar.was_asked()
    assert app.heard_of(held) == []
    relayed.registrar.say()
    await app.hear((held, b'{"id": "b-1"}'))
    assert app.heard_of(held) == [201, b'{"id": "b-1"}']


async def test_a_ping_is_answered_while_a_response_is_held(relayed: World) -> None:
    app, owner = await peers(relayed)
    held = app.ask("POST", "/v1/blobs")
    await owner.hear((held, "/v1/blobs"))
    owner.answer(held, 201, b'{"id": "b-1"}')
    await relayed.registrar.was_asked()
    app.h2.ping(b"12345678")
    app.flush()
    await owner.hear((0, "PingReceived"))
    await app.hear((0, "PingAckReceived"))
    assert app.heard_of(held) == []


async def test_a_request_waits_for_its_intent_and_data_of_others_does_not(relayed: World) -> None:
    app, owner = await peers(relayed)
    upload = app.ask("POST", "/upload", end=False)
    held = app.ask("PUT", "/v1/blobs/b-1")
    await relayed.registrar.was_asked()
    app.h2.send_data(upload, b"more", end_stream=True)
    app.flush()
    await owner.hear((upload, b"more"))
    assert owner.heard_of(held) == []
    relayed.registrar.say()
    await owner.hear((held, "/v1/blobs/b-1"))


@hasty
async def test_after_the_deadline_the_response_goes_on(relayed: World) -> None:
    app, owner = await peers(relayed)
    held = app.ask("POST", "/v1/blobs")
    await owner.hear((held, "/v1/blobs"))
    owner.answer(held, 201, b'{"id": "b-1"}')
    await app.hear((held, b'{"id": "b-1"}'))
    assert relayed.metrics.counts["deadline post-blob"] == 1
    assert relayed.registrar.ids == ["b-1"]


async def test_a_held_response_survives_a_goaway_behind_it(relayed: World) -> None:
    app, owner = await peers(relayed)
    held = app.ask("POST", "/v1/blobs")
    await owner.hear((held, "/v1/blobs"))
    owner.answer(held, 201, b'{"id": "b-1"}')
    owner.h2.close_connection()
    owner.flush()
    owner.stream.end()
    await relayed.registrar.was_asked()
    await asyncio.sleep(0.05)
    relayed.registrar.say()
    await app.hear((held, b'{"id": "b-1"}'), (0, "ConnectionTerminated"))


async def test_a_stream_that_the_owner_resets_creates_nothing_we_know_of(relayed: World) -> None:
    app, owner = await peers(relayed)
    stream = app.ask("POST", "/v1/blobs")
    await owner.hear((stream, "/v1/blobs"))
    owner.h2.send_headers(stream, [(":status", "201")])
    owner.h2.reset_stream(stream, 2)
    owner.flush()
    await app.hear((stream, "reset 2"))
    assert relayed.metrics.counts["unusable post-blob aborted"] == 1


async def test_an_app_that_is_gone_has_its_creation_registered(relayed: World) -> None:
    app, owner = await peers(relayed)
    stream = app.ask("POST", "/v1/blobs")
    await owner.hear((stream, "/v1/blobs"))
    await app.stream.close()
    await relayed.metrics.until("opened")
    owner.answer(stream, 201, b'{"id": "b-1"}')
    await relayed.registrar.was_asked()
    assert relayed.registrar.ids == ["b-1"]
    relayed.registrar.say()
    await relayed.metrics.until("closed")


async def test_a_body_beyond_the_limit_is_not_held(relayed: World) -> None:
    app, owner = await peers(relayed)
    stream = app.ask("POST", "/v1/blobs")
    await owner.hear((stream, "/v1/blobs"))
    app.h2.increment_flow_control_window(1 << 20)
    app.h2.increment_flow_control_window(1 << 20, stream)
    app.flush()
    await owner.hear((stream, "WindowUpdated"))
    owner.h2.send_headers(stream, [(":status", "201")])
    for _ in range(8):
        owner.h2.send_data(stream, b" " * 16_384)
    owner.h2.end_stream(stream)
    owner.flush()
    await app.hear((stream, "StreamEnded"))
    assert sum(len(part) for part in app.heard_of(stream)[1:]) == 8 * 16_384  # type: ignore[arg-type,misc]
    assert relayed.metrics.counts["unusable post-blob body-too-large"] == 1


# --- refusing ----------------------------------------------------------------------------------------------------


@strict
async def test_a_refused_request_never_reaches_the_owner(relayed: World) -> None:
    app, owner = await peers(relayed)
    upload = app.ask("POST", "/upload", end=False)
    refused = app.ask("PUT", "/v1/blobs/b-1", end=False)
    app.h2.send_data(refused, b"x" * 1000)
    app.flush()
    await relayed.registrar.was_asked()
    relayed.registrar.say(Outcome.UNPROTECTED)
    await app.hear((refused, 503), (refused, "reset 0"))
    app.h2.send_data(upload, b"more", end_stream=True)
    app.flush()
    await owner.hear((upload, b"more"))
    owner.answer(upload, 200, b"ok")
    await app.hear((upload, b"ok"))
    assert owner.heard_of(refused) == []
    # Its path was new to the table: so no further stream is served, and the client is told where to go.
    await app.hear((0, "ConnectionTerminated"))


@strict
async def test_a_registrar_that_crashes_has_the_request_refused(
    relayed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relayed.registrar, "intend", lambda *args: 1 / 0)
    app, owner = await peers(relayed)
    refused = app.ask("PUT", "/v1/blobs/b-1")
    await app.hear((refused, 503), (0, "ConnectionTerminated"))
    assert owner.heard_of(refused) == []
    await app.stream.close()
    assert await owner.stream.rest() == b""
    assert relayed.metrics.counts["rejected put-blob"] == 1


async def test_an_app_may_end_its_half_and_still_be_answered(relayed: World) -> None:
    app, owner = await peers(relayed)
    stream = app.ask("POST", "/v1/blobs")
    app.end()
    await owner.hear((stream, "/v1/blobs"))
    owner.answer(stream, 201, b'{"id": "b-1"}')
    await relayed.registrar.was_asked()
    relayed.registrar.say()
    await app.hear((stream, b'{"id": "b-1"}'))


@strict
async def test_a_refusal_before_the_owner_has_spoken_is_a_reset(relayed: World) -> None:
    one, other = await relayed.pair()
    app = Peer(one, client=True)
    app.h2.initiate_connection()
    app.ask("PUT", "/v1/blobs/b-1")
    await relayed.registrar.was_asked()
    relayed.registrar.say(Outcome.UNPROTECTED)
    for end in (one, other):
        with pytest.raises(ConnectionResetError):
            await end.rest()
    assert relayed.registrar.retracted == [relayed.registrar.intents[0][1]]


# --- what is not followed ----------------------------------------------------------------------------------------


def raw(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


SETTINGS = raw(4, 0, 0, b"")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (raw(1, 4, 1, b"\xff\xff\xff\xff\xff\xff"), "header-compression"),
        (raw(1, 4, 1, b"\xbe"), "header-compression"),
        (raw(1, 4, 2, b"\x82"), "framing"),
        (raw(1, 4, 0, b"\x82"), "framing"),
        (raw(1, 0, 1, b"\x82") + raw(0, 0, 1, b"x"), "framing"),
        (raw(9, 4, 1, b"\x82"), "framing"),
        (raw(0, 8, 1, b"\x09abc"), "framing"),
        (raw(4, 0, 0, b"12345"), "framing"),
        (b"\x02\x00\x00\x01\x04\x00\x00\x00\x01", "head-too-large"),
        (b"".join([raw(1, 0, 1, b"\x00" * 9), *[raw(9, 0, 1, b"")] * 8000]), "head-too-large"),
        (raw(1, 4, 1, b"\x40\x01a\x7f\x81\x07" + b"x" * 1024 + b"\xbe" * 100), "head-too-large"),
    ],
)
async def test_what_is_not_followed_is_relayed_and_counted(relayed: World, said: bytes, why: str) -> None:
    app, owner = await relayed.pair()
    app.send(PREFACE + SETTINGS)
    await owner.expect(PREFACE + SETTINGS)
    owner.send(SETTINGS)
    await app.expect(SETTINGS)
    app.send(said + b"and all that follows")
    await owner.expect(said + b"and all that follows")
    owner.send(b"whatever")
    await app.expect(b"whatever")
    assert relayed.metrics.counts == {"opened": 1, f"gave-up {why}": 1}


async def test_a_server_that_does_not_speak_it_is_relayed_and_counted(relayed: World) -> None:
    app, owner = await relayed.pair()
    app.send(PREFACE + SETTINGS)
    await owner.expect(PREFACE + SETTINGS)
    answer = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    owner.send(answer)
    await app.expect(answer)
    assert relayed.metrics.counts == {"opened": 1, "gave-up bad-response": 1}


async def test_a_preface_that_is_none_is_relayed_and_counted(relayed: World) -> None:
    app, owner = await relayed.pair()
    almost = b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"
    app.send(almost)
    await owner.expect(almost)
    assert relayed.metrics.counts == {"opened": 1, "uninspected not-http": 1}


async def test_giving_up_lets_what_is_held_go_in_order(relayed: World) -> None:
    app, owner = await peers(relayed)
    held = app.ask("POST", "/v1/blobs")
    await owner.hear((held, "/v1/blobs"))
    owner.h2.send_headers(held, [(":status", "201")])
    owner.h2.send_data(held, b'{"id":')
    owner.flush()
    await relayed.metrics.until("matched post-blob")
    owner.stream.send(raw(9, 4, 1, b""))
    await relayed.metrics.until("gave-up framing")
    data = await app.stream.read()
    while len(data) < 30:
        data += await app.stream.read()
    assert data.endswith(b'{"id":' + raw(9, 4, 1, b""))


async def test_closing_ends_idle_connections() -> None:
    async with world(http2_rules(), drain_deadline=SOON) as made:
        listener = UpstreamListener(Address("127.0.0.1", 0), made.owner.address, made.relay)
        await made.listen(listener)
        app, owner = await peers(made)
        stream = app.ask("GET", "/other")
        await owner.hear((stream, "/other"))
        closing = asyncio.create_task(listener.close())
        await asyncio.sleep(0.05)
        assert not closing.done()
        owner.answer(stream, 200, b"ok")
        await app.hear((stream, b"ok"))
        await closing
