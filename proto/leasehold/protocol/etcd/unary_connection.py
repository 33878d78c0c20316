"""Unary calls to one endpoint over a connection of our own: the asyncio shell around ``unary``.

- A call costs a future and a timer, and no task.
- It connects when first used and again after the connection was lost or has no room for more; what is under way on
  a connection that the server leaves goes on there. One attempt to connect serves all who wait for it.
- Connected means: the server has sent its settings. So no call is risked on something that is no etcd, or is frozen.
- TLS files are read anew for every connection, so that rotated certificates count.
- A call that missed its deadline on a connection that said nothing for ``SILENCE_SECONDS`` takes it along.
- While the transport is full nothing more is handed to it: what waits has surely done nothing.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from leasehold.protocol.etcd.config import TlsConfig
from leasehold.protocol.etcd.connection import CLOSE_SECONDS, Endpoint
from leasehold.protocol.etcd.frames import request_head, with_timeout
from leasehold.protocol.etcd.unary import UnaryCalls
from leasehold.protocol.etcd.unary_call import Broken, Call

SILENCE_SECONDS: Final = 3.0
_MAX_HEADS: Final = 64

Metadata = tuple[tuple[str, str], ...]
"""Fields of a request, by lower-case name."""
_Call = Call["asyncio.Future[bytes]"]


class UnaryConnection:
    """One endpoint. ``exchange`` raises ``Refused`` and ``Broken``, and nothing else that is not a bug."""

    def __init__(self, endpoint: Endpoint, tls: TlsConfig | None, *, connect_seconds: float) -> None:
        self.endpoint = endpoint
        self._tls = (tls or TlsConfig()) if endpoint.secure else None
        self._connect_seconds = connect_seconds
        self._heads: dict[tuple[str, Metadata], bytes] = {}
        self._wire: _Wire | None = None
        self._wires: set[_Wire] = set()
        self._connecting: asyncio.Task[_Wire] | None = None
        self._closed = False

    async def exchange(
        self, path: str, metadata: Metadata, message: bytes, *, connect_deadline: float, deadline: float
    ) -> bytes:
        """One request, one answer. Both deadlines are seconds from now; safe to retry when ``Broken.untouched``."""
        loop = asyncio.get_running_loop()
        until = loop.time() + deadline
        wire = self._wire
        if wire is None or not wire.usable:
            wire = await self._connected(min(connect_deadline, deadline))
            deadline = max(until - loop.time(), 0.001)
        head = with_timeout(self._heads.get((path, metadata)) or self._head(path, metadata), deadline)
        call = Call(head, message, loop.create_future())
        wire.calls.begin(call)
        wire.flush_soon()
        timer = loop.call_later(deadline, wire.give_up, call)
        try:
            answer: bytes = await call.owner
        except (asyncio.CancelledError, GeneratorExit):
            wire.cancel(call)
            raise
        finally:
            timer.cancel()
        return answer

    async def aclose(self) -> None:
        """Hang up and wait until no transport is left. Calls under way are ``Broken``."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait((self._connecting,))
        wires = list(self._wires)
        for wire in wires:
            wire.hang_up("the client was closed meanwhile")
        for wire in wires:
            await wire.gone.wait()

    def _head(self, path: str, metadata: Metadata) -> bytes:
        if len(self._heads) >= _MAX_HEADS:
            self._heads.clear()  # tokens that ran out
        scheme = "https" if self.endpoint.secure else "http"
        head = self._heads[path, metadata] = request_head(scheme, self.endpoint.authority, path, metadata)
        return head

    async def _connected(self, deadline: float) -> _Wire:
        if self._closed:
            raise Broken("the client is closed", untouched=True)
        connecting = self._connecting
        if connecting is None or connecting.done():
            connecting = self._connecting = asyncio.create_task(self._connect(), name=f"connect to {self.endpoint}")
        await asyncio.wait((connecting,), timeout=deadline)
        if not connecting.done():
            raise Broken("no connection before the deadline", untouched=True)
        if connecting.cancelled():
            raise Broken("the client was closed meanwhile", untouched=True)
        wire = connecting.result()
        if wire.calls.broken:
            raise Broken(wire.calls.broken, untouched=True)
        return wire

    async def _connect(self) -> _Wire:
        """Never raises: a connection that did not come about is a broken one."""
        wire = _Wire(self._wires)
        try:
            async with asyncio.timeout(self._connect_seconds):
                await asyncio.get_running_loop().create_connection(
                    lambda: wire,
                    self.endpoint.host,
                    self.endpoint.port,
                    ssl=self._tls.context() if self._tls is not None else None,
                    server_hostname=(self._tls.server_name or self.endpoint.host) if self._tls is not None else None,
                )
                await wire.settled.wait()
        except TimeoutError:
            wire.drop("no connection before the deadline")
        except OSError as error:  # sockets, name resolution, ssl
            wire.drop(str(error) or type(error).__name__)
        except asyncio.CancelledError:
            wire.drop("the client was closed meanwhile")
            raise
        self._wire = wire
        return wire


class _Wire(asyncio.Protocol):
    """One connection in one life."""

    def __init__(self, wires: set[_Wire]) -> None:
        self.calls: UnaryCalls[asyncio.Future[bytes]] = UnaryCalls()
        self.settled = asyncio.Event()
        """Whether it is known if the server speaks HTTP/2 to us."""
        self.gone = asyncio.Event()
        self._wires = wires
        self._loop = asyncio.get_running_loop()
        self._heard_at = 0.0
        self._flushing = False
        self._transport: asyncio.Transport | None = None
        self._abort: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Whether a call can be begun here."""
        calls = self.calls
        return not calls.broken and not calls.leaving and not cast(asyncio.Transport, self._transport).is_closing()

    def flush_soon(self) -> None:
        """Write when those who are awake by now have had their say: one write costs as much as the rest of a call."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        data = self.calls.take()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def cancel(self, call: _Call) -> None:
        """Nobody waits for ``call`` any more: etcd need not go on with it."""
        self.calls.cancel(call)
        self.flush_soon()
        self._leave_if_idle()
        if call.owner.done() and not call.owner.cancelled():
            call.owner.exception()  # taken note of: it came together with the cancellation

    def give_up(self, call: _Call) -> None:
        """The deadline of ``call`` has come."""
        if call.outcome is not None:
            return
        self.cancel(call)
        if not call.owner.done():
            call.owner.set_exception(Broken("no answer before the deadline", untouched=not call.sent))
        if call.sent and self._loop.time() - self._heard_at > SILENCE_SECONDS:
            self.drop("the connection is silent")

    def drop(self, why: str) -> None:
        """Hang up at once, unsent bytes or not; what runs over it ends."""
        self._settle(self.calls.lose(why))
        if self._transport is not None:
            self._transport.abort()

    def hang_up(self, why: str) -> None:
        """Close properly, but not for longer than ``CLOSE_SECONDS``: there are peers that never read."""
        self._settle(self.calls.lose(why))
        if self._transport is not None and self._abort is None:
            self._transport.close()
            self._abort = self._loop.call_later(CLOSE_SECONDS, self._transport.abort)

    # --- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._wires.add(self)
        self._heard_at = self._loop.time()
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        calls = self.calls
        self._settle(calls.receive(data))
        self.flush_soon()
        if calls.broken:
            self._flush()
            self.hang_up(calls.broken)
        elif not self.settled.is_set() and calls.ready:
            self.settled.set()
        elif calls.leaving:
            self._leave_if_idle()

    def pause_writing(self) -> None:
        self.calls.hold()

    def resume_writing(self) -> None:
        if not self.calls.broken:
            self.calls.release()
            self.flush_soon()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._settle(self.calls.lose(f"the connection was lost: {exc or 'the server hung up'}"))
        if self._abort is not None:
            self._abort.cancel()
        self._wires.discard(self)
        self.gone.set()

    def _settle(self, ended: list[_Call]) -> None:
        for call in ended:
            owner, outcome = call.owner, call.outcome
            if owner.done():
                continue
            if type(outcome) is bytes:
                owner.set_result(outcome)
            else:
                owner.set_exception(cast(BaseException, outcome))
        if self.calls.broken:
            self.settled.set()

    def _leave_if_idle(self) -> None:
        if self.calls.leaving and self.calls.idle:
            self.hang_up(self.calls.leaving)
