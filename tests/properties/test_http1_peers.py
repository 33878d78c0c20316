"""What we say about HTTP/1.1 and what h11 says about the same bytes: methods, targets, statuses, bodies. Where h11
refuses we may read on or give up, but what both have read is the same."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasehold.protocol.names import CallId
from leasehold.sidecar.observe.exchanges import GaveUp
from leasehold.sidecar.observe.observer import Observer
from tests.fakes.spying import METHODS, STATUSES, Said, Spy, spying
from tests.properties.http1_readers import Read, h11_requests, h11_responses, our_requests, our_responses
from tests.properties.test_http1 import cut, mutated, mutations
from tests.recorded.exchanges import Recorded, all_recorded

VIEW = spying()
BODILESS = {204, 304}


# --- generated ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Message:
    """A message as it is on the wire, and what it means."""

    head: bytes
    body: bytes
    meant: bytes

    @property
    def wire(self) -> bytes:
        return self.head + self.body


@dataclass(frozen=True)
class Call:
    """One exchange."""

    method: str
    target: str
    request: Message
    status: int
    response: Message


TOKENS = st.text("abcXYZ019-_", min_size=1, max_size=8)
TARGETS = st.builds(
    lambda segments, query, absolute: ("http://blobs.test" if absolute else "") + "/" + "/".join(segments) + query,
    st.lists(TOKENS, min_size=1, max_size=4),
    st.sampled_from(["", "?", "?a=b&c=d%20e", "?x=/y//z"]),
    st.sampled_from([False, False, True]),
)
BODIES = st.one_of(
    TOKENS.map(lambda name: json.dumps({"id": name, "more": "\r\n\r\n0\r\n\r\n"}).encode()),
    TOKENS.map(lambda name: json.dumps({"pad": ["0\r\n"] * 9, "id": name}).encode()),
    st.binary(max_size=300),
    st.just(b""),
)
FIELDS = st.lists(
    st.tuples(
        st.sampled_from([b"X-Thing", b"x-other", b"Via", b"ACCEPT", b"Connection"]),
        st.sampled_from([b":", b": ", b":  \t"]),
        st.sampled_from([b"a", b"b c", b"keep-alive", b'"quoted, with \xe9"', b""]),
        st.sampled_from([b"", b" ", b"\t "]),
    ),
    max_size=3,
).map(lambda fields: b"".join(name + colon + value + end + b"\r\n" for name, colon, value, end in fields))
EXTENSIONS = st.sampled_from([b"", b"", b";a", b";name=value", b';name="quoted; text"'])
TRAILERS = st.sampled_from([b"", b"", b"Sum: 1\r\n", b"A: b\r\nC: d\r\n"])


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    """The body in chunks of any size, with extensions and trailers."""
    out = []
    at = 0
    while at < len(body):
        size = draw(st.integers(1, len(body) - at))
        number = draw(st.sampled_from(["%x", "%X", "00%x"])) % size
        out.append(number.encode() + draw(EXTENSIONS) + b"\r\n" + body[at : at + size] + b"\r\n")
        at += size
    return b"".join(out) + b"0" + draw(EXTENSIONS) + b"\r\n" + draw(TRAILERS) + b"\r\n"


@st.composite
def message(draw: st.DrawFn, line: bytes, framing: str, body: bytes) -> Message:
    """``framing``: none, sized, chunked or close."""
    host = draw(st.sampled_from([b"Host: blobs.test\r\n", b"host:blobs.test\r\n", b"HOST: \tBlobs.Test \r\n"]))
    before, after = draw(FIELDS), draw(FIELDS)
    framed = {
        "none": b"",
        "close": b"",
        "sized": draw(
            st.sampled_from([b"Content-Length: %d\r\n", b"content-length:%d\r\n", b"CONTENT-LENGTH:  %d \r\n"])
        )
        % len(body),
        "chunked": draw(st.sampled_from([b"Transfer-Encoding: chunked\r\n", b"transfer-encoding:Chunked\r\n"])),
    }[framing]
    wire = {"none": b"", "chunked": draw(chunked(body)) if framing == "chunked" else b""}.get(framing, body)
    return Message(line + before + host + framed + after + b"\r\n", wire, body if framing != "none" else b"")


@st.composite
def call(draw: st.DrawFn, last: bool) -> Call:
    method, target, status = draw(st.sampled_from(METHODS)), draw(TARGETS), draw(st.sampled_from(STATUSES))
    framing = draw(st.sampled_from(["none", "sized", "chunked"]))
    old = last and draw(st.booleans())
    line = f"{method} {target} HTTP/1.{0 if old and framing != 'chunked' else 1}\r\n".encode()
    expects = b"Expect: 100-continue\r\n" if framing != "none" and draw(st.booleans()) else b""
    request = draw(message(line + expects, framing, draw(BODIES)))
    hints = [b"HTTP/1.1 100 Continue\r\n\r\n"] if expects else []
    hints += draw(st.lists(st.just(b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"), max_size=2))
    framings = ["sized", "sized", "chunked"] + (["close"] if last else [])
    framing = draw(st.sampled_from(framings))
    if method == "HEAD" or status in BODILESS:
        framing = "none"
    version = 0 if framing == "close" and draw(st.booleans()) else 1
    reason = draw(st.sampled_from([b" Fine", b" ", b" It's \xe9"]))
    answer = draw(message(b"HTTP/1.%d %d%b\r\n" % (version, status, reason), framing, draw(BODIES)))
    if framing == "none":  # what it says of a body that does not come
        more = draw(st.sampled_from([b"", b"Content-Length: 99\r\n"]))
        answer = Message(answer.head[:-2] + more + b"\r\n", b"", b"")
    return Call(method, target, request, status, Message(b"".join(hints) + answer.head, answer.body, answer.meant))


CALLS = st.lists(call(False), max_size=4).flatmap(lambda some: call(True).map(lambda end: [*some, end]))


# --- what a whole observer says ---------------------------------------------------------------------------------


def observed(requests: bytes, responses: bytes, first: list[int], second: list[int]) -> tuple[list[Said], list[str]]:
    """By a whole observer, and why it gave up."""
    numbers = itertools.count()
    watching, spy = Observer(VIEW, lambda: CallId(f"call-{next(numbers)}"), "blobs.test:80"), Spy()
    gave_up: list[str] = []
    shown = [(watching.request, part) for part in cut(requests, first)]
    shown += [(watching.response, part) for part in cut(responses, second)]
    for show, part in shown:
        pieces = show(part) or []
        spy.take(pieces)
        gave_up += [piece.reason for piece in pieces if isinstance(piece, GaveUp)]
        if gave_up:
            return spy.said, gave_up
    watching.request_end()
    spy.take(watching.response_end())
    return spy.said, gave_up


def id_in(body: bytes) -> str | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found.get("id") if isinstance(found, dict) else None


# --- laws --------------------------------------------------------------------------------------------------------

PLACES = st.lists(st.integers(0, 100_000), max_size=8)


@settings(max_examples=120, deadline=None)
@given(CALLS, PLACES, PLACES)
def test_of_what_is_well_formed_all_three_say_the_same(calls: list[Call], first: list[int], second: list[int]) -> None:
    requests = b"".join(one.request.wire for one in calls)
    responses = b"".join(one.response.wire for one in calls)
    methods = [one.method for one in calls]
    meant = [(one.method, one.target, one.request.meant) for one in calls]
    answered = [("", str(one.status), one.response.meant) for one in calls]
    theirs, ours = h11_requests(requests), our_requests(requests, first)
    assert theirs.messages == meant
    assert [one[:2] for one in ours.messages] == [one[:2] for one in meant]
    assert ours.refused == ""
    assert h11_responses(responses, methods).messages == answered
    assert our_responses(responses, methods, second) == Read(answered)
    said, gave_up = observed(requests, responses, first, second)
    assert gave_up == []
    assert [(one.method, one.target, one.status) for one in said] == [
        (one.method, one.target, one.status) for one in calls
    ]
    for one, known in zip(said, calls, strict=True):
        wanted = id_in(known.response.meant)
        assert one.found == wanted if wanted else one.found in {"body-unreadable", "no-id"}


@settings(max_examples=250, deadline=None)
@given(CALLS, mutations, mutations, PLACES)
def test_where_h11_refuses_what_both_have_read_is_the_same(
    calls: list[Call],
    first: list[tuple[int, bytes, int]],
    second: list[tuple[int, bytes, int]],
    places: list[int],
) -> None:
    requests = mutated(b"".join(one.request.wire for one in calls), first)
    responses = mutated(b"".join(one.response.wire for one in calls), second)
    methods = [one.method for one in calls]
    agree([one[:2] for one in h11_requests(requests).messages], our_requests(requests, places), 2)
    agree(h11_responses(responses, methods).messages, our_responses(responses, methods, places), 3)


def agree(theirs: Sequence[tuple[object, ...]], ours: Read, width: int) -> None:
    """As far as both went. Without having given up we went as far as h11."""
    mine = [one[:width] for one in ours.messages]
    both = min(len(theirs), len(mine))
    assert ours.refused or both == len(theirs)
    assert mine[:both] == list(theirs[:both])


HTTP1 = [one for one in all_recorded() if one.side(client=True)[:3] not in {b"PRI", b"\x00\x00\x00"}]


@pytest.mark.parametrize("recorded", [one for one in HTTP1 if one.rules == "store"], ids=lambda one: one.name)
def test_of_what_was_recorded_we_say_what_h11_says(recorded: Recorded) -> None:
    requests, responses = recorded.side(client=True), recorded.side(client=False)
    theirs = h11_requests(requests.partition(b"PRI * HTTP/2.0")[0])
    ours = our_requests(requests, [])
    assert [one[:2] for one in ours.messages[: len(theirs.messages)]] == [one[:2] for one in theirs.messages]
    assert theirs.messages
    methods = [method for method, _, _ in ours.messages]
    answers, read = h11_responses(responses, methods), our_responses(responses, methods, [])
    assert answers.messages or responses.startswith(b"HTTP/1.1 101")
    assert read.messages[: len(answers.messages)] == answers.messages
