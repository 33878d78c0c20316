"""What we say about HTTP/2 calls and what h2 says about the same bytes: methods, targets, statuses, bodies; and where
h2 refuses, that nothing was said that it had not seen."""

from __future__ import annotations

import itertools
import json
import random

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasehold.protocol.names import CallId
from leasehold.sidecar.observe.exchanges import GaveUp
from leasehold.sidecar.observe.http2 import Http2Observer
from tests.fakes.spying import METHODS, STATUSES, Said, Spy, spying
from tests.properties.test_http2 import Always, Talk, Turn, cut_turns
from tests.recorded.exchanges import Recorded, all_recorded

VIEW = spying()
CODES = h2.settings.SettingCodes


def request(chance: random.Random, number: int) -> list[tuple[str, str]]:
    path = f"/v1/{number}?q={chance.randrange(9)}"
    head = [(":method", chance.choice(METHODS)), (":scheme", "http"), (":authority", "blobs.test"), (":path", path)]
    more = [(f"x-{chance.randrange(12)}", "v" * chance.choice((0, 1, 30, 300))) for _ in range(chance.randrange(4))]
    huge = [(f"y-{n}", "z" * 900) for n in range(30)] if chance.random() < 0.05 else []
    return [*head, *more, *huge]


class Chat:
    """Calls by chance on one connection: interleaved, padded, prioritised, reset, with trailers and interim answers."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.talk = Talk()
        self.talk.exchange()
        self.changing = [self.talk.client, self.talk.server]
        self.reset: set[int] = set()
        self.asking: list[int] = []
        self.telling: dict[int, bytes] = {}

    def run(self) -> Talk:
        chance = self.chance
        for number in range(chance.randrange(1, 9)):
            self._ask(number)
            for _ in range(chance.randrange(6)):
                self._something()
        while self.asking or self.telling:
            self._something()
        if chance.random() < 0.3:
            self.talk.server.close_connection(last_stream_id=self.talk.client.highest_outbound_stream_id)
        self.talk.exchange()
        return self.talk

    def _ask(self, number: int) -> None:
        chance, client = self.chance, self.talk.client
        stream = client.get_next_available_stream_id()
        headers = request(chance, number)
        # h2 cannot write a block with a priority and continuations.
        priority = (
            {"priority_weight": 5, "priority_depends_on": 0} if len(headers) < 9 and chance.random() < 0.3 else {}
        )
        body = chance.random() < 0.5
        client.send_headers(stream, headers, end_stream=not body, **priority)
        if body:
            self.asking.append(stream)
        self._exchange()
        self._begin_to_tell(stream, headers[0][1])

    def _begin_to_tell(self, stream: int, method: str) -> None:
        chance, server = self.chance, self.talk.server
        while chance.random() < 0.2:
            server.send_headers(stream, [(":status", "103"), ("link", "</x>")])
        body = json.dumps({"id": f"b-{stream}", "pad": "p" * chance.choice((0, 5, 2000))}).encode()
        body = chance.choice((body, body, b"no json", b""))
        status = chance.choice(STATUSES)
        if method == "HEAD" or status in {204, 304}:
            body = b""
        fields = [(":status", str(status)), ("content-type", "application/json")]
        server.send_headers(stream, [*fields, (f"x-{chance.randrange(5)}", str(stream))], end_stream=not body)
        if body:
            self.telling[stream] = body
        self._exchange()

    def _something(self) -> None:
        chance, talk = self.chance, self.talk
        what = chance.randrange(8)
        if what < 3 and self.telling:
            self._tell(chance.choice(list(self.telling)))
        elif what < 5 and self.asking:
            stream = self.asking.pop(chance.randrange(len(self.asking)))
            pad = chance.choice((None, 0, 10))
            talk.client.send_data(stream, b"y" * chance.randrange(100), end_stream=True, pad_length=pad)
        elif what == 5 and self.telling and chance.random() < 0.3:
            stream = chance.choice(list(self.telling))
            del self.telling[stream]
            chance.choice((talk.client, talk.server)).reset_stream(stream, 8)
            self.asking = [one for one in self.asking if one != stream]
            self.reset.add(stream)
        elif what == 6:
            chance.choice((talk.client, talk.server)).ping(b"pingping")
        elif what == 7 and self.changing:  # once each: h2 loses its way when a size changes twice between two blocks
            self.changing.pop().update_settings({CODES.HEADER_TABLE_SIZE: chance.choice((0, 64, 8192))})
        self._exchange()

    def _tell(self, stream: int) -> None:
        chance, server = self.chance, self.talk.server
        body = self.telling[stream]
        part, rest = body[: (at := chance.randrange(len(body) + 1))], body[at:]
        trailers = not rest and chance.random() < 0.5
        pad = chance.choice((None, None, 0, 50))
        server.send_data(stream, part, end_stream=not rest and not trailers, pad_length=pad)
        if trailers:
            server.send_headers(stream, [("checksum", str(stream))], end_stream=True)
        if rest:
            self.telling[stream] = rest
        else:
            del self.telling[stream]

    def _exchange(self) -> None:
        self.talk.exchange()


def h2_says(talk: Talk) -> dict[int, tuple[str, str, int, bytes, bool]]:
    """Of each stream: method, target, status, body, and whether it was answered to the end."""
    asked: dict[int, tuple[str, str]] = {}
    status: dict[int, int] = {}
    body: dict[int, bytes] = {}
    whole: set[int] = set()
    for event in talk.received:
        if isinstance(event, h2.events.RequestReceived):
            fields = dict(event.headers or ())
            asked[event.stream_id or 0] = (fields[b":method"].decode(), fields[b":path"].decode())
    for event in talk.answered:
        stream = getattr(event, "stream_id", None) or 0
        if isinstance(event, h2.events.ResponseReceived):
            status[stream] = int(dict(event.headers or ())[b":status"])
        elif isinstance(event, h2.events.DataReceived):
            body[stream] = body.get(stream, b"") + bytes(event.data or b"")
        elif isinstance(event, h2.events.StreamEnded):
            whole.add(stream)
    return {
        stream: (*one, status.get(stream, 0), body.get(stream, b""), stream in whole) for stream, one in asked.items()
    }


def we_say(turns: list[Turn]) -> tuple[dict[str, Said], list[str]]:
    """By target; and why we gave up."""
    numbers = itertools.count()
    watching = Http2Observer(VIEW, lambda: CallId(f"c{next(numbers)}"), "blobs.test:80", Always(True), Always(True))
    spy = Spy()
    for turn in turns:
        pieces = watching.request(turn.data) if turn.by_client else watching.response(turn.data)
        spy.take(pieces or [])
        if pieces and isinstance(pieces[-1], GaveUp):
            return {one.target: one for one in spy.said}, [pieces[-1].reason]
    spy.take(watching.response_end())
    return {one.target: one for one in spy.said}, []


def expected(status: int, body: bytes, whole: bool) -> set[str]:
    if not whole:
        return {"aborted"}
    if not body:
        return {"no-id", "body-unreadable"}
    try:
        return {json.loads(body)["id"]}
    except ValueError:
        return {"body-unreadable"}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 3000), max_size=4))
def test_of_each_stream_both_say_the_same(seed: int, places: list[int]) -> None:
    chat = Chat(seed)
    talk = chat.run()
    said, gave_up = we_say(cut_turns(talk.turns, lambda data: places))
    assert gave_up == []
    known = h2_says(talk)
    assert sorted(said) == sorted(target for _, target, *_ in known.values())
    for stream, (method, target, status, body, whole) in known.items():
        one = said[target]
        assert one.method == method
        if stream in chat.reset:
            assert one.found == "aborted" or one.found in expected(status, body, whole=True)
            continue
        assert one.status == status
        assert one.found in expected(status, body, whole)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_where_h2_refuses_we_have_said_nothing_of_a_call_that_it_did_not_see(seed: int, how: int) -> None:
    """The server's h2 reads what is changed; we read it, too, and see no request that it does not."""
    chance = random.Random(how)
    talk = Chat(seed).run()
    data = bytearray(talk.side(client=True))
    for _ in range(chance.choice((1, 1, 2))):
        data[chance.randrange(24, len(data))] = chance.randrange(256)
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, validate_inbound_headers=False))
    server.initiate_connection()
    seen: set[tuple[str, str]] = set()
    refused = False
    for part in (bytes(data[at : at + 50]) for at in range(0, len(data), 50)):
        try:
            events = server.receive_data(part)
        except h2.exceptions.ProtocolError:
            refused = True
            break
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                fields = dict(reversed(event.headers or []))
                seen.add((fields.get(b":method", b"").decode("latin-1"), fields.get(b":path", b"").decode("latin-1")))
    watching = Http2Observer(VIEW, lambda: CallId("c"), "blobs.test:80", Always(True), Always(True))
    watching.response(b"\0\0\0\4\0\0\0\0\0")
    pieces = watching.request(bytes(data)) or []
    calls = {(call.exchange.method, call.exchange.target) for call in watching._calls.values()}
    if not refused and not (pieces and isinstance(pieces[-1], GaveUp)):
        assert calls <= seen


HTTP2 = [one for one in all_recorded() if one.side(client=True).startswith(b"PRI") and one.rules == "store"]


@pytest.mark.parametrize("recorded", HTTP2, ids=lambda one: one.name)
def test_of_what_was_recorded_we_say_what_h2_says(recorded: Recorded) -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    client.initiate_connection()
    server.initiate_connection()
    talk = Talk()
    talk.received = server.receive_data(recorded.side(client=True))
    known = {target: method for method, target, *_ in h2_says(talk).values()}
    said, gave_up = we_say([Turn(turn.by_client, turn.data) for turn in recorded.turns])
    assert gave_up == []
    assert {target: one.method for target, one in said.items()} == known
    assert all(one.status for one in said.values())
