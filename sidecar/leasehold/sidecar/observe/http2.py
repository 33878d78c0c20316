"""Follows one HTTP/2 connection, both directions, and marks in its frames where a call needs attention. Pure.

The same promise as ``observer`` gives for HTTP/1: the bytes of the pieces, joined, are always the bytes shown; ``None``
means all of them, as they came. Where something is held back, or may be, the pieces are whole ``Frame``s instead of
bytes, so that others can overtake it; what may overtake what is ``frames``' and the gate's business. Behind an
``Insert`` comes the ``Frame`` of the request's whole header block.

Of the streams only those are followed whose call may match a rule; of the others we know that they are open. A stream's
call is a ``RestCall`` or a ``GrpcCall``; both answer with marks.

Hot path: of a call without candidates, the header blocks are looked up (``header_blocks``) and the frames counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from leasehold.protocol.names import CallId
from leasehold.sidecar.observe.context import context_of
from leasehold.sidecar.observe.exchanges import (
    Exchange,
    GaveUp,
    Mark,
    Piece,
    aborted,
    answer,
    conclude_collected,
    intent_of,
    nothing_in,
    unfinished,
    watch_request,
)
from leasehold.sidecar.observe.frames import (
    ACK,
    DATA,
    FENCE,
    HEADERS,
    OPENS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    Frame,
    FrameReader,
    settings_of,
)
from leasehold.sidecar.observe.grpc import GrpcCall, speaks_grpc
from leasehold.sidecar.observe.header_blocks import Block
from leasehold.sidecar.observe.matching import NO_CANDIDATES, Candidate, RulesView
from leasehold.sidecar.observe.reasons import Unfollowable

MAX_STREAMS: Final = 8192
"""Open at once on one connection."""
_MAX_UNACKNOWLEDGED: Final = 64
_REFUSED_STREAM: Final = (7).to_bytes(4, "big")
_TABLE_SIZE: Final = 1
_LIST_SIZE: Final = 6
_DEFAULTS: Final[Mapping[int, int]] = {_TABLE_SIZE: 4096, 4: 65535, 5: 16384, _LIST_SIZE: (1 << 32) - 1}
"""The settings that limit what their receiver may send."""


class Passage(Protocol):
    """Where one direction goes."""

    @property
    def open(self) -> bool:
        """Nothing is held back."""
        ...


class RestCall:
    """A call with candidates that is not gRPC. Each step answers with marks; once the exchange has no candidates left
    it is over."""

    __slots__ = ("exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def request_content(self, data: bytes) -> None:
        """What it sends matters where a rule wants to know what it refers to."""
        if self.exchange.asking is not None:
            self.exchange.asking.add(data)

    def answered(self, block: Block, *, ended: bool) -> Sequence[Mark]:
        """The response's headers."""
        return answer(self.exchange, block.status, block.headers, has_body=not ended)

    def content(self, data: bytes, size: int) -> Sequence[Mark]:
        """Content of a DATA frame from the owner; ``size`` is all of it on the wire."""
        collector = self.exchange.collector
        if collector is None:
            return ()
        collector.add(data)
        collector.passed(size)
        return [conclude_collected(self.exchange, collector)] if collector.overflowed else ()

    def ended(self, trailers: Block | None) -> Sequence[Mark]:  # noqa: ARG002 - nothing is read from HTTP trailers
        """The response is over."""
        collector = self.exchange.collector
        return () if collector is None else [conclude_collected(self.exchange, collector)]


class _Way:
    """One direction."""

    __slots__ = ("acknowledged", "passage", "reader", "unacknowledged", "withheld")

    def __init__(self, reader: FrameReader, passage: Passage) -> None:
        self.reader = reader
        self.passage = passage
        self.withheld = b""
        """What of an unfinished frame has come so far."""
        self.unacknowledged: deque[dict[int, int]] = deque()
        """What its receiver has asked for, and its sender not confirmed yet."""
        self.acknowledged = dict(_DEFAULTS)

    def acknowledge(self, settings: Mapping[int, int]) -> bool:
        """From here on the sender keeps to them. Whether anything that came before might break them."""
        narrows = any(settings[n] < known for n, known in self.acknowledged.items() if n in settings)
        self.acknowledged |= {n: value for n, value in settings.items() if n in _DEFAULTS}
        if _TABLE_SIZE in settings:
            self.reader.blocks.allow(settings[_TABLE_SIZE])
        return narrows


class Http2Observer:
    """One connection. ``destination`` is where it goes to, as ``matching.normal_authority`` writes it, if known.

    ``upgraded``: the call that began as HTTP/1 and is stream 1, and the client's settings (``HTTP2-Settings``).
    """

    __slots__ = (
        "_answers", "_calls", "_destination", "_last_opened", "_new_call", "_open", "_refused_since", "_requests",
        "_responses", "_rules", "greeted", "unserved",
    )  # fmt: skip

    def __init__(
        self,
        rules: RulesView,
        new_call: Callable[[], CallId],
        destination: str,
        to_owner: Passage,
        to_app: Passage,
        upgraded: tuple[Exchange, bytes] | None = None,
    ) -> None:
        self._rules = rules
        self._new_call = new_call
        self._destination = destination
        self._requests = _Way(FrameReader(PREFACE), to_owner)
        self._responses = _Way(FrameReader(), to_app)
        self._open: set[int] = set()
        self._calls: dict[int, RestCall | GrpcCall] = {}
        self._answers: set[int] = set()
        """Streams of calls whose final response headers have come."""
        self._last_opened = 0
        self._refused_since = 0
        self.unserved: list[int] = []
        """Streams that will not reach the owner, and whose client was not told so yet."""
        self.greeted = False
        """Whether the server's first settings have gone by: before them it may say nothing else."""
        if upgraded is not None:
            self._upgrade(*upgraded)

    def _upgrade(self, exchange: Exchange, settings: bytes) -> None:
        self._last_opened = exchange.stream = 1
        self._open.add(1)
        if exchange.candidates:
            self._calls[1] = RestCall(exchange)
        self._responses.acknowledge(settings_of(settings))

    # --- what the relay asks ----------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """No call is under way, and no part of one."""
        return self.all_answered and not self._requests.withheld and not self._requests.reader.left

    @property
    def all_answered(self) -> bool:
        """No stream is open."""
        return not self._open and not self._responses.withheld and not self._responses.reader.left

    @property
    def awaits_finding(self) -> bool:
        """Some call that was sent may still turn out to match."""
        return any(call.exchange.sent for call in self._calls.values())

    @property
    def awaits_answer(self) -> bool:
        """Asked when the client has ended its half: whether some call may still turn out to match."""
        return bool(self._calls)

    @property
    def withheld_request(self) -> bytes:
        return self._requests.withheld

    @property
    def withheld_response(self) -> bytes:
        return self._responses.withheld

    def request(self, data: bytes) -> list[Piece] | None:
        """Bytes from the client."""
        return self._follow(self._requests, data, self._request_marks)

    def response(self, data: bytes) -> list[Piece] | None:
        """Bytes from the server."""
        return self._follow(self._responses, data, self._response_marks)

    def request_end(self) -> bytes:
        """The client will send no more; what was withheld of its last words."""
        rest, self._requests.withheld = self._requests.withheld, b""
        return rest

    def response_end(self) -> list[Piece]:
        """The server will send no more: what was withheld, and what became of the calls under way."""
        rest, self._responses.withheld = self._responses.withheld, b""
        return [*([rest] if rest else ()), *self.abort()]

    def abort(self, *, reached: bool = True) -> Sequence[Mark]:
        """The connection is gone: what that means for the calls under way. ``reached``: the owner, ever."""
        calls, self._calls = self._calls, {}
        return unfinished((call.exchange for call in calls.values()), reached=reached)

    @property
    def response_left(self) -> int:
        """Bytes still to come of the frame that the server is in the middle of."""
        return self._responses.reader.left

    def refused(self, stream: int) -> None:
        """The client was told so: this call is over."""
        self._calls.pop(stream, None)
        self._open.discard(stream)

    def refuse_since(self, stream: int) -> Sequence[Mark]:
        """No stream behind this one reaches the owner; what that means for the calls on them."""
        self._refused_since = stream
        self.unserved += sorted(one for one in self._open if one > stream)
        self._open = {one for one in self._open if one < stream}
        calls = [self._calls.pop(one) for one in list(self._calls) if one > stream]
        return unfinished((call.exchange for call in calls), reached=False)

    # --- segments ---------------------------------------------------------------------------------------------

    def _follow(self, way: _Way, data: bytes, marks_of: Callable[[bytes, int], Sequence[Mark]]) -> list[Piece] | None:
        reader = way.reader
        before = way.withheld
        if before:
            data = before + data
            way.withheld = b""
        pieces: list[Piece] = []
        cutting = not way.passage.open
        at = done = 0
        size = len(data)
        try:
            while at < size:
                end = reader.feed(data, at)
                if end == at:
                    way.withheld = data[at:]
                    break
                marks = marks_of(data, at)
                if marks:
                    if done < at:
                        pieces.append(data[done:at])
                        done = at
                    pieces += marks
                    cutting = True  # what follows may have to wait, or to overtake
                if cutting:
                    pieces.append(Frame(data[at:end], reader.stream, reader.left, reader.order))
                    done = end
                at = end
        except Unfollowable as stop:
            way.withheld = b""
            return [*pieces, data[done:], *self.abort(), GaveUp(stop.reason)]
        if at == size and not pieces and not before:
            return None
        if done < at:
            pieces.append(data[done:at])
        return pieces

    def _request_marks(self, data: bytes, at: int) -> Sequence[Mark]:
        reader = self._requests.reader
        kind = reader.kind
        if kind == DATA:
            if self._calls:
                call = self._calls.get(reader.stream)
                if call is not None:
                    begin, end = reader.content
                    call.request_content(data[begin:end])
                    call.exchange.asked = reader.ended
            return ()
        if reader.block is not None:
            return self._request_block(reader, reader.block) if kind == HEADERS else ()
        if kind == RST_STREAM:
            return self._reset(reader.stream, b"")
        if kind == SETTINGS:
            self._settings(self._requests, self._responses, data, at)
        return ()

    def _response_marks(self, data: bytes, at: int) -> Sequence[Mark]:
        reader = self._responses.reader
        kind = reader.kind
        if kind == SETTINGS:
            self.greeted = True
            self._settings(self._responses, self._requests, data, at)
            return ()
        if not self.greeted:
            raise Unfollowable("bad-response")
        if kind == RST_STREAM:
            return self._reset(reader.stream, data[at + 9 : at + 13])
        if reader.ended:
            self._open.discard(reader.stream)
        if not self._calls:
            return ()
        call = self._calls.get(reader.stream)
        if call is None:
            return ()
        if kind == HEADERS and reader.block is not None:
            return self._over(reader, self._response_block(reader, reader.block, call))
        if kind == DATA:
            return self._over(reader, self._response_content(reader, data, call))
        return ()

    # --- calls ------------------------------------------------------------------------------------------------

    def _request_block(self, reader: FrameReader, block: Block) -> Sequence[Mark]:
        stream = reader.stream
        if stream <= self._last_opened:
            return ()  # trailers
        if not stream & 1:
            raise Unfollowable("framing")
        if len(self._open) >= MAX_STREAMS:
            raise Unfollowable("too-many-streams")
        self._last_opened = stream
        reader.order |= OPENS
        if self._refused_since:
            self.unserved.append(stream)
            return ()
        self._open.add(stream)
        candidates = self._candidates(block)
        if not candidates:
            return ()
        exchange = Exchange(_text(block, b":method"), _text(block, b":path"), candidates)
        exchange.stream = stream
        exchange.asked = reader.ended
        exchange.call = self._new_call()
        exchange.trace = context_of(block.get)
        watch_request(exchange, block.get(b"content-encoding").lower().decode("latin-1"))
        grpc = candidates[0].rule.match.grpc is not None
        self._calls[stream] = GrpcCall(exchange, block) if grpc else RestCall(exchange)
        return intent_of(exchange, block.values, partial(self._obstacle, block))

    def _obstacle(self, block: Block, size: int) -> str:
        """Whether a field of this size is more than the owner takes, as far as it has said."""
        way = self._requests
        limits = [told[_LIST_SIZE] for told in (way.acknowledged, *way.unacknowledged) if _LIST_SIZE in told]
        return "head-too-large" if block.list_size + size > min(limits) else ""

    def _candidates(self, block: Block) -> tuple[Candidate, ...]:
        matcher = self._rules.matcher
        if block.matched_by is matcher:
            return block.candidates
        block.matched_by = matcher
        block.candidates = NO_CANDIDATES
        if not matcher.empty:
            authority = block.get(b":authority") or block.get(b"host")
            rules = matcher.owner_rules(authority.decode("latin-1"), self._destination)
            if rules is not None:
                path = _text(block, b":path")
                if speaks_grpc(block.get(b"content-type").lower()):
                    block.candidates = rules.grpc_candidates(path)
                if not block.candidates:
                    block.candidates = rules.candidates(_text(block, b":method"), path)
        return block.candidates

    def _response_block(self, reader: FrameReader, block: Block, call: RestCall | GrpcCall) -> Sequence[Mark]:
        if not call.exchange.sent:
            raise Unfollowable("unsolicited-response")
        if reader.stream in self._answers:
            return call.ended(block) if reader.ended else ()
        if 100 <= block.status < 200 and not reader.ended:
            return ()
        self._answers.add(reader.stream)
        return call.answered(block, ended=reader.ended)

    def _response_content(self, reader: FrameReader, data: bytes, call: RestCall | GrpcCall) -> Sequence[Mark]:
        if reader.stream not in self._answers:
            raise Unfollowable("unsolicited-response")
        begin, end = reader.content
        marks = call.content(data[begin:end], end - begin)
        if reader.ended and call.exchange.candidates:
            marks = [*marks, *call.ended(None)]
        return marks

    def _over(self, reader: FrameReader, marks: Sequence[Mark]) -> Sequence[Mark]:
        call = self._calls[reader.stream]
        if reader.ended and call.exchange.candidates:
            marks = [*marks, aborted(call.exchange)]
        if not call.exchange.candidates:
            del self._calls[reader.stream]
            self._answers.discard(reader.stream)
        return marks

    def _reset(self, stream: int, code: bytes) -> Sequence[Mark]:
        self._open.discard(stream)
        self._answers.discard(stream)
        call = self._calls.pop(stream, None)
        if call is None:
            return ()
        # The one code that promises that nothing was done.
        return [nothing_in(call.exchange) if code == _REFUSED_STREAM else aborted(call.exchange)]

    # --- settings ---------------------------------------------------------------------------------------------

    def _settings(self, way: _Way, other: _Way, data: bytes, at: int) -> None:
        reader = way.reader
        if not reader.flags & ACK:
            if len(other.unacknowledged) >= _MAX_UNACKNOWLEDGED:
                raise Unfollowable("framing")
            other.unacknowledged.append(reader.settings(data, at))
        elif way.unacknowledged and way.acknowledge(way.unacknowledged.popleft()):
            # What was sent before does not keep to them; so nothing of it may come after.
            reader.order = FENCE


def _text(block: Block, name: bytes) -> str:
    return block.get(name).decode("latin-1")
