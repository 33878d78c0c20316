"""What must hold for a link, whatever two peers say to each other; checked after every segment.

- Nothing is raised; an observer that crashes (and would only cost the observation) is a failure here.
- The bytes that come out are the bytes that went in, in order; on HTTP/2, the frames of each stream. Nothing is
  refused here: the registrar takes everything.
- What is kept back is bounded, and goes on once so much more has come that it cannot be a part of a head or a frame any
  more. In the end all of it goes on.
- What is kept in memory does not grow with what went by.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from leasehold.sidecar.capture.gate import MAX_HELD
from leasehold.sidecar.capture.listener import RelaySettings
from leasehold.sidecar.capture.relay import Link
from leasehold.sidecar.capture.sides import OwnerSide
from leasehold.sidecar.observe.frames import MAX_WHOLE, PREFACE
from leasehold.sidecar.observe.http2 import Http2Observer
from leasehold.sidecar.observe.matching import Matcher
from leasehold.sidecar.observe.observer import Observer
from leasehold.sidecar.ports import Outcome
from tests.fakes.relay import CountingMetrics, ManualRegistrar, Rules, rules
from tests.properties.test_relay import Keeper, Wire
from tests.recorded.exchanges import Turn
from tests.recorded.replay import OWNER, VIEWS

BLOBS: Final = Rules(Matcher.compile(rules()))
SEGMENT: Final = 64 * 1024
MAX_KEPT: Final = MAX_WHOLE + SEGMENT
"""Bytes of a head or frame that is not whole: with the segment that will show that it is too large."""
MAX_IN_GATE: Final = MAX_HELD + 2 * MAX_KEPT
FLOOD: Final = 4
"""Segments of nonsense at the end, after which nothing can still be the part of anything."""


_HEAD, _TAIL = -1, -2


class Broken(AssertionError):
    """A law is."""


@dataclass
class Outcomes:
    """What a case came to, for whoever counts."""

    gave_up: tuple[str, ...]
    seen: int


class _Run:
    """One case."""

    def __init__(self, view: Rules) -> None:
        self.registrar, self.metrics = ManualRegistrar(Outcome.REGISTERED), CountingMetrics()
        self.link = Link(RelaySettings(self.registrar, view, self.metrics), Keeper(), OWNER)
        self.app, self.owner = Wire(), Wire()
        self.link.app.connection_made(self.app)  # type: ignore[arg-type]
        self.side = OwnerSide(self.link, self.link.to_app)
        self.side.connection_made(self.owner)  # type: ignore[arg-type]
        self.said = {True: b"", False: b""}
        self.http2 = False

    async def say(self, turn: Turn) -> None:
        self.said[turn.by_client] += turn.data
        waiting = len(self.registrar.futures)
        (self.link.app if turn.by_client else self.side).data_received(turn.data)
        if len(self.registrar.futures) != waiting:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        self.check()

    def check(self) -> None:
        for by_client, wire in ((True, self.owner), (False, self.app)):
            if not self._same(self.said[by_client], wire.written):
                raise Broken(f"{'the client' if by_client else 'the server'} said something else")
            kept = len(self.said[by_client]) - len(wire.written)
            if kept > MAX_IN_GATE:
                raise Broken(f"{kept} bytes are kept back")
        observer = self.link.observer
        if observer is not None:
            if max(len(observer.withheld_request), len(observer.withheld_response)) > MAX_KEPT:
                raise Broken("the observer withholds too much")
            if isinstance(observer, Observer):
                partial = max(len(observer._requests.partial), len(observer._responses.partial))
                if partial > MAX_KEPT:
                    raise Broken(f"{partial} bytes of a head")
        if self.metrics.counts["gave-up crashed"]:
            raise Broken("the observer has crashed")

    def _same(self, said: bytes, out: bytes) -> bool:
        """So far. Frames that overtake one another are looked at in the end."""
        self.http2 = self.http2 or isinstance(self.link.observer, Http2Observer)
        return said.startswith(out) or (self.http2 and len(out) <= len(said))

    async def flood(self) -> None:
        """Enough of anything in both directions, and nothing of what was said before is still withheld."""
        before = dict(self.said)
        for _ in range(FLOOD):
            for by_client in (True, False):
                await self.say(Turn(by_client, b"\xff" * SEGMENT))
        observer = self.link.observer
        if observer is None:
            return
        for by_client, kept in ((True, observer.withheld_request), (False, observer.withheld_response)):
            if len(self.said[by_client]) - len(kept) < len(before[by_client]):
                raise Broken(f"of the {'request' if by_client else 'response'} something is withheld for ever")

    async def end(self) -> None:
        if self.link.app.alive:
            self.link.app.eof_received()
        self.side.eof_received()
        for _ in range(4):
            await asyncio.sleep(0)
        self.check()
        for by_client, wire in ((True, self.owner), (False, self.app)):
            whole(self.said[by_client], wire.written, "client" if by_client else "server")
        self.link.app_lost(None)
        if self.link.relay.budget.held:
            raise Broken("something held was not given back")


def whole(said: bytes, out: bytes, who: str) -> None:
    """All that was said came out. Where it ends in the middle of a frame, what that one overtook cannot follow."""
    if said == out:
        return
    frames, wanted = by_stream(out, who), by_stream(said, who)
    cut_short = wanted[_TAIL] != [b""]
    if len(out) != len(said) and not cut_short:
        raise Broken(f"{len(said) - len(out)} bytes of the {who} never came out")
    for stream, known in wanted.items():
        got = frames.get(stream, [])
        if got != known and not (cut_short and got == known[: len(got)]):
            raise Broken(f"the frames of stream {stream} of the {who} changed")


def by_stream(data: bytes, who: str) -> dict[int, list[bytes]]:
    """The frames of each stream in their order; and what is before the first and behind the last."""
    end = PREFACE if who == "client" else b"\r\n\r\n" if data.startswith(b"HTTP/1.") else None
    before, preface, rest = data.partition(end) if end else (b"", b"", b"")
    frames: dict[int, list[bytes]] = {_HEAD: [before, preface] if preface else []}
    data = rest if preface else data
    while len(data) >= 9 and len(data) >= (size := 9 + int.from_bytes(data[:3], "big")):
        frames.setdefault(int.from_bytes(data[5:9], "big") & 0x7FFFFFFF, []).append(data[:size])
        data = data[size:]
    frames[_TAIL] = [data]
    return frames


async def hold(rules_: str, turns: list[Turn], *, flooded: bool) -> Outcomes:
    """Raises ``Broken`` when a law does not hold, and whatever the code under test raises."""
    run = _Run(BLOBS if rules_ == "blobs" else VIEWS[rules_])
    for turn in turns:
        await run.say(turn)
    if flooded:
        await run.flood()
    await run.end()
    gave_up = tuple(what for what in run.metrics.counts if what.startswith(("gave-up", "uninspected")))
    return Outcomes(gave_up, len(run.registrar.observations))
