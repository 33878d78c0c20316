"""However the network cuts a connection into chunks: the same bytes come out, and the same calls are seen."""

from __future__ import annotations

import gzip
import itertools
import zlib
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leasehold.protocol.names import CallId
from leasehold.sidecar.observe.exchanges import Concluded, GaveUp, Head, Http2, Intent, Matched, Piece
from leasehold.sidecar.observe.http1 import RequestReader, ResponseReader
from leasehold.sidecar.observe.matching import Matcher
from leasehold.sidecar.observe.observer import Observer
from leasehold.sidecar.observe.reasons import GAVE_UP, UNINSPECTED, Unfollowable
from tests.fakes.relay import Rules, rules

VIEW = Rules(Matcher.compile(rules()))
HOST = b"Host: blobs.test\r\n"


def post(path: bytes = b"/v1/blobs", body: bytes = b'{"a": 1}', more: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n%b" % (path, HOST, more, len(body), body)


def created(body: bytes = b'{"id": "b-1"}', more: bytes = b"", status: bytes = b"201 Created") -> bytes:
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, more, len(body), body)


def chunked(body: bytes, size: int, trailer: bytes = b"") -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailer + b"\r\n"


@dataclass(frozen=True)
class Conversation:
    """Requests and responses of one connection, and what is to be seen in it."""

    name: str
    requests: bytes
    responses: bytes
    seen: tuple[str, ...]
    closes: bool = False


GET = b"GET /v1/blobs/b-2 HTTP/1.1\r\n" + HOST + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
JSON = b'{"id": "b-1", "pad": "' + b"\r\n\r\n0\r\n\r\n".replace(b"\r", b" ").replace(b"\n", b" ") + b'"}'

CONVERSATIONS = [
    Conversation("keep-alive", post() + GET, created() + OK, ("matched create-blob", "b-1", "matched use-blob", "b-2")),
    Conversation("unmatched", GET.replace(b"/v1", b"/v2") * 2, OK * 2, ()),
    Conversation("other status", post(), created(status=b"500 Oops"), ("nothing",)),
    Conversation(
        "chunked",
        b"POST /v1/blobs HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + chunked(b"x\r\n\r\ny" * 5, 7, b"T: 1\r\n")
        + GET,
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(JSON, 5, b"Sum: 1\r\n") + OK,
        ("matched create-blob", "b-1", "matched use-blob", "b-2"),
    ),
    Conversation(
        "interim responses",
        post(more=b"Expect: 100-continue\r\n"),
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + created(),
        ("matched create-blob", "b-1"),
    ),
    Conversation(
        "head, no content, not modified",
        b"HEAD /v1/blobs HTTP/1.1\r\n" + HOST + b"\r\n" + GET.replace(b"GET", b"DELETE") + GET + post(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n" + created(),
        ("matched delete-blob", "b-2", "nothing", "matched create-blob", "b-1"),
    ),
    Conversation(
        "http/1.0 until the close",
        b"POST /v1/blobs HTTP/1.0\r\n" + HOST + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.0 201 Created\r\nContent-Type: application/json\r\n\r\n" + JSON,
        ("matched create-blob", "b-1"),
        closes=True,
    ),
    Conversation(
        "location",
        post() * 2,
        created(b"", b"Location: http://blobs.test/v1/blobs/b%2D3\r\n", b"202 Accepted") * 2,
        ("matched make-blob", "b-3") * 2,
    ),
    Conversation(
        "gzip",
        post(),
        created(gzip.compress(b'{"id": "b-1"}', mtime=0), b"Content-Encoding: gzip\r\n"),
        ("matched create-blob", "b-1"),
    ),
    Conversation(
        "bare deflate",
        post(),
        created(zlib.compress(b'{"id": "b-1"}')[2:-4], b"Content-Encoding: deflate\r\n"),
        ("matched create-blob", "b-1"),
    ),
    Conversation(
        "a bomb",
        post(),
        created(gzip.compress(b" " * 1_000_000 + b'{"id": "b-1"}', mtime=0), b"Content-Encoding: gzip\r\n"),
        ("matched create-blob", "body-too-large"),
    ),
    Conversation(
        "not json",
        post(),
        created(b"<html>", b"Content-Type: text/html\r\n"),
        ("matched create-blob", "body-unreadable"),
    ),
    Conversation(
        "intents", GET.replace(b"GET", b"PUT") * 2, OK * 2, ("intent b-2",) * 2 + ("matched put-blob", "b-2") * 2
    ),
    Conversation(
        "upgrade",
        GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
        ("aborted", "gave up upgrade"),
    ),
    Conversation(
        "upgrade declined",
        GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
        OK,
        ("matched use-blob", "b-2"),
    ),
    Conversation("lost in the body", post(), created()[:-4], ("matched create-blob", "aborted"), closes=True),
    Conversation("lost before the answer", post(), b"HTTP/1.1 20", ("aborted",), closes=True),
    Conversation("nonsense", post(), b"HTTP/1.1 2 0\r\n\r\n", ("aborted", "gave up bad-response")),
]


def observer() -> Observer:
    numbers = itertools.count()
    return Observer(VIEW, lambda: CallId(f"call-{next(numbers)}"))


def told(piece: Piece) -> list[str]:
    if isinstance(piece, Matched):
        return ["matched " + " ".join(rule.name for rule in piece.rules)]
    if isinstance(piece, Intent):
        return [f"intent {piece.resource.id if piece.resource else '?'}"]
    if isinstance(piece, GaveUp):
        return [f"gave up {piece.reason}"]
    assert isinstance(piece, Concluded)
    return [getattr(found, "reason", None) or found.resource.id for found in piece.findings] or ["nothing"]  # type: ignore[union-attr]


class Run:
    """Shows chunks to an observer as the relay does, and writes down what came of it."""

    def __init__(self) -> None:
        self.observer: Observer | None = observer()
        self.seen: list[str] = []
        self.out = {"request": b"", "response": b""}

    def show(self, direction: str, data: bytes) -> None:
        if self.observer is None:
            self.out[direction] += data
            return
        show = self.observer.request if direction == "request" else self.observer.response
        self.take(direction, [data] if (pieces := show(data)) is None else pieces)

    def take(self, direction: str, pieces: list[Piece]) -> None:
        for piece in pieces:
            if isinstance(piece, bytes):
                assert piece
                self.out[direction] += piece
            else:
                assert not isinstance(piece, Head)
                if isinstance(piece, Http2):  # handed on with its first bytes, to who reads that
                    self.out["request"] += piece.requests
                    self.out["response"] += piece.responses
                    self.observer = None
                    continue
                self.seen += told(piece)
                if isinstance(piece, GaveUp):
                    assert self.observer is not None
                    self.out["request"] += self.observer.withheld_request
                    self.out["response"] += self.observer.withheld_response
                    self.observer = None

    def end(self) -> None:
        if self.observer is not None:
            self.out["request"] += self.observer.request_end()
            self.take("response", self.observer.response_end())


def run(conversation: Conversation, request_chunks: list[bytes], response_chunks: list[bytes]) -> Run:
    made = Run()
    for chunk in request_chunks:
        made.show("request", chunk)
    for chunk in response_chunks:
        made.show("response", chunk)
    if conversation.closes:
        made.end()
    assert made.out == {"request": conversation.requests, "response": conversation.responses}
    assert tuple(made.seen) == conversation.seen
    return made


def cut(data: bytes, at: list[int]) -> list[bytes]:
    bounds = [0, *sorted({place % len(data) for place in at} - {0}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(bounds)]


each = pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda conversation: conversation.name)


@each
def test_a_cut_anywhere_changes_nothing(conversation: Conversation) -> None:
    requests, responses = conversation.requests, conversation.responses
    run(conversation, [requests], [responses])
    for at in range(1, len(requests)):
        run(conversation, cut(requests, [at]), [responses])
    for at in range(1, len(responses)):
        run(conversation, [requests], cut(responses, [at]))


@each
def test_byte_by_byte_changes_nothing(conversation: Conversation) -> None:
    run(conversation, [bytes([b]) for b in conversation.requests], [bytes([b]) for b in conversation.responses])


@given(
    st.sampled_from(CONVERSATIONS),
    st.lists(st.integers(0, 10_000), max_size=8),
    st.lists(st.integers(0, 10_000), max_size=8),
)
def test_cuts_everywhere_change_nothing(conversation: Conversation, first: list[int], second: list[int]) -> None:
    run(conversation, cut(conversation.requests, first), cut(conversation.responses, second))


def test_everything_held_stands_behind_its_mark() -> None:
    """An intent comes before the first byte of its request, a match before the first byte of its final response."""
    put = GET.replace(b"GET", b"PUT")
    for at in range(1, len(put)):
        watching = observer()
        pieces = [piece for chunk in cut(b"\r\n" + put, [at + 2]) for piece in (watching.request(chunk) or [])]
        before = b"".join(itertools.takewhile(lambda piece: isinstance(piece, bytes), pieces))  # type: ignore[arg-type]
        assert before in {b"\r\n", b""}
        assert isinstance(pieces[1] if before else pieces[0], Intent)
    hint = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    for at in range(1, len(OK)):
        watching = observer()
        watching.request(GET)
        pieces = []
        for chunk in cut(hint + OK, [at + len(hint)]):
            some = watching.response(chunk)
            pieces += [chunk] if some is None else some
        matched = next(n for n, piece in enumerate(pieces) if isinstance(piece, Matched))
        assert b"".join(piece for piece in pieces[matched:] if isinstance(piece, bytes)) == OK


# --- fuzz --------------------------------------------------------------------------------------------------------

mutations = st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=4), st.integers(0, 4)), max_size=6)


def mutated(data: bytes, changes: list[tuple[int, bytes, int]]) -> bytes:
    for at, put, drop in changes:
        at %= len(data) + 1
        data = data[:at] + put + data[at + drop :]
    return data


@settings(max_examples=400)
@given(st.sampled_from(CONVERSATIONS), mutations, mutations, st.lists(st.integers(0, 10_000), max_size=6))
def test_no_mutation_raises_stalls_or_changes_a_byte(
    conversation: Conversation,
    first: list[tuple[int, bytes, int]],
    second: list[tuple[int, bytes, int]],
    at: list[int],
) -> None:
    made = Run()
    requests, responses = mutated(conversation.requests, first), mutated(conversation.responses, second)
    for direction, data in (("request", requests), ("response", responses)):
        for chunk in cut(data, at) if data else []:
            made.show(direction, chunk)
    made.end()
    assert made.out == {"request": requests, "response": responses}


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(["request", "response"]), st.binary(min_size=1)), max_size=12))
@example([("request", b"PRI * HTTP/2\n")])
@example([("response", b"early"), ("request", b"PRI * HTTP/2.0\r\n"), ("request", b"\r\n")])
def test_no_bytes_raise_stall_or_change(chunks: list[tuple[str, bytes]]) -> None:
    made = Run()
    for direction, data in chunks:
        made.show(direction, data)
    made.end()
    for direction in ("request", "response"):
        assert made.out[direction] == b"".join(data for to, data in chunks if to == direction)


@given(st.binary(min_size=1), st.sampled_from([RequestReader, ResponseReader]))
def test_a_reader_moves_on_or_says_why_not(data: bytes, kind: type[RequestReader | ResponseReader]) -> None:
    reader = kind()
    start = 0
    try:
        while start < len(data):
            end = reader.feed(data, start)
            assert start < end <= len(data)
            start = end
    except Unfollowable as stop:
        if stop.reason not in GAVE_UP | UNINSPECTED:
            raise
