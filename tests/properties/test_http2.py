"""Real HTTP/2 exchanges, made by h2, however they are cut: the same bytes come out, and we see what h2 sees."""

from __future__ import annotations

import asyncio
import gzip
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leasehold.protocol.names import CallId
from leasehold.sidecar.capture.listener import Address, RelaySettings
from leasehold.sidecar.capture.relay import Link
from leasehold.sidecar.capture.sides import OwnerSide
from leasehold.sidecar.observe.exchanges import Concluded, GaveUp, Intent, Matched, Piece
from leasehold.sidecar.observe.frames import PREFACE, Frame
from leasehold.sidecar.observe.http2 import Http2Observer
from leasehold.sidecar.observe.matching import Matcher
from leasehold.sidecar.observe.reasons import GAVE_UP, UNINSPECTED
from leasehold.sidecar.ports import Outcome
from tests.fakes.http2 import blob, framed, http2_rules, text
from tests.fakes.relay import CountingMetrics, ManualRegistrar, Rules, rules
from tests.properties.test_http1 import cut as cut_at
from tests.properties.test_relay import Keeper, Wire

VIEW = Rules(Matcher.compile(rules(http2_rules())))
GRPC = [("content-type", "application/grpc"), ("te", "trailers")]
TRAILERS = [("grpc-status", "0"), ("grpc-message", "")]
Headers = list[tuple[str, str]]


@dataclass
class Turn:
    """Bytes that one side sent at once."""

    by_client: bool
    data: bytes


@dataclass
class Talk:
    """Two h2 connections that talk to each other, and what they said."""

    turns: list[Turn] = field(default_factory=list)
    received: list[h2.events.Event] = field(default_factory=list)
    """By the server."""
    answered: list[h2.events.Event] = field(default_factory=list)
    """By the client."""

    def __post_init__(self) -> None:
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.client.initiate_connection()
        self.server.initiate_connection()

    def ask(self, headers: Headers, *, end: bool = False) -> int:
        stream = self.client.get_next_available_stream_id()
        self.client.send_headers(stream, headers, end_stream=end)
        return stream

    def exchange(self) -> None:
        """Until neither has anything to say."""
        while True:
            asked, told = self.client.data_to_send(), self.server.data_to_send()
            if not asked and not told:
                return
            if asked:
                self.turns.append(Turn(True, asked))
                self.received += self.server.receive_data(asked)
            if told:
                self.turns.append(Turn(False, told))
                self.answered += self.client.receive_data(told)

    def side(self, *, client: bool) -> bytes:
        return b"".join(turn.data for turn in self.turns if turn.by_client is client)


def request(method: str, path: str, more: Sequence[tuple[str, str]] = ()) -> Headers:
    return [(":method", method), (":scheme", "http"), (":authority", "blobs.test"), (":path", path), *more]


def grpc_call(talk: Talk, method: str, name: str, *, size: int = 0) -> int:
    stream = talk.ask(request("POST", f"/blobs.v1.Blobs/{method}", GRPC))
    talk.client.send_data(stream, framed(text(1, name.encode())), end_stream=True, pad_length=size or None)
    return stream


def grpc_answer(talk: Talk, stream: int, *messages: bytes, trailers: Headers = TRAILERS, more: Headers = []) -> None:  # noqa: B006
    talk.server.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc"), *more])
    for message in messages:
        talk.server.send_data(stream, message)
    talk.server.send_headers(stream, trailers, end_stream=True)


def unary(talk: Talk) -> None:
    for n in range(3):
        stream = grpc_call(talk, "Create", f"b-{n}")
        talk.exchange()
        grpc_answer(talk, stream, framed(blob(f"b-{n}")), more=[("x-n", str(n))])
        talk.exchange()


def interleaved(talk: Talk) -> None:
    first = grpc_call(talk, "Create", "b-0")
    second = talk.ask(request("GET", "/other"), end=True)
    third = grpc_call(talk, "Delete", "b-2")
    fourth = talk.ask(request("PUT", "/v1/blobs/b-3"))
    talk.exchange()
    talk.server.send_headers(second, [(":status", "200"), ("x-new", "field")])
    talk.server.send_headers(first, [(":status", "200"), ("content-type", "application/grpc")])
    message = framed(blob("b-0"))
    for at in range(0, len(message), 20):
        talk.server.send_data(second, b"x" * 30, pad_length=3)
        talk.server.send_data(first, message[at : at + 20], pad_length=at or None)
        talk.server.ping(b"pingping")
    talk.client.send_data(fourth, b"y" * 100)
    talk.exchange()
    talk.server.send_headers(first, TRAILERS, end_stream=True)
    grpc_answer(talk, third, trailers=[("grpc-status", "5")])
    talk.client.send_data(fourth, b"y", end_stream=True)
    talk.exchange()
    talk.server.send_headers(fourth, [(":status", "103"), ("link", "x")])
    talk.server.send_headers(fourth, [(":status", "201")], end_stream=True)
    talk.server.end_stream(second)
    talk.exchange()


def rest(talk: Talk) -> None:
    stream = talk.ask(request("POST", "/v1/blobs"))
    talk.client.send_data(stream, b"{}", end_stream=True)
    talk.exchange()
    body = gzip.compress(b'{"id": "b-0"}', mtime=0)
    talk.server.send_headers(stream, [(":status", "201"), ("content-encoding", "gzip"), ("content-type", "text/json")])
    talk.server.send_data(stream, body[:9])
    talk.server.send_data(stream, body[9:])
    talk.server.end_stream(stream)
    talk.exchange()


def large_headers(talk: Talk) -> None:
    """HEADERS with CONTINUATIONs, both ways."""
    filler = [(f"x-{n}", "z" * 900) for n in range(40)]
    stream = talk.ask(request("PUT", "/v1/blobs/b-0", filler), end=True)
    talk.exchange()
    talk.server.send_headers(stream, [(":status", "200"), *filler], end_stream=True)
    talk.exchange()
    stream = talk.ask(request("PUT", "/v1/blobs/b-1", filler[:2]), end=True)
    talk.exchange()
    talk.server.send_headers(stream, [(":status", "200"), *filler[:2]], end_stream=True)
    talk.exchange()


def table_sizes(talk: Talk) -> None:
    """Dynamic tables that grow, shrink and vanish."""
    code = h2.settings.SettingCodes.HEADER_TABLE_SIZE
    for n, size in enumerate((0, 100, 8192, 4096)):
        talk.client.update_settings({code: size})
        talk.server.update_settings({code: size})
        talk.exchange()
        unary_one(talk, f"b-{n}")


def unary_one(talk: Talk, name: str) -> None:
    stream = grpc_call(talk, "Create", name)
    talk.exchange()
    grpc_answer(talk, stream, framed(blob(name)), more=[("x-name", name)])
    talk.exchange()


def resets(talk: Talk) -> None:
    first = grpc_call(talk, "Create", "b-0")
    second = grpc_call(talk, "Create", "b-1")
    third = grpc_call(talk, "Intend", "b-2")
    talk.exchange()
    talk.server.send_headers(first, [(":status", "200"), ("content-type", "application/grpc")])
    talk.server.reset_stream(first, 2)
    talk.client.reset_stream(second, 8)
    talk.server.reset_stream(third, 7)
    talk.exchange()
    unary_one(talk, "b-3")
    talk.server.close_connection()
    talk.exchange()


def pushes(talk: Talk) -> None:
    stream = talk.ask(request("GET", "/page"), end=True)
    talk.exchange()
    talk.server.push_stream(stream, 2, request("GET", "/pushed"))
    talk.server.send_headers(2, [(":status", "200")])
    talk.server.send_headers(stream, [(":status", "200")], end_stream=True)
    talk.server.send_data(2, b"pushed", end_stream=True)
    talk.exchange()
    unary_one(talk, "b-0")


def streaming(talk: Talk) -> None:
    stream = grpc_call(talk, "Watch", "b")
    other = grpc_call(talk, "Create", "c")
    talk.exchange()
    talk.server.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
    talk.server.send_headers(other, [(":status", "200"), ("content-type", "application/grpc")])
    for n in range(3):
        talk.server.send_data(stream, framed(blob(f"b-{n}")))
        talk.server.send_data(other, framed(blob(f"c-{n}")))
        talk.exchange()
    talk.server.send_headers(stream, TRAILERS, end_stream=True)
    talk.server.send_headers(other, [("grpc-status", "13")], end_stream=True)
    talk.exchange()


def failures(talk: Talk) -> None:
    stream = grpc_call(talk, "Create", "b-0")
    talk.exchange()
    answer = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "7")]
    talk.server.send_headers(stream, answer, end_stream=True)
    talk.exchange()
    stream = grpc_call(talk, "Intend", "b-1")
    talk.exchange()
    talk.server.send_headers(stream, [(":status", "503")], end_stream=True)
    talk.exchange()
    stream = grpc_call(talk, "Create", "b-2")
    talk.exchange()
    packed = gzip.compress(blob("b-2"), mtime=0)
    grpc_answer(talk, stream, framed(packed, 1), more=[("grpc-encoding", "gzip")])
    stream = grpc_call(talk, "Create", "b-3")
    talk.exchange()
    grpc_answer(talk, stream, framed(packed, 1), more=[("grpc-encoding", "zstd")])
    stream = grpc_call(talk, "Create", "b-4")
    talk.exchange()
    grpc_answer(talk, stream, framed(b"z" * 5000))
    talk.exchange()


def expecting(talk: Talk) -> None:
    """Bodies that wait to be asked for, and one that is not wanted."""
    for wanted in (True, False):
        stream = talk.ask(request("POST", "/v1/blobs", [("expect", "100-continue")]))
        talk.exchange()
        if wanted:
            talk.server.send_headers(stream, [(":status", "100")])
            talk.exchange()
            talk.client.send_data(stream, b"{}", end_stream=True)
            talk.exchange()
        talk.server.send_headers(stream, [(":status", "201"), ("content-type", "application/json")])
        talk.server.send_data(stream, b'{"id": "b-%d"}' % wanted, end_stream=True)
        talk.exchange()
        if not wanted:
            talk.client.end_stream(stream)
            talk.exchange()


def prioritised(talk: Talk) -> None:
    """PRIORITY of streams that are open, will be, and never are; HEADERS that carry one."""
    talk.client.prioritize(9, weight=7)
    first = grpc_call(talk, "Create", "b-0")
    talk.client.prioritize(first, weight=200, depends_on=9, exclusive=True)
    second = talk.client.get_next_available_stream_id()
    headers = request("PUT", "/v1/blobs/b-1")
    talk.client.send_headers(second, headers, end_stream=True, priority_weight=3, priority_depends_on=first)
    talk.exchange()
    talk.client.prioritize(first, weight=1)
    talk.server.send_headers(second, [(":status", "201")], end_stream=True)
    grpc_answer(talk, first, framed(blob("b-0")))
    talk.exchange()
    talk.client.prioritize(first, weight=1)
    talk.exchange()


SEEN: dict[Callable[[Talk], None], list[str]] = {
    unary: ["b-0", "b-1", "b-2"],
    interleaved: ["b-0", "b-2", "b-3"],
    rest: ["b-0"],
    large_headers: ["b-0", "b-1"],
    table_sizes: ["b-0", "b-1", "b-2", "b-3"],
    resets: ["aborted", "aborted", "b-3"],
    pushes: ["b-0"],
    streaming: ["b-0", "c-0"],
    expecting: ["b-0", "b-1"],
    prioritised: ["b-0", "b-1"],
    failures: ["b-2", "body-unreadable", "body-too-large"],
}
TALKS = sorted(SEEN, key=lambda talk: talk.__name__)
named = pytest.mark.parametrize("script", TALKS, ids=lambda script: script.__name__)


@cache
def talk_of(script: Callable[[Talk], None]) -> Talk:
    talk = Talk()
    talk.exchange()
    script(talk)
    return talk


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    return cut_at(data, list(places)) if data else []


class Always:
    """A ``Passage``."""

    def __init__(self, open_: bool) -> None:
        self.open = open_


def observer(*, open_: bool = True) -> Http2Observer:
    count = iter(range(1_000_000))
    return Http2Observer(VIEW, lambda: CallId(f"c{next(count)}"), "blobs.test:80", Always(open_), Always(open_))


def joined(pieces: Iterable[Piece] | None, data: bytes) -> bytes:
    if pieces is None:
        return data
    return b"".join(
        piece.data if isinstance(piece, Frame) else piece for piece in pieces if isinstance(piece, bytes | Frame)
    )


def watch(turns: Iterable[Turn], *, open_: bool = True) -> tuple[bytes, bytes, list[Piece]]:
    """What comes out on both sides, and the marks."""
    following = observer(open_=open_)
    out = {True: b"", False: b""}
    marks: list[Piece] = []
    for turn in turns:
        pieces = following.request(turn.data) if turn.by_client else following.response(turn.data)
        out[turn.by_client] += joined(pieces, turn.data)
        marks += [piece for piece in pieces or () if not isinstance(piece, bytes | Frame)]
    out[True] += following.request_end()
    end = following.response_end()
    out[False] += joined(end, b"")
    return out[True], out[False], marks + [piece for piece in end if not isinstance(piece, bytes | Frame)]


def found(marks: Iterable[Piece]) -> list[str]:
    return [
        getattr(finding, "reason", "") or finding.resource.id  # type: ignore[union-attr]
        for mark in marks
        if isinstance(mark, Concluded)
        for finding in mark.findings
    ]


def cut_turns(turns: Iterable[Turn], places: Callable[[bytes], list[int]]) -> list[Turn]:
    return [Turn(turn.by_client, part) for turn in turns for part in cut(turn.data, places(turn.data))]


@named
@pytest.mark.parametrize("open_", [True, False])
def test_a_cut_at_every_byte_changes_nothing(script: Callable[[Talk], None], open_: bool) -> None:
    talk = talk_of(script)
    whole = watch(talk.turns, open_=open_)
    single = watch(cut_turns(talk.turns, lambda data: list(range(1, len(data)))), open_=open_)
    for asked, told, marks in (whole, single):
        assert (asked, told) == (talk.side(client=True), talk.side(client=False))
        assert sorted(found(marks)) == sorted(SEEN[script])
        assert not [mark for mark in marks if isinstance(mark, GaveUp)]
    assert [type(mark) for mark in whole[2]] == [type(mark) for mark in single[2]]


@named
def test_a_cut_anywhere_changes_nothing(script: Callable[[Talk], None]) -> None:
    talk = talk_of(script)
    longest = max(len(turn.data) for turn in talk.turns)
    step = max(longest // 400, 1)
    for at in range(1, longest, step):
        asked, told, marks = watch(cut_turns(talk.turns, lambda data, at=at: [at]))  # type: ignore[misc]
        assert (asked, told) == (talk.side(client=True), talk.side(client=False))
        assert sorted(found(marks)) == sorted(SEEN[script])


@named
def test_what_is_decoded_is_what_h2_decodes(script: Callable[[Talk], None]) -> None:
    talk = talk_of(script)
    following = observer()
    seen: dict[bool, list[tuple[int, tuple[tuple[bytes, bytes], ...]]]] = {True: [], False: []}
    for by_client, way in ((True, following._requests), (False, following._responses)):
        feed = way.reader.feed

        def noting(data: bytes, start: int, way=way, feed=feed, by_client=by_client) -> int:  # type: ignore[no-untyped-def]
            end = feed(data, start)
            if end > start and way.reader.block is not None and way.reader.kind == 1:
                seen[by_client].append((way.reader.stream, way.reader.block.fields))
            return end

        way.reader = Noting(way.reader, noting)  # type: ignore[assignment]
    for turn in talk.turns:
        (following.request if turn.by_client else following.response)(turn.data)
    kinds = (
        h2.events.RequestReceived, h2.events.ResponseReceived, h2.events.TrailersReceived,
        h2.events.InformationalResponseReceived,
    )  # fmt: skip
    for by_client, events in ((True, talk.received), (False, talk.answered)):
        theirs = [
            (event.stream_id, tuple((bytes(name), bytes(value)) for name, value in event.headers or ()))
            for event in events
            if isinstance(event, kinds)
        ]
        assert [(stream, merged(fields)) for stream, fields in seen[by_client]] == [
            (stream, merged(fields)) for stream, fields in theirs
        ]


class Noting:
    """A reader that is listened to."""

    def __init__(self, reader: object, feed: Callable[[bytes, int], int]) -> None:
        self._reader = reader
        self.feed = feed

    def __getattr__(self, name: str) -> object:
        return getattr(self._reader, name)


def merged(fields: tuple[tuple[bytes | str, bytes | str], ...]) -> list[tuple[bytes, bytes]]:
    return [tuple(part if isinstance(part, bytes) else part.encode() for part in field) for field in fields]  # type: ignore[misc]


def test_behind_a_goaway_the_calls_under_way_are_followed_to_their_end() -> None:
    talk = Talk()
    talk.exchange()
    stream = grpc_call(talk, "Create", "b-0")
    talk.exchange()
    grpc_answer(talk, stream, framed(blob("b-0")))
    goaway = b"\0\0\x0b\7\0\0\0\0\0" + stream.to_bytes(4, "big") + b"\0\0\0\0bye"
    told = goaway + talk.server.data_to_send()
    for at in range(len(told)):
        asked, out, marks = watch([*talk.turns, *(Turn(False, part) for part in (told[:at], told[at:]) if part)])
        assert asked == talk.side(client=True)
        assert out == talk.side(client=False) + told
        assert found(marks) == ["b-0"]


# --- through a whole link ----------------------------------------------------------------------------------------


async def relayed(
    turns: Iterable[Turn], answers: list[bool], *, ends: bool = False, view: Rules = VIEW
) -> tuple[bytes, bytes, ManualRegistrar]:
    registrar = ManualRegistrar()
    link = Link(RelaySettings(registrar, view, CountingMetrics()), Keeper(), Address("blobs.test", 80))
    app, owner = Wire(), Wire()
    link.app.connection_made(app)  # type: ignore[arg-type]
    side = OwnerSide(link, link.to_app)
    side.connection_made(owner)  # type: ignore[arg-type]

    async def answer(*, all_of_them: bool) -> None:
        for future in registrar.futures:
            if not future.done() and (all_of_them or not answers or answers.pop()):
                future.set_result(Outcome.REGISTERED)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    for turn in turns:
        if not turn.by_client:
            for _ in range(4):  # the owner cannot answer what it has not seen
                await answer(all_of_them=any(not exchange.sent for exchange in link._holds._intended))
        (link.app if turn.by_client else side).data_received(turn.data)
        await answer(all_of_them=False)
    for _ in range(6):
        await answer(all_of_them=True)
    if ends:
        link.app.eof_received()
        side.eof_received()
    assert link.to_app.drained
    assert link.to_owner.drained
    assert app.reading
    assert owner.reading
    link.app_lost(None)
    return owner.written, app.written, registrar


def understood(data: bytes) -> dict[int, list[object]]:
    """What an h2 server makes of bytes: its events by stream. Raises when they are not HTTP/2 any more."""
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    peer.initiate_connection()
    peer.decoder.max_allowed_table_size = 65536
    streams: dict[int, list[object]] = {}
    for event in peer.receive_data(data):
        stream = getattr(event, "stream_id", None) or 0
        what = getattr(event, "headers", None) or getattr(event, "data", None)
        if isinstance(what, bytes):
            what = bytes(what)
        if what is not None:
            streams.setdefault(stream, []).append(what)
    return streams


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([unary, interleaved, large_headers, table_sizes, streaming, rest, failures]),
    st.lists(st.integers(1, 400), max_size=5),
    st.lists(st.booleans(), max_size=60),
)
def test_whenever_the_registrar_answers_the_owner_understands_the_same(
    script: Callable[[Talk], None], places: list[int], answers: list[bool]
) -> None:
    talk = talk_of(script)
    turns = cut_turns(talk.turns, lambda data: places)
    asked, told, registrar = asyncio.run(relayed(turns, answers))
    assert len(asked) == len(talk.side(client=True))
    assert len(told) == len(talk.side(client=False))
    assert understood(asked) == understood(talk.side(client=True))
    assert sorted(registrar.ids) == sorted(name for name in SEEN[script] if name[1] == "-")


class Live:
    """An h2 client and an h2 server that talk through a link, and what each has understood."""

    def __init__(self, chance: random.Random, view: Rules = VIEW) -> None:
        self.chance = chance
        self.registrar = ManualRegistrar()
        self.metrics = CountingMetrics()
        self.link = Link(RelaySettings(self.registrar, view, self.metrics), Keeper(), Address("blobs.test", 80))
        self.app, self.owner = Wire(), Wire()
        self.link.app.connection_made(self.app)  # type: ignore[arg-type]
        self.side = OwnerSide(self.link, self.link.to_app)
        self.side.connection_made(self.owner)  # type: ignore[arg-type]
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.client.initiate_connection()
        self.server.initiate_connection()
        self.asked = self.told = b""
        self.got: dict[int, list[object]] = {}
        self.sent: dict[int, list[object]] = {}
        self.requested: dict[int, list[tuple[bytes, bytes]]] = {}
        """What the client asked, by stream."""
        self.heard: dict[int, list[tuple[bytes, bytes]]] = {}
        """What the server made of it."""

    def step(self) -> None:
        """Some of what waits to be read is read, or some of what waits to be decided is decided."""
        chance = self.chance
        what = chance.randrange(3)
        if what == 0:
            self.asked += self.client.data_to_send()
            data, self.asked = self._part(self.asked)
            self.link.app.data_received(data)
        elif what == 1:
            self.told += self.server.data_to_send()
            data, self.told = self._part(self.told)
            self.side.data_received(data)
        waiting = [future for future in self.registrar.futures if not future.done()]
        if waiting and chance.random() < 0.3:
            chance.choice(waiting).set_result(Outcome.REGISTERED)
        data, self.owner.written = self.owner.written, b""
        for event in self.server.receive_data(data):
            self._serve(event)
        data, self.app.written = self.app.written, b""
        for event in self.client.receive_data(data):
            self._note(event)

    def _part(self, data: bytes) -> tuple[bytes, bytes]:
        at = self.chance.choice([self.chance.randrange(1, 60), len(data)])
        return data[:at], data[at:]

    def ask(self, n: int) -> None:
        method = self.chance.choice(["Create", "Intend", "Delete", "Other", "Watch"])
        fresh = [(f"x-{self.chance.randrange(20)}", str(n))] if self.chance.random() < 0.4 else []
        stream = self.client.get_next_available_stream_id()
        headers = request("POST", f"/blobs.v1.Blobs/{method}", [*GRPC, *fresh])
        self.requested[stream] = merged(headers)  # type: ignore[arg-type]
        self.client.send_headers(stream, headers)
        self.client.send_data(stream, framed(text(1, b"b")), end_stream=True)

    def _serve(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.heard[event.stream_id or 0] = merged(event.headers or ())  # type: ignore[arg-type]
        if not isinstance(event, h2.events.StreamEnded):
            return
        stream = event.stream_id
        fresh = [(f"y-{self.chance.randrange(9)}", str(stream))] if self.chance.random() < 0.4 else []
        headers = [(":status", "200"), ("content-type", "application/grpc"), *fresh]
        body = framed(blob(f"b-{stream}"))
        self.server.send_headers(stream, headers)
        self.server.send_data(stream, body[:20])
        self.server.send_data(stream, body[20:])
        self.server.send_headers(stream, [*TRAILERS, *fresh], end_stream=True)
        self.sent[stream] = [headers, body, [*TRAILERS, *fresh]]

    def _note(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            parts = self.got[event.stream_id]
            if len(parts) == 1:
                parts.append(b"")
            parts[1] += bytes(event.data or b"")  # type: ignore[operator]
        elif isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            decoded = [(name.decode(), value.decode()) for name, value in event.headers or ()]
            self.got.setdefault(event.stream_id or 0, []).append(decoded)


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32))
@example(338017)  # the server's first frame comes in two parts, before the client's preface is whole
def test_two_peers_understand_each_other_through_every_reordering(seed: int) -> None:
    live = asyncio.run(talked(seed))
    assert live.heard == live.requested


async def talked(seed: int, view: Rules = VIEW) -> Live:
    """After many calls that all were answered."""
    live = Live(random.Random(seed), view)
    calls = live.chance.randrange(1, 25)
    code = h2.settings.SettingCodes.HEADER_TABLE_SIZE
    asked, changed = 0, False
    for _ in range(60):
        live.step()  # h2 takes the first acknowledgement for that of the last change: so changes come later
    for _ in range(6000):
        if asked < calls and live.chance.random() < 0.3:
            live.ask(asked)
            asked += 1
        if live.got and not changed:
            changed = True
            live.client.update_settings({code: live.chance.choice([0, 64, 4096, 9999])})
            live.server.update_settings({code: live.chance.choice([0, 64, 4096, 9999])})
        live.step()
        await asyncio.sleep(0)
        if len(live.got) == calls and all(len(parts) == 3 for parts in live.got.values()):
            break
    assert live.got == live.sent
    assert not [what for what in live.metrics.counts if what.startswith("gave-up")]
    live.link.app_lost(None)
    return live


# --- nonsense ----------------------------------------------------------------------------------------------------

FRAMES = st.builds(
    lambda kind, flags, stream, payload: len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream + payload,
    st.integers(0, 12),
    st.integers(0, 255),
    st.sampled_from([0, 1, 2, 3, 5, 2**31 - 1]).map(lambda stream: stream.to_bytes(4, "big")),
    st.binary(max_size=40),
)
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.lists(FRAMES, max_size=6).map(b"".join)), max_size=8),
    st.lists(st.integers(1, 60), max_size=3),
    st.booleans(),
)
def test_random_frames_pass_unchanged(said: list[tuple[bool, bytes]], places: list[int], open_: bool) -> None:
    turns = [Turn(True, PREFACE + SETTINGS), Turn(False, SETTINGS)]
    turns += cut_turns([Turn(*one) for one in said], lambda data: places)
    survives(turns, open_)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(TALKS), st.integers(0, 2**32), st.booleans())
def test_mutated_talk_passes_unchanged(script: Callable[[Talk], None], seed: int, open_: bool) -> None:
    chance = random.Random(seed)
    turns = []
    for turn in talk_of(script).turns:
        data = bytearray(turn.data)
        for _ in range(chance.choice((0, 0, 1, 3))):
            at = chance.randrange(len(data))
            if chance.random() < 0.7:
                data[at] = chance.randrange(256)
            else:
                data[at:at] = data[chance.randrange(len(data)) :][:20]
        turns += [Turn(turn.by_client, part) for part in cut(bytes(data), [chance.randrange(1, 2000)])]
    survives(turns, open_)


def survives(turns: list[Turn], open_: bool) -> None:
    """Bytes unchanged, however it ends; after giving up nobody asks any more."""
    following = observer(open_=open_)
    out = {True: b"", False: b""}
    gone = False
    for turn in turns:
        pieces = None
        if not gone:
            pieces = following.request(turn.data) if turn.by_client else following.response(turn.data)
        out[turn.by_client] += joined(pieces, turn.data)
        if pieces and isinstance(pieces[-1], GaveUp):
            assert pieces[-1].reason in GAVE_UP | UNINSPECTED
            out[True] += following.withheld_request
            out[False] += following.withheld_response
            gone = True
    if not gone:
        out[True] += following.withheld_request
        out[False] += following.withheld_response
    for by_client in (True, False):
        assert out[by_client] == b"".join(turn.data for turn in turns if turn.by_client is by_client)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(TALKS), st.integers(0, 2**32), st.lists(st.booleans(), max_size=20))
def test_a_link_survives_mutated_talk(script: Callable[[Talk], None], seed: int, answers: list[bool]) -> None:
    chance = random.Random(seed)
    turns = []
    for turn in talk_of(script).turns:
        data = bytearray(turn.data)
        if chance.random() < 0.2:
            data[chance.randrange(len(data))] = chance.randrange(256)
        turns += [Turn(turn.by_client, part) for part in cut(bytes(data), [chance.randrange(1, 300)])]
    asked, told, _ = asyncio.run(relayed(turns, answers, ends=True))
    for by_client, data in ((True, asked), (False, told)):
        whole = b"".join(turn.data for turn in turns if turn.by_client is by_client)
        assert Counter(data) <= Counter(whole)


def test_marks_stand_before_their_frames() -> None:
    following = observer()
    talk = talk_of(interleaved)
    for turn in talk.turns:
        pieces = following.request(turn.data) if turn.by_client else following.response(turn.data)
        for mark, behind in zip(pieces or (), (pieces or ())[1:], strict=False):
            if isinstance(mark, Intent | Matched) and isinstance(behind, Frame):
                assert behind.stream == mark.exchange.stream
