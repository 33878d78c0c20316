"""A head that was read before means the same again: with a memory and without, an observer says the same."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from leasehold.protocol.names import CallId
from leasehold.protocol.rules import RuleSet
from leasehold.sidecar.observe.exchanges import Exchange, Piece
from leasehold.sidecar.observe.familiar import Familiar, Heads
from leasehold.sidecar.observe.matching import Matcher
from leasehold.sidecar.observe.observer import Observer
from tests.fakes.relay import Rules, rules
from tests.properties.test_http1 import GET, HOST, OK, chunked, created, cut, post, told

OTHER = b"GET /other HTTP/1.1\r\n" + HOST + b"\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
EXCHANGES = [
    (OTHER, OK),
    (OTHER, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    (OTHER, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n"),
    (OTHER, b"HTTP/1.1 204 No Content\r\n\r\n"),
    (OTHER, HINTS + OK),
    (OTHER, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"hello", 2)),
    (OTHER * 2, OK * 2),
    (b"HEAD" + OTHER[3:], OK[:-2]),
    (b"POST" + OTHER[3:-2] + b"Content-Length: 2\r\n\r\nhi", OK),
    (OTHER[:-2] + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", OK),
    (GET, OK),
    (post(), created()),
    (post(), b"HTTP/1.1 100 Continue\r\n\r\n" + created()),
    (post(), OK),
]


class Forgetful(Familiar):
    """One that remembers nothing."""

    __slots__ = ()

    def requests_to(self, destination: str) -> Heads[Exchange]:
        self.answers.clear()
        return {}


def observer(*, forgetful: bool = False) -> Observer:
    matcher = Matcher.compile(rules())
    if forgetful:
        matcher.familiar = Forgetful()
    return Observer(Rules(matcher), lambda: CallId("c"), "blobs.test:80")


def said(pieces: list[Piece] | None) -> list[object] | None:
    return None if pieces is None else [piece if isinstance(piece, bytes) else told(piece) for piece in pieces]


@given(
    st.lists(st.sampled_from(EXCHANGES), max_size=12),
    st.lists(st.integers(1, 200), max_size=3),
    st.lists(st.integers(1, 200), max_size=3),
    st.booleans(),
)
@example([EXCHANGES[0], EXCHANGES[4], EXCHANGES[0]], [], [len(HINTS), len(HINTS + OK) - 2], True)
@example([EXCHANGES[0]] * 3 + [EXCHANGES[7]] * 2 + [EXCHANGES[0]], [], [], True)
def test_what_is_remembered_is_what_would_be_read(
    exchanges: list[tuple[bytes, bytes]], first: list[int], second: list[int], cut_all: bool
) -> None:
    remembers, forgets = observer(), observer(forgetful=True)
    for n, (request, response) in enumerate(exchanges):
        whole = n % 2 == 0 and not cut_all
        for chunk in [request] if whole else cut(request, first):
            assert said(remembers.request(chunk)) == said(forgets.request(chunk))
            forgets._familiar.clear()
        for chunk in [response] if whole else cut(response, second):
            assert said(remembers.response(chunk)) == said(forgets.response(chunk))
            forgets._rules.matcher.familiar.answers.clear()
        assert (remembers.idle, remembers.all_answered) == (forgets.idle, forgets.all_answered)
        assert remembers.idle


def test_what_nobody_was_interested_in_is_looked_up_the_second_time() -> None:
    one, seen = observer(), 0
    for _ in range(3):
        one.request(OTHER)
        seen += OTHER in one._familiar
        one.response(OK)
    assert seen == 3
    assert one._rules.matcher.familiar.answers
    assert len(one._familiar) == 1


def test_new_rules_forget_what_old_ones_were_not_interested_in() -> None:
    view = Rules(Matcher.compile(RuleSet()))
    one = Observer(view, lambda: CallId("c"), "blobs.test:80")
    for _ in range(2):
        assert one.request(post(body=b"")) is None
        assert one.response(created()) is None
    view.matcher = Matcher.compile(rules())
    one.request(post(body=b""))
    assert one.response(created()) is not None
