"""Carries out what the observer says about the bytes of one connection: goes on with them, holds, inserts, routes.

Whatever goes wrong in the observer, or in what is done about a mark, costs the observation, never the traffic: the
connection is then a plain relay. How a connection begins and ends is the link's business (``relay``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import structlog

from leasehold.protocol.rules import Rule
from leasehold.sidecar.capture.gate import Gate
from leasehold.sidecar.capture.holding import Holds
from leasehold.sidecar.capture.insertion import with_header
from leasehold.sidecar.capture.listener import RelaySettings
from leasehold.sidecar.capture.overtaking import Barrier
from leasehold.sidecar.capture.sides import AppSide, OwnerSide, Why
from leasehold.sidecar.capture.stream_refusal import StreamRefusals
from leasehold.sidecar.observe.exchanges import (
    Concluded,
    Exchange,
    GaveUp,
    Head,
    Http2,
    Insert,
    Intent,
    Mark,
    Matched,
    Piece,
)
from leasehold.sidecar.observe.frames import Frame
from leasehold.sidecar.observe.http2 import Http2Observer
from leasehold.sidecar.observe.observer import Observer
from leasehold.sidecar.observe.reasons import UNINSPECTED

if TYPE_CHECKING:
    from leasehold.sidecar.capture.relay import Link

log = structlog.get_logger()


class Following:
    """Both sides, both gates, the observer between them, and what is held because of it."""

    __slots__ = (
        "_broken",
        "_destination",
        "_holds",
        "_streams",
        "app",
        "observer",
        "owner",
        "relay",
        "to_app",
        "to_owner",
        "watching",
    )

    def __init__(self, relay: RelaySettings, destination: str, *, routing: bool) -> None:
        self.relay = relay
        self.to_owner = Gate(relay.budget)
        self.to_app = Gate(relay.budget)
        self.app = AppSide(cast("Link", self), self.to_owner)
        self.owner: OwnerSide | None = None
        self._destination = destination
        self.observer: Observer | Http2Observer | None = Observer(
            relay.rules, relay.new_call, destination, routing=routing
        )
        self.watching = False
        """Whether ``after_response`` wants to be called."""
        self._holds = Holds(relay.registrar, relay.metrics, self.to_owner, self.to_app, self._not_durable, self._lifted)
        self._broken = False
        self._streams: StreamRefusals | None = None
        """Only on HTTP/2."""

    @abstractmethod
    def abort(self) -> None:
        """End at once, both sides."""

    @abstractmethod
    def after_response(self) -> None:
        """Whatever had to wait for calls to be answered."""

    @abstractmethod
    def observation_ended(self) -> None:
        """Nobody reads along any more."""

    @abstractmethod
    def _not_durable(self, exchange: Exchange, barrier: Barrier, rule: Rule) -> None:
        """This call is to be refused."""

    # --- bytes and marks --------------------------------------------------------------------------------------

    def requests(self, pieces: Sequence[Piece]) -> None:
        rest = iter(pieces)
        for piece in rest:
            if isinstance(piece, bytes):
                self.to_owner.write(piece)
            elif isinstance(piece, Frame):
                self._write_request_frame(piece)
            elif isinstance(piece, Insert):
                self._write_request_head(self.inserted(piece, next(rest)))
            else:
                self.mark(piece)
        self.settle()
        if self.watching:
            self._look_after_streams()

    def _write_request_head(self, head: Piece) -> None:
        """All of it at once: bytes on HTTP/1, a frame on HTTP/2."""
        if isinstance(head, bytes):
            self.to_owner.write(head)
        elif isinstance(head, Frame):
            self._write_request_frame(head)

    def inserted(self, insert: Insert, head: Piece) -> Piece:
        """The head with its header; should that go wrong, as it came."""
        try:
            return with_header(cast("bytes | Frame", head), insert)
        except Exception:  # noqa: BLE001 - traffic is protected from us
            self._note_crash()
            return head

    def _write_request_frame(self, frame: Frame) -> None:
        if self.to_owner.refused.garbles(frame):
            self.abort()  # trailers that nobody can decode any more
        else:
            self.to_owner.write_frame(frame)

    def _look_after_streams(self) -> None:
        if self._streams is not None and self.observer is not None and self.to_owner.refused.any:
            self._streams.look()

    def responses(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            if isinstance(piece, bytes):
                self.to_app.write(piece)
            elif isinstance(piece, Frame):
                self.to_app.write_frame(piece)
            else:
                self.mark(piece)
        self.settle()
        if self.watching:
            self.after_response()

    def settle(self) -> None:
        """After pieces: stop what broke, and stop reading what only piles up."""
        if self._broken:
            # Only now: what the observer withheld comes after the pieces it gave.
            self._broken = False
            self.stop_observing()
            self._holds.release_all()
        self.balance()

    def mark(self, mark: Mark) -> None:
        """Nothing that goes wrong with a mark may cost the bytes around it."""
        try:
            if isinstance(mark, Matched):
                self._holds.match(mark)
            elif isinstance(mark, Concluded):
                self._holds.conclude(mark)
            elif isinstance(mark, Intent):
                self._holds.intend(mark)
            elif isinstance(mark, GaveUp):
                self.gave_up(mark.reason)
            elif isinstance(mark, Http2):
                self._follow_http2(mark)
            elif isinstance(mark, Head):
                self.route(mark)
        except Exception:  # noqa: BLE001 - as it says
            self._note_crash()

    def _note_crash(self) -> None:
        """Inside an ``except``."""
        if not self._broken:
            log.exception("observation failed")
            self.relay.metrics.gave_up("crashed")
        self._broken = True

    def _follow_http2(self, mark: Http2) -> None:
        self.observer = None
        try:
            observer = Http2Observer(
                self.relay.rules, self.relay.new_call, self._destination, self.to_owner, self.to_app, mark.upgraded
            )
            self._streams = StreamRefusals(observer, self.to_owner, self.to_app, self.mark)
            self.observer = observer
        finally:
            # Its first bytes go on as if they had just come.
            if mark.requests:
                self.app.data_received(mark.requests)
            if mark.responses and self.owner is not None:
                self.owner.data_received(mark.responses)

    def route(self, mark: Head) -> None:
        """A forward proxy chooses where to go."""

    def gave_up(self, reason: str) -> None:
        if self.observer is None:
            return  # there was something to say already
        if reason in UNINSPECTED:
            self.relay.metrics.uninspected(reason)
        else:
            self.relay.metrics.gave_up(reason)
        self.stop_observing()

    def observer_crashed(self) -> None:
        """Inside an ``except``: the observation is lost, the traffic goes on."""
        log.exception("observer crashed")
        self.relay.metrics.gave_up("crashed")
        self.stop_observing()
        self._holds.release_all()

    def stop_observing(self) -> None:
        observer, self.observer = self.observer, None
        if self.to_owner.refused.any:
            self.abort()  # what was refused cannot be told from the rest any more
        if observer is not None:
            self.to_owner.write(observer.withheld_request)
            self.to_app.write(observer.withheld_response)
        self.observation_ended()

    # --- backpressure -----------------------------------------------------------------------------------------

    def pause_app(self) -> None:
        self.app.pause(Why.PEER_FULL)

    def resume_app(self) -> None:
        self.app.resume(Why.PEER_FULL)

    def pause_owner(self) -> None:
        if self.owner is not None:
            self.owner.pause(Why.PEER_FULL)

    def resume_owner(self) -> None:
        if self.owner is not None:
            self.owner.resume(Why.PEER_FULL)

    def _lifted(self) -> None:
        self.balance()
        self._look_after_streams()

    def balance(self) -> None:
        """Read no more of what only piles up behind a barrier; hold nothing more once all hold too much."""
        if self.relay.budget.exceeded:
            self._holds.release_early()
        if self.to_owner.congested:
            self.app.pause(Why.HELD)
        else:
            self.app.resume(Why.HELD)
        if self.owner is not None:
            if self.to_app.congested:
                self.owner.pause(Why.HELD)
            else:
                self.owner.resume(Why.HELD)
