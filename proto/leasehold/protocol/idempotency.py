"""The header by which an owner learns a key for a call, so that one can ask later what became of it.

The sidecar adds it to requests that somebody else wrote, and perhaps signed. So its name must not be one that anything
on the way acts on, nor one of the families of which a signature covers every member that is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

MAX_NAME: Final = 64
"""Characters."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_TAKEN: Final = frozenset(
    {
        "host", "connection", "transfer-encoding", "te", "trailer", "upgrade", "http2-settings", "expect", "keep-alive",
        "range", "authorization", "cookie", "via", "forwarded",
    }
)  # fmt: skip
_TAKEN_FAMILIES: Final = ("proxy-", "content-", "if-", "accept")
_SIGNED_FAMILIES: Final = ("x-amz-", "x-goog-", "x-ms-")


class IdempotencyKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``header`` (in gRPC: metadata) carries the key. One that the app sends itself is left alone."""

    header: str

    @property
    def field(self) -> bytes:
        """The name as it is compared, and as HTTP/2 writes it."""
        return self.header.lower().encode("ascii")


def nonsense(key: IdempotencyKey, *, grpc: bool) -> Iterator[str]:
    """What is wrong with it; ``grpc``: as metadata of gRPC calls."""
    header, name = key.header, key.header.lower()
    if not _TOKEN.fullmatch(header) or len(header) > MAX_NAME:
        yield f"expected the name of a header, at most {MAX_NAME} characters, e.g. Idempotency-Key, got {header!r}"
    elif name in _TAKEN or name.startswith(_TAKEN_FAMILIES):
        yield f"expected a header that nothing else has a use for, e.g. Idempotency-Key, got {header!r}"
    elif name.startswith(_SIGNED_FAMILIES):
        yield f"signatures cover all headers of that family, so none can be added: expected another, got {header!r}"
    elif grpc and (name.startswith("grpc-") or name.endswith("-bin")):
        yield f"gRPC has its own use for grpc-... and ...-bin: expected another, got {header!r}"
