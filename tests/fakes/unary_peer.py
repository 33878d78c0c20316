"""The server's side of a unary connection in frames written by hand, and what the client said, cut into frames."""

from __future__ import annotations

from collections.abc import Iterable

from hpack import Decoder, Encoder

from leasehold.protocol.etcd import frames as h2
from leasehold.protocol.etcd.unary import UnaryCalls
from leasehold.protocol.etcd.unary_call import Call

HEAD = h2.request_head("http", "etcd:2379", "/etcdserverpb.KV/Txn", (("hasleader", "true"),))
OPENING = ((":status", "200"), ("content-type", "application/grpc"))
OK = (("grpc-status", "0"), ("grpc-message", ""))

Fields = Iterable[tuple[str, str]]
Frame = tuple[int, int, int, bytes]


def block(fields: Fields) -> bytes:
    """A header block that leaves every table as it is."""
    return bytes(Encoder().encode([(name.encode(), value.encode(), True) for name, value in fields], huffman=False))


def headers(stream: int, fields: Fields, *, end: bool = False) -> bytes:
    return h2.frame(h2.HEADERS, h2.END_HEADERS | (h2.END_STREAM if end else 0), stream, block(fields))


def message(data: bytes) -> bytes:
    return b"\0" + h2.number(len(data)) + data


def data(stream: int, payload: bytes, *, end: bool = False) -> bytes:
    return h2.frame(h2.DATA, h2.END_STREAM if end else 0, stream, payload)


def answer(stream: int, reply: bytes = b"done") -> bytes:
    return headers(stream, OPENING) + data(stream, message(reply)) + headers(stream, OK, end=True)


def reset(stream: int, code: int) -> bytes:
    return h2.frame(h2.RST_STREAM, 0, stream, h2.number(code))


def goaway(last: int, code: int = 0) -> bytes:
    return h2.frame(h2.GOAWAY, 0, 0, h2.number(last) + h2.number(code) + b"bye")


def window(stream: int, more: int) -> bytes:
    return h2.frame(h2.WINDOW_UPDATE, 0, stream, h2.number(more))


def cut(sent: bytes) -> list[Frame]:
    """The frames of what a client wrote, preface or not."""
    return list(h2.FrameReader().feed(sent.removeprefix(h2.PREFACE)))


def fields(frame: Frame) -> dict[str, str]:
    """The fields of the HEADERS frame of a client."""
    assert frame[0] == h2.HEADERS
    return {str(name, "ascii"): str(value, "ascii") for name, value in Decoder().decode(frame[3], raw=True)}


class Client:
    """A core whose calls are named, and what became of each."""

    def __init__(self, *settings: tuple[int, int]) -> None:
        self.core: UnaryCalls[str] = UnaryCalls()
        self.outcomes: dict[str, object] = {}
        self.hello = self.core.take()
        self.hears(h2.settings(settings))
        self.core.take()

    def begins(self, name: str, request: bytes = b"request") -> Call[str]:
        call = Call(HEAD, request, name)
        self.core.begin(call)
        return call

    def hears(self, received: bytes) -> None:
        self.note(self.core.receive(received))

    def loses(self, why: str = "lost") -> None:
        self.note(self.core.lose(why))

    def note(self, ended: list[Call[str]]) -> None:
        for call in ended:
            assert call.owner not in self.outcomes, "a call ended twice"
            assert call.outcome is not None
            self.outcomes[call.owner] = call.outcome

    def says(self) -> list[Frame]:
        return cut(self.core.take())
