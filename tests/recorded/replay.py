"""Shows a recorded connection to a whole link between two transports that keep what is written to them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from leasehold.sidecar.capture.listener import Address, RelaySettings
from leasehold.sidecar.capture.relay import Link
from leasehold.sidecar.capture.sides import OwnerSide
from leasehold.sidecar.observe.matching import Matcher
from leasehold.sidecar.ports import Outcome
from tests.fakes.http2 import http2_rules
from tests.fakes.relay import CountingMetrics, ManualRegistrar, Rules, rules
from tests.integration.clients.relaying import STORE
from tests.properties.test_relay import Keeper, Wire
from tests.recorded.exchanges import Turn

VIEWS = {
    "store": Rules(Matcher.compile(rules(STORE.format(port=80)))),
    "grpc": Rules(Matcher.compile(rules(http2_rules(80)))),
}
OWNER = Address("127.0.0.1", 80)


@dataclass
class Replayed:
    """What came out on both sides, and what was seen."""

    asked: bytes
    told: bytes
    seen: list[tuple[str, str]]
    gave_up: list[str]
    link: Link


async def replay(turns: Iterable[Turn], view: str, *, observed: bool = True) -> Replayed:
    """The registrar makes everything durable at once. Raises ``AssertionError`` when bytes change or change places."""
    registrar, metrics = ManualRegistrar(Outcome.REGISTERED), CountingMetrics()
    link = Link(RelaySettings(registrar, VIEWS[view], metrics), Keeper(), OWNER)
    if not observed:
        link.observer = None
    app, owner = Wire(), Wire()
    link.app.connection_made(app)  # type: ignore[arg-type]
    side = OwnerSide(link, link.to_app)
    side.connection_made(owner)  # type: ignore[arg-type]
    waiting = 0
    for turn in turns:
        (link.app if turn.by_client else side).data_received(turn.data)
        if len(registrar.futures) != waiting:
            waiting = len(registrar.futures)
            await asyncio.sleep(0)
    side.eof_received()
    if link.app.alive:
        link.app.eof_received()
    await asyncio.sleep(0)
    seen = [(str(one.rule.name), str(one.resource.id)) for one in registrar.observations]
    gave_up = [what for what in metrics.counts if what.startswith("gave-up")]
    link.app_lost(None)
    return Replayed(owner.written, app.written, seen, gave_up, link)
