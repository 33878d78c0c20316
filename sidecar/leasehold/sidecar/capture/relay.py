"""One relayed connection: an app, an owner, an observer reading along, and the bytes that wait.

Promises: bytes go on as they came, in order, at once, unless a rule wants them held, or one header added to a request
that it holds (``insertion``): nothing else is ever done to them. Backpressure goes both ways.
Either side may end its half (``FIN``) and the other still speak; a reset stays a reset. There is no timeout on an
established stream. An owner that cannot be reached looks to the app like a connection reset, for that is what it would
have seen without us. Whatever goes wrong in the observer costs the observation, never the traffic.

When the app goes away while a call is under way that may have created something, the owner's answer is awaited for
``LINGER`` seconds more: the app will never know the id, so we had better. For the same reason the end of its half is
told to the owner only after the answer to such a call: many owners drop a call when they see its caller's end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from leasehold.protocol.rules import Rule
from leasehold.sidecar.capture.dialler import TlsFailed
from leasehold.sidecar.capture.following import Following
from leasehold.sidecar.capture.listener import Address, RelaySettings
from leasehold.sidecar.capture.overtaking import Barrier
from leasehold.sidecar.capture.refusal import not_durable
from leasehold.sidecar.capture.sides import BereavedAppSide, OwnerSide, RefusedAppSide
from leasehold.sidecar.observe.exchanges import Exchange
from leasehold.sidecar.observe.matching import normal_authority
from leasehold.sidecar.observe.observer import Observer

LINGER: Final = 10.0
"""Seconds that we wait for what the owner will say to an app that is gone."""
FAREWELL: Final = 2.0
"""Seconds that a refused app gets to read its answer."""
MAX_DROPPED: Final = 1024 * 1024
"""Bytes that a refused app may still send."""

log = structlog.get_logger()


class Links(Protocol):
    """Whoever keeps the connections."""

    def opened(self, link: Link) -> None: ...

    def closed(self, link: Link) -> None: ...

    def run(self, link: Link, to: Address) -> asyncio.Task[None]:
        """Start the task that connects this link."""
        ...


class Link(Following):
    """A connection from its beginning to its end."""

    __slots__ = (
        "_app_ended",
        "_app_gone",
        "_connecting",
        "_done",
        "_draining",
        "_dropped",
        "_end_later",
        "_links",
        "_owner_ended",
        "_owner_gone",
        "_refused",
        "_timer",
    )

    def __init__(self, relay: RelaySettings, links: Links, to: Address | None = None, *, routing: bool = False) -> None:
        super().__init__(relay, "" if to is None else normal_authority(str(to)), routing=routing)
        self._links = links
        self._connecting: asyncio.Task[None] | None = None
        self._app_ended = self._app_gone = self._owner_ended = self._owner_gone = False
        self._done = self._draining = self._end_later = False
        self._refused: tuple[Exchange, bytes] | None = None
        self._dropped = 0
        self._timer: asyncio.TimerHandle | None = None

    # --- the app ----------------------------------------------------------------------------------------------

    def app_connected(self) -> None:
        self._links.opened(self)
        self.relay.metrics.connection_opened()
        self.to_app.connect(self.app.transport)

    def app_ended(self) -> None:
        self._app_ended = True
        if isinstance(self.app, RefusedAppSide):
            self._close_if_told()
            return
        if self.observer is not None:
            self.to_owner.write(self.observer.request_end())
            if self.observer.awaits_answer:
                self._end_later = self.watching = True
                return
        self.to_owner.then(self._end_owner)

    def app_lost(self, exc: Exception | None) -> None:
        self._app_gone = True
        self.to_app.close()
        self._holds.close()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._worth_lingering():
            self.watching = True
            self.resume_owner()
            self.balance()
            self._later(LINGER, self._stop_lingering)
            return
        self._abandon()
        if self.owner is not None:
            if exc is None:
                self.owner.close()
            else:
                self.owner.reset()
        self._done_if_gone()

    def _worth_lingering(self) -> bool:
        observer = self.observer
        return observer is not None and observer.awaits_finding and self.to_owner.open and not self._owner_ended

    def _stop_lingering(self) -> None:
        self._abandon()
        if self.owner is not None:
            self.owner.close()

    # --- the owner --------------------------------------------------------------------------------------------

    def connect(self, to: Address) -> None:
        """Reach this owner; until then what is for it waits in the gate."""
        self._connecting = self._links.run(self, to)

    async def reach(self, to: Address) -> None:
        """The body of the task that connects."""
        try:
            async with asyncio.timeout(self.relay.connect_deadline):
                await self.relay.dialler.connect(lambda: OwnerSide(self, self.to_app), to)
        except TimeoutError:
            self._unreachable(to, "deadline")
        except TlsFailed as error:
            self._unreachable(to, "tls", str(error))
        except ConnectionRefusedError:
            self._unreachable(to, "refused")
        except (OSError, ValueError):  # ValueError: a name that cannot be encoded, a port out of range
            self._unreachable(to, "unreachable")
        finally:
            self._connecting = None
            self._done_if_gone()

    def _unreachable(self, to: Address, reason: str, why: str = "") -> None:
        self.relay.metrics.connect_failed(reason)
        log.info("owner not reached", owner=str(to), reason=reason, **({"why": why} if why else {}))
        self.owner_unreachable(reason)

    def owner_unreachable(self, reason: str) -> None:  # noqa: ARG002 - a forward proxy says so to the app
        self.app.reset()

    def owner_connected(self, owner: OwnerSide) -> None:
        self.owner = owner
        self._owner_ended = self._owner_gone = False
        if self._app_gone:
            owner.close()
            return
        self.to_owner.connect(owner.transport)
        self.balance()

    def owner_ended(self) -> None:
        self._owner_ended = True
        self._conclude_responses()
        self.to_app.then(self._end_app)

    def owner_lost(self, exc: Exception | None) -> None:
        self._owner_gone = True
        if not self._owner_ended:
            self._conclude_responses()
        self.to_owner.close()
        if not self._app_gone:
            self.to_app.then(self.app.close if exc is None else self._reset_app)
        self._done_if_gone()

    def _conclude_responses(self) -> None:
        observer, self.observer = self.observer, None
        if observer is None:
            return
        self.to_owner.write(observer.request_end())
        try:
            pieces = observer.response_end()
        except Exception:  # noqa: BLE001 - traffic is protected from the observer
            self.observer = observer
            self.observer_crashed()
        else:
            self.responses(pieces)

    # --- ends -------------------------------------------------------------------------------------------------

    def _end_owner(self) -> None:
        if self.owner is not None and not self.owner.end():
            self.drain()  # TLS has no half-close in asyncio: the answer first, then both ends at once
        self._close_if_both_ended()

    def _end_app(self) -> None:
        self.app.end()
        self._close_if_both_ended()

    def _close_if_both_ended(self) -> None:
        if (self._app_ended or self._app_gone) and self._owner_ended and self.to_owner.drained and self.to_app.drained:
            self.app.close()
            if self.owner is not None:
                self.owner.close()

    def _reset_app(self) -> None:
        # What the owner said before it died has been received without us, too.
        transport = self.app.transport
        if transport is None or not transport.get_write_buffer_size():
            self.app.reset()
            return
        bereaved = BereavedAppSide(self, self.to_owner)
        self.app.hand_over(bereaved)
        self.app = bereaved
        transport.set_write_buffer_limits(0)  # so that it is told once all has gone

    def _abandon(self) -> None:
        """Nobody is left to tell: what was under way ends as it is."""
        observer, self.observer = self.observer, None
        if observer is not None:
            for mark in observer.abort(reached=self.to_owner.transport is not None):
                self.mark(mark)
        self.to_owner.close()

    def _done_if_gone(self) -> None:
        if self._done:
            return
        if self._app_gone and self._connecting is None and (self.owner is None or self._owner_gone):
            self._done = True
            self._holds.close()
            if self._timer is not None:
                self._timer.cancel()
            if self._streams is not None:
                self._streams.close()
            self._links.closed(self)
            self.relay.metrics.connection_closed()

    @property
    def idle(self) -> bool:
        """Nothing is under way that closing would cut short."""
        return self.observer is not None and self.observer.idle and self.to_app.drained and self.to_owner.drained

    def drain(self) -> None:
        """End, orderly, as soon as no call is under way."""
        self._draining = self.watching = True
        self.after_response()

    def abort(self) -> None:
        """At once: for a connection that would not end."""
        self.app.reset()
        if self.owner is not None:
            self.owner.reset()

    def observation_ended(self) -> None:
        if self._refused is not None:
            self.app.reset()  # the place in the stream where the refusal belongs is not known any more

    # --- refusing ---------------------------------------------------------------------------------------------

    def _not_durable(self, exchange: Exchange, barrier: Barrier, rule: Rule) -> None:
        if self._streams is None:
            self.refuse_from(barrier, exchange, not_durable(rule, exchange.method))
        elif self.observer is None or not self._streams.refuse(exchange, rule):
            self.abort()
        else:
            self.watching = True
            self.balance()

    def refuse_from(self, barrier: Barrier, exchange: Exchange, answer: bytes) -> None:
        """This call gets its answer from us, once those before it have theirs; then the connection ends."""
        self.to_owner.cut_from(barrier)
        if self.observer is None:  # a tunnel: nothing can be before it
            self.say_last(answer)
            return
        self._refused = (exchange, answer)
        self.watching = True
        self._drop_what_comes()
        self.after_response()

    def say_last(self, answer: bytes) -> None:
        """Answer, and end the connection."""
        self._refused = None
        self.observer = None
        self._drop_what_comes()
        self.to_app.write(answer)
        self.to_app.then(self._bid_farewell)

    def _drop_what_comes(self) -> None:
        if isinstance(self.app, RefusedAppSide):
            return
        refused = RefusedAppSide(self, self.to_owner)
        self.app.hand_over(refused)
        self.app = refused
        self.balance()

    def after_response(self) -> None:
        """Whatever had to wait for calls to be answered."""
        if self._end_later and (self.observer is None or not self.observer.awaits_answer):
            self._end_later = False
            self.to_owner.then(self._end_owner)
        if self._draining and self.idle:
            self.app.close()
        if self._app_gone and (self.observer is None or not self.observer.awaits_finding):
            self._stop_lingering()
        self._look_after_streams()
        if self._refused is None or not isinstance(self.observer, Observer):
            return
        exchange, answer = self._refused
        if self.observer.is_next(exchange):
            self.watching = False
            self.say_last(answer)

    def _bid_farewell(self) -> None:
        owner, self.owner = self.owner, None  # its end is not the app's
        if owner is not None:
            owner.close()
        self.app.end()
        self._close_if_told()
        self._later(FAREWELL, self.app.close)

    def dropped(self, size: int) -> None:
        self._dropped += size
        if self._dropped > MAX_DROPPED:
            self.app.reset()

    def _close_if_told(self) -> None:
        if self._app_ended and self.observer is None and self.to_app.drained:
            self.app.close()

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        if not self._done:
            self._timer = asyncio.get_running_loop().call_later(seconds, act)
