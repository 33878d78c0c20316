"""Does the kernel consider its clock synchronised? Asked with ``adjtimex``, which needs no rights to look."""

from __future__ import annotations

import ctypes

TIME_ERROR = 5
"""``adjtimex``'s answer for "not synchronised"."""
_TIMEX_BYTES = 512  # struct timex takes 208 on 64-bit Linux; all zero means "modes = 0: only look"


def clock_synchronised() -> bool | None:
    """``None`` where the kernel cannot be asked."""
    try:
        answer: int = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if answer < 0 else answer != TIME_ERROR
