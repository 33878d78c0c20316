"""HTTP/1 heads that were read before, byte for byte, and so mean the same again. Pure.

Clients repeat themselves: the same few heads, over and over, and answers that differ by the second at most. What a head
means depends on nothing but its bytes and, for a request, on the rules and on where it goes. So one that interests
nobody is looked up instead of read again: 0.1 µs instead of 3 (``header_blocks`` does the same for HTTP/2). What is
never the same twice (a trace id in each head) costs one look more.

Shared by all connections under one set of rules; bounded, and simply emptied when full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from leasehold.sidecar.observe.exchanges import Exchange

MAX_HEAD: Final = 1024
"""Longer heads are hardly ever repeated, and would have to be hashed all the same."""
_MAX_KEPT: Final = 256
_MAX_DESTINATIONS: Final = 64

Value = TypeVar("Value")
Heads = dict[bytes, Value]


class Familiar:
    """What was found out under one set of rules."""

    __slots__ = ("_requests", "answers")

    def __init__(self) -> None:
        self._requests: dict[str, Heads[Exchange]] = {}
        self.answers: Heads[int] = {}
        """Heads of final responses to calls without candidates, with the size of the body that follows."""

    def requests_to(self, destination: str) -> Heads[Exchange]:
        """Heads of whole requests to that destination, without candidates: what stands for such a call."""
        found = self._requests.get(destination)
        if found is None:
            if len(self._requests) >= _MAX_DESTINATIONS:
                self._requests.clear()
            found = self._requests[destination] = {}
        return found


def keep(heads: Heads[Value], head: bytes, value: Value) -> None:
    """Remember one more."""
    if len(head) <= MAX_HEAD:
        if len(heads) >= _MAX_KEPT:
            heads.clear()
        heads[head] = value
