"""Refuses single streams of an HTTP/2 connection, so that their requests never reach the owner.

The client gets its answer on the stream, from us. Mostly the connection then goes on as if nothing had been; but where
the dropped header block changed the dynamic table, the owner could not decode what comes behind it. Then no further
stream is served: newcomers are told that nothing was done, and when nothing is under way any more, to go elsewhere.
Why so: docs/decisions/0008.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from leasehold.protocol.rules import Rule
from leasehold.sidecar.capture.gate import Gate
from leasehold.sidecar.capture.refusal import going_away, stream_not_durable, stream_not_served, window_update
from leasehold.sidecar.observe.exchanges import Exchange, Mark
from leasehold.sidecar.observe.http2 import Http2Observer

CALM: Final = 0.1
"""Seconds between the last answer of a connection that serves no more and its farewell."""


class StreamRefusals:
    """Those of one connection. ``mark`` takes what becomes of calls that are dropped with the refused one."""

    __slots__ = ("_leaving", "_mark", "_observer", "_serves_no_more", "_to_app", "_to_owner")

    def __init__(self, observer: Http2Observer, to_owner: Gate, to_app: Gate, mark: Callable[[Mark], None]) -> None:
        self._observer = observer
        self._to_owner = to_owner
        self._to_app = to_app
        self._mark = mark
        self._serves_no_more = False
        self._leaving: asyncio.TimerHandle | None = None

    def refuse(self, exchange: Exchange, rule: Rule) -> bool:
        """Whether it could be done; if not, only the end of the connection keeps the request from the owner."""
        observer, refused = self._observer, self._to_owner.refused
        if not observer.greeted:
            return False  # nothing may be said before the owner's settings
        if refused.covers(exchange.stream):
            return True  # dropped already, together with one before it
        self._to_owner.refuse(exchange.stream, asked=exchange.asked)
        answer = stream_not_durable(rule, exchange.stream, asked=exchange.asked)
        self._to_app.interject(answer, observer.response_left)
        observer.refused(exchange.stream)
        self.look()
        return True

    def look(self) -> None:
        """Say what is to be said by now. Call it whenever something has gone by."""
        refused, observer = self._to_owner.refused, self._observer
        if refused.since and not self._serves_no_more:
            self._serves_no_more = True
            for mark in observer.refuse_since(refused.since):
                self._mark(mark)
        said = []
        if refused.credit:
            said.append(window_update(refused.credit))
            refused.credit = 0
        if refused.since and observer.all_answered and self._to_app.drained:
            # Not at once: many clients take a GOAWAY for the end of what they have received and not yet read, too.
            self._leaving = self._leaving or asyncio.get_running_loop().call_later(CALM, self._leave)
        else:
            said += [stream_not_served(stream) for stream in observer.unserved]
            observer.unserved.clear()
        if said:
            self._to_app.interject(b"".join(said), observer.response_left)

    def _leave(self) -> None:
        self._to_app.interject(going_away(self._to_owner.refused.since), self._observer.response_left)

    def close(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
