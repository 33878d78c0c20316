"""Collects one body for extraction, up to a cap, and inflates it within the same cap. Pure."""

from __future__ import annotations

import zlib
from typing import Final

FRAMING_ALLOWANCE: Final = 64 * 1024
_AUTOMATIC: Final = 32 + zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS
_DEFLATED: Final = frozenset({"gzip", "x-gzip", "deflate"})


class BodyUnreadable(Exception):
    """The body is no use; ``reason`` as in ``events.Unusable``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BodyCollector:
    """At most ``limit`` bytes, as they came and inflated. What goes beyond sets ``overflowed`` and drops everything."""

    __slots__ = ("_encoding", "_limit", "_parts", "_passed", "_size", "overflowed")

    def __init__(self, limit: int, encoding: str) -> None:
        self._limit = limit
        self._encoding = encoding
        self._parts: list[bytes] = []
        self._size = 0
        self._passed = 0
        self.overflowed = False

    def passed(self, size: int) -> None:
        """So many bytes went by on the wire. Chunk framing can be any multiple of what it frames, and is held, too."""
        self._passed += size
        if self._passed > 2 * self._limit + FRAMING_ALLOWANCE:
            self.overflowed = True
            self._parts.clear()

    def add(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            self.overflowed = True
            self._parts.clear()
        elif not self.overflowed:
            self._parts.append(data)

    def finish(self) -> bytes:
        """The whole body, inflated. Raises ``BodyUnreadable``."""
        if self.overflowed:
            raise BodyUnreadable("body-too-large")
        body = b"".join(self._parts)
        return inflate(body, self._limit) if self._encoding in _DEFLATED else body


def can_decode(encoding: str) -> bool:
    """Whether a body with this Content-Encoding can be read at all."""
    return encoding in {"", "identity"} or encoding in _DEFLATED


def inflate(body: bytes, limit: int) -> bytes:
    """gzip or deflate, recognised by itself. Raises ``BodyUnreadable``."""
    try:
        return _inflate_as(_AUTOMATIC, body, limit)
    except zlib.error:
        pass
    try:
        # "deflate" means zlib, but some servers send it bare.
        return _inflate_as(_RAW, body, limit)
    except zlib.error as error:
        raise BodyUnreadable("body-unreadable") from error


def _inflate_as(window: int, body: bytes, limit: int) -> bytes:
    inflating = zlib.decompressobj(window)
    # One byte more than allowed, and never more: a bomb costs no more than its cap.
    inflated = inflating.decompress(body, limit + 1)
    if len(inflated) > limit:
        raise BodyUnreadable("body-too-large")
    if not inflating.eof:
        raise BodyUnreadable("body-unreadable")
    return inflated
