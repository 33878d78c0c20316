"""Reads one direction of an HTTP/1.x connection: where messages begin and end, and what their heads say. Pure.

A reader is fed what passes by and says where the next *segment* of it ends; the bytes are never touched. A segment
never reaches over the end of a head or of a message, so whoever feeds can hold, refuse or rewrite exactly one message.

Who is believed: llhttp (by httptools) judges heads and chunked bodies, but tells no offsets. So we cut first and let
llhttp judge what we cut: a head ends behind the first empty line, a sized body after its content-length, a chunked
one where our own walk over the chunk sizes says so. The walk touches each chunk's size line only; searching for the
last chunk's empty line would read every byte. Where llhttp and the cut disagree nobody knows what the peer makes of
it, and we stop: ``Unfollowable``.

Every message gets a fresh parser (0.3 µs): no state of one message can confuse the next, and the things llhttp cannot
be told (that a HEAD response has no body, that an upgrade was declined) need no telling.

Hot path: the common case, a whole head alone in its chunk, is one ``find`` and one ``feed_data``.
"""

from __future__ import annotations

import re
from contextlib import suppress
from enum import Enum, auto
from typing import Final, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

MAX_HEAD: Final = 64 * 1024
MAX_SIZE_LINE: Final = 4 * 1024
"""A chunk's size with its extensions, or one line of trailers."""

UNINSPECTED: Final = frozenset({"tls", "http2", "not-http", "server-first", "upgrade", "connect"})
"""Reasons to relay blind that are nobody's fault."""
GAVE_UP: Final = frozenset(
    {
        "bad-request",
        "bad-response",
        "framing",
        "head-too-large",
        "pipeline-too-deep",
        "unsolicited-response",
        "early-upgrade-data",
    }
)
"""Reasons to stop following what had looked like HTTP/1."""

_END_OF_HEAD: Final = b"\r\n\r\n"
_REQUEST_LINE: Final = re.compile(rb"[A-Z-]+ [^\r\n]* HTTP/1\.[01]\r?\n")
_STATUS_LINE: Final = b"HTTP/1."
_CHUNKED_HEAD: Final = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
_TLS_HANDSHAKE: Final = 0x16


class Unfollowable(Exception):
    """From here on we do not know what the bytes mean. ``reason`` is in ``UNINSPECTED`` or ``GAVE_UP``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Sink(Protocol):
    """Takes the decoded bytes of a body."""

    def add(self, data: bytes) -> None: ...


class Expect(Enum):
    """What the next byte belongs to."""

    HEAD = auto()
    SIZED = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()
    UPGRADE = auto()
    """A request asked for another protocol: nothing may follow before the answer."""


class Reader:
    """One direction. After each ``feed``: ``head`` is the head that the segment completed, ``ended`` says whether the
    segment ended its message. Raises ``Unfollowable``; a reader that raised is finished.
    """

    __slots__ = ("_body", "_chunks", "_remaining", "ended", "expect", "head", "partial")

    def __init__(self) -> None:
        self.expect = Expect.HEAD
        self.head: bytes | None = None
        self.ended = False
        self.partial = bytearray()
        """What of an unfinished head has come so far."""
        self._remaining = 0
        self._chunks: _Chunks | None = None
        self._body: Sink | None = None

    @property
    def midway(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self.partial) or (self.expect is not Expect.HEAD and self.expect is not Expect.UPGRADE)

    def feed(self, data: bytes, start: int) -> int:
        """The next segment is ``data[start:end]``; returns ``end``, always beyond ``start``."""
        self.head = None
        self.ended = False
        expect = self.expect
        if expect is Expect.HEAD:
            return self._feed_head(data, start)
        if expect is Expect.SIZED:
            return self._feed_sized(data, start)
        if expect is Expect.CHUNKED:
            return self._feed_chunked(data, start)
        if expect is Expect.UPGRADE:
            raise Unfollowable("early-upgrade-data")
        if self._body is not None:
            self._body.add(data[start:])
        return len(data)

    def _feed_head(self, data: bytes, start: int) -> int:
        if self.partial:
            return self._feed_rest_of_head(data, start)
        end = data.find(_END_OF_HEAD, start) + 4
        if end == 3:
            self.partial += data[start:]
            self._check_partial()
            return len(data)
        head = data[start:end]  # no copy when it is the whole chunk
        self._begin(head)
        return end

    def _feed_rest_of_head(self, data: bytes, start: int) -> int:
        partial = self.partial
        before = len(partial)
        partial += data[start : start + MAX_HEAD]
        end = partial.find(_END_OF_HEAD, max(before - 3, 0)) + 4
        if end == 3:
            self._check_partial()
            return len(data)
        head = bytes(partial[:end])
        self.partial = bytearray()
        self._begin(head)
        return start + end - before

    def _begin(self, head: bytes) -> None:
        if len(head) > MAX_HEAD:
            raise Unfollowable("head-too-large")
        self._read_head(head)
        self.head = head
        self.ended = self.expect is Expect.HEAD or self.expect is Expect.UPGRADE

    def _read_head(self, head: bytes) -> None:
        """Judge the head and set what to expect behind it."""
        raise NotImplementedError

    def _check_partial(self) -> None:
        if len(self.partial) > MAX_HEAD:
            raise Unfollowable("head-too-large")

    def _feed_sized(self, data: bytes, start: int) -> int:
        end = min(start + self._remaining, len(data))
        self._remaining -= end - start
        if self._body is not None:
            self._body.add(data[start:end])
        if not self._remaining:
            self._end()
        return end

    def _feed_chunked(self, data: bytes, start: int) -> int:
        chunks = self._chunks
        if chunks is None:  # set with the state, always
            raise Unfollowable("framing")
        end = chunks.feed(data, start)
        if chunks.complete:
            self._end()
        return end

    def _end(self) -> None:
        self.ended = True
        self.expect = Expect.HEAD
        self._chunks = None
        self._body = None

    def _expect_sized(self, head: bytes, lower: bytes) -> None:
        value = header(head, lower, b"content-length")
        if value is None or not value.isdigit() or len(value) > 19:
            raise Unfollowable("framing")
        self._remaining = int(value)
        self.expect = Expect.SIZED if self._remaining else Expect.HEAD


class RequestReader(Reader):
    """What clients send. ``method`` and ``target`` are those of the last head, raw."""

    __slots__ = ("_complete", "_first", "_headers_complete", "method", "target", "upgrade")

    def __init__(self) -> None:
        super().__init__()
        self.method = b""
        self.target = b""
        self.upgrade = False
        """Whether the last request asked for another protocol (``Upgrade`` or ``CONNECT``)."""
        self._first = True
        self._complete = False
        self._headers_complete = False

    # httptools calls these; it skips (and pays nothing for) the ones we do not have.
    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_headers_complete(self) -> None:
        self._headers_complete = True

    def on_message_complete(self) -> None:
        self._complete = True

    def _feed_head(self, data: bytes, start: int) -> int:
        if data[start] in b"\r\n" and not self.partial:
            # Empty lines before a request are to be ignored (RFC 9112, 2.2); they belong to no message.
            end = start + 1
            while end < len(data) and data[end] in b"\r\n":
                end += 1
            return end
        return super()._feed_head(data, start)

    def _read_head(self, head: bytes) -> None:
        self.target = b""
        self._complete = self._headers_complete = False
        parser = HttpRequestParser(self)
        try:
            parser.feed_data(head)
        except HttpParserUpgrade:
            pass
        except HttpParserError as error:
            raise self._not_http(head) from error
        if not self._headers_complete or head.startswith(b"PRI "):
            raise self._not_http(head)
        self._first = False
        self.method = parser.get_method()
        self.upgrade = parser.should_upgrade()
        if self.upgrade:
            self._read_upgrade(head)
        elif not self._complete:
            self._expect_body(head, parser)
            if self.expect is Expect.HEAD:
                raise Unfollowable("framing")

    def _expect_body(self, head: bytes, parser: HttpRequestParser) -> None:
        lower = head.lower()
        if b"\r\ntransfer-encoding:" in lower:
            self.expect = Expect.CHUNKED
            self._chunks = _Chunks(parser, self)
        elif b"\r\ncontent-length:" in lower:
            self._expect_sized(head, lower)

    def _read_upgrade(self, head: bytes) -> None:
        """With an upgrade httptools declares the message complete whatever its body; so ask again without one."""
        if self.method != b"CONNECT":
            parser = HttpRequestParser(self)
            target = self.target
            parser.feed_data(_CHUNKED_HEAD)
            self.target = target
            self._complete = False
            self._expect_body(head, parser)
        if self.expect is Expect.HEAD:
            self.expect = Expect.UPGRADE

    @property
    def complete(self) -> bool:
        """What llhttp says of a chunked body."""
        return self._complete

    def _end(self) -> None:
        super()._end()
        if self.upgrade:
            self.expect = Expect.UPGRADE

    def resume(self) -> None:
        """The upgrade was declined: HTTP/1 goes on."""
        self.expect = Expect.HEAD

    def _check_partial(self) -> None:
        super()._check_partial()
        partial = self.partial
        line_end = partial.find(b"\n", 0, MAX_HEAD)
        if line_end >= 0:
            # Another protocol may wait for an answer now; do not wait for an empty line that never comes.
            if _REQUEST_LINE.match(partial) is None:
                raise self._not_http(bytes(partial))
        elif not (65 <= partial[0] <= 90):
            raise self._not_http(bytes(partial))

    def _not_http(self, head: bytes) -> Unfollowable:
        if not self._first:
            return Unfollowable("bad-request")
        if head[0] == _TLS_HANDSHAKE:
            return Unfollowable("tls")
        if head.startswith(b"PRI * HTTP/2"):
            return Unfollowable("http2")
        return Unfollowable("bad-request" if _REQUEST_LINE.match(head) else "not-http")


class ResponseReader(Reader):
    """What servers answer. Before each ``feed`` the caller sets ``bodiless`` if the request was a HEAD."""

    __slots__ = ("_complete", "_headers_complete", "bodiless", "status")

    def __init__(self) -> None:
        super().__init__()
        self.bodiless = False
        self.status = 0
        self._complete = False
        self._headers_complete = False

    def on_headers_complete(self) -> None:
        self._headers_complete = True

    def on_message_complete(self) -> None:
        self._complete = True

    @property
    def complete(self) -> bool:
        """What llhttp says of a chunked body."""
        return self._complete

    def collect(self, head: bytes, sink: Sink) -> None:
        """Directly after ``head``: let ``sink`` have the body of this message, without its chunking."""
        self._body = sink
        if self.expect is Expect.CHUNKED:
            # llhttp copies bodies out for whoever listens from the start; so only now there is one that listens.
            body = _Body(sink)
            parser = HttpResponseParser(body)
            with suppress(HttpParserUpgrade):
                parser.feed_data(head)
            self._chunks = _Chunks(parser, body)

    def collect_no_more(self) -> None:
        """The rest of this body interests nobody. (A chunked one is still decoded; its sink drops it.)"""
        self._body = None

    def _read_head(self, head: bytes) -> None:
        if not head.startswith(_STATUS_LINE):
            raise Unfollowable("bad-response")
        self._complete = self._headers_complete = False
        parser = HttpResponseParser(self)
        try:
            parser.feed_data(head)
        except HttpParserUpgrade:
            pass  # 101, or a header that mentions upgrades: the status decides, not llhttp
        except HttpParserError as error:
            # httptools takes the pause at a 101 that lacks "Connection: Upgrade" for an error.
            if not self._headers_complete or parser.get_status_code() != 101:
                raise Unfollowable("bad-response") from error
        if not self._headers_complete:
            raise Unfollowable("bad-response")
        self.status = status = parser.get_status_code()
        if self.bodiless or status < 200 or status == 204 or status == 304:
            self.expect = Expect.HEAD
            return
        lower = head.lower()
        if b"\r\ncontent-length:" in lower:
            self._expect_sized(head, lower)
        elif b"\r\ntransfer-encoding:" in lower and _is_chunked(head, lower):
            self.expect = Expect.CHUNKED
            self._chunks = _Chunks(parser, self)
        else:
            self.expect = Expect.UNTIL_CLOSE

    def end_by_close(self) -> bool:
        """The server has closed: whether that is how this message was meant to end."""
        if self.expect is not Expect.UNTIL_CLOSE:
            return False
        self._end()
        return True

    def _check_partial(self) -> None:
        super()._check_partial()
        if not self.partial.startswith(_STATUS_LINE[: len(self.partial)]):
            raise Unfollowable("bad-response")


class _Judge(Protocol):
    """Whom llhttp has told that the message is complete."""

    @property
    def complete(self) -> bool: ...


class _Body:
    """What httptools calls while a body is collected."""

    __slots__ = ("_sink", "complete")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.complete = False

    def on_body(self, data: bytes) -> None:
        self._sink.add(data)

    def on_message_complete(self) -> None:
        self.complete = True


class _Chunks:
    """A walk from chunk size to chunk size, and llhttp's word for it."""

    __slots__ = ("_judge", "_line", "_parser", "_skip", "_trailers", "complete")

    def __init__(self, parser: HttpRequestParser | HttpResponseParser, judge: _Judge) -> None:
        self._parser = parser
        self._judge = judge
        self._line = b""
        self._skip = 0
        self._trailers = False
        self.complete = False

    def feed(self, data: bytes, start: int) -> int:
        end = self._walk(data, start)
        try:
            self._parser.feed_data(data[start:end])
        except HttpParserUpgrade:
            pass  # said behind the body of a message that mentioned upgrades
        except HttpParserError as error:
            raise Unfollowable("framing") from error
        if self._judge.complete is not self.complete:
            raise Unfollowable("framing")
        return end

    def _walk(self, data: bytes, at: int) -> int:
        size = len(data)
        while True:
            if self._skip:
                step = min(self._skip, size - at)
                self._skip -= step
                at += step
            line_end = data.find(b"\n", at, at + MAX_SIZE_LINE)
            if line_end < 0:
                self._line += data[at:]
                if len(self._line) > MAX_SIZE_LINE:
                    raise Unfollowable("framing")
                return size
            line = (self._line + data[at:line_end]).rstrip(b"\r")
            self._line = b""
            at = line_end + 1
            if not self._trailers:
                self._read_size(line)
            elif not line:
                self.complete = True
                return at

    def _read_size(self, line: bytes) -> None:
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError as error:
            raise Unfollowable("framing") from error
        if size > 0:
            self._skip = size + 2
        else:
            self._trailers = True


def header(head: bytes, lower: bytes, name: bytes) -> bytes | None:
    """The value of the first header of that (lower-case) name; ``lower`` is ``head.lower()``."""
    at = lower.find(b"\r\n" + name + b":")
    if at < 0:
        return None
    at += len(name) + 3
    return head[at : head.find(b"\r\n", at)].strip(b" \t")


def _is_chunked(head: bytes, lower: bytes) -> bool:
    """Whether the last transfer coding is ``chunked``; else the body lasts until the close."""
    at = lower.rfind(b"\r\ntransfer-encoding:") + 20
    value = lower[at : head.find(b"\r\n", at)]
    return value.rpartition(b",")[2].strip(b" \t") == b"chunked"
