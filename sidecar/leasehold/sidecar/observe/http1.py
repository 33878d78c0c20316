"""Reads one direction of an HTTP/1.x connection: where messages begin and end, and what their heads say. Pure.

A reader is fed what passes by and says where the next *segment* of it ends; the bytes are never touched. A segment
never reaches over the end of a head or of a message, so whoever feeds can hold, refuse or rewrite exactly one message.

Who is believed: llhttp (by httptools) judges heads and chunked bodies, but tells no offsets. So we cut first and let
llhttp judge what we cut: a head ends behind the first empty line, a sized body after its content-length, a chunked
one where our own walk (``chunked``) says so. Where llhttp and the cut disagree we stop: ``Unfollowable``.

Every message gets a fresh parser (0.3 µs): no state of one message can confuse the next, and the things llhttp cannot
be told (that a HEAD response has no body, that an upgrade was declined) need no telling.

Hot path: the common case, a whole head alone in its chunk, is one ``find`` and one ``feed_data``.
"""

from __future__ import annotations

import re
from contextlib import suppress
from enum import Enum, auto
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from leasehold.sidecar.observe.chunked import Chunks, CollectingJudge, Judge, Sink
from leasehold.sidecar.observe.reasons import Unfollowable

MAX_HEAD: Final = 64 * 1024
_END_OF_HEAD: Final = b"\r\n\r\n"
_BARE_END: Final = re.compile(rb"\n\r?\n")
"""An empty line. Where no ``_END_OF_HEAD`` was found, one that bare line feeds make."""
_REQUEST_LINE: Final = re.compile(rb"[A-Z-]+ [^\r\n]* HTTP/1\.[01]\r?\n")
_STATUS_LINE: Final = b"HTTP/1."
_CHUNKED_HEAD: Final = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
_TLS_HANDSHAKE: Final = 0x16
_SPACE: Final = 0x20


class Expect(Enum):
    """What the next byte belongs to."""

    HEAD = auto()
    SIZED = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()
    UPGRADE = auto()
    """A request asked for another protocol: nothing may follow before the answer."""


# Members of an Enum are slow to reach; these are reached with every segment.
_HEAD: Final = Expect.HEAD
_SIZED: Final = Expect.SIZED
_UPGRADE: Final = Expect.UPGRADE


class Reader:
    """One direction. After each ``feed``: ``head`` is the head that the segment completed, ``ended`` says whether the
    segment ended its message. Raises ``Unfollowable``; a reader that raised is finished.
    """

    __slots__ = ("_body", "_chunks", "_remaining", "ended", "expect", "head", "partial")
    _unreadable = "bad-request"

    def __init__(self) -> None:
        self.expect = Expect.HEAD
        self.head: bytes | None = None
        self.ended = False
        self.partial = bytearray()
        """What of an unfinished head has come so far."""
        self._remaining = 0
        self._chunks: Chunks | None = None
        self._body: Sink | None = None

    @property
    def midway(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self.partial) or (self.expect is not Expect.HEAD and self.expect is not Expect.UPGRADE)

    def feed(self, data: bytes, start: int) -> int:
        """The next segment is ``data[start:end]``; returns ``end``, always beyond ``start``."""
        expect = self.expect
        if expect is _HEAD and not self.partial:
            end = data.find(_END_OF_HEAD, start) + 4
            if end != 3 and data[start] > _SPACE:
                self._begin(data[start:end])  # no copy when it is the whole chunk
                return end
        self.head = None
        self.ended = False
        if expect is _HEAD:
            return self._feed_rest_of_head(data, start) if self.partial else self._feed_start_of_head(data, start)
        if expect is Expect.SIZED:
            return self._feed_sized(data, start)
        if expect is Expect.CHUNKED:
            return self._feed_chunked(data, start)
        if expect is _UPGRADE:
            raise Unfollowable("early-upgrade-data")
        if self._body is not None:
            self._body.add(data[start:])
        return len(data)

    def _feed_start_of_head(self, data: bytes, start: int) -> int:
        """Not all of it is here yet, or it starts strangely."""
        self.partial += data[start:]
        self._check_partial()
        return len(data)

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
        expect = self.expect
        self.ended = expect is _HEAD or expect is _UPGRADE

    def _read_head(self, head: bytes) -> None:
        """Judge the head and set what to expect behind it."""
        raise NotImplementedError

    def _check_partial(self) -> None:
        if len(self.partial) > MAX_HEAD:
            raise Unfollowable("head-too-large")
        self._check_beginning()
        if _BARE_END.search(self.partial):
            # Some readers take it for the end of the head. To wait for another one could be to wait for ever.
            raise Unfollowable(self._unreadable)

    def _check_beginning(self) -> None:
        """Whether what has come can be HTTP/1 at all."""
        raise NotImplementedError

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

    __slots__ = ("_complete", "first", "method", "target", "upgrade")

    def __init__(self) -> None:
        super().__init__()
        self.method = b""
        self.target = b""
        self.upgrade = False
        """Whether the last request asked for another protocol (``Upgrade`` or ``CONNECT``)."""
        self.first = True
        """Whether no request has been read yet."""
        self._complete = False

    # httptools calls these; it skips, and pays nothing for, the ones we do not have.
    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_message_complete(self) -> None:
        self._complete = True

    def _feed_start_of_head(self, data: bytes, start: int) -> int:
        end = start
        while end < len(data) and data[end] in b"\r\n":
            end += 1
        # Empty lines before a request are to be ignored (RFC 9112, 2.2); they belong to no message.
        return end if end > start else super()._feed_start_of_head(data, start)

    def _read_head(self, head: bytes) -> None:
        self.target = b""
        self._complete = False
        parser = HttpRequestParser(self)
        try:
            parser.feed_data(head)
        except HttpParserUpgrade:
            pass
        except HttpParserError as error:
            raise self._not_http(head) from error
        self.method = method = parser.get_method()
        if method == b"PRI":
            raise self._not_http(head)
        self.first = False
        self.upgrade = parser.should_upgrade()
        if self.upgrade:
            self._read_upgrade(head)
        elif not self._complete:
            self._expect_body(head)
            if self.expect is _HEAD:
                raise Unfollowable("framing")

    def _expect_body(self, head: bytes) -> None:
        lower = head.lower()
        if b"\r\ntransfer-encoding:" in lower:
            self._expect_chunked(Judge())
        elif b"\r\ncontent-length:" in lower:
            self._expect_sized(head, lower)

    def _read_upgrade(self, head: bytes) -> None:
        # httptools declares an upgrade complete whatever its body; so what the head says has to do.
        if self.method != b"CONNECT":
            self._expect_body(head)
        if self.expect is _HEAD:
            self.expect = _UPGRADE

    def _end(self) -> None:
        super()._end()
        if self.upgrade:
            self.expect = Expect.UPGRADE

    def collect(self, sink: Sink) -> None:
        """Directly after a head: let ``sink`` have the body of this message, without its chunking."""
        self._body = sink
        if self.expect is Expect.CHUNKED:
            self._expect_chunked(CollectingJudge(sink))

    def _expect_chunked(self, judge: Judge) -> None:
        parser = HttpRequestParser(judge)
        parser.feed_data(_CHUNKED_HEAD)  # of the head all else is judged already
        self.expect = Expect.CHUNKED
        self._chunks = Chunks(parser, judge)

    def resume(self) -> None:
        """The upgrade was declined: HTTP/1 goes on."""
        self.expect = Expect.HEAD

    def _check_beginning(self) -> None:
        partial = self.partial
        line_end = partial.find(b"\n", 0, MAX_HEAD)
        if line_end >= 0:
            # Another protocol may wait for an answer now; do not wait for an empty line that never comes.
            if _REQUEST_LINE.match(partial) is None:
                raise self._not_http(bytes(partial))
        elif not (65 <= partial[0] <= 90):
            raise self._not_http(bytes(partial))

    def _not_http(self, head: bytes) -> Unfollowable:
        if not self.first:
            return Unfollowable("bad-request")
        if head[0] == _TLS_HANDSHAKE:
            return Unfollowable("tls")
        if head.startswith(b"PRI * HTTP/2"):
            return Unfollowable("http2")
        return Unfollowable("bad-request" if _REQUEST_LINE.match(head) else "not-http")


class ResponseReader(Reader):
    """What servers answer. Before each ``feed`` the caller sets ``bodiless`` if the request was a HEAD."""

    __slots__ = ("bodiless", "status")
    _unreadable = "bad-response"

    def __init__(self) -> None:
        super().__init__()
        self.bodiless = False
        self.status = 0

    def begin_sized(self, size: int) -> None:
        """A head of a final answer was read elsewhere; so many bytes of body follow it, at least one."""
        self.status = 200
        self._remaining = size
        self.expect = Expect.SIZED

    @property
    def sized(self) -> int | None:
        """Directly after ``head``: the size of its body, where the head says it."""
        return self._remaining if self.expect is Expect.SIZED else 0 if self.ended else None

    def collect(self, head: bytes, sink: Sink) -> None:
        """Directly after ``head``: let ``sink`` have the body of this message, without its chunking."""
        self._body = sink
        if self.expect is Expect.CHUNKED:
            self._expect_chunked(head, CollectingJudge(sink))

    def collect_no_more(self) -> None:
        """The rest of this body interests nobody. (A chunked one is still decoded; its sink drops it.)"""
        self._body = None

    def _read_head(self, head: bytes) -> None:
        if not head.startswith(_STATUS_LINE):
            raise Unfollowable("bad-response")
        parser = HttpResponseParser(None)
        try:
            parser.feed_data(head)
        except HttpParserUpgrade:
            pass  # 101, or a header that mentions upgrades: the status decides, not llhttp
        except HttpParserError as error:
            # httptools takes llhttp's pause at a 101 without "Connection: Upgrade" for an error.
            if parser.get_status_code() != 101:
                raise Unfollowable("bad-response") from error
        self.status = status = parser.get_status_code()
        if self.bodiless or status < 200 or status == 204 or status == 304:
            return
        at = head.find(b"\r\nContent-Length: ")
        if at > 0:  # as nearly everybody writes it
            value = head[at + 18 : head.find(b"\r\n", at + 18)]
            if value.isdigit() and len(value) < 20:
                self._remaining = size = int(value)
                self.expect = _SIZED if size else _HEAD
                return
        lower = head.lower()
        if b"\r\ncontent-length:" in lower:
            self._expect_sized(head, lower)
        elif b"\r\ntransfer-encoding:" in lower and _is_chunked(head, lower):
            self._expect_chunked(head, Judge())
        else:
            self.expect = Expect.UNTIL_CLOSE

    def _expect_chunked(self, head: bytes, judge: Judge) -> None:
        parser = HttpResponseParser(judge)
        with suppress(HttpParserUpgrade):
            parser.feed_data(head)
        self.expect = Expect.CHUNKED
        self._chunks = Chunks(parser, judge)

    def end_by_close(self) -> bool:
        """The server has closed: whether that is how this message was meant to end."""
        if self.expect is not Expect.UNTIL_CLOSE:
            return False
        self._end()
        return True

    def _check_beginning(self) -> None:
        if not self.partial.startswith(_STATUS_LINE[: len(self.partial)]):
            raise Unfollowable("bad-response")


def header(head: bytes, lower: bytes, name: bytes) -> bytes | None:
    """The value of the first header of that (lower-case) name; ``lower`` is ``head.lower()``."""
    at = lower.find(b"\r\n" + name + b":")
    if at < 0:
        return None
    at += len(name) + 3
    return head[at : head.find(b"\r\n", at)].strip(b" \t")


def headers(head: bytes, lower: bytes, name: bytes) -> list[bytes]:
    """The values of all headers of that name; the rest as for ``header``. (llhttp lets no line be folded.)"""
    found = []
    at = lower.find(b"\r\n" + name + b":")
    while at >= 0:
        at += len(name) + 3
        end = head.find(b"\r\n", at)
        found.append(head[at:end].strip(b" \t"))
        at = lower.find(b"\r\n" + name + b":", end)
    return found


def _is_chunked(head: bytes, lower: bytes) -> bool:
    """Whether the last transfer coding is ``chunked``; else the body lasts until the close."""
    at = lower.rfind(b"\r\ntransfer-encoding:") + 20
    value = lower[at : head.find(b"\r\n", at)]
    return value.rpartition(b",")[2].strip(b" \t") == b"chunked"
