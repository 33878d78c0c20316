"""The few answers that come from us and not from an owner. Text that says why, and always the end of the connection.

Not on HTTP/2, where a stream can be refused alone. Our frames carry header fields as literals that no table is used
for, and no DATA, whose windows are the owner's.
"""

from __future__ import annotations

from hpack.hpack import encode_integer

from leasehold.protocol.rules import Rule
from leasehold.sidecar.observe.frames import END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, WINDOW_UPDATE


def not_durable(rule: Rule, method: str) -> bytes:
    """The rule says rather not at all than without a durable intent; the owner has not seen the request."""
    text = (
        f"Leasehold: rule {rule.name} wants this call recorded before it is sent, and the record could not be made "
        "durable in time. The call was not sent; it is safe to repeat it.\n"
    )
    return answer("503 Service Unavailable", text, method, "Retry-After: 1\r\n")


def stream_not_durable(rule: Rule, stream: int, *, asked: bool) -> bytes:
    """The same on HTTP/2. ``asked``: the whole request has come, so there is no more of it to stop."""
    why = f"Leasehold: rule {rule.name}: not recorded in time, not sent; safe to repeat"
    fields = {":status": "503", "retry-after": "1", "content-length": "0", "x-leasehold": why}
    if rule.match.grpc is not None:  # 14: UNAVAILABLE
        fields = {":status": "200", "content-type": "application/grpc", "grpc-status": "14", "grpc-message": why}
    block = b"".join(b"\0" + literal(name) + literal(value) for name, value in fields.items())
    stop = b"" if asked else _frame(RST_STREAM, 0, stream, _number(0))
    return _frame(HEADERS, END_HEADERS | END_STREAM, stream, block) + stop


def stream_not_served(stream: int) -> bytes:
    """REFUSED_STREAM, which promises that nothing was done."""
    return _frame(RST_STREAM, 0, stream, _number(7))


def going_away(stream: int) -> bytes:
    """The streams behind this one were not served; another connection will do."""
    return _frame(GOAWAY, 0, 0, _number(stream) + _number(0))


def window_update(size: int) -> bytes:
    """Of the connection: for DATA that was dropped."""
    return _frame(WINDOW_UPDATE, 0, 0, _number(size))


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def literal(text: str) -> bytes:
    """A name or a value as HPACK writes it, spelt out."""
    data = text.encode("ascii", "replace")
    return bytes(encode_integer(len(data), 7)) + data


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + _number(stream) + payload


def unreachable(authority: str, reason: str, method: str) -> bytes:
    """A forward proxy could not reach whom it was asked for."""
    if reason == "deadline":
        return answer("504 Gateway Timeout", f"Leasehold: {authority} did not accept a connection in time.\n", method)
    return answer("502 Bad Gateway", f"Leasehold: {authority} cannot be connected to ({reason}).\n", method)


def not_a_proxy_request(why: str, method: str) -> bytes:
    """Somebody takes a forward proxy for something else."""
    return answer(
        "400 Bad Request",
        f"Leasehold: this is a forward proxy, and {why}. It expects requests as HTTP_PROXY makes clients send them: "
        "GET http://host[:port]/path HTTP/1.1, or CONNECT host:port.\n",
        method,
    )


def answer(status: str, text: str, method: str, more: str = "") -> bytes:
    """``more`` are further header lines, each with its line end."""
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\n{more}Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1", "replace") + (b"" if method == "HEAD" else body)
