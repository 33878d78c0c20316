"""Pages each owner's own listing at intervals, and has done what ``core.inventory`` concludes from two of them.

A page that fails ends the scan, and nothing follows from it. Only under the fence, and only while preparing is allowed.
Each owner has a task of its own: a slow one costs the others nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import structlog

from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.intents import Over
from leasehold.control_plane.core.inventory import (
    Compared,
    Listed,
    Memory,
    Recorded,
    Tally,
    UnderWay,
    compare,
)
from leasehold.control_plane.finds import Finds, told_calls
from leasehold.control_plane.leadership import TenantsAuthority
from leasehold.control_plane.metrics import Metrics, Sample
from leasehold.control_plane.owners.listing import BadPage, page_of
from leasehold.control_plane.owners.outcome import Fetched
from leasehold.control_plane.owners.questions import Questions
from leasehold.control_plane.telemetry.declared import finding as told
from leasehold.protocol.errors import StoreError
from leasehold.protocol.lookups import Inventory
from leasehold.protocol.names import CallId, Instant, OwnerName, Resource, ResourceId, Revision, TypeName
from leasehold.protocol.orphans import inventory_of
from leasehold.protocol.ports import Clock
from leasehold.protocol.rules import Owner

ROUND_SECONDS = 1.0
MOST_PAGES = 100_000
ITEMS_AT_A_TIME = 2000
log = structlog.get_logger()
Place = tuple[str, str]
"""Owner and type."""


@dataclass
class Shelf:
    """What is known of one owner's type, for the next scan and for people."""

    due: Instant
    memory: Memory = field(default_factory=Memory)
    last: Compared | None = None
    braked: str = ""
    problem: str = ""


class Inventories:
    """All owners' listings. ``revision``: up to which the index is known."""

    def __init__(
        self,
        index: Index,
        clock: Clock,
        authority: TenantsAuthority,
        questions: Questions,
        finds: Finds,
        metrics: Metrics,
        *,
        opens: Callable[[], Instant | None],
        revision: Callable[[], Revision],
    ) -> None:
        self._index, self._clock, self._authority = index, clock, authority
        self._questions, self._finds, self._metrics = questions, finds, metrics
        self._opens, self._revision = opens, revision
        self._fence = Revision(0)
        self._busy: set[str] = set()
        self.shelves: dict[Place, Shelf] = {}

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._clock.sleep_until(self._clock.now() + ROUND_SECONDS)
                if not self._acting():
                    self._fence, self.shelves = Revision(0), {}  # what was seen until now counts no more
                    continue
                offered = list(self._offered())
                places = {(owner.name, kind) for owner, kind, _ in offered}
                self.shelves = {place: shelf for place, shelf in self.shelves.items() if place in places}
                for owner, kind, inventory in offered:
                    shelf = self.shelves.setdefault((owner.name, kind), Shelf(self._now()))
                    if shelf.due <= self._now() and owner.name not in self._busy:
                        self._busy.add(owner.name)
                        tasks.create_task(self._scan(owner, kind, inventory, shelf))

    def _acting(self) -> bool:
        opens, by = self._opens(), self._authority()
        if by is None or opens is None or opens > self._now():
            return False
        if by.fence != self._fence:
            self._fence, self.shelves = by.fence, {}
        return True

    def _offered(self) -> Iterator[tuple[Owner, str, Inventory]]:
        for name in self._index.policy.documents(Owner):
            owner = self._index.policy.owner(name)
            for kind in owner.types if owner is not None else ():
                inventory = inventory_of(owner, kind) if owner is not None else None
                if owner is not None and inventory is not None:
                    yield owner, kind, inventory

    async def _scan(self, owner: Owner, kind: str, inventory: Inventory, shelf: Shelf) -> None:
        result = "failed"
        try:
            found = await self._listed(owner, kind, inventory)
            if self.shelves.get((owner.name, kind)) is shelf:
                result = await self._conclude(owner, kind, inventory, shelf, found)
                shelf.problem = ""
        except (BadPage, StoreError) as error:
            shelf.problem = str(error)
            log.warning("inventory_failed", owner=owner.name, type=kind, error=str(error))
        except Exception:
            # The supervisor of one owner's: a mistake of ours must not end the others.
            shelf.problem = "a mistake of ours, see the log"
            log.exception("inventory_broken", owner=owner.name, type=kind)
        finally:
            self._metrics.scans.labels(owner.name, kind, result).inc()
            shelf.due = Instant(self._now() + inventory.interval)
            self._busy.discard(owner.name)

    # --- listing ------------------------------------------------------------------------------------------------

    async def _listed(self, owner: Owner, kind: str, inventory: Inventory) -> Compared:
        """Raises ``BadPage``."""
        tally = Tally(self._revision())
        calls = told_calls(self._index, owner, kind)
        target: str | None = inventory.path
        asked = set[int]()
        while target is not None:
            if hash(target) in asked or len(asked) >= MOST_PAGES:
                raise BadPage(f"page {target!r} comes again, or there are more than {MOST_PAGES}")
            asked.add(hash(target))
            page = page_of(inventory, owner.endpoint, target, await self._page(owner, target))
            tally.take(_proven(page.items, calls), lambda name: self._recorded_as(owner, kind, name))
            target = page.following
        return compare(tally, await self._recorded(owner, kind), self._revision())

    async def _page(self, owner: Owner, target: str) -> Fetched:
        answer = await self._questions.ask_patiently(owner.name, target)
        if isinstance(answer, Fetched):
            return answer
        raise BadPage(answer.detail)

    def _recorded_as(self, owner: Owner, kind: str, name: ResourceId) -> ResourceId | None:
        entry = self._index.entry(Resource(OwnerName(owner.name), TypeName(kind), name))
        return entry.resource.id if entry is not None and entry.record else None

    async def _recorded(self, owner: Owner, kind: str) -> list[Recorded]:
        found = []
        for number, entry in enumerate(self._index.entries()):
            resource = entry.resource
            if entry.record and resource.owner == owner.name and resource.type == kind:
                found.append(Recorded(resource.id, entry.created, entry.record, bool(entry.sweep)))
            if number % ITEMS_AT_A_TIME == 0:
                await asyncio.sleep(0)
        return found

    # --- conclusions --------------------------------------------------------------------------------------------

    async def _conclude(self, owner: Owner, kind: str, inventory: Inventory, shelf: Shelf, found: Compared) -> str:
        shelf.last = found
        calls = self._under_way(owner, kind)
        judged = shelf.memory.judge(found, calls, inventory.brake, float(inventory.interval), self._now())
        shelf.braked = judged.braked
        if judged.braked:
            log.error("inventory_braked", owner=owner.name, type=kind, reason=judged.braked, alert=True)
            return "braked"
        await self._finds.carry_out(owner, kind, inventory.mode, judged)
        log.info(
            "inventory", owner=owner.name, type=kind, known=found.seen, candidates=len(found.candidates),
            missing=len(found.missing), unmanaged=found.unmanaged, orphans=len(judged.orphans), gone=len(judged.gone),
        )  # fmt: skip
        return "compared"

    def _under_way(self, owner: Owner, kind: str) -> Iterator[UnderWay]:
        """Intents that may yet be registered. A suspect's holder has ended: nobody will. Nor will anybody register what
        cannot be read and has no holder any more; it would keep all that is found for ever."""
        for holder, some in self._index.intents.by_holder():
            found = self._index.holder(holder)
            over = found is None or found.status == "ended" or not (found.beacon or found.roster)
            for intent in some.values():
                record = intent.record
                if record is None and over:
                    continue
                rule = self._index.policy.of_rule(record.rule).rule if record else None
                if record is None or (not record.suspect and (rule is None or rule.owner == owner.name)):
                    named = record.resource[2] if record and record.resource else ""
                    other = record is not None and record.resource is not None and record.resource[1] != kind
                    if not other:
                        yield UnderWay(named, intent.revision)

    # --- what is told -------------------------------------------------------------------------------------------

    def state(self) -> dict[str, object]:
        """By owner and type, of the last whole listing."""
        return {f"{owner}/{kind}": _told(shelf) for (owner, kind), shelf in self.shelves.items()}

    def show(self, metrics: Metrics) -> None:
        """As gauges, by owner and type."""

        def of(read: Callable[[Compared], int]) -> Callable[[], list[Sample]]:
            return lambda: [(place, read(shelf.last)) for place, shelf in self.shelves.items() if shelf.last]

        metrics.view(told.UNMANAGED, of(lambda it: it.unmanaged))
        metrics.view(told.INVENTORY_CANDIDATES, of(lambda it: len(it.candidates)))
        metrics.view(told.INVENTORY_MISSING, of(lambda it: len(it.missing)))
        metrics.view(
            told.INVENTORY_BRAKED, lambda: [(place, bool(shelf.braked)) for place, shelf in self.shelves.items()]
        )

    def _now(self) -> Instant:
        return Instant(self._clock.now())


def _told(shelf: Shelf) -> dict[str, object]:
    last = shelf.last
    counts: dict[str, object] = {
        "known": last.seen, "candidates": len(last.candidates), "missing": len(last.missing),
        "unmanaged": last.unmanaged,
    } if last is not None else {}  # fmt: skip
    return {**counts, "braked": shelf.braked or None, "problem": shelf.problem or None}


def _proven(items: tuple[Listed, ...], calls: dict[CallId, Over]) -> Iterator[Listed]:
    """By key, ours is what a call of an ended holder was told by."""
    for item in items:
        yield item._replace(ours=item.call in calls) if item.call else item
