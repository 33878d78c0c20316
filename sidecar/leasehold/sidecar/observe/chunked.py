"""Where a chunked body ends: a walk from chunk size to chunk size, and llhttp's word for it. Pure.

The walk touches the size lines only; searching for the empty line at the end would read every byte of the body, and
find others. llhttp is fed the same bytes. Where the two disagree nobody knows what the peer makes of it.
"""

from __future__ import annotations

from typing import Final, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from leasehold.sidecar.observe.reasons import Unfollowable

MAX_SIZE_LINE: Final = 4 * 1024
"""A chunk's size with its extensions, or one line of trailers."""


class Sink(Protocol):
    """Takes the decoded bytes of a body."""

    def add(self, data: bytes) -> None: ...


class Judge:
    """What httptools tells when llhttp says that the message is complete."""

    __slots__ = ("complete",)

    def __init__(self) -> None:
        self.complete = False

    def on_message_complete(self) -> None:
        self.complete = True


class CollectingJudge(Judge):
    """One that hands on the body, too. llhttp copies bodies out for whoever can listen; so most judges cannot."""

    __slots__ = ("on_body",)

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self.on_body = sink.add


class Chunks:
    """A walk from chunk size to chunk size, and llhttp's word for it."""

    __slots__ = ("_judge", "_line", "_parser", "_skip", "_trailers", "complete")

    def __init__(self, parser: HttpRequestParser | HttpResponseParser, judge: Judge) -> None:
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
