"""HTTP/2 on the wire, as far as unary gRPC calls need it: frames into bytes and back, header blocks likewise. Pure.

Hot path: our header blocks never change from call to call, so they are made once and consist of literals that no
table remembers; the server is asked to remember nothing either, so that its blocks are the same bytes every time and
are looked up instead of decoded. A server that keeps a table all the same is understood, only more slowly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final
from urllib.parse import unquote

from hpack import Decoder, Encoder, HPACKError

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CALM_DOWN = (
    0, 1, 3, 6, 7, 8, 9, 11,
)  # fmt: skip
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 3, 4, 5

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME_BYTES: Final = 16384
"""What both sides take without having said so; we never ask for more."""
MAX_BLOCK_BYTES: Final = 64 * 1024
"""A header block, before and after decompression."""
FORGET_THE_TABLE: Final = b"\x20"
"""In front of our first block: we keep no table, whatever size the server allows (RFC 7541, 6.3)."""

_MAX_KEPT: Final = 64
_MAX_KEPT_BYTES: Final = 1024
_HEAD: Final = Struct(">IBI")  # 24 bits of length and 8 of type; flags; stream
_REQUEST: Final = Struct(">IBIBI")  # the same, then gRPC's prefix: not compressed, so many bytes
_SETTING: Final = Struct(">HI")
_TIMEOUT: Final = b"\x10\x0cgrpc-timeout"
_MAX_TIMEOUT_MS: Final = 99_999_999


class Illegal(Exception):
    """The server broke the rules: this connection is of no more use. ``code`` is HTTP/2's."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class Head:
    """The fields of a header block that matter to a call; empty when they are not there."""

    http_status: str = ""
    content_type: str = ""
    grpc_status: str = ""
    grpc_message: str = ""


# --- what we write ---------------------------------------------------------------------------------------------------


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return _HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def request(stream: int, head: bytes, message: bytes | memoryview) -> bytes:
    """A whole call whose head and message fit into a frame each."""
    size = len(message)
    headers = _HEAD.pack(len(head) << 8 | HEADERS, END_HEADERS, stream)
    return b"".join((headers, head, _REQUEST.pack(size + 5 << 8 | DATA, END_STREAM, stream, 0, size), message))


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(number, value) for number, value in values))


def number(value: int) -> bytes:
    """The payload of frames that carry one: 32 bits."""
    return value.to_bytes(4, "big")


def request_head(scheme: str, authority: str, path: str, metadata: Iterable[tuple[str, str]]) -> bytes:
    """The header block of a call, to be kept and sent again and again: every field is a literal, never indexed."""
    fields = [
        (":method", "POST"),
        (":scheme", scheme),
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "leasehold"),
        *metadata,
    ]
    return bytes(Encoder().encode([(name.encode(), value.encode(), True) for name, value in fields], huffman=False))


def with_timeout(head: bytes, seconds: float) -> bytes:
    """``head``, with a word to the server on when nobody waits for its answer any more."""
    value = b"%dm" % min(max(int(seconds * 1000) + 1, 1), _MAX_TIMEOUT_MS)
    return b"%b%b%c%b" % (head, _TIMEOUT, len(value), value)


# --- what we read ----------------------------------------------------------------------------------------------------


class FrameReader:
    """Cuts a stream of bytes into frames. Keeps less than one frame."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Type, flags, stream and payload of each frame that is complete. Raises ``Illegal``."""
        if self._rest:
            data = self._rest + data
        offset, end = 0, len(data)
        while end - offset >= _HEAD.size:
            word, flags, stream = _HEAD.unpack_from(data, offset)
            if word >> 8 > MAX_FRAME_BYTES:
                raise Illegal(FRAME_SIZE_ERROR, f"a frame of {word >> 8} bytes, at most {MAX_FRAME_BYTES} were allowed")
            start = offset + _HEAD.size
            stop = start + (word >> 8)
            if stop > end:
                break
            yield word & 0xFF, flags, stream & 0x7FFFFFFF, data[start:stop]
            offset = stop
        self._rest = data[offset:]


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload of DATA or HEADERS without what PADDED and PRIORITY put around it. Raises ``Illegal``."""
    if not flags & (PADDED | PRIORITIZED):
        return payload
    start, stop = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise Illegal(FRAME_SIZE_ERROR, "a padded frame without a length of its padding")
        start, stop = 1, stop - payload[0]
    if flags & PRIORITIZED:
        start += 5
    if start > stop:
        raise Illegal(PROTOCOL_ERROR, "a frame that is shorter than its padding")
    return payload[start:stop]


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """Number and value of each setting. Raises ``Illegal``."""
    if len(payload) % _SETTING.size:
        raise Illegal(FRAME_SIZE_ERROR, "a SETTINGS frame with half a setting")
    return _SETTING.iter_unpack(payload)


class HeaderBlocks:
    """Decodes the server's header blocks, each exactly once and in their order."""

    __slots__ = ("_decoder", "_kept")

    def __init__(self) -> None:
        self._decoder = Decoder(MAX_BLOCK_BYTES)
        self._kept: dict[bytes, Head] = {}

    def decode(self, block: bytes) -> Head:
        """Raises ``Illegal``; then this decoder is of no more use."""
        return self._kept.get(block) or self._decode(block)

    def _decode(self, block: bytes) -> Head:
        decoder = self._decoder
        empty = not decoder.header_table_size
        try:
            fields = list(decoder.decode(block, raw=True))
        except HPACKError as error:
            raise Illegal(COMPRESSION_ERROR, f"a header block that cannot be decoded: {error}") from error
        head = _head({bytes(field[0]): bytes(field[1]) for field in reversed(fields)})  # of a repeated field the first
        # Where a table could be read or written, the same bytes need not mean the same the next time.
        if decoder.header_table_size or len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        if empty and not decoder.header_table_size and len(block) <= _MAX_KEPT_BYTES:
            self._kept[block] = head
        return head


def _head(fields: dict[bytes, bytes]) -> Head:
    names = (b":status", b"content-type", b"grpc-status", b"grpc-message")
    status, content_type, code, message = (fields.get(name, b"").decode("latin-1") for name in names)
    return Head(status, content_type, code, unquote(message, errors="replace"))
