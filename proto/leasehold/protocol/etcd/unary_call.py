"""One unary call: what is to be sent, what has come of its answer, and how it ended. Pure.

An answer is a head, exactly one message that is not compressed, and a status; everything else is no answer.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from leasehold.protocol.etcd.frames import Head

MAX_ANSWER_BYTES: Final = 64 * 2**20
PREFIX_BYTES: Final = 5
"""gRPC's, before a message: one byte that says whether it is compressed, four for its size."""

_UNKNOWN: Final = 2
# gRPC's own table of what a status of HTTP means; everything else is UNKNOWN.
_BY_HTTP_STATUS: Final = {"400": 13, "401": 16, "403": 7, "404": 12, "429": 14, "502": 14, "503": 14, "504": 14}

Owner = TypeVar("Owner")


class Refused(Exception):
    """An answer, and it is no: ``code`` is a gRPC status other than OK."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Broken(Exception):
    """No answer. ``untouched``: the call surely did nothing."""

    def __init__(self, why: str, *, untouched: bool) -> None:
        super().__init__(why)
        self.untouched = untouched


Outcome = bytes | Refused | Broken


class Call(Generic[Owner]):
    """One call on its way. ``owner`` is whoever waits for it."""

    __slots__ = ("_body", "head", "opened", "outcome", "owed", "owner", "sent", "stream", "unsent", "window")

    def __init__(self, head: bytes, message: bytes, owner: Owner) -> None:
        self.head = head
        self.unsent: bytes | memoryview = message
        self.owner = owner
        self.stream = 0
        """0 while it waits for one."""
        self.sent = False
        """Whether its last byte was handed out."""
        self.window = 0
        """How much more the server takes on this stream; kept while it is being sent."""
        self.owed = 0
        """How much of our own window was used and not given back."""
        self.opened = False
        """Whether the head of the answer has come."""
        self._body: bytes | bytearray = b""
        self.outcome: Outcome | None = None

    def on_head(self, head: Head, *, ended: bool) -> Outcome | None:
        """A header block: the first opens the answer, the last carries the status. Returns how the call ended."""
        if not self.opened:
            if head.http_status.startswith("1") and not ended:
                return None  # informational: the head is still to come
            refused = _refused(head)
            if refused is not None:
                return refused
            self.opened = True
            return self._status(head) if ended else None
        return self._status(head) if ended else self._broken("the answer has two heads")

    def on_data(self, data: bytes, *, ended: bool) -> Outcome | None:
        """A piece of the answer. Returns how the call ended, if it did: only badly, for the status is not here."""
        if not self.opened:
            return self._broken("the answer has no head")
        body = self._body
        if not body:
            body = self._body = data
        elif type(body) is bytearray:
            body += data
        else:
            body = self._body = bytearray(body)
            body += data
        trouble = "the answer ended without a status" if ended else _trouble(body)
        return self._broken(trouble) if trouble else None

    def _status(self, head: Head) -> Outcome:
        code = head.grpc_status
        if code == "0":
            return self._message()
        if code.isascii() and code.isdigit() and len(code) <= 3:
            return Refused(int(code), head.grpc_message)
        return self._broken(f"the answer has the status {code[:50]!r}")

    def _message(self) -> Outcome:
        body = self._body
        if len(body) < PREFIX_BYTES or len(body) != _size(body):
            return self._broken("the answer was cut short" if body else "the answer was empty")
        return bytes(body[PREFIX_BYTES:])

    def _broken(self, why: str) -> Broken:
        return Broken(why, untouched=not self.sent)


def _refused(head: Head) -> Refused | None:
    """What a head that does not open an answer of gRPC means."""
    if head.http_status != "200":
        code = _BY_HTTP_STATUS.get(head.http_status, _UNKNOWN)
        return Refused(code, f"it answered with the HTTP status {head.http_status!r}")
    if head.content_type not in ("application/grpc", "application/grpc+proto"):
        return Refused(_UNKNOWN, f"it answered with the content type {head.content_type[:100]!r}")
    return None


def _trouble(body: bytes | bytearray) -> str:
    """What is wrong with the beginning of an answer."""
    if len(body) < PREFIX_BYTES:
        return ""
    size = _size(body)
    if body[0]:
        return "the answer is compressed, which was not asked for"
    if size > MAX_ANSWER_BYTES:
        return f"the answer has {size} bytes, at most {MAX_ANSWER_BYTES} are taken"
    return "the answer has more than one message" if len(body) > size else ""


def _size(body: bytes | bytearray) -> int:
    return PREFIX_BYTES + int.from_bytes(body[1:PREFIX_BYTES], "big")
