"""Cuts one direction of an HTTP/2 connection into its frames. Pure; the bytes are never touched.

A segment is a whole frame, a whole header block (HEADERS or PUSH_PROMISE with all its CONTINUATIONs, between which
nothing else may stand), or a part of a DATA frame or of one of an unknown kind: those alone may be of any size, and are
never waited for. Everything else is waited for until it is whole: its receiver could do nothing with a part of it.

``Frame`` says of a segment what it may overtake while something before it is held back (docs/decisions/0008).
"""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Final

import msgspec

from leasehold.sidecar.observe.header_blocks import Block, HeaderBlocks
from leasehold.sidecar.observe.http1 import header
from leasehold.sidecar.observe.reasons import Unfollowable

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_WHOLE: Final = 64 * 1024
"""Bytes of a frame or header block that is waited for."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20

OPENS: Final = 1
"""Opens a stream: streams are opened in the order of their numbers, or the lower ones never are."""
READS: Final = 2
"""A header block that refers to the dynamic table."""
WRITES: Final = 4
"""A header block that changes the dynamic table."""
FENCE: Final = 8
"""Speaks of all that came before it: overtakes nothing, and nothing overtakes it."""

_BEGIN_BLOCKS: Final = frozenset({HEADERS, PUSH_PROMISE})
_HEAD: Final = struct.Struct(">HBBBL")
_SETTING: Final = struct.Struct(">HL")
_SETTINGS_HEAD: Final = bytes([SETTINGS, 0, 0, 0, 0, 0])
"""Behind the length: kind, flags, stream."""


class Frame(msgspec.Struct, frozen=True):
    """A segment on its way. ``left``: bytes of its frame that are still to come, right behind it."""

    data: bytes
    stream: int
    left: int
    order: int


class FrameReader:
    """One direction. After each ``feed`` the attributes describe the segment. Raises ``Unfollowable``; a reader that
    raised is finished."""

    __slots__ = (
        "_content", "_preface", "block", "blocks", "content", "ended", "flags", "kind", "left", "order", "stream",
    )  # fmt: skip

    def __init__(self, preface: bytes = b"") -> None:
        self.blocks = HeaderBlocks()
        self.kind = self.flags = self.stream = self.order = 0
        self.left = 0
        """Bytes of the frame that are still to come."""
        self.block: Block | None = None
        self.ended = False
        """Whether this segment is the last of its stream in this direction."""
        self.content = (0, 0)
        """Where in what was fed the content of a DATA frame is, without padding."""
        self._content = 0
        self._preface = preface

    def feed(self, data: bytes, start: int) -> int:
        """The next segment is ``data[start:end]``; returns ``end``, or ``start`` when more is needed to say."""
        if self.left:
            return self._feed_rest(data, start)
        self.block = None
        self.ended = False
        if self._preface:
            return self._feed_preface(data, start)
        size = len(data)
        if size - start < 9:
            return start
        high, low, kind, flags, stream = _HEAD.unpack_from(data, start)
        length: int = high << 8 | low
        self.kind = kind
        self.flags = flags
        self.stream = stream = stream & 0x7FFFFFFF
        if kind == DATA or kind > CONTINUATION:
            return self._begin_parts(data, start, length)
        self.order = 0
        if length > MAX_WHOLE:
            raise Unfollowable("head-too-large" if kind in _BEGIN_BLOCKS else "framing")
        end = start + 9 + length
        if end > size:
            return start
        if kind in _BEGIN_BLOCKS:
            return self._feed_block(data, start, end)
        if kind == CONTINUATION:
            raise Unfollowable("framing")
        if kind == GOAWAY:
            self.order = FENCE
        return end

    def settings(self, data: bytes, start: int) -> dict[int, int]:
        """What the SETTINGS segment that begins at ``start`` says."""
        length = int.from_bytes(data[start : start + 3], "big")
        if length % 6 or self.stream:
            raise Unfollowable("framing")
        return settings_of(data[start + 9 : start + 9 + length])

    def _feed_preface(self, data: bytes, start: int) -> int:
        preface = self._preface
        shown = data[start : start + len(preface)]
        if not preface.startswith(shown):
            raise Unfollowable("not-http")
        if len(shown) < len(preface):
            return start
        self._preface = b""
        self.kind, self.flags, self.stream, self.order = PING, 0, 0, FENCE
        return start + len(preface)

    # --- parts ------------------------------------------------------------------------------------------------

    def _begin_parts(self, data: bytes, start: int, length: int) -> int:
        body = start + 9
        content = length
        self.order = 0
        if self.kind == DATA:
            if not self.stream:
                raise Unfollowable("framing")
            if self.flags & PADDED:
                if not length:
                    raise Unfollowable("framing")
                if len(data) <= body:
                    return start
                content = length - 1 - data[body]
                if content < 0:
                    raise Unfollowable("framing")
                body += 1
        end = min(start + 9 + length, len(data))
        self.left = start + 9 + length - end
        there = min(content, end - body)
        self._content = content - there
        self.content = (body, body + there)
        self.ended = not self.left and self.kind == DATA and bool(self.flags & END_STREAM)
        return end

    def _feed_rest(self, data: bytes, start: int) -> int:
        end = min(start + self.left, len(data))
        self.left -= end - start
        there = min(self._content, end - start)
        self._content -= there
        self.content = (start, start + there)
        self.ended = not self.left and self.kind == DATA and bool(self.flags & END_STREAM)
        return end

    # --- header blocks ----------------------------------------------------------------------------------------

    def _feed_block(self, data: bytes, start: int, end: int) -> int:
        fragment = self._first_fragment(data, start + 9, end)
        if not self.flags & END_HEADERS:
            end, fragment = self._continued(data, start, end, fragment)
            if end == start:
                return start
        self.block = block = self.blocks.decode(fragment)
        self.order = READS * block.reads | WRITES * block.writes
        if self.kind == PUSH_PROMISE:
            self.order |= FENCE
        else:
            self.ended = bool(self.flags & END_STREAM)
        return end

    def _first_fragment(self, data: bytes, begin: int, end: int) -> bytes:
        flags = self.flags
        if not self.stream:
            raise Unfollowable("framing")
        if flags & (PADDED | HAS_PRIORITY) or self.kind == PUSH_PROMISE:
            if flags & PADDED and begin < end:
                end -= data[begin]
                begin += 1
            if self.kind == PUSH_PROMISE:
                begin += 4
            elif flags & HAS_PRIORITY:
                begin += 5
            if begin > end:
                raise Unfollowable("framing")
        return data[begin:end]

    def _continued(self, data: bytes, start: int, end: int, fragment: bytes) -> tuple[int, bytes]:
        fragments = [fragment]
        flags = 0
        while not flags & END_HEADERS:
            if len(data) - end < 9:
                return start, b""
            high, low, kind, flags, stream = _HEAD.unpack_from(data, end)
            length = high << 8 | low
            if kind != CONTINUATION or stream & 0x7FFFFFFF != self.stream:
                raise Unfollowable("framing")
            body, end = end + 9, end + 9 + length
            if end - start > MAX_WHOLE:
                raise Unfollowable("head-too-large")
            if end > len(data):
                return start, b""
            fragments.append(data[body:end])
        return end, b"".join(fragments)


def settings_of(payload: bytes) -> dict[int, int]:
    """By identifier; of one given twice the last."""
    return dict(_SETTING.iter_unpack(payload[: len(payload) // 6 * 6]))


def opens_http2(data: bytes, *, client_began: bool) -> bool:
    """Whether this is how a server begins that does not wait for the client: a SETTINGS frame. Less than its head says
    so only when the client has begun to speak HTTP/2: another protocol's first words must not wait for a ninth byte."""
    return (client_began or len(data) >= 9) and not data[0] and _SETTINGS_HEAD.startswith(data[3:9])


def asks_for_http2(head: bytes) -> bytes | None:
    """The client's settings, if this HTTP/1 request asks for an upgrade to HTTP/2."""
    lower = head.lower()
    protocols = (header(head, lower, b"upgrade") or b"").lower().split(b",")
    value = header(head, lower, b"http2-settings")
    if value is None or b"h2c" not in (protocol.strip() for protocol in protocols):
        return None
    try:
        return base64.urlsafe_b64decode(value + b"=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        return None
