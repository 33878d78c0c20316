"""Rounds: are the holds we believe in still there? It is what "already held" rests on.

A use of what is held asks etcd for nothing. But a hold can go while its holder lives: another process deletes the
resource, and somebody makes it again under the same id; another instance lets go in the name of the service they
share; an operator's hand; a restore from a backup. Whoever goes on using it would believe in a hold that is not there.

And a use may come before the creation is recorded, because the creator's sidecar has trouble or does not hold back its
response: then there was nothing to hold yet.

So every hold is looked at, round after round. One that is not there, or is released, is acquired anew; where the
resource is not recorded any more, that drops it. A use that found nothing recorded is looked at for a while, too, and
holds as soon as there is something. A round takes a third of the shortest grace of the rules at most:
whatever could be swept for want of the hold has to be without it for one whole grace first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol, TypeVar

import structlog

from leasehold.protocol.errors import StoreError
from leasehold.protocol.records import HoldRecord, Unreadable, decode
from leasehold.protocol.rules import On, RuleSet
from leasehold.protocol.store import Get, GetResult, Txn
from leasehold.protocol.transactions import MAX_BATCH
from leasehold.sidecar.holds.cache import Cache
from leasehold.sidecar.holds.entries import Acquire, Holding
from leasehold.sidecar.holds.etcd import Etcd
from leasehold.sidecar.holds.holders import Holders

log = structlog.get_logger()

MOST_SECONDS = 30.0
LEAST_SECONDS = 0.5

_H = TypeVar("_H", bound=Holding)


class Acquirer(Protocol):
    """Whoever can make a hold anew (the registrar)."""

    def take_back(self, held: Holding) -> bool:
        """Acquire again what this holder held. ``False``: it is not held, or something is on its way already."""
        ...

    def hold_after_all(self, use: Acquire) -> bool:
        """Acquire what was not recorded when it was used. ``False``: it is held, or something is on its way."""
        ...


class Rounds:
    """Looks at what is held. ``run`` until cancelled."""

    def __init__(self, etcd: Etcd, cache: Cache, holders: Holders, registrar: Acquirer) -> None:
        self._etcd = etcd
        self._cache = cache
        self._holders = holders
        self._registrar = registrar
        self._sooner = asyncio.Event()
        self.seconds = MOST_SECONDS
        """How long a round takes."""

    def apply_rules(self, rules: RuleSet) -> None:
        """Look as often as the shortest grace asks for."""
        shortest = min((float(rule.grace) for rule in rules.rules if rule.on is On.CREATE), default=3 * MOST_SECONDS)
        self.seconds = min(max(shortest / 3, LEAST_SECONDS), MOST_SECONDS)
        self._sooner.set()

    async def run(self) -> None:
        """Round after round, each spread over its time, so that etcd and the event loop hardly notice."""
        while True:
            began = self._etcd.clock.now()
            await self._go_round(spread=True)
            await self._rest(began + self.seconds)

    async def look_at_all(self) -> None:
        """One round, at once."""
        await self._go_round(spread=False)

    # --- parts --------------------------------------------------------------------------------------------------

    async def _go_round(self, *, spread: bool) -> None:
        uses = self._cache.strangers(self._etcd.clock.now())
        holdings = list(self._cache.state.holdings())
        pages: list[tuple[Any, Callable[[Any], Awaitable[None]]]] = []
        pages += [(page, self._look_for_records) for page in _pages(uses)]
        pages += [(page, self._look_for_holds) for page in _pages(holdings)]
        pause = self.seconds / len(pages) if spread and len(pages) > 1 else 0.0
        for page, look in pages:
            # Of a holder that is away or has ended nothing is taken back: it attaches, or its end is told, first.
            ours = [one for one in page if self._speaks_for(one)]
            try:
                if ours:
                    await look(ours)
            except StoreError as error:
                # The next round looks again; that etcd is in trouble is the committer's and the keepers' to tell.
                log.info("round_interrupted", error=str(error))
                return
            await self._etcd.clock.sleep_until(self._etcd.clock.now() + pause)

    async def _look_for_holds(self, holdings: Sequence[Holding]) -> None:
        keys = self._etcd.keys
        found = await self._read([keys.hold(held.resource, held.holder) for held in holdings])
        for held, value in zip(holdings, found, strict=True):
            if not _holds(value) and self._registrar.take_back(held):
                # Nothing strange when others delete what we hold; then it turns out not to be recorded any more.
                log.info("hold_vanished", resource=str(held.resource), holder=held.holder)

    async def _look_for_records(self, uses: Sequence[Acquire]) -> None:
        found = await self._read([self._etcd.keys.record(use.resource) for use in uses])
        for use, value in zip(uses, found, strict=True):
            if value is not None:
                self._registrar.hold_after_all(use)

    async def _read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What is there, in one transaction."""
        result = await self._etcd.store.commit(Txn((), [Get(key) for key in keys]), deadline=self._etcd.deadline)
        found = (one.items if isinstance(one, GetResult) else () for one in result.results)
        return [items[0].value if items else None for items in found]

    def _speaks_for(self, held: Holding) -> bool:
        return self._holders.boot_of(held.holder) is not None and self._holders.may_try(held.holder)

    async def _rest(self, until: float) -> None:
        sleep = asyncio.ensure_future(self._etcd.clock.sleep_until(until))
        sooner = asyncio.ensure_future(self._sooner.wait())
        try:
            await asyncio.wait({sleep, sooner}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            sooner.cancel()
            self._sooner.clear()


def _pages(holdings: Sequence[_H]) -> Iterator[list[_H]]:
    rest = iter(holdings)
    while page := list(islice(rest, MAX_BATCH)):
        yield page


def _holds(value: bytes | None) -> bool:
    try:
        return value is not None and not decode(HoldRecord, value).released
    except Unreadable:
        return False
