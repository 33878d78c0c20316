"""The two ends of a relayed connection, as asyncio protocols. Hot path: plain loops, slots, no per-byte Python.

``AppSide`` faces the app that connected to us, ``OwnerSide`` the owner we connected to. A side reads, shows what it
read to the observer, and writes it to the gate of the other direction. What happens once per connection, instead of
once per read, is the link's (``relay``).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Final, cast

from leasehold.sidecar.capture.gate import Gate

if TYPE_CHECKING:
    from leasehold.sidecar.capture.relay import Link

WRITE_BUFFER: Final = 256 * 1024
"""Bytes waiting in a transport beyond which the other side is not read."""
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class Why:
    """Why a side is not read, as bits; it is read again when none is left. Plain numbers: an ``IntFlag`` takes 1 µs to
    combine, and this is asked with every held call."""

    PEER_FULL: Final = 1
    HELD: Final = 2
    TURN: Final = 4


class Side(asyncio.Protocol):
    """A transport, the gate that what we read goes to, and the reasons not to read."""

    __slots__ = ("_gate", "_link", "_paused", "_turn", "transport")

    def __init__(self, link: Link, gate: Gate) -> None:
        self._link = link
        self._gate = gate
        self._turn = link.relay.turn
        self._paused = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # TCP_NODELAY is set: asyncio and uvloop do so for every TCP transport.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(WRITE_BUFFER)

    @property
    def alive(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def pause(self, why: int) -> None:
        if not self._paused and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
        self._paused |= why

    def resume(self, why: int) -> None:
        if self._paused & why:
            self._paused &= ~why
            if not self._paused and self.transport is not None and not self.transport.is_closing():
                self.transport.resume_reading()

    def wait_for_turn(self) -> None:
        self.pause(Why.TURN)

    def turn_has_come(self) -> None:
        self.resume(Why.TURN)

    def end(self) -> bool:
        """No more bytes from us; theirs may still come. ``False`` if that cannot be said without closing."""
        if self.transport is None or self.transport.is_closing():
            return True
        if self.transport.can_write_eof():
            self.transport.write_eof()
            return True
        return False

    def hand_over(self, other: Side) -> None:
        """Let ``other`` read from here on."""
        other.transport = self.transport
        other._paused = self._paused & ~Why.TURN  # it is we who are told that our turn has come
        if self.transport is not None:
            self.transport.set_protocol(other)

    def close(self) -> None:
        """Orderly, after what is written has gone."""
        if self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        """As if the peer had died: what was not sent is lost, and whoever reads gets an error, not an end."""
        transport = self.transport
        if transport is None:
            return
        if not transport.is_closing():
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()


class AppSide(Side):
    """Reads requests."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._link.app_connected()

    def data_received(self, data: bytes) -> None:
        self._turn.left -= 1
        if self._turn.left < 0:
            self._turn.over(self)
        link = self._link
        observer = link.observer
        if observer is not None:
            try:
                pieces = observer.request(data)
            except Exception:  # noqa: BLE001 - traffic is protected from the observer
                link.observer_crashed()
            else:
                if pieces is not None:
                    link.requests(pieces)
                    return
        gate = self._gate
        if gate.open:
            gate.transport.write(data)  # type: ignore[union-attr]
        else:
            gate.write(data)
            link.balance()

    def eof_received(self) -> bool:
        self._link.app_ended()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.app_lost(exc)

    def pause_writing(self) -> None:
        self._link.pause_owner()

    def resume_writing(self) -> None:
        self._link.resume_owner()


class RefusedAppSide(AppSide):
    """An app that gets a last answer from us: what it still sends is dropped, within a bound, so that it reads the
    answer instead of a reset."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        self._link.dropped(len(data))


class BereavedAppSide(AppSide):
    """An app whose owner was reset while some of what it had said was still to be sent. It gets that, and then a reset:
    an orderly end would make half a body look whole, where only the end of the connection ends it."""

    __slots__ = ()

    def resume_writing(self) -> None:
        self.reset()


class OwnerSide(Side):
    """Reads responses."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._link.owner_connected(self)

    def data_received(self, data: bytes) -> None:
        link = self._link
        if link.owner is not self:
            return  # a forward proxy has gone on to another owner
        self._turn.left -= 1
        if self._turn.left < 0:
            self._turn.over(self)
        observer = link.observer
        if observer is not None:
            try:
                pieces = observer.response(data)
            except Exception:  # noqa: BLE001 - traffic is protected from the observer
                link.observer_crashed()
            else:
                if pieces is not None:
                    link.responses(pieces)
                    return
        gate = self._gate
        if gate.open:
            gate.transport.write(data)  # type: ignore[union-attr]
        else:
            gate.write(data)
            link.balance()
        if link.watching:
            link.after_response()

    def eof_received(self) -> bool:
        if self._link.owner is self:
            self._link.owner_ended()
        return self.transport is not None and self.transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._link.owner is self:
            self._link.owner_lost(exc)

    def pause_writing(self) -> None:
        if self._link.owner is self:
            self._link.pause_app()

    def resume_writing(self) -> None:
        if self._link.owner is self:
            self._link.resume_app()
