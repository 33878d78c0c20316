"""The client half of HTTP/2 for unary gRPC calls and nothing else: bytes in, ended calls and bytes out. Pure.

Laws:

- A call whose last byte was not handed out surely did nothing, for a server acts on whole messages only; so did one
  that the server refused as a stream (REFUSED_STREAM) or left out when it went away (GOAWAY). Every other call that
  ends without an answer may have done something.
- Every call that was begun ends exactly once, whatever the server sends; what it must not send ends them all.
- Bounded: calls under way and waiting (``unary_sending``), an answer (``unary_call``), a header block, and what a
  server that reads nothing can make us say.
- Our own windows are large and given back in large steps: an answer does not wait for us.

Hot path: a call that fits into a frame and into the windows is one piece of bytes, and its answer is three frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic

from leasehold.protocol.etcd import frames as h2
from leasehold.protocol.etcd.frames import Illegal
from leasehold.protocol.etcd.unary_call import Broken, Call, Outcome, Owner
from leasehold.protocol.etcd.unary_sending import MAX_CALLS, Sending

STREAM_WINDOW_BYTES: Final = 16 * 2**20
CONNECTION_WINDOW_BYTES: Final = 64 * 2**20
MAX_SAID_BYTES: Final = 64 * 1024
"""Acknowledgements that a server may ask for while it does not read."""
_HELLO: Final = b"".join(
    (
        h2.PREFACE,
        h2.settings(((h2.HEADER_TABLE_SIZE, 0), (h2.ENABLE_PUSH, 0), (h2.INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES))),
        h2.frame(h2.WINDOW_UPDATE, 0, 0, h2.number(CONNECTION_WINDOW_BYTES - 65535)),
    )
)


class UnaryCalls(Generic[Owner]):
    """All calls of one connection."""

    def __init__(self) -> None:
        self.ready = False
        """Whether the server has spoken HTTP/2 to us."""
        self.leaving = ""
        """Why no further call can be begun here; those under way go on."""
        self.broken = ""
        """Why this connection is of no more use at all."""
        self._out = [_HELLO]
        self._sending: Sending[Owner] = Sending(self._out)
        self._under_way = self._sending.under_way
        self._said = 0
        self._frames = h2.FrameReader()
        self._blocks = h2.HeaderBlocks()
        self._block: tuple[int, int, bytearray] | None = None
        self._due: int | None = h2.SETTINGS
        """The only type of frame that may come now, if there is one."""
        self._owed = 0
        self._ended: list[Call[Owner]] = []
        self._on: dict[int, Callable[[int, int, bytes], None]] = {
            h2.DATA: self._on_data,
            h2.HEADERS: self._on_headers,
            h2.RST_STREAM: self._on_reset,
            h2.SETTINGS: self._on_settings,
            h2.PUSH_PROMISE: self._on_push,
            h2.PING: self._on_ping,
            h2.GOAWAY: self._on_goaway,
            h2.WINDOW_UPDATE: self._on_window,
            h2.CONTINUATION: self._on_continuation,
        }

    @property
    def idle(self) -> bool:
        """Whether no call is under way or waiting."""
        return not self._under_way and not self._sending.waiting

    def begin(self, call: Call[Owner]) -> None:
        """Send ``call`` now or as soon as the server takes it. Raises ``Broken`` (untouched) when it never can be."""
        if self.broken or self.leaving:
            raise Broken(self.broken or self.leaving, untouched=True)
        self._sending.begin(call)
        if self._sending.exhausted:
            self.leaving = "the connection has no streams left"

    def cancel(self, call: Call[Owner]) -> None:
        """Nobody waits for it any more. A call that has ended already is no error."""
        if call.outcome is None:
            self._end(call, Broken("cancelled", untouched=not call.sent), reset=h2.CANCEL)
            self._ended.remove(call)
            self._sending.go_on()

    def hold(self) -> None:
        """The transport is full: no call leaves until ``release``."""
        self._sending.held = True

    def release(self) -> None:
        """The transport takes bytes again."""
        self._sending.held = False
        self._said = 0
        self._sending.go_on()

    def take(self) -> bytes:
        """What is to be written now."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def lose(self, why: str) -> list[Call[Owner]]:
        """The connection is gone. Returns the calls that ended with it."""
        self.broken = self.broken or why
        self._sending.held = True
        for call in [*self._under_way.values(), *self._sending.waiting]:
            self._end(call, Broken(self.broken, untouched=not call.sent))
        return self._take_ended()

    def receive(self, data: bytes) -> list[Call[Owner]]:
        """The calls that ended by what came. Look at ``broken`` and ``leaving`` afterwards, and ``take``."""
        if self.broken:
            return []
        try:
            for kind, flags, stream, payload in self._frames.feed(data):
                if self._due is not None and kind != self._due:
                    raise Illegal(h2.PROTOCOL_ERROR, f"a frame of type {kind} where one of type {self._due} is due")
                act = self._on.get(kind)
                if act is not None:
                    act(flags, stream, payload)
        except Illegal as error:
            self._out.append(h2.frame(h2.GOAWAY, 0, 0, h2.number(0) + h2.number(error.code)))
            return self.lose(f"the server does not speak HTTP/2 as it should: {error}")
        if self._ended and self._sending.waiting:
            self._sending.go_on()
        return self._take_ended()

    def _take_ended(self) -> list[Call[Owner]]:
        ended, self._ended = self._ended, []
        return ended

    def _end(self, call: Call[Owner], outcome: Outcome, *, reset: int | None = None) -> None:
        call.outcome = outcome
        self._ended.append(call)
        self._sending.forget(call)
        if reset is not None and call.stream:
            self._out.append(h2.frame(h2.RST_STREAM, 0, call.stream, h2.number(reset)))

    def _call(self, stream: int) -> Call[Owner] | None:
        """The call of that stream, unless it has ended. Raises ``Illegal`` for a stream that never was."""
        call = self._under_way.get(stream)
        if call is None and (not stream & 1 or stream >= self._sending.next_stream):
            raise Illegal(h2.PROTOCOL_ERROR, f"a frame on stream {stream}, which was never opened")
        return call

    def _say(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """What is not part of a call. It does not wait; but a server that reads nothing gets only so much of it."""
        if self._sending.held:
            self._said += len(payload) + 9
            if self._said > MAX_SAID_BYTES:
                raise Illegal(h2.CALM_DOWN, "it asks for answers and does not read them")
        self._out.append(h2.frame(kind, flags, stream, payload))

    # --- answers -----------------------------------------------------------------------------------------------------

    def _on_headers(self, flags: int, stream: int, payload: bytes) -> None:
        if flags & (h2.PADDED | h2.PRIORITIZED):
            payload = h2.unpadded(flags, payload)
        if flags & h2.END_HEADERS:
            self._on_block(flags, stream, payload)
        else:
            self._block, self._due = (flags, stream, bytearray(payload)), h2.CONTINUATION

    def _on_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if self._block is None or self._block[1] != stream:
            raise Illegal(h2.PROTOCOL_ERROR, "a continuation of nothing")
        first, _, block = self._block
        block += payload
        if len(block) > h2.MAX_BLOCK_BYTES:
            raise Illegal(h2.CALM_DOWN, f"a header block of more than {h2.MAX_BLOCK_BYTES} bytes")
        if flags & h2.END_HEADERS:
            self._block = self._due = None
            self._on_block(first, stream, bytes(block))

    def _on_block(self, flags: int, stream: int, block: bytes) -> None:
        head = self._blocks.decode(block)  # whether it interests anybody or not: the table must stay in step
        call = self._call(stream)
        if call is not None:
            ended = bool(flags & h2.END_STREAM)
            self._note(call, call.on_head(head, ended=ended), ended)

    def _on_data(self, flags: int, stream: int, payload: bytes) -> None:
        size = len(payload)
        self._owed += size
        if self._owed > CONNECTION_WINDOW_BYTES // 2:
            self._say(h2.WINDOW_UPDATE, 0, 0, h2.number(self._owed))
            self._owed = 0
        call = self._call(stream)
        if call is None:
            return
        call.owed += size
        if call.owed > STREAM_WINDOW_BYTES // 2:
            self._say(h2.WINDOW_UPDATE, 0, stream, h2.number(call.owed))
            call.owed = 0
        if flags & h2.PADDED:
            payload = h2.unpadded(h2.PADDED, payload)
        ended = bool(flags & h2.END_STREAM)
        self._note(call, call.on_data(payload, ended=ended), ended)

    def _note(self, call: Call[Owner], outcome: Outcome | None, ended: bool) -> None:
        if outcome is not None:
            # A stream ends when both sides have ended it. The server has, before it read everything, or we do.
            whole = ended and call.sent
            self._end(call, outcome, reset=None if whole else h2.NO_ERROR if ended else h2.CANCEL)

    def _on_reset(self, _: int, stream: int, payload: bytes) -> None:
        code = _number(payload)
        call = self._call(stream)
        if call is not None:
            untouched = not call.sent or (code == h2.REFUSED_STREAM and not call.opened)
            self._end(call, Broken(f"the server reset the call (HTTP/2 error {code})", untouched=untouched))

    # --- the connection ----------------------------------------------------------------------------------------------

    def _on_settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream or (flags & h2.ACK and (payload or not self.ready)):
            raise Illegal(h2.PROTOCOL_ERROR, "settings of a stream, or an acknowledgement with contents")
        if flags & h2.ACK:
            return
        for setting, value in h2.read_settings(payload):
            if setting == h2.MAX_CONCURRENT_STREAMS:
                self._sending.most_streams = min(value, MAX_CALLS)
            elif setting == h2.INITIAL_WINDOW_SIZE:
                self._sending.resize_windows(value)
            elif setting == h2.MAX_FRAME_SIZE:
                if not h2.MAX_FRAME_BYTES <= value < 2**24:
                    raise Illegal(h2.PROTOCOL_ERROR, f"it wants frames of at most {value} bytes")
                self._sending.frame_bytes = value
        self.ready, self._due = True, None
        self._say(h2.SETTINGS, h2.ACK, 0, b"")
        self._sending.go_on()

    def _on_window(self, _: int, stream: int, payload: bytes) -> None:
        more = _number(payload) & 0x7FFFFFFF
        call = self._call(stream) if stream else None
        if not stream or (call is not None and not call.sent):
            self._sending.widen(call, more)

    def _on_ping(self, flags: int, stream: int, payload: bytes) -> None:
        if stream or len(payload) != 8:
            raise Illegal(h2.FRAME_SIZE_ERROR, "a ping of a stream, or of another size than eight bytes")
        if not flags & h2.ACK:
            self._say(h2.PING, h2.ACK, 0, payload)

    def _on_goaway(self, _: int, stream: int, payload: bytes) -> None:
        if stream or len(payload) < 8:
            raise Illegal(h2.FRAME_SIZE_ERROR, "a farewell of a stream, or of less than eight bytes")
        last, code = _number(payload[:4]) & 0x7FFFFFFF, _number(payload[4:8])
        self.leaving = f"the server is going away (HTTP/2 error {code}, {bytes(payload[8:108])!r})"
        above = [call for call in self._under_way.values() if call.stream > last]
        for call in [*above, *self._sending.waiting]:
            self._end(call, Broken(self.leaving, untouched=not call.opened))

    def _on_push(self, _: int, __: int, ___: bytes) -> None:
        raise Illegal(h2.PROTOCOL_ERROR, "a push, which was forbidden")


def _number(payload: bytes) -> int:
    if len(payload) != 4:
        raise Illegal(h2.FRAME_SIZE_ERROR, f"a frame of {len(payload)} bytes where four are due")
    return int.from_bytes(payload, "big")
