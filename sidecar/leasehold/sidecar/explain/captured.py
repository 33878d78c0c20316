"""Brings HTTP/1 messages that people captured into the form they had on the wire. Pure.

Taken are raw messages with CRLF or LF, what ``curl -i`` prints, and what ``curl -v`` traces (its ``>`` and ``<`` lines;
request and response may then be the same file). Only heads are mended, and bodies only where curl has decoded them and
left the head as it was; each such change is a remark, because the relay will see the original.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_REQUEST_TRACE: Final = re.compile(rb"^> [A-Z-]+ \S+ HTTP/", re.MULTILINE)
_RESPONSE_TRACE: Final = re.compile(rb"^< HTTP/", re.MULTILINE)
_NEWER: Final = re.compile(rb"\AHTTP/[23](?:\.0)?(?= )|(?<= )HTTP/[23](?:\.0)?\Z")
_INTERIM: Final = re.compile(rb"\AHTTP/[0-9.]+ 1(?!01)")
_CHUNK: Final = re.compile(rb"[0-9A-Fa-f]+[ \t]*(?:;[^\r\n]*)?\r\n")
_CURL_SAYS: Final = re.compile(
    rb"^(?:\* |[{}] \[|> ).*\n?|\* (?:Connection|Closing|[Ss]hutting)[^\n]*\n?\Z", re.MULTILINE
)
_MAGIC: Final = {b"gzip": b"\x1f\x8b"}


@dataclass(slots=True)
class Captured:
    """A message in the form of the wire."""

    data: bytes
    remarks: list[str] = field(default_factory=list)


def captured_request(text: bytes) -> Captured:
    """Its body may be missing, as in what curl traces: only references are ever read from it."""
    if _REQUEST_TRACE.search(text):
        text = _traced(text, b">")[0] + b"\n\n"
    made = Captured(b"")
    head, body = _mended_head(text, made, "request")
    made.data = head + body
    return made


def captured_response(text: bytes, *, to_head: bool) -> Captured:
    """``to_head``: it answers a HEAD request, and has no body whatever it says."""
    if _RESPONSE_TRACE.search(text):
        head, body = _traced(text, b"<")
        text = head + b"\n\n" + body
    made = Captured(b"")
    interim = b""
    head, body = _mended_head(text, made, "response")
    while _INTERIM.match(head) and body.lstrip().startswith(b"HTTP/"):
        interim += head
        head, body = _mended_head(body, made, "response")
    if not to_head:
        head, body = _mended_body(head, body, made)
    made.data = interim + head + body
    return made


def _traced(text: bytes, mark: bytes) -> tuple[bytes, bytes]:
    """The lines that curl marked so, and what follows the last of them without being curl's own words."""
    lines = text.splitlines(keepends=True)
    marked = [n for n, line in enumerate(lines) if line.startswith(mark + b" ") or line.rstrip() == mark]
    head = b"\n".join(lines[n][2:].rstrip(b"\r\n") for n in marked)
    return head.rstrip(b"\n"), _CURL_SAYS.sub(b"", b"".join(lines[marked[-1] + 1 :]))


def _mended_head(text: bytes, made: Captured, what: str) -> tuple[bytes, bytes]:
    text = text.lstrip(b"\r\n")
    end = _HEAD_END.search(text)
    head, body = (text.rstrip(b"\r\n"), b"") if end is None else (text[: end.start()], text[end.end() :])
    lines = re.split(rb"\r?\n", head)
    start = _NEWER.sub(b"HTTP/1.1", lines[0])
    if start != lines[0]:
        made.remarks.append(f"the {what} is taken as HTTP/1.1; rules make no difference")
    return b"\r\n".join([start, *lines[1:]]) + b"\r\n\r\n", body


def _mended_body(head: bytes, body: bytes, made: Captured) -> tuple[bytes, bytes]:
    """What curl decodes it prints under the head of the encoded original."""
    decoded = []
    if b"chunked" in _value(head, b"transfer-encoding") and body and not _CHUNK.match(body):
        decoded.append("chunks")
    if body and not body.startswith(_MAGIC.get(_value(head, b"content-encoding"), b"")):
        decoded.append("compression")
    if decoded:
        made.remarks.append(
            f"the response's head tells of {' and '.join(decoded)}, and its body has none; it is taken as it is"
        )
        for name in (b"transfer-encoding", b"content-encoding", b"content-length"):
            head = re.sub(rb"(?im)^" + name + rb":[^\r\n]*\r\n", b"", head)
        return head[:-2] + b"Content-Length: %d\r\n\r\n" % len(body), body
    length = _value(head, b"content-length")
    if length.isdigit() and len(length) < 20:
        body = _measured(body, int(length), made)
    return head, body


def _measured(body: bytes, length: int, made: Captured) -> bytes:
    if len(body) < length:
        made.remarks.append(f"the response's body has {len(body)} bytes, and its Content-Length says {length}")
    elif body[length:].strip():
        made.remarks.append(f"the response's body goes on after the {length} bytes of its Content-Length")
    else:
        return body[:length]  # the line end that editors add
    return body


def _value(head: bytes, name: bytes) -> bytes:
    found = re.search(rb"(?im)^" + name + rb":[ \t]*([^\r\n]*)", head)
    return found[1].strip().lower() if found else b""
