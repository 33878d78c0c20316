"""The few answers that come from us and not from an owner. Text that says why, and always the end of the connection."""

from __future__ import annotations

from leasehold.protocol.rules import Rule


def not_durable(rule: Rule, method: str) -> bytes:
    """The rule says rather not at all than without a durable intent; the owner has not seen the request."""
    text = (
        f"Leasehold: rule {rule.name} wants this call recorded before it is sent, and the record could not be made "
        "durable in time. The call was not sent; it is safe to repeat it.\n"
    )
    return answer("503 Service Unavailable", text, method, "Retry-After: 1\r\n")


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
