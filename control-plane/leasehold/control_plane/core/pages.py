"""One page of a long list, by its order and a token: which come next, and how many fit in all. Pure.

A token holds the last key that was shown, so what comes and goes meanwhile moves nothing else. It fits only the
question it was given for.
"""

from __future__ import annotations

import heapq
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any, Generic, TypeVar
from zlib import crc32

import msgspec

T = TypeVar("T")
SortKey = tuple[str | int, ...]
DEFAULT_SIZE = 100
LARGEST_SIZE = 1000
_AT_A_TIME = 2000


class BadPage(ValueError):
    """The size, order or token is none. ``str()`` says what was expected."""


class Page(Generic[T]):
    """Collects one. ``question`` is what was asked for, whatever it is made of."""

    def __init__(self, size: int, token: str, order_by: str, orders: Sequence[str], question: object = None) -> None:
        """Raises ``BadPage``."""
        if not 0 <= size <= LARGEST_SIZE:
            raise BadPage(f"page_size: expected 1 to {LARGEST_SIZE}, got {size}")
        self._size = size or DEFAULT_SIZE
        self.order = order_by.removeprefix("-") or orders[0]
        self._backwards = order_by.startswith("-")
        if self.order not in orders:
            raise BadPage(f"order_by: expected one of {', '.join(orders)}, or one of them after -; got {order_by!r}")
        self._mark = crc32(repr((order_by, question)).encode())
        self._after = _read(token, self._mark) if token else None
        self._found: list[tuple[SortKey, T]] = []
        self.total = 0

    def offer(self, key: SortKey, item: T) -> None:
        """One that fits. Keys differ from each other. Raises ``BadPage`` for a token that somebody made up."""
        self.total += 1
        try:
            if self._after is not None and (key >= self._after if self._backwards else key <= self._after):
                return
        except TypeError as error:
            raise BadPage("page_token: expected one from an earlier answer") from error
        self._found.append((key, item))
        if len(self._found) > self._size + _AT_A_TIME:
            self._found = self._best()

    def close(self) -> tuple[list[T], str]:
        """What is on it, and the token of the next; empty: there is none."""
        best = self._best()
        page = best[: self._size]
        more = len(best) > self._size
        return [item for _, item in page], _write(page[-1][0], self._mark) if more else ""

    def _best(self) -> list[tuple[SortKey, T]]:
        pick = heapq.nlargest if self._backwards else heapq.nsmallest
        return pick(self._size + 1, self._found, key=_key)


def _key(found: tuple[SortKey, Any]) -> SortKey:
    return found[0]


def _write(key: SortKey, mark: int) -> str:
    return urlsafe_b64encode(msgspec.json.encode([mark, *key])).decode().rstrip("=")


def _read(token: str, mark: int) -> SortKey:
    try:
        found = msgspec.json.decode(urlsafe_b64decode(token + "=" * (-len(token) % 4)), type=list[str | int])
    except (ValueError, msgspec.DecodeError) as error:
        raise BadPage("page_token: expected one from an earlier answer") from error
    if not found or found[0] != mark:
        raise BadPage("page_token: it was given for another question or order; ask without it")
    return tuple(found[1:])
