"""Reads one HTTP/1.1 answer to one request. Bytes in, an answer out; no sockets.

Laws:

- An answer is whole when its own framing says so. One that breaks off is no answer, whatever its status.
- It is bounded: a longer head is an error, a longer body is cut off and said to be (``whole`` False).
- ``keeps`` only where exactly one answer was read to its end: what follows it unasked belongs to nobody.
- We ask for no encoding. A body that is encoded all the same is not read, and counts as cut off.

llhttp (by httptools) judges the bytes. It does not know what was asked, so an answer to ``HEAD`` ends with its head,
and one that lasts until the owner hangs up is ended by ``end``.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from multidict import CIMultiDict

from leasehold.control_plane.owners.outcome import Fetched

LARGEST_HEAD_BYTES = 64 * 1024
LARGEST_ANSWER_BYTES = 1024 * 1024
_PLAIN = frozenset({"", "identity"})


class BrokenAnswer(ConnectionError):
    """What came is no answer. The request may have been carried out."""


class AnswerReader:
    """For one request."""

    __slots__ = ("_body", "_head_bytes", "_headed", "_headers", "_headless", "_parser", "_status", "answer", "keeps")

    def __init__(self, method: str) -> None:
        self._headless = method == "HEAD"
        self._parser = HttpResponseParser(self)
        self._headers: CIMultiDict[str] = CIMultiDict()
        self._body = bytearray()
        self._head_bytes = self._status = 0
        self._headed = False
        self.answer: Fetched | None = None
        """Once there is one."""
        self.keeps = False
        """Whether another request may follow on this connection."""

    def feed(self, data: bytes) -> None:
        """Take in what came. Raises ``BrokenAnswer``; what comes after the answer ends the connection."""
        if self.answer is not None:
            self.keeps = False
            return
        if not self._headed:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.keeps = False
            if self.answer is None:
                raise BrokenAnswer(f"expected an HTTP/1.1 answer: {error}") from error
        if not self._headed and self._head_bytes > LARGEST_HEAD_BYTES:
            raise BrokenAnswer(f"expected a head of at most {LARGEST_HEAD_BYTES} bytes")

    def end(self) -> None:
        """The owner hung up. Raises ``BrokenAnswer`` where that is not how this answer ends."""
        self.keeps = False
        if self.answer is not None:
            return
        framed = "Content-Length" in self._headers or "Transfer-Encoding" in self._headers
        if not self._headed or framed:
            raise BrokenAnswer("the owner hung up before it had answered")
        self._finish(whole=True)

    # --- llhttp tells -------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.answer is not None:
            self.keeps = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.answer is None:
            self._headers.add(name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))

    def on_headers_complete(self) -> None:
        if self.answer is not None:
            return
        self._status = self._parser.get_status_code()
        if self._status < 200:
            self._headers = CIMultiDict()  # interim: the answer is still to come
            return
        self._headed = True
        if self._headless:
            self._finish(whole=True)

    def on_body(self, part: bytes) -> None:
        if self.answer is None:
            self._body += part
            if len(self._body) > LARGEST_ANSWER_BYTES:
                self._finish(whole=False)  # not to be parsed any more; the status is what counts

    def on_message_complete(self) -> None:
        if self.answer is None and self._headed:
            self.keeps = bool(self._parser.should_keep_alive())
            self._finish(whole=True)

    def _finish(self, *, whole: bool) -> None:
        plain = self._headers.get("Content-Encoding", "").strip().lower() in _PLAIN
        body = bytes(self._body) if plain else b""
        self.answer = Fetched(self._status, self._headers, body, whole and (plain or not self._body))
