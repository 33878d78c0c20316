"""Follows one HTTP/1.x connection, both directions, and marks in its bytes where a call needs attention. Pure.

``request`` and ``response`` are shown what passes by and answer ``None``: nothing of interest, forward it as it came.
Or they answer with *pieces*: the same bytes, cut, with marks between them. A mark stands where something may have to
wait: an ``Intent`` before the first byte of its request, a ``Matched`` before the first byte of its final response; or
where something is to be added: an ``Insert`` before a whole request head. Who adds it is the relay. The bytes of the
pieces, joined, are always the bytes shown; only an unfinished head that may turn out to be worth holding is kept back
(``withheld_...``) and comes first in a later answer.

Whoever shows us bytes may stop at any time, and must once a ``GaveUp`` was among the pieces; what is withheld in either
direction is then theirs to forward.

Hot path: a call without candidates makes no object, and of its headers only ``Host`` is looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, cast

from leasehold.protocol.names import CallId
from leasehold.sidecar.observe.body import BodyCollector
from leasehold.sidecar.observe.context import context_of
from leasehold.sidecar.observe.exchanges import (
    UNINTERESTING,
    UNINTERESTING_HEAD,
    Exchange,
    GaveUp,
    Head,
    Http2,
    Mark,
    Piece,
    answer,
    conclude_collected,
    intent_of,
    parse_headers,
    unfinished,
    watch_request,
)
from leasehold.sidecar.observe.familiar import MAX_HEAD, Heads, keep
from leasehold.sidecar.observe.frames import PREFACE, asks_for_http2, opens_http2
from leasehold.sidecar.observe.http1 import Expect, RequestReader, ResponseReader, header, headers
from leasehold.sidecar.observe.matching import NO_CANDIDATES, Matcher, OwnerRules, RulesView, authority_of
from leasehold.sidecar.observe.reasons import Unfollowable

MAX_OUTSTANDING: Final = 64
"""Requests without a final response on one connection; no client pipelines deeper."""


class Observer:
    """One connection. ``destination`` is where it goes to, as ``matching.normal_authority`` writes it, if known.

    ``new_call`` makes unguessable ids; ``routing`` asks for a ``Head`` mark before every request.
    """

    __slots__ = (
        "_answered_any",
        "_authority",
        "_destination",
        "_familiar",
        "_matcher",
        "_new_call",
        "_outstanding",
        "_owner_rules",
        "_requests",
        "_responses",
        "_routing",
        "_rules",
        "withheld_request",
        "withheld_response",
    )

    def __init__(
        self, rules: RulesView, new_call: Callable[[], CallId], destination: str = "", *, routing: bool = False
    ) -> None:
        self.withheld_request = b""
        self.withheld_response = b""
        self._rules = rules
        self._new_call = new_call
        self._destination = destination
        self._routing = routing
        self._requests = RequestReader()
        self._responses = ResponseReader()
        self._outstanding: deque[Exchange] = deque()
        self._answered_any = False
        self._familiar: Heads[Exchange] = {}
        """What we may look up instead of reading it, under ``_matcher``."""
        self._matcher: Matcher | None = None
        self._authority: bytes | None = None
        self._owner_rules: OwnerRules | None = None

    # --- what the relay asks ----------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """No call is under way, and no part of one."""
        return not self._outstanding and not self._requests.midway and not self._responses.midway

    @property
    def between_requests(self) -> bool:
        """The next byte from the client begins a request, or does what should."""
        return self._requests.expect is Expect.HEAD

    @property
    def all_answered(self) -> bool:
        """No request is without its final response."""
        return not self._outstanding

    @property
    def awaits_finding(self) -> bool:
        """Some call that was sent whole may still turn out to match."""
        return not self._requests.midway and any(
            exchange.candidates and exchange.sent for exchange in self._outstanding
        )

    @property
    def awaits_answer(self) -> bool:
        """All was said that will be, and some call of it may still turn out to match."""
        return not self._requests.midway and any(exchange.candidates for exchange in self._outstanding)

    def is_next(self, exchange: Exchange) -> bool:
        """Whether everything before this call has been answered."""
        return bool(self._outstanding) and self._outstanding[0] is exchange

    # --- requests ---------------------------------------------------------------------------------------------

    def request(self, data: bytes) -> list[Piece] | None:
        """Bytes from the client."""
        if len(data) <= MAX_HEAD and data in self._familiar and self._is_familiar(data):
            return None
        return self._read_requests(data)

    def _read_requests(self, data: bytes) -> list[Piece] | None:
        reader = self._requests
        start = 0
        size = len(data)
        prefix = self.withheld_request
        pieces: list[Piece] | None = [] if prefix else None
        try:
            while start < size:
                end = reader.feed(data, start)
                if reader.head is not None:
                    exchange = self._request_head(reader.head)
                    if exchange is not None:
                        whole = len(prefix) + end - start == len(reader.head)
                        marks = self._request_marks(exchange, reader.head, whole=whole)
                        if marks:
                            if pieces is None:
                                pieces = [data[:start]] if start else []
                            pieces += marks
                if pieces is not None:
                    pieces.append(prefix + data[start:end])
                    prefix = b""
                start = end
        except Unfollowable as stop:
            self.withheld_request = b""
            if stop.reason == "http2" and not self._routing and not start:
                return [Http2(prefix + data[start:], b"")]
            return self._give_up(pieces, prefix + data[start:] if pieces is not None else data, stop.reason)
        if reader.partial:
            return self._withhold_request(pieces, data)
        self.withheld_request = b""
        return pieces

    def _is_familiar(self, data: bytes) -> bool:
        """Whether this, being a whole request that interested nobody before, is that here and now; then it is noted."""
        reader = self._requests
        anew = reader.expect is Expect.HEAD and not reader.partial and not self.withheld_request
        if not anew or self._rules.matcher is not self._matcher or len(self._outstanding) >= MAX_OUTSTANDING:
            return False
        reader.first = False
        self._outstanding.append(self._familiar[data])
        return True

    def request_end(self) -> bytes:
        """The client will send no more; what was withheld of its last words."""
        rest, self.withheld_request = self.withheld_request, b""
        return rest

    @property
    def _may_be_http2(self) -> bool:
        """As far as the client has spoken."""
        requests = self._requests
        return not self._answered_any and requests.expect is Expect.HEAD and PREFACE.startswith(bytes(requests.partial))

    def _withhold_request(self, pieces: list[Piece] | None, data: bytes) -> list[Piece] | None:
        if not self._routing and not self._rules.matcher.intends and not self._may_be_http2:
            self.withheld_request = b""
            return pieces
        pieces, self.withheld_request = _keep_back(pieces, data, len(self._requests.partial))
        return pieces

    def _request_head(self, head: bytes) -> Exchange | None:
        """The call that begins, if more is to be said about it."""
        outstanding = self._outstanding
        if len(outstanding) >= MAX_OUTSTANDING:
            raise Unfollowable("pipeline-too-deep")
        reader = self._requests
        rules = self._rules_for(head, reader.target)
        candidates = NO_CANDIDATES
        if rules is not None and reader.method in rules.methods:
            candidates = rules.candidates(reader.method.decode("latin-1"), reader.target.decode("latin-1"))
        if not candidates and not self._routing and not reader.upgrade:
            exchange = UNINTERESTING_HEAD if reader.method == b"HEAD" else UNINTERESTING
            outstanding.append(exchange)
            if reader.ended:
                keep(self._familiar, head, exchange)
            return None
        exchange = Exchange(reader.method.decode("latin-1"), reader.target.decode("latin-1"), candidates)
        outstanding.append(exchange)
        if reader.upgrade and not self._routing:
            exchange.h2c = asks_for_http2(head)
        return exchange

    def _request_marks(self, exchange: Exchange, head: bytes, *, whole: bool) -> Sequence[Mark]:
        """``whole``: no byte of the head has gone on yet."""
        routing: list[Mark] = [Head(exchange)] if self._routing else []
        if not exchange.candidates:
            return routing
        exchange.call = self._new_call()
        lower = head.lower()
        exchange.trace = context_of(partial(header, head, lower))
        self._watch(exchange, head, lower)
        said = partial(headers, head, lower)
        return [*routing, *intent_of(exchange, said, lambda _: "" if whole else "head-gone")]

    def _watch(self, exchange: Exchange, head: bytes, lower: bytes) -> None:
        watch_request(exchange, (header(head, lower, b"content-encoding") or b"").lower().decode("latin-1"))
        if exchange.asking is not None and self._requests.midway:
            self._requests.collect(exchange.asking)

    def _rules_for(self, head: bytes, target: bytes) -> OwnerRules | None:
        matcher = self._rules.matcher
        if matcher is not self._matcher:
            self._matcher = matcher
            self._familiar = {} if self._routing else matcher.familiar.requests_to(self._destination)
            self._authority = None
        if matcher.empty:
            return None
        named = b"" if target.startswith(b"/") else authority_of(target.decode("latin-1")).encode("latin-1")
        authority = named or _host(head)
        if authority != self._authority:
            # Connections are reused for one authority; so the last answer nearly always does.
            self._authority = authority
            self._owner_rules = matcher.owner_rules(authority.decode("latin-1"), self._destination)
        return self._owner_rules

    # --- responses --------------------------------------------------------------------------------------------

    def response(self, data: bytes) -> list[Piece] | None:
        """Bytes from the server."""
        start = self._familiar_answer(data)
        return None if start == len(data) else self._read_responses(data, start)

    def _read_responses(self, data: bytes, start: int) -> list[Piece] | None:
        reader = self._responses
        end = start
        size = len(data)
        prefix = self.withheld_response
        pieces: list[Piece] | None = [] if prefix else None
        try:
            while start < size:
                exchange = self._outstanding[0] if self._outstanding else self._unsolicited(data)
                reader.bodiless = exchange.method == "HEAD"
                end = reader.feed(data, start)
                if reader.head is not None:
                    marks = self._response_head(exchange, reader.head)
                    if marks:
                        if pieces is None:
                            pieces = [data[:start]] if start else []
                        pieces += marks
                if pieces is not None:
                    pieces.append(prefix + data[start:end])
                    prefix = b""
                if exchange.collector is not None:
                    pieces = self._collected(exchange, exchange.collector, pieces, data[:end], end - start)
                if reader.ended and reader.status >= 200:
                    self._outstanding.popleft()
                start = end
        except Unfollowable as stop:
            self.withheld_response = b""
            return self._stop_responses(stop.reason, pieces, data[:start], prefix + data[start:], data[end:])
        if reader.partial:
            return self._withhold_response(pieces, data)
        self.withheld_response = b""
        return pieces

    def _familiar_answer(self, data: bytes) -> int:
        """Where what need not be read ends: behind the head of an answer that interests nobody, or behind its body."""
        reader, outstanding, matcher = self._responses, self._outstanding, self._matcher
        if not outstanding or outstanding[0] is not UNINTERESTING or matcher is None:
            return 0
        if reader.expect is not Expect.HEAD or reader.partial or self.withheld_response:
            return 0
        end = data.find(b"\r\n\r\n", 0, MAX_HEAD) + 4
        size = matcher.familiar.answers.get(data[:end])
        if size is None:
            return 0
        self._answered_any = True
        if end + size == len(data):
            outstanding.popleft()
            return end + size
        if not size:
            return 0  # more behind it: let it be read as ever
        reader.begin_sized(size)
        return end

    def response_end(self) -> list[Piece]:
        """The server will send no more: what was withheld, and what became of the calls under way."""
        pieces: list[Piece] = [self.withheld_response] if self.withheld_response else []
        self.withheld_response = b""
        if self._outstanding and self._responses.end_by_close():
            exchange = self._outstanding.popleft()
            if exchange.collector is not None:
                pieces.append(conclude_collected(exchange, exchange.collector))
        return [*pieces, *self.abort()]

    def abort(self, *, reached: bool = True) -> Sequence[Mark]:
        """The connection is gone: what that means for the calls under way. ``reached``: the owner, ever."""
        return unfinished(self._outstanding, reached=reached)

    def _stop_responses(
        self, reason: str, pieces: list[Piece] | None, shown: bytes, rest: bytes, behind: bytes
    ) -> list[Piece]:
        """``rest`` begins with the segment that is not followed, ``behind`` behind it."""
        if reason != "http2":
            return self._give_up(pieces, shown + rest if pieces is None else rest, reason)
        if pieces is None:
            pieces = [shown]
        withheld, self.withheld_request = self.withheld_request, b""
        if not self._outstanding:  # the server speaks first
            return [*pieces, Http2(withheld, rest)]
        exchange = self._outstanding.popleft()
        switched = rest[: len(rest) - len(behind)]
        return [*pieces, switched, Http2(withheld, behind, (exchange, exchange.h2c or b""))]

    def _unsolicited(self, data: bytes) -> Exchange:
        midway = self._requests.midway
        if self._may_be_http2 and not self._routing and opens_http2(data, client_began=midway):
            raise Unfollowable("http2")
        began = self._answered_any or midway
        raise Unfollowable("unsolicited-response" if began else "server-first")

    def _withhold_response(self, pieces: list[Piece] | None, data: bytes) -> list[Piece] | None:
        if not self._outstanding[0].candidates:
            self.withheld_response = b""
            return pieces
        pieces, self.withheld_response = _keep_back(pieces, data, len(self._responses.partial))
        return pieces

    def _response_head(self, exchange: Exchange, head: bytes) -> Sequence[Mark]:
        status = self._responses.status
        if not exchange.sent:
            raise Unfollowable("unsolicited-response")
        if status < 200:
            if status == 101:
                accepted = (header(head, head.lower(), b"upgrade") or b"").lower() == b"h2c"
                raise Unfollowable("http2" if accepted and exchange.h2c is not None else "upgrade")
            return ()
        if status < 300 and exchange.method == "CONNECT":
            raise Unfollowable("connect")
        self._answered_any = True
        if self._requests.upgrade and self._requests.expect is Expect.UPGRADE and len(self._outstanding) == 1:
            self._requests.resume()
        if not exchange.candidates:
            size = self._responses.sized
            if exchange is UNINTERESTING and size is not None and self._matcher is not None:
                keep(self._matcher.familiar.answers, head, size)
            return ()
        marks = answer(exchange, status, lambda: parse_headers(head), has_body=not self._responses.ended)
        if exchange.collector is not None:
            self._responses.collect(head, exchange.collector)
        return marks

    def _collected(
        self, exchange: Exchange, collector: BodyCollector, pieces: list[Piece] | None, shown: bytes, size: int
    ) -> list[Piece] | None:
        collector.passed(size)
        if not self._responses.ended:
            if not collector.overflowed:
                return pieces
            self._responses.collect_no_more()
        return [*(pieces or [shown]), conclude_collected(exchange, collector)]

    def _give_up(self, pieces: list[Piece] | None, rest: bytes, reason: str) -> list[Piece]:
        return [*(pieces or ()), rest, *self.abort(), GaveUp(reason)]


def _keep_back(pieces: list[Piece] | None, data: bytes, size: int) -> tuple[list[Piece], bytes]:
    """Take an unfinished head of ``size`` bytes back from the end of what would be forwarded.

    Its beginning may be gone already, if it did not matter then; so only as much of it as is still here.
    """
    pieces = [data] if pieces is None else pieces
    last = cast("bytes", pieces.pop())
    size = min(size, len(last))
    if size < len(last):
        pieces.append(last[:-size])
    return pieces, last[-size:]


def _host(head: bytes) -> bytes:
    at = head.find(b"\r\nHost:")
    if at < 0:  # rare: hardly anybody writes it differently
        return header(head, head.lower(), b"host") or b""
    at += 7
    return head[at : head.find(b"\r\n", at)].strip(b" \t")
