"""Adds one header to a request head on its way to the owner. Pure; the only bytes that are ever changed.

The relay intervenes in two ways, in matched calls only: it holds bytes back (``gate``), and it adds this one header,
where a rule wants an idempotency key. Everything else of the head goes on as it came.

HTTP/1: one line, directly before the empty line. There it touches no other line, and the request line and whatever a
forward proxy takes out of the head stay where they are looked for.

HTTP/2: one field at the end of the header block, as a literal that is never indexed (RFC 7541, 6.2.3), with its name
spelt out. It neither reads nor writes the dynamic table, so the tables of client and owner stay in step, and all that
was known about the order of this frame stays true. The last frame of the block grows by it; if that would make it
longer than every peer must accept, one more CONTINUATION carries it. Padding stays behind the block, priority and
END_STREAM where they were.
"""

from __future__ import annotations

from typing import Final

import msgspec

from leasehold.sidecar.capture.refusal import literal
from leasehold.sidecar.observe.exchanges import Insert
from leasehold.sidecar.observe.frames import CONTINUATION, END_HEADERS, HEADERS, PADDED, Frame

MAX_FRAME: Final = 16384
"""What every HTTP/2 peer accepts, whatever it has said (RFC 9113, 4.2)."""
_NEVER_INDEXED: Final = b"\x10"
_HEAD: Final = 9


def with_header(head: bytes | Frame, insert: Insert) -> bytes | Frame:
    """The whole request head, and this header at its end."""
    if isinstance(head, Frame):
        return msgspec.structs.replace(head, data=with_field(head.data, field_of(insert)))
    return with_line(head, insert)


def with_line(head: bytes, insert: Insert) -> bytes:
    """An HTTP/1 head, from its request line to its empty line."""
    return head[:-2] + f"{insert.header}: {insert.value}\r\n".encode("latin-1") + head[-2:]


def field_of(insert: Insert) -> bytes:
    """As HPACK writes it."""
    return _NEVER_INDEXED + literal(insert.header.lower()) + literal(insert.value)


def with_field(block: bytes, field: bytes) -> bytes:
    """A HEADERS frame with all its CONTINUATIONs, and ``field`` at the end of what they carry."""
    at = _last_frame(block)
    size = int.from_bytes(block[at : at + 3], "big")
    kind, flags = block[at + 3], block[at + 4]
    stream = block[at + 5 : at + _HEAD]
    if size + len(field) > MAX_FRAME:
        went_on = block[: at + 4] + bytes([flags & ~END_HEADERS]) + block[at + 5 :]
        return went_on + len(field).to_bytes(3, "big") + bytes([CONTINUATION, END_HEADERS]) + stream + field
    padding = block[at + _HEAD] if kind == HEADERS and flags & PADDED else 0
    end = len(block) - padding
    return block[:at] + (size + len(field)).to_bytes(3, "big") + block[at + 3 : end] + field + block[end:]


def _last_frame(block: bytes) -> int:
    at = 0
    while not block[at + 4] & END_HEADERS:
        at += _HEAD + int.from_bytes(block[at : at + 3], "big")
    return at
