"""Exchanges that went wrong: what real peers said, changed by chance. One number makes one case, always the same."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from functools import cache
from typing import Final

from tests.properties.test_http1 import CONVERSATIONS
from tests.properties.test_http2 import TALKS, talk_of
from tests.recorded.exchanges import Turn, all_recorded

WORDS: Final = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b":", b";", b",", b"0\r\n\r\n", b"5\r\nhello\r\n", b"ffffffff\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Connection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"Content-Encoding: gzip\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n", b"GET / HTTP/1.1\r\nHost: blobs.test\r\n\r\n", b"HEAD", b"CONNECT", b"HTTP/1.0",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01", b"x" * 5000,
    b"\0\0\0\4\0\0\0\0\0", b"\0\0\0\4\1\0\0\0\0", b"\0\0\6\4\0\0\0\0\0\0\1\0\0\0\0", b"\0\0\4\3\0\0\0\0\1\0\0\0\x08",
    b"\0\0\x08\7\0\0\0\0\0\0\0\0\0\0\0\0\0", b"\0\0\x08\6\0\0\0\0\0pingping", b"\0\0\5\2\0\0\0\0\1\0\0\0\0\1",
    b"\0\0\1\1\5\0\0\0\3\x82", b"\0\0\1\1\0\0\0\0\5\x82", b"\0\0\1\x09\4\0\0\0\5\x84", b"\0\0\4\x08\0\0\0\0\0\0\0\1\0",
    b"\0\0\3\0\x09\0\0\0\1\2ab", b"\0\0\2\xfa\0\0\0\0\0ab", b"\x3f\xe1\x1f", b"\x20", b"\xbe", b"\xff\xff\xff\xff",
]  # fmt: skip
"""What bytes of HTTP are made of."""


@cache
def seeds() -> tuple[tuple[str, tuple[Turn, ...]], ...]:
    """By the rules that they are for: ``store``, ``grpc``, ``blobs``."""
    found = [(one.rules, one.turns) for one in all_recorded()]
    found += [("blobs", (Turn(True, one.requests), Turn(False, one.responses))) for one in CONVERSATIONS]
    found += [("grpc", tuple(Turn(turn.by_client, turn.data) for turn in talk_of(script).turns)) for script in TALKS]
    return tuple(found)


def case(seed: int) -> tuple[str, list[Turn]]:
    """The rules and what is said."""
    chance = random.Random(seed)
    rules, turns = chance.choice(seeds())
    said = list(turns)
    for _ in range(chance.choice((0, 1, 1, 2, 3, 6))):
        at = chance.randrange(len(said))
        data = chance.choice(_CHANGES)(chance, said[at].data)
        said[at] = Turn(said[at].by_client, data)
    if chance.random() < 0.2:
        chance.choice(_ORDERS)(chance, said)
    return rules, [part for turn in said for part in _cut(chance, turn)]


def _flip(chance: random.Random, data: bytes) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def _put(chance: random.Random, data: bytes) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(WORDS) + data[at:]


def _put_at_line(chance: random.Random, data: bytes) -> bytes:
    at = data.find(b"\n", chance.randrange(len(data) + 1)) + 1
    return data[:at] + chance.choice(WORDS) + data[at:]


def _overwrite(chance: random.Random, data: bytes) -> bytes:
    word = chance.choice(WORDS)
    at = chance.randrange(len(data) + 1)
    return data[:at] + word + data[at + len(word) :]


def _drop(chance: random.Random, data: bytes) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + data[at + chance.choice((1, 2, 9, 40)) :]


def _truncate(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _repeat(chance: random.Random, data: bytes) -> bytes:
    begin = chance.randrange(len(data) + 1)
    part = data[begin : begin + chance.choice((1, 5, 17, 100, 1000))]
    return data[:begin] + part * chance.choice((2, 3, 50)) + data[begin + len(part) :]


def _splice(chance: random.Random, data: bytes) -> bytes:
    other = chance.choice(chance.choice(seeds())[1]).data
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]


def _number(chance: random.Random, data: bytes) -> bytes:
    """Some digit becomes another, or more of them."""
    digits = [at for at, byte in enumerate(data) if 48 <= byte <= 57]
    if not digits:
        return data
    at = chance.choice(digits)
    return data[:at] + chance.choice((b"0", b"9", b"-1", b"00", b"4294967296", b"f")) + data[at + 1 :]


def _swap(chance: random.Random, turns: list[Turn]) -> None:
    one, other = chance.randrange(len(turns)), chance.randrange(len(turns))
    turns[one], turns[other] = turns[other], turns[one]


def _turn_round(chance: random.Random, turns: list[Turn]) -> None:
    at = chance.randrange(len(turns))
    turns[at] = Turn(not turns[at].by_client, turns[at].data)


def _say_again(chance: random.Random, turns: list[Turn]) -> None:
    turns.insert(chance.randrange(len(turns) + 1), chance.choice(turns))


def _fall_silent(chance: random.Random, turns: list[Turn]) -> None:
    del turns[chance.randrange(len(turns)) :]


_CHANGES: Final[tuple[Callable[[random.Random, bytes], bytes], ...]] = (
    _flip, _put, _put_at_line, _overwrite, _drop, _truncate, _repeat, _splice, _number,
)  # fmt: skip
_ORDERS: Final = (_swap, _turn_round, _say_again, _fall_silent)


def _cut(chance: random.Random, turn: Turn) -> list[Turn]:
    """As a network may."""
    data = turn.data
    if len(data) < 2 or chance.random() < 0.3:
        return [turn] if data else []
    size = chance.choice((1, 7, 100, 1000, 5000)) if len(data) < 20_000 else 5000
    places = sorted({chance.randrange(1, len(data)) for _ in range(chance.choice((1, 2, 5)))})
    if chance.random() < 0.3:
        places = list(range(size, len(data), size))
    bounds = [0, *places, len(data)]
    return [Turn(turn.by_client, data[a:b]) for a, b in itertools.pairwise(bounds) if a < b]
