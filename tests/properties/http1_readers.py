"""One direction of HTTP/1.1 as h11 reads it, and as our readers do: the same question to both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import h11

from leasehold.sidecar.observe.http1 import RequestReader, ResponseReader
from leasehold.sidecar.observe.reasons import Unfollowable
from tests.properties.test_http1 import cut

# --- what h11 says -----------------------------------------------------------------------------------------------


@dataclass
class Read:
    """What one reader made of one direction. ``refused``: why it went no further."""

    messages: list[tuple[str, str, bytes]]
    """Requests: method, target, body; responses: nothing, status, body. Whole ones only."""
    refused: str = ""


def h11_requests(data: bytes) -> Read:
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    server.receive_data(data)
    read = Read([])
    method = target = ""
    body = b""
    try:
        while True:
            event = server.next_event()
            if isinstance(event, h11.Request):
                method, target, body = event.method.decode(), event.target.decode("latin-1"), b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                read.messages.append((method, target, body))
                server.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                server.send(h11.EndOfMessage())
                server.start_next_cycle()
            else:
                read.refused = "" if event is h11.NEED_DATA else str(event)
                return read
    except h11.ProtocolError as error:
        read.refused = str(error)
    return read


def h11_responses(data: bytes, methods: Sequence[str]) -> Read:
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    client.receive_data(data)
    read = Read([])
    try:
        for method in methods:
            client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
            client.send(h11.EndOfMessage())
            status, body, closing = "", b"", False
            while True:
                event = client.next_event()
                if isinstance(event, h11.Response):
                    status = str(event.status_code)
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    read.messages.append(("", status, body))
                    break
                elif event is h11.NEED_DATA and not closing:
                    closing = True
                    client.receive_data(b"")
                elif not isinstance(event, h11.InformationalResponse):
                    return read
            client.start_next_cycle()
    except h11.ProtocolError as error:
        read.refused = str(error)
    return read


# --- what we say -------------------------------------------------------------------------------------------------


class Body:
    """A ``Sink``."""

    def __init__(self) -> None:
        self.data = b""

    def add(self, data: bytes) -> None:
        self.data += data


def our_requests(data: bytes, places: list[int]) -> Read:
    reader = RequestReader()
    read = Read([])
    try:
        for part in cut(data, places) if data else []:
            start = 0
            while start < len(part):
                start = reader.feed(part, start)
                if reader.ended:
                    read.messages.append((reader.method.decode("latin-1"), reader.target.decode("latin-1"), b""))
    except Unfollowable as stop:
        read.refused = stop.reason
    return read


def our_responses(data: bytes, methods: Sequence[str], places: list[int]) -> Read:
    reader = ResponseReader()
    read = Read([])
    sink = Body()
    left = list(methods)
    try:
        for part in cut(data, places) if data else []:
            start = 0
            while start < len(part):
                if not left:
                    raise Unfollowable("unsolicited-response")
                reader.bodiless = left[0] == "HEAD"
                start = reader.feed(part, start)
                if reader.head is not None and reader.status >= 200 and not reader.ended:
                    sink = Body()
                    reader.collect(reader.head, sink)
                if reader.ended and reader.status >= 200:
                    read.messages.append(("", str(reader.status), sink.data))
                    sink = Body()
                    del left[0]
    except Unfollowable as stop:
        read.refused = stop.reason
    if not read.refused and reader.end_by_close():
        read.messages.append(("", str(reader.status), sink.data))
    return read
