"""In which parts a long range is asked for, page by page, so that each page costs etcd about what it returns. Pure.

etcd counts every key of the range it is asked about, however few it may return. Whoever asks for a million keys in
pages of 5000, always up to the end of the range, makes it look at a hundred million. So a page is asked for with an end
nearby: twice as far behind the last key as the last page reached, for neighbours are mostly spread alike. Where they
are not, a part holds too much (then only the first of it come, as ever) or too little (then the next one is longer).
Nothing depends on a guess but the time.
"""

from __future__ import annotations

from typing import Final

from leasehold.protocol.store import KeyRange

_BYTES: Final = 256
"""Keys are compared as numbers by so many bytes. Any that differ only later are asked for in one part."""
_NOTHING: Final = 256
"""Across a gap (from one family to the next, say) a byte at a time."""
_LITTLE: Final = 8
_MORE: Final = 2
"""A part is to be some pages long, so that most pages are full."""
_FEW_PAGES: Final = 8
"""With so little left one may as well ask for all of it."""


class Strides:
    """The parts of one range. Ask for ``part``, tell what it gave with ``took``, until ``part`` is ``None``."""

    def __init__(self, where: KeyRange, page_size: int) -> None:
        self._rest, self._page_size = where, page_size
        self._span: int | None = None
        self.part: KeyRange | None = where
        """What to ask for next; ``None``: all was read."""

    def took(self, first: bytes, last: bytes, count: int, left: int) -> None:
        """``count`` keys came, from ``first`` to ``last`` (none: 0); ``left`` are the others of the part."""
        part = self.part
        if part is None:
            return
        to_the_end = part.end == self._rest.end
        if left:
            self._span = max((_number(last) - _number(first)) * _MORE, 1)
            self._rest = self._rest.resuming_after(last)
        elif to_the_end:
            self.part = None
            return
        else:
            self._rest = KeyRange(part.end, self._rest.end)
            if 2 * count < self._page_size and self._span is not None:
                self._span *= _LITTLE if count else _NOTHING
        whole = to_the_end and left <= _FEW_PAGES * self._page_size
        self.part = self._rest if whole else KeyRange(self._rest.start, self._end())

    def _end(self) -> bytes:
        end = _number(self._rest.start) + (self._span or 0)
        if self._span is None or end >= _number(self._rest.end):
            return self._rest.end
        return end.to_bytes(_BYTES, "big").rstrip(b"\0")


def _number(key: bytes) -> int:
    return int.from_bytes(key[:_BYTES].ljust(_BYTES, b"\0"), "big")
