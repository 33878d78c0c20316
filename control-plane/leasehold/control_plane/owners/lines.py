"""Connections to one owner's HTTP origin: a request goes out on one, once, and its answer comes back on it.

A client with redirects, cookies, proxies and compression costs several times what a delete needs; here there is none of
that. Laws:

- A request is written once. Nothing here repeats it, not even when a kept connection breaks under it.
- A connection has one request at a time, and is kept only after an answer that was read to its very end. Whatever comes
  unasked ends it, so that no request is ever told another's answer.
- Whoever gives up (a deadline, a cancellation) takes the connection along.
- At most ``limit`` at a time; who comes then waits, as long as the caller's deadline lets it. A connection that was
  idle for ``KEPT_SECONDS`` is not used again: most owners will have given it up.
- Everything that goes wrong is a ``ConnectionError``, but for ``ssl.SSLError`` while a connection is made and
  ``ValueError`` for what cannot be sent.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit, urlunsplit

from leasehold.control_plane.owners.answer_reader import AnswerReader
from leasehold.control_plane.owners.outcome import Fetched

KEPT_SECONDS = 15.0
_PORTS = {"http": 80, "https": 443}
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_ALWAYS = {"Accept": "*/*", "Accept-Encoding": "identity"}


class Lines:
    """All of one owner's. ``server_name``: what its certificate is to say, if not its host."""

    def __init__(self, origin: str, context: ssl.SSLContext | None, server_name: str | None, limit: int) -> None:
        parts = urlsplit(origin)
        self._base = f"{parts.scheme}://{parts.netloc}"
        self._host, self._port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        self._context = context
        self._server_name = (server_name or self._host) if context is not None else None
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._host_header = host if self._port == _PORTS[parts.scheme] else f"{host}:{self._port}"
        self._room = asyncio.Semaphore(limit)
        self._idle: list[_Line] = []
        self._closed = False

    async def exchange(self, method: str, url: str, headers: Mapping[str, str]) -> Fetched:
        """Send one request without a body and wait for its answer, as long as the caller does.

        After anything but ``ValueError`` the request may or may not have been carried out; never repeated here.
        """
        head = self._head(method, url, headers)
        async with self._room:
            line = self._kept() or await self._connect()
            try:
                return await line.exchange(method, head)
            finally:
                if line.is_free and not self._closed:
                    line.idle_since = _now()
                    self._idle.append(line)
                else:
                    line.abort()

    def close(self) -> None:
        """Hang up what is idle; what is under way is hung up when it ends."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()

    def _kept(self) -> _Line | None:
        """The one that was used last: its owner is the least likely to have given it up."""
        oldest = _now() - KEPT_SECONDS
        while self._idle:
            line = self._idle.pop()
            if line.is_free and line.idle_since > oldest:
                self._drop_stale(oldest)
                return line
            line.abort()
        return None

    def _drop_stale(self, oldest: float) -> None:
        """They stand in the order in which they became idle."""
        while self._idle and not (self._idle[0].is_free and self._idle[0].idle_since > oldest):
            self._idle.pop(0).abort()

    async def _connect(self) -> _Line:
        try:
            _, line = await asyncio.get_running_loop().create_connection(
                _Line, self._host, self._port, ssl=self._context, server_hostname=self._server_name
            )
        except (ssl.SSLError, ConnectionError):
            raise
        except OSError as error:  # no such name, no route, or several addresses that all refused
            raise ConnectionError(f"{self._base}: {error}") from error
        return line

    def _head(self, method: str, url: str, headers: Mapping[str, str]) -> bytes:
        said = {name.lower() for name in headers}
        lines = [f"{method} {self._target(url)} HTTP/1.1"]
        if "host" not in said:
            lines.append(f"Host: {self._host_header}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"{name}: {value}" for name, value in _ALWAYS.items() if name.lower() not in said]
        if method not in _BODILESS and "content-length" not in said:
            lines.append("Content-Length: 0")
        text = "\r\n".join((*lines, "\r\n"))
        if text.count("\r") != len(lines) + 1 or text.count("\n") != len(lines) + 1 or "\0" in text:
            raise ValueError("nothing was sent: expected headers without line breaks")
        return text.encode("utf-8", "surrogateescape")

    def _target(self, url: str) -> str:
        if url.startswith(self._base):
            target = url[len(self._base) :].partition("#")[0]
        else:  # spelt otherwise by whoever signed it; it goes to the same place, for there is no other
            parts = urlsplit(url)
            target = urlunsplit(("", "", parts.path, parts.query, ""))
        if not target.startswith("/"):
            target = "/" + target
        if " " in target or not (target.isascii() and target.isprintable()):
            raise ValueError(f"nothing was sent: expected an encoded address, found {target!r}")
        return target


class _Line(asyncio.Protocol):
    """One connection."""

    __slots__ = ("_answered", "_reader", "_transport", "idle_since", "is_free")

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reader: AnswerReader | None = None
        self._answered: asyncio.Future[Fetched] | None = None
        self.is_free = True
        self.idle_since = 0.0

    async def exchange(self, method: str, head: bytes) -> Fetched:
        if self._transport is None or not self.is_free:
            raise RuntimeError("expected a connection that is free")
        self.is_free = False
        self._reader = AnswerReader(method)
        self._answered = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(head)
            return await self._answered
        finally:
            self.is_free = self._reader.keeps
            self._reader = self._answered = None

    def abort(self) -> None:
        self.is_free = False
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._reader is None:  # unasked
            self.abort()
            return
        try:
            self._reader.feed(data)
        except ConnectionError as error:
            self._fail(error)
        self._tell()

    def eof_received(self) -> bool:
        return False  # the transport closes, and says so

    def connection_lost(self, error: Exception | None) -> None:
        self.is_free = False
        if self._reader is None:
            return
        if error is not None:
            self._reader.keeps = False
            lost = ConnectionResetError(f"{type(error).__name__}: {error}")
            lost.__cause__ = error
            self._fail(lost)
            return
        try:
            self._reader.end()
        except ConnectionError as broken:
            self._fail(broken)
        self._tell()

    def _tell(self) -> None:
        answer = self._reader.answer if self._reader is not None else None
        if answer is not None and self._answered is not None and not self._answered.done():
            self._answered.set_result(answer)

    def _fail(self, error: ConnectionError) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)


def _now() -> float:
    return asyncio.get_running_loop().time()
