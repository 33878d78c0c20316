"""Streams of any size that are never in memory as a whole: a head, one unit over and over, a tail. Who drains one knows
what every byte has to be."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import hpack

from leasehold.sidecar.observe.frames import PREFACE

UNIT: Final = 1_000_003
"""Bytes of content in a unit. A prime, so that nothing that is a power of two falls on its bounds twice."""
_CONTENT: Final = random.Random(UNIT).randbytes(UNIT)
_READ: Final = 256 * 1024


class Changed(AssertionError):
    """What came is not what was sent."""


@dataclass(frozen=True)
class Torrent:
    """What one side says on a connection."""

    head: bytes
    unit: bytes
    count: int
    tail: bytes = b""

    @property
    def size(self) -> int:
        return len(self.head) + len(self.unit) * self.count + len(self.tail)

    def pour(self, sock: socket.socket) -> None:
        """All of it, at the pace of the reader."""
        sock.sendall(self.head)
        for _ in range(self.count):
            sock.sendall(self.unit)
        sock.sendall(self.tail)

    def drain(self, sock: socket.socket) -> None:
        """Until all of it has come. Raises ``Changed`` at the first byte that is another."""
        expect(sock, self.head)
        left = len(self.unit) * self.count
        doubled = self.unit + self.unit
        at = 0
        while left:
            got = sock.recv(min(_READ, left))
            if not got or got != doubled[at : at + len(got)]:
                raise Changed(f"{left} bytes before the end of the units: {'another byte' if got else 'the end'}")
            at = (at + len(got)) % len(self.unit)
            left -= len(got)
        expect(sock, self.tail)

    def start_of(self, size: int) -> Iterator[bytes]:
        """Pieces of it that are ``size`` bytes together, or all there is."""
        for piece in (self.head, *[self.unit] * self.count, self.tail):
            yield piece[:size]
            size -= len(piece[:size])
            if not size:
                return


def expect(sock: socket.socket, data: bytes) -> None:
    """Exactly this comes next. Raises ``Changed``."""
    at = 0
    while at < len(data):
        got = sock.recv(len(data) - at)
        if not got or got != data[at : at + len(got)]:
            raise Changed(f"expected {data[at : at + 100]!r}, got {got[:100]!r}")
        at += len(got)


def _sized(line: bytes, count: int) -> Torrent:
    head = b"%bHost: blobs.test\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return Torrent(head % (line, UNIT * count), _CONTENT, count)


def _chunked(line: bytes, count: int) -> Torrent:
    head = b"%bHost: blobs.test\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" % line
    unit = b'%x;number=1;text="a b"\r\n%b\r\n' % (UNIT, _CONTENT)
    return Torrent(head, unit, count, b"0\r\nChecksum: none\r\n\r\n")


def _until_close(line: bytes, count: int) -> Torrent:
    return Torrent(b"%bContent-Type: application/json\r\n\r\n" % line, _CONTENT, count)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _http2(count: int, *, client: bool, path: str, status: str) -> Torrent:
    fields = [(":method", "POST"), (":scheme", "http"), (":authority", "blobs.test"), (":path", path)]
    block = hpack.Encoder().encode(fields if client else [(":status", status), ("content-type", "application/json")])
    head = (PREFACE if client else b"") + frame(4, 0, 0, b"\0\4\x7f\xff\xff\xff") + frame(1, 4, 1, block)
    parts = [_CONTENT[at : at + 16_384] for at in range(0, UNIT, 16_384)]
    window = frame(8, 0, 0, UNIT.to_bytes(4, "big"))
    return Torrent(head, b"".join(frame(0, 0, 1, part) for part in parts) + window, count, frame(0, 1, 1, b""))


def both_ways(framing: str, size: int, *, matched: bool) -> tuple[Torrent, Torrent]:
    """What an app and an owner say in one call whose bodies have at least ``size`` bytes each.

    ``matched``: by a rule for ``POST /v1/blobs`` that is answered 201, with an id in JSON.
    """
    count = -(-size // UNIT)
    path = b"/v1/blobs" if matched else b"/other"
    ask, tell = b"POST %b HTTP/1.1\r\n" % path, b"HTTP/1.1 201 Created\r\n"
    if framing == "http2":
        return (
            _http2(count, client=True, path=path.decode(), status=""),
            _http2(count, client=False, path="", status="201"),
        )
    if framing == "until close":
        return _sized(ask, count), _until_close(tell, count)
    make = {"sized": _sized, "chunked": _chunked}[framing]
    return make(ask, count), make(tell, count)
