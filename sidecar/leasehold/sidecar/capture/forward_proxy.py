"""Forward proxy: what ``HTTP_PROXY`` points at. Each request names its owner; a connection may go to one after another.

Only the request line changes, from absolute to origin form, and the two header lines that are the proxy's own are
taken out (``Proxy-Connection``, ``Proxy-Authorization``). Everything else goes on as it came, ``Host`` included, so
that signed requests stay signed. (A rule may want one header added, as in every way in.)

A request for another owner than the last waits until the calls before it are answered, then the link switches.
``CONNECT`` becomes a blind tunnel. Unlike in the other ways in, failures are answered (502, 504, 400): that is what
clients of a proxy expect.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from leasehold.sidecar.capture.listener import Address, RelaySettings
from leasehold.sidecar.capture.overtaking import Barrier
from leasehold.sidecar.capture.refusal import not_a_proxy_request, unreachable
from leasehold.sidecar.capture.relay import Link, Links
from leasehold.sidecar.capture.server import RelayServer
from leasehold.sidecar.capture.sides import OwnerSide
from leasehold.sidecar.observe.exchanges import Exchange, GaveUp, Head, Insert, Piece
from leasehold.sidecar.observe.frames import Frame
from leasehold.sidecar.observe.matching import authority_of
from leasehold.sidecar.observe.observer import Observer

_ORIGIN: Final = re.compile(rb"[Hh][Tt][Tt][Pp]://[^/?]*")
_OUR_OWN: Final = re.compile(rb"\r\nproxy-(?:connection|authorization)[ \t]*:[^\r\n]*", re.IGNORECASE)
_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
_BLIND: Final = frozenset({"upgrade", "connect"})


@dataclass(frozen=True, slots=True)
class _Switch:
    """From this request on, to another owner."""

    exchange: Exchange
    to: Address
    barrier: Barrier

    @property
    def tunnels(self) -> bool:
        return self.exchange.method == "CONNECT"


class ProxyLink(Link):
    """One client, several owners, one at a time."""

    __slots__ = ("_current", "_last", "_swallow", "_switches")

    def __init__(self, relay: RelaySettings, links: Links) -> None:
        super().__init__(relay, links, routing=True)
        self._switches: deque[_Switch] = deque()
        self._current: _Switch | None = None
        """The switch that is connecting now."""
        self._last: Address | None = None
        """Where the last request read goes to."""
        self._swallow = False

    @property
    def _http1(self) -> Observer | None:
        """A proxy speaks nothing else; in a tunnel, nobody reads."""
        return self.observer if isinstance(self.observer, Observer) else None

    # --- requests ---------------------------------------------------------------------------------------------

    def requests(self, pieces: Sequence[Piece]) -> None:
        head_follows = False
        rest = iter(self._readable(pieces))
        for piece in rest:
            if isinstance(piece, Frame):
                self.to_owner.write_frame(piece)
            elif isinstance(piece, Insert):
                head_follows = False
                self.to_owner.write(to_origin_form(cast("bytes", self.inserted(piece, next(rest)))))
            elif not isinstance(piece, bytes):
                head_follows = head_follows or isinstance(piece, Head)
                self.mark(piece)
            elif head_follows:
                head_follows = False
                self.to_owner.write(b"" if self._swallow else to_origin_form(piece))
                self._swallow = False
            else:
                self.to_owner.write(piece)
        self.settle()

    def _readable(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """A request that cannot be read names no owner; so no owner may see it: not the one of the last request."""
        last = pieces[-1] if pieces else None
        observer = self._http1
        if not isinstance(last, GaveUp) or last.reason in _BLIND or observer is None or not observer.between_requests:
            return pieces
        unreadable = max(n for n, piece in enumerate(pieces) if isinstance(piece, bytes))
        return [*pieces[:unreadable], *pieces[unreadable + 1 :]]

    def route(self, mark: Head) -> None:
        exchange = mark.exchange
        to, why = destination(exchange)
        barrier = Barrier()
        if to is None:
            self.to_owner.raise_barrier(barrier)
            self.refuse_from(barrier, exchange, not_a_proxy_request(why, exchange.method))
            return
        tunnels = exchange.method == "CONNECT"
        if to == self._last and not tunnels:
            return
        self._swallow = tunnels
        self._last = to
        self.to_owner.raise_barrier(barrier)
        self._switches.append(_Switch(exchange, to, barrier))
        self.watching = True
        self.after_response()

    # --- owners -----------------------------------------------------------------------------------------------

    def after_response(self) -> None:
        super().after_response()
        observer = self._http1
        if self._current is None and self._switches and observer is not None:
            switch = self._switches[0]
            if observer.is_next(switch.exchange):
                self._switches.popleft()
                self._switch(switch)

    def _switch(self, switch: _Switch) -> None:
        self._current = switch
        self._leave_owner()
        if switch.tunnels:
            self.relay.metrics.uninspected("connect")
            self.stop_observing()
        self.connect(switch.to)

    def _leave_owner(self) -> None:
        owner, self.owner = self.owner, None
        self.to_owner.connect(None)
        if owner is not None:
            owner.close()
            self.resume_app()  # if the one we leave was full, that is its own affair now

    def owner_connected(self, owner: OwnerSide) -> None:
        switch, self._current = self._current, None
        super().owner_connected(owner)
        if switch is not None:
            if switch.tunnels:
                self.to_app.write(_ESTABLISHED)
            self.to_owner.lift(switch.barrier)
            self.balance()

    def owner_unreachable(self, reason: str) -> None:
        switch, self._current = self._current, None
        if switch is not None:
            answer = unreachable(str(switch.to), reason, switch.exchange.method)
            self.refuse_from(switch.barrier, switch.exchange, answer)

    def owner_ended(self) -> None:
        if self._between_calls():
            # An idle connection that the owner no longer wants is not the client's business.
            self._last = None if not self._switches and self._current is None else self._last
            self._leave_owner()
        else:
            super().owner_ended()

    def owner_lost(self, exc: Exception | None) -> None:
        if self._between_calls():
            self._last = None if not self._switches and self._current is None else self._last
            self._leave_owner()
        else:
            super().owner_lost(exc)

    def _between_calls(self) -> bool:
        observer = self._http1
        if observer is None:
            return False
        return observer.idle or bool(self._switches and observer.is_next(self._switches[0].exchange))

    def gave_up(self, reason: str) -> None:
        observer = self._http1
        super().gave_up(reason)
        if observer is None or reason in _BLIND or not observer.between_requests:
            return
        # Where the next request would begin is not known any more: none goes anywhere.
        if observer.all_answered:
            self.to_owner.close()
            self.say_last(not_a_proxy_request("this cannot be read as HTTP/1", "GET"))
        elif self._current is None:
            self.to_owner.close()


def destination(exchange: Exchange) -> tuple[Address | None, str]:
    """Where a request goes to; or why that cannot be said."""
    target = exchange.target
    try:
        if exchange.method == "CONNECT":
            return Address.parse(target), ""
        if not target.lower().startswith("http://"):
            return None, f"{target[:200]!r} does not say where to go over plain HTTP"
        return Address.parse(authority_of(target), default_port=80), ""
    except ValueError as error:
        return None, str(error)[:300]


def to_origin_form(head: bytes) -> bytes:
    """A proxy's request head as the owner expects it."""
    line, end, headers = head.partition(b"\r\n")
    method, target, *version = line.split()  # llhttp lets several spaces pass, and no version at all
    path = _ORIGIN.sub(b"", target, count=1)
    if not path.startswith(b"/"):
        path = b"*" if method == b"OPTIONS" and not path else b"/" + path
    return b" ".join((method, path, *version)) + _OUR_OWN.sub(b"", end + headers)


class ForwardProxyListener:
    """Any destination, named by the request line."""

    def __init__(self, listen: Address, relay: RelaySettings) -> None:
        self._server = RelayServer(listen, relay, lambda links, _: ProxyLink(relay, links))

    async def start(self) -> tuple[str, int]:
        """The address really bound. Raises ``OSError``."""
        return await self._server.start()

    async def close(self) -> None:
        """Accept no more; let unfinished calls end within the drain deadline, then reset what is left."""
        await self._server.close()
