"""One gRPC call on an HTTP/2 stream: its messages' framing, its metadata, its status at the very end. Pure.

Whether a call succeeded is said behind its messages, in the trailers; so a rule that matches holds the response from
its first byte. Where the owner answers with a stream the trailers may be hours away: then the first message decides. It
is a stream if the rule or the descriptor set says so, or if a second message begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from leasehold.protocol.rules import Commit, Side
from leasehold.sidecar.observe.body import BodyUnreadable, can_decode, inflate
from leasehold.sidecar.observe.exchanges import Exchange, Mark, Matched, aborted, conclude_messages, nothing_in
from leasehold.sidecar.observe.header_blocks import Block

_OK: Final = 0
_PREFIX: Final = 5


def speaks_grpc(content_type: bytes) -> bool:
    """``application/grpc``, with any encoding of the messages; not gRPC-Web, which is framed differently."""
    return content_type == b"application/grpc" or content_type.startswith((b"application/grpc+", b"application/grpc;"))


class FirstMessage:
    """The first message of one side. At most ``limit`` bytes of it are kept, as they came and inflated; with a limit of
    0 it is only watched passing by."""

    __slots__ = ("_encoding", "_left", "_limit", "_parts", "_prefix", "_size", "another", "complete", "reason")

    def __init__(self, limit: int, encoding: bytes) -> None:
        self._limit = limit
        self._encoding = encoding
        self._prefix = b""
        self._parts: list[bytes] = []
        self._size = self._left = 0
        self.complete = False
        self.another = False
        """Whether a second one has begun."""
        self.reason = "no-id"
        """Why there is no message to read."""

    def add(self, data: bytes) -> None:
        missing = _PREFIX - len(self._prefix)
        if missing:
            self._prefix += data[:missing]
            data = data[missing:]
            if len(self._prefix) < _PREFIX:
                return
            self._size = self._left = int.from_bytes(self._prefix[1:], "big")
            if self._size > self._limit:
                self.reason = "body-too-large"
        if self.complete:
            self.another = self.another or bool(data)
            return
        if self._size <= self._limit:
            self._parts.append(data[: self._left])
        rest = len(data) - self._left
        self._left = max(-rest, 0)
        self.complete = rest >= 0
        self.another = rest > 0

    @property
    def hopeless(self) -> bool:
        """It is wanted, and too large."""
        return bool(self._limit) and self._size > self._limit

    def read(self) -> bytes | None:
        """The message, inflated; ``None`` for a ``reason``."""
        if not self.complete or self._size > self._limit:
            return None
        message = b"".join(self._parts)
        if not self._prefix[0]:
            return message
        encoding = self._encoding.decode("latin-1").strip().lower()
        if not encoding or encoding == "identity" or not can_decode(encoding):
            self.reason = "body-unreadable"
            return None
        try:
            return inflate(message, self._limit)
        except BodyUnreadable as unreadable:
            self.reason = unreadable.reason
            return None


class GrpcCall:
    """A call with candidates. Each step answers with marks; once the exchange has no candidates left it is over."""

    __slots__ = ("_limits", "_request", "_response", "_streaming", "exchange")

    def __init__(self, exchange: Exchange, request: Block) -> None:
        self.exchange = exchange
        self._limits = {side: _limit(exchange, side) for side in Side}
        limit = self._limits[Side.REQUEST]
        self._request = FirstMessage(limit, request.get(b"grpc-encoding")) if limit else None
        self._response: FirstMessage | None = None
        self._streaming = any(candidate.compiled.streaming for candidate in exchange.candidates)

    def request_content(self, data: bytes) -> None:
        """Content of a DATA frame from the client."""
        if self._request is not None and not self._request.complete:
            self._request.add(data)

    def answered(self, block: Block, *, ended: bool) -> Sequence[Mark]:
        """The response's headers."""
        exchange = self.exchange
        if block.status != 200 or not speaks_grpc(block.get(b"content-type").lower()):
            return [nothing_in(exchange)]
        exchange.headers = block.headers()
        if ended:
            return self._trailers(block)
        self._response = FirstMessage(self._limits[Side.RESPONSE], block.get(b"grpc-encoding"))
        rules = (candidate.rule for candidate in exchange.candidates)
        holding = tuple(rule for rule in rules if rule.commit is not Commit.BACKGROUND)
        return [Matched(exchange, (), holding)] if holding else ()

    def content(self, data: bytes, size: int) -> Sequence[Mark]:  # noqa: ARG002 - gRPC's framing adds little
        """Content of a DATA frame from the owner."""
        response = self._response
        if response is None:
            return ()
        response.add(data)
        if response.hopeless or response.another or (self._streaming and response.complete):
            # Nothing that is still to come would change what can be said; the status is taken for a good one.
            return self._conclude(_OK)
        return ()

    def ended(self, trailers: Block | None) -> Sequence[Mark]:
        """The response is over."""
        if trailers is None:
            return [aborted(self.exchange)]  # without a status nobody knows
        self.exchange.headers = trailers.headers() | self.exchange.headers
        return self._trailers(trailers)

    def _trailers(self, block: Block) -> Sequence[Mark]:
        status = block.get(b"grpc-status")
        if not status.isdigit() or len(status) > 2:
            return [aborted(self.exchange)]
        return self._conclude(int(status))

    def _conclude(self, status: int) -> Sequence[Mark]:
        messages: dict[Side, bytes] = {}
        missing: dict[Side, str] = {}
        for side, first in ((Side.REQUEST, self._request), (Side.RESPONSE, self._response)):
            if first is not None and self._limits[side]:
                message = first.read()
                if message is None:
                    missing[side] = first.reason
                else:
                    messages[side] = message
        return conclude_messages(self.exchange, status, messages, missing)


def _limit(exchange: Exchange, side: Side) -> int:
    """How much of this side's first message any candidate wants; 0 where none does."""
    wanting = [c.rule for c in exchange.candidates if side in c.compiled.extractor.needs_messages]
    return max((rule.body_limit for rule in wanting), default=0)
