"""Loses what a watch tells: etcd's answers, frame by frame, without those that bring news of chosen keys.

A watch by gRPC promises that nothing is lost; something between two machines may break that promise, or a mistake in
one of them. So whole frames are left out here, such that both ends notice nothing. Only what is an answer to a watch:
``WatchResponse`` has its events in field 11, which no answer to a read or a transaction has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

HEAD = 9
"""Of an HTTP/2 frame: three bytes of length, type, flags, four bytes of stream."""
DATA = 0
EVENTS_FIELD = 11


class Sieve:
    """For one connection, from its first byte. ``lost`` collects the keys whose news were left out."""

    def __init__(self, chosen: re.Pattern[bytes], lost: list[str], most: int) -> None:
        self._chosen, self._lost, self._most = chosen, lost, most
        self._rest = bytearray()

    def feed(self, data: bytes) -> bytes:
        """What may go on. A frame that is not whole yet is kept back."""
        self._rest += data
        passed = bytearray()
        while len(self._rest) >= HEAD:
            size = HEAD + int.from_bytes(self._rest[:3], "big")
            if len(self._rest) < size:
                break
            frame = bytes(self._rest[:size])
            del self._rest[:size]
            if not self._is_lost(frame):
                passed += frame
        return bytes(passed)

    def _is_lost(self, frame: bytes) -> bool:
        payload = frame[HEAD:]
        if frame[3] != DATA or len(self._lost) >= self._most or not _tells_events(payload):
            return False
        found = [key.decode() for key in self._chosen.findall(payload)]
        self._lost.extend(found)
        return bool(found)


def _tells_events(payload: bytes) -> bool:
    """Whether this is one whole message of a watch, with events."""
    if len(payload) < 5 or payload[0] != 0 or int.from_bytes(payload[1:5], "big") != len(payload) - 5:
        return False
    return EVENTS_FIELD in set(_fields(payload[5:]))


def _fields(message: bytes) -> Iterator[int]:
    """The numbers of a message's fields; ends where it cannot be read."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        yield tag >> 3
        if tag & 7 == 0:
            _, at = _varint(message, at)
        elif tag & 7 == 2:
            size, at = _varint(message, at)
            at += size
        else:
            return


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            break
    return value, at
