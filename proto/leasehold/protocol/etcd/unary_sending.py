"""Which bytes of which call may leave now: streams, both of the server's windows, and a bound for what waits. Pure.

Calls are begun in their order. One that waits for the window of its stream does not hold up those behind it; the
window of the connection is given to what was begun first.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Generic

from leasehold.protocol.etcd import frames as h2
from leasehold.protocol.etcd.frames import Illegal
from leasehold.protocol.etcd.unary_call import PREFIX_BYTES, Broken, Call, Owner

MAX_CALLS: Final = 4096
"""Under way and waiting together; one more is refused at once."""
MAX_WAITING_BYTES: Final = 64 * 2**20
LAST_STREAM: Final = 2**31 - 1
MAX_WINDOW: Final = 2**31 - 1


class Sending(Generic[Owner]):
    """The sending half of a connection. ``out`` is where the frames go."""

    def __init__(self, out: list[bytes]) -> None:
        self.out = out
        self.held = False
        """While it is set, nothing leaves: the transport is full."""
        self.under_way: dict[int, Call[Owner]] = {}
        self.waiting: deque[Call[Owner]] = deque()
        self.most_streams = MAX_CALLS
        self.frame_bytes = h2.MAX_FRAME_BYTES
        self.next_stream = 1
        self._begun: list[Call[Owner]] = []
        self._unsent_bytes = 0
        self._preamble = h2.FORGET_THE_TABLE
        self._window = self._initial_window = 65535

    @property
    def exhausted(self) -> bool:
        """Whether there are streams for those that wait, and for no other."""
        return self.next_stream > LAST_STREAM - 2 * MAX_CALLS

    def begin(self, call: Call[Owner]) -> None:
        """Hand ``call`` out, now or when it can be. Raises ``Broken`` when there is no room."""
        size = len(call.unsent) + PREFIX_BYTES
        if len(call.head) >= h2.MAX_FRAME_BYTES:
            raise Broken(f"the headers of the request have {len(call.head)} bytes", untouched=True)
        if size <= self._window and size <= self._initial_window and size <= self.frame_bytes and self._free:
            self._window -= size
            self._number(call)
            self.out.append(h2.request(call.stream, call.head, call.unsent))
            call.sent = True
            return
        if len(self.under_way) + len(self.waiting) >= MAX_CALLS or self._unsent_bytes + size > MAX_WAITING_BYTES:
            raise Broken("too many requests wait for the server to take them", untouched=True)
        call.unsent = memoryview(b"\0" + h2.number(size - PREFIX_BYTES) + call.unsent)
        self._unsent_bytes += size
        self.waiting.append(call)
        self.go_on()

    def go_on(self) -> None:
        """Hand out what may leave by now."""
        if self.held:
            return
        for call in self._begun:
            self._send(call)
        while self.waiting and len(self.under_way) < self.most_streams:
            call = self.waiting.popleft()
            call.window = self._initial_window
            self._number(call)
            self.out.append(h2.frame(h2.HEADERS, h2.END_HEADERS, call.stream, call.head))
            self._begun.append(call)
            self._send(call)
        if self._begun:
            self._begun = [call for call in self._begun if not call.sent]

    def forget(self, call: Call[Owner]) -> None:
        """It has ended, sent or not."""
        if not call.stream:
            self.waiting.remove(call)
        else:
            del self.under_way[call.stream]
            if not call.sent:
                self._begun.remove(call)
        if not call.sent:
            self._unsent_bytes -= len(call.unsent)

    def resize_windows(self, size: int) -> None:
        """What the server takes on a stream from its beginning; it counts for streams that are open, too."""
        if size > MAX_WINDOW:
            raise Illegal(h2.FLOW_CONTROL_ERROR, f"a window of {size} bytes")
        for call in self._begun:
            call.window += size - self._initial_window
        self._initial_window = size

    def widen(self, call: Call[Owner] | None, more: int) -> None:
        """The server takes ``more`` bytes: of ``call``, or altogether. Raises ``Illegal``."""
        if not more:
            raise Illegal(h2.PROTOCOL_ERROR, "a window is enlarged by nothing")
        if call is None:
            self._window += more
        else:
            call.window += more
        if (self._window if call is None else call.window) > MAX_WINDOW:
            raise Illegal(h2.FLOW_CONTROL_ERROR, "a window is larger than any may be")
        if self._begun:
            self.go_on()

    @property
    def _free(self) -> bool:
        return not self.held and not self.waiting and len(self.under_way) < self.most_streams

    def _number(self, call: Call[Owner]) -> None:
        call.stream = self.next_stream
        self.under_way[call.stream] = call
        self.next_stream += 2
        if self._preamble:
            call.head, self._preamble = self._preamble + call.head, b""

    def _send(self, call: Call[Owner]) -> None:
        rest = call.unsent
        while (size := min(len(rest), self.frame_bytes, call.window, self._window)) > 0:
            last = size == len(rest)
            self.out.append(h2.frame(h2.DATA, h2.END_STREAM if last else 0, call.stream, bytes(rest[:size])))
            rest = rest[size:]
            call.window -= size
            self._window -= size
            self._unsent_bytes -= size
        call.unsent = rest
        call.sent = not rest
