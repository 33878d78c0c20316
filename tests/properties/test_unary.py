"""Unary calls with h2 as the server, however the bytes are cut; and with a server that sends anything at all."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasehold.protocol.etcd import frames, unary
from leasehold.protocol.etcd.unary_call import MAX_ANSWER_BYTES, Broken, Call, Refused
from tests.fakes.unary_peer import HEAD, Client, answer, cut, data, goaway, headers, message, reset, window

OPENING = [(":status", "200"), ("content-type", "application/grpc")]


@dataclass
class Server:
    """h2, answering each call with ``reply`` of its request."""

    settings: dict[int, int] = field(default_factory=dict)
    answers: dict[bytes, bytes] = field(default_factory=dict)
    largest: int = 0

    def __post_init__(self) -> None:
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=self.settings)
        self.h2.max_inbound_frame_size = self.settings.get(5, 16384)  # h2 itself waits for the acknowledgement
        self.h2.initiate_connection()
        self.bodies: dict[int, bytes] = {}
        self.heads: list[list[tuple[str, str]]] = []
        self._unsent: dict[int, bytes] = {}
        self.acknowledged = 0

    def hears(self, received: bytes) -> None:
        for event in self.h2.receive_data(received):
            if isinstance(event, h2.events.RequestReceived):
                self.heads.append(list(event.headers))
                self.bodies[event.stream_id] = b""
            elif isinstance(event, h2.events.DataReceived):
                self.bodies[event.stream_id] += event.data
                self.largest = max(self.largest, len(event.data))
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self._answer(event.stream_id)
            elif isinstance(event, h2.events.SettingsAcknowledged):
                self.acknowledged += 1
        self._go_on()

    def _answer(self, stream: int) -> None:
        request = self.bodies[stream][5:]
        assert self.bodies[stream][:5] == b"\0" + len(request).to_bytes(4, "big")
        self.h2.send_headers(stream, OPENING)
        self._unsent[stream] = message(self.answers.get(request, request[::-1]))

    def _go_on(self) -> None:
        for stream, rest in list(self._unsent.items()):
            while rest and (size := min(self.h2.local_flow_control_window(stream), 16384, len(rest))) > 0:
                self.h2.send_data(stream, rest[:size])
                rest = rest[size:]
            self._unsent[stream] = rest
            if not rest:
                self.h2.send_headers(stream, [("grpc-status", "0"), ("grpc-message", "")], end_stream=True)
                del self._unsent[stream]


def converse(server: Server, core: unary.UnaryCalls[str], seed: int | None = None) -> dict[str, object]:
    """Let both talk until neither has anything to say; with a seed, cut at random. Returns how the calls ended."""
    cuts = random.Random(seed)
    outcomes: dict[str, object] = {}
    while True:
        said, heard = core.take(), server.h2.data_to_send()
        if not said and not heard:
            return outcomes
        for start, stop in pieces(said, cuts if seed is not None else None):
            server.hears(said[start:stop])
        for start, stop in pieces(heard, cuts if seed is not None else None):
            for call in core.receive(heard[start:stop]):
                outcomes[call.owner] = call.outcome
        assert not core.broken


def pieces(data: bytes, cuts: random.Random | None) -> list[tuple[int, int]]:
    at = sorted(cuts.randrange(len(data)) for _ in range(6)) if cuts and data else []
    return list(zip([0, *at], [*at, len(data)], strict=True))


def connected(server: Server) -> unary.UnaryCalls[str]:
    """A core that knows the server's settings, as the shell waits for them before any call."""
    core: unary.UnaryCalls[str] = unary.UnaryCalls()
    core.receive(server.h2.data_to_send())
    assert core.ready
    server.hears(core.take())
    return core


def begin(core: unary.UnaryCalls[str], requests: list[bytes]) -> None:
    for number, request in enumerate(requests):
        core.begin(Call(frames.with_timeout(HEAD, 5), request, str(number)))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=300) | st.integers(0, 200_000).map(lambda size: b"x" * size), max_size=8),
    st.sampled_from([{}, {4: 17}, {4: 100_000, 5: 40_000}, {3: 2}, {1: 0}, {4: 0x7FFFFFFF, 3: 1}]),
    st.integers(0, 2**32),
)
def test_h2_understands_every_request_and_every_answer_arrives(
    requests: list[bytes], said: dict[int, int], seed: int
) -> None:
    server = Server(said)
    core = connected(server)
    begin(core, requests)
    outcomes = converse(server, core, seed)
    assert outcomes == {str(number): request[::-1] for number, request in enumerate(requests)}
    assert sorted(server.bodies.values()) == sorted(message(request) for request in requests)
    assert all(dict(head)[":path"] == "/etcdserverpb.KV/Txn" for head in server.heads)
    assert core.idle
    assert core._sending._unsent_bytes == 0


def test_answers_do_not_depend_on_where_their_bytes_are_cut() -> None:
    server, core = Server(), unary.UnaryCalls[str]()
    begin(core, [b"one", b"two", b""])
    server.hears(core.take())
    heard = server.h2.data_to_send()
    expected = {"0": b"eno", "1": b"owt", "2": b""}
    for at in range(len(heard) + 1):
        client = Client()
        client.core = unary.UnaryCalls()
        begin(client.core, [b"one", b"two", b""])
        client.hears(heard[:at])
        client.hears(heard[at:])
        assert client.outcomes == expected
    client = Client()
    client.core = unary.UnaryCalls()
    begin(client.core, [b"one", b"two", b""])
    for byte in heard:
        client.hears(bytes([byte]))
    assert client.outcomes == expected


@pytest.mark.parametrize("first_window", [1, 1000, 65535, 2**20])
def test_a_large_transaction_goes_through_a_small_window(first_window: int) -> None:
    server = Server({4: first_window})
    core = connected(server)
    request = random.Random(1).randbytes(1_500_000)
    begin(core, [b"small", request if first_window > 1 else request[:2000], b"small too"])
    outcomes = converse(server, core)
    assert [len(outcome) for _, outcome in sorted(outcomes.items())] == [5, len(server.bodies[3]) - 5, 9]
    assert 0 < server.largest <= min(max(first_window, 9), 16384) or first_window == 1


def test_an_answer_larger_than_all_windows_arrives_whole() -> None:
    reply = random.Random(2).randbytes(unary.STREAM_WINDOW_BYTES + 3 * 2**20)
    server = Server(answers={b"large": reply})
    core = connected(server)
    begin(core, [b"large", b"small"])
    assert converse(server, core) == {"0": reply, "1": b"llams"}


def test_a_server_that_keeps_a_table_is_understood() -> None:
    server, core = Server(), unary.UnaryCalls[str]()
    assert core.take() == unary._HELLO
    plain = frames.PREFACE + frames.settings([])  # a server that ignores our wish for no table
    server.hears(plain)
    core.receive(server.h2.data_to_send())
    core.take()
    for number in range(5):
        core.begin(Call(HEAD, b"again", str(number)))
        server.hears(core.take())
        [call] = core.receive(server.h2.data_to_send())
        assert call.outcome == b"niaga"
    assert core._blocks._decoder.header_table_size == 4096
    assert not core._blocks._kept


def test_a_small_table_of_the_servers_is_respected() -> None:
    server = Server({1: 0})
    core = connected(server)
    begin(core, [b"a", b"b"])
    assert converse(server, core) == {"0": b"a", "1": b"b"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(500, 20_000), max_size=6), st.integers(0, 50_000))
def test_windows_that_change_while_requests_are_under_way_are_kept(windows: list[int], size: int) -> None:
    server = Server({4: 100})
    core = connected(server)
    begin(core, [b"x" * size, b"y" * (size // 2)])
    outcomes: dict[str, object] = {}
    for window_size in windows:
        server.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window_size})
        outcomes |= {call.owner: call.outcome for call in core.receive(server.h2.data_to_send())}
        server.hears(core.take())  # h2 raises if we send more than it allows
    assert outcomes | converse(server, core) == {"0": b"x" * size, "1": b"y" * (size // 2)}


# --- anything at all -------------------------------------------------------------------------------------------------

SOUND = [
    answer(1),
    answer(3, b"x" * 500),
    headers(1, OPENING),
    headers(3, [("grpc-status", "5")], end=True),
    data(1, message(b"abc")),
    data(5, b"abc"),
    reset(1, frames.REFUSED_STREAM),
    reset(3, 2),
    window(0, 1000),
    window(5, 1000),
    goaway(3),
    frames.settings([(frames.INITIAL_WINDOW_SIZE, 10), (frames.MAX_CONCURRENT_STREAMS, 1)]),
    frames.frame(frames.PING, 0, 0, b"12345678"),
]
FRAME = st.builds(
    frames.frame,
    st.integers(0, 12),
    st.integers(0, 255),
    st.sampled_from([0, 1, 2, 3, 5, 7, 99]),
    st.binary(max_size=40),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    whole = bytearray(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(0, 3))):
        whole[draw(st.integers(0, len(whole) - 1))] = draw(st.integers(0, 255))
    return bytes(whole)


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(SOUND) | FRAME | mutated() | st.binary(max_size=30), max_size=25), st.booleans())
def test_whatever_a_server_sends_each_call_ends_once_and_nothing_else_happens(sent: list[bytes], full: bool) -> None:
    client = Client()
    for name, size in (("one", 10), ("two", 0), ("three", 100_000)):
        client.begins(name, b"x" * size)
    if full:
        client.core.hold()
    for piece in sent:
        client.hears(piece)
        if not client.core.broken:
            client.core.take()
        assert len(client.core._frames._rest) < 9 + frames.MAX_FRAME_BYTES
        assert client.core._block is None or len(client.core._block[2]) <= frames.MAX_BLOCK_BYTES
    client.loses()
    assert client.outcomes.keys() == {"one", "two", "three"}
    assert all(isinstance(outcome, bytes | Refused | Broken) for outcome in client.outcomes.values())
    assert client.core.idle
    assert client.core._sending._unsent_bytes == 0
    cut(client.core.take())


def test_an_answer_that_is_too_large_is_not_kept_until_it_is_whole() -> None:
    client = Client()
    client.begins("one")
    client.hears(headers(1, OPENING) + data(1, b"\0" + (MAX_ANSWER_BYTES + 1).to_bytes(4, "big") + b"x"))
    assert isinstance(client.outcomes["one"], Broken)
