"""What an app asks of an owner, and what it got: its own view, which a relay must not change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

LARGE = 2_000_000
_MOMENTARY = frozenset({"date"})


@dataclass(frozen=True)
class Errand:
    """One request."""

    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """One response, as the client's library told it."""

    version: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def of(cls, version: str, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
        """Of what the client tells, all but what differs from one moment to the next."""
        told = ((name.lower(), value) for name, value in headers)
        return cls(version, status, tuple(sorted(one for one in told if one[0] not in _MOMENTARY)), body)


BLOB = b"what is in it"
WHOLE = [
    Errand("GET", "/small"),
    Errand("HEAD", "/small"),
    Errand("GET", "/large"),
    Errand("GET", "/missing"),
    Errand("GET", "/packed", headers={"Accept-Encoding": "gzip"}),
    Errand("GET", "/chunks"),
    Errand("GET", "/moved"),
    Errand("GET", "/unmodified", headers={"If-None-Match": '"1"'}),
    Errand("GET", "/hinted"),
    Errand("POST", "/echo", b"e" * LARGE, {"Content-Type": "application/octet-stream"}),
    Errand("POST", "/v1/blobs", b"{}", {"Content-Type": "application/json"}),
    Errand("PUT", "/v1/blobs/b-2", BLOB, {"Content-Type": "text/plain"}),
    Errand("GET", "/v1/blobs/b-2"),
    Errand("DELETE", "/v1/blobs/b-2"),
    Errand("POST", "/v1/blobs", b"x" * LARGE, {"Content-Type": "application/json"}),
    Errand("GET", "/until-close"),
]
"""For an owner that can do everything; the last one ends the connection of HTTP/1."""
WHOLE_SEEN = [("post", "blob-1"), ("put", "b-2"), ("get", "b-2"), ("delete", "b-2"), ("post", "blob-2")]

FILES = [
    Errand("GET", "/small"),
    Errand("HEAD", "/small"),
    Errand("GET", "/large"),
    Errand("GET", "/missing"),
    Errand("GET", "/large", headers={"Range": "bytes=1000-1999"}),
    Errand("GET", "/v1/blobs/b-1"),
    Errand("GET", "/small", headers={"Accept-Encoding": "gzip"}),
]
"""For an owner that has nothing but files."""
FILES_SEEN = [("get", "b-1")]
CREATED = Errand("POST", "/v1/blobs", b"x" * 30_000, {"Content-Type": "application/json"})
"""Where an owner of files can be told to answer 201."""
CREATED_AT_ONCE = Errand("POST", "/v1/blobs")
"""nginx answers before it has read a body; on HTTP/2 it then resets the stream, which some clients report."""
