"""What the owner gets is what the client sent and one header more, in intended requests alone, however all is cut."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections.abc import Callable, Iterable
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import msgspec
import pytest
from hpack import NeverIndexedHeaderTuple
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leasehold.protocol.idempotency import IdempotencyKey
from leasehold.protocol.names import CallId
from leasehold.protocol.rules import Commit, On, RuleSet
from leasehold.sidecar.capture.insertion import field_of, with_field
from leasehold.sidecar.capture.listener import Address, RelaySettings
from leasehold.sidecar.capture.relay import Link
from leasehold.sidecar.capture.sides import OwnerSide
from leasehold.sidecar.observe.exchanges import Insert, Piece
from leasehold.sidecar.observe.frames import CONTINUATION, END_HEADERS, END_STREAM, HAS_PRIORITY, HEADERS, PADDED
from leasehold.sidecar.observe.http2 import Http2Observer
from leasehold.sidecar.observe.matching import Matcher
from leasehold.sidecar.observe.observer import Observer
from leasehold.sidecar.ports import Outcome
from tests.fakes.http2 import http2_rules
from tests.fakes.relay import CountingMetrics, ManualRegistrar, Rules, rules
from tests.properties.test_http1 import CONVERSATIONS, HOST, Conversation, cut
from tests.properties.test_http2 import (
    TALKS,
    Always,
    Talk,
    Turn,
    cut_turns,
    joined,
    named,
    relayed,
    request,
    talk_of,
    talked,
)
from tests.properties.test_relay import Keeper, Wire

NAME = "Idempotency-Key"
FIELD = b"idempotency-key"


def keyed(given_rules: RuleSet) -> Rules:
    """Every creation is intended, and wants a key."""
    changed = tuple(
        msgspec.structs.replace(rule, commit=Commit.BEFORE_REQUEST, idempotency_key=IdempotencyKey(NAME))
        if rule.on is On.CREATE
        else rule
        for rule in given_rules.rules
    )
    return Rules(Matcher.compile(RuleSet(given_rules.owners, changed)))


ON_1 = keyed(rules())
ON_2 = keyed(rules(http2_rules()))

# --- HTTP/1 ------------------------------------------------------------------------------------------------------

INTENDED = re.compile(
    rb"((?:POST /v1/blobs|PUT /v1/blobs/b-2|PUT /v1/notes/n-1) HTTP/1\.[01]\r\n(?:[^\r]+\r\n)*)(\r\n)"
)
NAMED = re.compile(rb"\r\nidempotency-key: *([^\r]*)\r\n", re.IGNORECASE)
PIPELINE = b"".join(
    [
        b"\r\nPUT /v1/blobs/b-2 HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\n\r\n\r\n",
        b"GET /other HTTP/1.1\r\n" + HOST + b"\r\n",
        b"PUT /v1/notes/n-1 HTTP/1.1\r\n" + HOST + b"idempotency-KEY:  the app's own \r\n\r\n",
        b"POST http://blobs.test/v1/blobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"4\r\n\r\n\r\n\r\n0\r\n\r\n",
        b"PUT /v1/notes/n-1 HTTP/1.0\r\n" + HOST + b"\r\n",
    ]
)
ON_THE_WAY = [*CONVERSATIONS, Conversation("pipeline", PIPELINE, b"", ())]


def amended(requests: bytes, keys: Iterable[str]) -> bytes:
    """What the owner is to get, made by other means."""
    requests = requests.replace(b"POST http://blobs.test/v1/blobs", b"POST /v1/blobs")

    def one(found: re.Match[bytes]) -> bytes:
        if NAMED.search(found[1]):
            return found[0]
        return found[1] + b"Idempotency-Key: " + next(known).encode() + b"\r\n" + found[2]

    known = iter(keys)
    changed = INTENDED.sub(one, requests)
    return changed.replace(
        b"POST /v1/blobs HTTP/1.1\r\nHost: x", b"POST http://blobs.test/v1/blobs HTTP/1.1\r\nHost: x"
    )


async def sent_on(chunks: Iterable[bytes], answers: list[bool]) -> tuple[bytes, ManualRegistrar]:
    registrar, numbers = ManualRegistrar(), itertools.count()
    settings_ = RelaySettings(registrar, ON_1, CountingMetrics(), new_call=lambda: CallId(f"call-{next(numbers)}"))
    link = Link(settings_, Keeper(), Address("blobs.test", 80))
    app, owner = Wire(), Wire()
    link.app.connection_made(app)  # type: ignore[arg-type]
    OwnerSide(link, link.to_app).connection_made(owner)  # type: ignore[arg-type]
    for chunk in chunks:
        link.app.data_received(chunk)
        for future in registrar.futures:
            if not future.done() and (not answers or answers.pop()):
                future.set_result(Outcome.REGISTERED)
        await asyncio.sleep(0)
    for future in registrar.futures:
        if not future.done():
            future.set_result(Outcome.REGISTERED)
    await asyncio.sleep(0)
    link.app_ended()
    link.app_lost(None)
    return owner.written, registrar


def ours(registrar: ManualRegistrar) -> list[str]:
    return [key for key, (_, call, *_) in zip(registrar.keys, registrar.intents, strict=True) if key == call]


@pytest.mark.parametrize("conversation", ON_THE_WAY, ids=lambda conversation: conversation.name)
async def test_an_intended_request_gets_one_line_wherever_it_is_cut(conversation: Conversation) -> None:
    requests = conversation.requests
    for at in range(1, len(requests)):
        written, registrar = await sent_on(cut(requests, [at]), [])
        assert written == amended(requests, ours(registrar))
    written, registrar = await sent_on([requests[at : at + 1] for at in range(len(requests))], [])
    assert written == amended(requests, ours(registrar))


async def test_in_a_pipeline_each_request_gets_its_own_key_and_the_apps_own_one_is_left_alone() -> None:
    written, registrar = await sent_on([PIPELINE], [])
    assert registrar.keys == ["call-0", "the app's own", "call-2", "call-3"]
    assert NAMED.findall(written) == [b"call-0", b"the app's own ", b"call-2", b"call-3"]
    assert len(written) == len(PIPELINE) + 3 * len(b"Idempotency-Key: call-0\r\n")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(ON_THE_WAY), st.lists(st.integers(0, 10_000), max_size=6), st.lists(st.booleans(), max_size=20))
def test_whenever_the_intent_is_durable_it_is_the_same_line(
    conversation: Conversation, places: list[int], answers: list[bool]
) -> None:
    written, registrar = asyncio.run(sent_on(cut(conversation.requests, places), answers))
    assert written == amended(conversation.requests, ours(registrar))


# --- the observer only reads -------------------------------------------------------------------------------------


WHOLE = re.compile(rb"[A-Z]+ [^\r]+ HTTP/1\.[01]\r\n(?:[^\r]+\r\n)*\r\n")


def is_whole(block: bytes) -> bool:
    """HEADERS, perhaps with CONTINUATIONs, to the end of the last one."""
    at, flags = 0, 0
    while not flags & END_HEADERS:
        kind, flags = block[at + 3], block[at + 4]
        assert kind == (CONTINUATION if at else HEADERS)
        at += 9 + int.from_bytes(block[at : at + 3], "big")
    return at == len(block)


def shown(pieces: list[Piece] | None, data: bytes) -> tuple[bytes, list[bytes]]:
    """The bytes of these pieces, joined, and those of them that come directly behind an ``Insert``."""
    pieces = [data] if pieces is None else pieces
    return joined(pieces, data), [
        joined([behind], b"") for mark, behind in itertools.pairwise(pieces) if isinstance(mark, Insert)
    ]


@pytest.mark.parametrize("conversation", ON_THE_WAY, ids=lambda conversation: conversation.name)
def test_behind_an_insert_comes_a_whole_head_and_no_byte_is_another(conversation: Conversation) -> None:
    requests = conversation.requests
    wanted = amended(requests, itertools.repeat("k")).count(b"Idempotency-Key: k\r\n")
    for at in range(len(requests)):
        reader = Observer(ON_1, lambda: CallId("k"), "blobs.test:80")
        out, heads = b"", []
        for chunk in cut(requests, [at]):
            data, more = shown(reader.request(chunk), chunk)
            out += data
            heads += more
        assert out + reader.request_end() == requests
        assert len(heads) == wanted
        assert all(WHOLE.fullmatch(head) and head in requests for head in heads)


@named
@pytest.mark.parametrize("open_", [True, False])
def test_behind_an_insert_comes_a_whole_header_block_and_no_byte_is_another(
    script: Callable[[Talk], None], open_: bool
) -> None:
    turns = talk_of(script).turns
    for at in range(1, 400, 7):
        reader = Http2Observer(ON_2, lambda: CallId("k"), "blobs.test:80", Always(open_), Always(open_))
        out, heads = b"", []
        for turn in cut_turns(turns, lambda data, at=at: [at]):  # type: ignore[misc]
            if turn.by_client:
                data, more = shown(reader.request(turn.data), turn.data)
                out += data
                heads += more
            else:
                reader.response(turn.data)
        sent = talk_of(script).side(client=True)
        assert out + reader.request_end() == sent
        assert len(heads) == sum(wants(said[0]) for said in heard(sent).values())
        assert all(is_whole(head) for head in heads)


# --- HTTP/2 ------------------------------------------------------------------------------------------------------

Field = tuple[bytes, bytes]
WANTED = re.compile(r"POST /blobs.v1.Blobs/(Create|Slow|Intend|Tag)|POST /v1/blobs|PUT /v1/blobs/.+")


def heard(data: bytes) -> dict[int, list[Any]]:
    """What an h2 server hears, by stream: headers as they were written, data, trailers. Raises if it is no HTTP/2."""
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    peer.initiate_connection()
    peer.decoder.max_allowed_table_size = 65536
    streams: dict[int, list[Any]] = {}
    for event in peer.receive_data(data):
        what = getattr(event, "headers", None) or bytes(getattr(event, "data", None) or b"")
        if getattr(event, "stream_id", None) and what:
            streams.setdefault(event.stream_id, []).append(what)  # type: ignore[union-attr]
    return streams


def with_keys(streams: dict[int, list[Any]], keys: Iterable[str]) -> dict[int, list[Any]]:
    """Each intended request with the next key at its end."""
    known = iter(keys)
    return {
        stream: [[*said[0], (FIELD, next(known).encode())] if wants(said[0]) else said[0], *said[1:]]
        for stream, said in sorted(streams.items())
    }


def wants(headers: Iterable[Field]) -> bool:
    fields = {bytes(name): bytes(value) for name, value in headers}
    return WANTED.fullmatch(f"{fields[b':method'].decode()} {fields[b':path'].decode()}") is not None


def check(script: Callable[[Talk], None], turns: list[Turn], answers: list[bool]) -> None:
    talk = talk_of(script)
    asked, _, registrar = asyncio.run(relayed(turns, answers, view=ON_2))
    before = heard(talk.side(client=True))
    assert heard(asked) == with_keys(before, registrar.keys)
    assert registrar.keys == [call for _, call, *_ in registrar.intents]
    assert len(registrar.keys) == sum(wants(said[0]) for said in before.values())
    assert len(asked) == len(talk.side(client=True)) + sum(len(field_of(Insert(NAME, key))) for key in registrar.keys)


@named
def test_the_owner_decodes_the_clients_fields_and_the_key_wherever_it_is_cut(script: Callable[[Talk], None]) -> None:
    turns = talk_of(script).turns
    check(script, turns, [])
    longest = max(len(turn.data) for turn in turns)
    for at in range(1, longest, max(longest // 60, 1)):
        check(script, cut_turns(turns, lambda data, at=at: [at]), [])  # type: ignore[misc]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(TALKS), st.lists(st.integers(1, 400), max_size=5), st.lists(st.booleans(), max_size=60))
def test_whenever_the_intent_is_durable_the_owner_decodes_the_same(
    script: Callable[[Talk], None], places: list[int], answers: list[bool]
) -> None:
    check(script, cut_turns(talk_of(script).turns, lambda data: places), answers)


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32))
@example(338017)
def test_two_peers_understand_each_other_and_the_keys_through_every_reordering(seed: int) -> None:
    live = asyncio.run(talked(seed, ON_2))
    if live.metrics.counts["uninspected server-first"]:  # its first bytes came before the client's, and were too few
        assert live.heard == live.requested
        return
    keys = iter(live.registrar.keys)
    expected = {
        stream: [*fields, (FIELD, next(keys).encode())] if wants(fields) else fields
        for stream, fields in sorted(live.requested.items())
    }
    assert live.heard == expected


# --- one header block --------------------------------------------------------------------------------------------


def block_of(parts: Iterable[bytes], padding: int | None, *, priority: bool, end: bool, stream: int) -> bytes:
    """HEADERS and CONTINUATIONs that carry these fragments."""
    first, *others = parts
    flags = END_STREAM * end | HAS_PRIORITY * priority | (PADDED if padding is not None else 0)
    payload = (b"\0\0\0\0\7" if priority else b"") + first
    if padding is not None:
        payload = bytes([padding]) + payload + bytes(padding)
    frames = [(HEADERS, flags, payload), *((CONTINUATION, PADDED, other) for other in others)]  # where it means nothing
    kind, flags, payload = frames[-1]
    frames[-1] = (kind, flags | END_HEADERS, payload)
    return b"".join(
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
        for kind, flags, payload in frames
    )


def asked(size: int) -> tuple[h2.connection.H2Connection, bytes, list[tuple[str, str]]]:
    """A client that has encoded a request into so many bytes, and its fields."""
    for filler in range(size - 60, size):
        client = h2.connection.H2Connection()
        client.initiate_connection()
        fields = request("PUT", "/v1/blobs/b-0", [("x", "z" * filler)])
        fragment = client.encoder.encode(fields, huffman=False)
        if len(fragment) == size:
            return client, fragment, fields
    raise AssertionError(size)


KEY = Insert(NAME, "0123456789abcdef" * 2)
FULL = 16384 - len(field_of(KEY))
"""A frame that holds so much can just take the key, too."""


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 2),
    st.sampled_from([0, 1, 200, FULL - 262, FULL - 261, FULL - 1, FULL, FULL + 1, 16384 - 6, 16384]),
    st.none() | st.sampled_from([0, 1, 255]),
    st.booleans(),
    st.booleans(),
)
@example(0, FULL, None, False, True)
@example(0, FULL + 1, None, False, True)
@example(0, FULL - 261, 255, True, True)
@example(0, FULL - 260, 255, True, True)
@example(1, FULL, 255, True, True)
@example(1, FULL + 1, 255, True, True)
def test_a_block_of_any_shape_takes_the_field(
    before: int, last: int, padding: int | None, priority: bool, end: bool
) -> None:
    """``last``: bytes of it in its last frame, behind ``before`` others."""
    if not before:  # all that is in a frame has to fit into it
        last = max(min(last, 16384 - 5 * priority - (0 if padding is None else 1 + padding)), 200)
    client, fragment, fields = asked(before * 16000 + last)
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    server.initiate_connection()
    parts = cut(fragment, [16000 * n for n in range(1, before + 1)])
    plain = block_of(parts, padding, priority=priority, end=end, stream=1)
    later = block_of([client.encoder.encode(request("GET", "/later"))], None, priority=False, end=True, stream=3)
    events = server.receive_data(client.data_to_send() + with_field(plain, field_of(KEY)) + later)
    first, second = [event for event in events if isinstance(event, h2.events.RequestReceived)]
    *theirs, added = first.headers or ()
    assert [(name.decode(), value.decode()) for name, value in theirs] == fields
    assert added == (FIELD, KEY.value.encode())
    assert isinstance(added, NeverIndexedHeaderTuple)
    assert dict(second.headers or ())[b":path"] == b"/later"
    ended = [event.stream_id for event in events if isinstance(event, h2.events.StreamEnded)]
    assert ended == ([1, 3] if end else [3])
    assert bool(first.priority_updated) is priority


@pytest.mark.parametrize("seed", range(3))
def test_a_field_longer_than_one_byte_can_say_is_written_right(seed: int) -> None:
    chance = random.Random(seed)
    name, value = "x" * chance.choice([1, 64]), "v" * chance.choice([126, 127, 128, 255, 256])
    decoder = h2.connection.H2Connection().decoder
    assert decoder.decode(field_of(Insert(name, value)), raw=True) == [(name.encode(), value.encode())]
