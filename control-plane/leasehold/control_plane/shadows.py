"""Keeps the shadow report: what rules that may not sweep would have swept, and how often that would have been wrong.

One replica keeps it for the tenant, since each sees everything and nothing is written but the report itself, one small
key for each rule (``shadows/<rule>``). A successor goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import structlog

from leasehold.control_plane.core.epochs import grace_seconds
from leasehold.control_plane.core.facts import Entry
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.lifecycle import Grace, Holding, Step
from leasehold.control_plane.core.shadow import Phase, Shadow, Sight
from leasehold.control_plane.leadership import TenantsAuthority
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.telemetry.declared import shadow as told
from leasehold.control_plane.ticking import written_now
from leasehold.protocol.errors import StoreError
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import Instant, Resource, Revision, RuleName
from leasehold.protocol.ports import Clock, Store
from leasehold.protocol.records import ShadowRecord, Unreadable, decode
from leasehold.protocol.rules import Mode
from leasehold.protocol.transactions import Authority, committed
from leasehold.protocol.transactions_brake import note_shadow

LOOK_SECONDS = 2.0
NOTE_SECONDS = 10.0
"""How soon after another a report is written down."""
log = structlog.get_logger()


class Shadows:
    """The report's keeper. ``opens`` says from when on preparing is allowed; ``None``: it is not."""

    def __init__(
        self, store: Store, keys: Keyspace, index: Index, clock: Clock, authority: TenantsAuthority,
        metrics: Metrics, *, deadline: float, opens: Callable[[], Instant | None],
    ) -> None:  # fmt: skip
        self._store, self._keys, self._index, self._clock = store, keys, index, clock
        self._authority, self._metrics, self._deadline, self._opens = authority, metrics, deadline, opens
        self._shadow: Shadow | None = None
        self._fence = Revision(0)
        self._noted_at = Instant(float("-inf"))

    # --- events -------------------------------------------------------------------------------------------------

    def on_index(self, fresh: Iterable[Resource], *, everything: bool) -> None:
        """These became due for another step; ``everything``: the rules changed, or something may have been missed."""
        shadow = self._shadow
        if shadow is None:
            return
        now = self._now()
        for resource in list(self._all() if everything else fresh):
            # What its rule may sweep is of no interest here, unless it was once: nearly all, in most tenants.
            if shadow.remembers(resource) or self._is_shadowed(resource):
                shadow.see(now, self._sight(resource))

    def on_rewind(self) -> None:
        """What is known is of another past."""
        self._shadow = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._round()
            except StoreError as error:
                self._metrics.failed_rounds.labels("shadow").inc()
                log.warning("shadow_failed", error=str(error))
            await self._clock.sleep_until(self._clock.now() + LOOK_SECONDS)

    def records(self) -> Mapping[str, ShadowRecord]:
        """Rule by rule; empty where another replica keeps the report."""
        return self._shadow.records() if self._shadow is not None else {}

    def show(self, metrics: Metrics) -> None:
        for declared, read in (
            (told.SHADOW_WOULD_DELETE, _would),
            (told.SHADOW_WRONG, lambda r: r.wrong),
            (told.SHADOW_BY_APP, lambda r: r.by_app),
            (told.SHADOW_UNHELD, lambda r: r.unheld),
        ):
            metrics.view(
                declared,
                lambda read=read: [((rule,), read(record)) for rule, record in self.records().items()],  # type: ignore[misc]
            )

    # --- parts --------------------------------------------------------------------------------------------------

    async def _round(self) -> None:
        by = self._authority()
        if by is None:
            return
        if self._shadow is None or self._fence != by.fence:
            await self._take_over(by)
        shadow, now, opens = self._shadow, self._now(), self._opens()
        if shadow is None:
            return
        if opens is None or opens > now:
            shadow.pause(now)
        else:
            shadow.ripen(now, self._graces(shadow.waiting()))
        if now - self._noted_at >= NOTE_SECONDS and shadow.changed:
            await self._note(by, shadow)

    async def _take_over(self, by: Authority) -> None:
        found = await self._store.read(self._keys.family(Family.SHADOWS), deadline=self._deadline)
        shadow = Shadow()
        for item in found.items:
            key = self._keys.parse(item.key)
            try:
                record = decode(ShadowRecord, item.value)
                if key is not None:
                    shadow.inherit(key.parts[0], record, [Resource.parse(one) for one in record.still])
            except (Unreadable, ValueError) as error:
                log.warning("shadow_unreadable", rule=key.parts[0] if key else "", error=str(error))
        self._shadow, self._fence = shadow, by.fence
        self.on_index((), everything=True)

    async def _note(self, by: Authority, shadow: Shadow) -> None:
        changed, shadow.changed = shadow.changed, set()
        records, self._noted_at, since = shadow.records(), self._now(), written_now()
        for rule in changed:
            record = records[rule]
            noted = ShadowRecord(
                record.mode, record.wrong, record.by_app, record.unheld, record.examples, record.still, since
            )
            txn = note_shadow(self._keys, by, RuleName(rule), noted)
            if not committed(await self._store.commit(txn, deadline=self._deadline)):
                return  # somebody else keeps it now

    def _all(self) -> set[Resource]:
        nominated = self._index.nominated
        known = self._shadow.known() if self._shadow is not None else set()
        return {*nominated[Step.CONDEMN], *nominated[Step.PREPARE], *known}

    def _graces(self, resources: Iterable[Resource]) -> Iterable[tuple[Resource, float]]:
        for resource in resources:
            entry = self._index.entry(resource)
            # Where the rule condemns, the real epochs tell.
            if entry is not None and self._mode(entry) is Mode.OBSERVE:
                yield resource, grace_seconds(entry.grace_class) or float("inf")

    def _sight(self, resource: Resource) -> Sight:
        entry = self._index.entry(resource)
        if entry is None or not entry.record:
            return Sight(resource, "", "", Phase.GONE)
        mode = self._mode(entry)
        phase = self._phase(entry) if mode in {Mode.OBSERVE, Mode.CONDEMN} else Phase.OTHER
        who = self._who(entry) if phase is Phase.NEEDED else ""
        return Sight(resource, entry.rule, mode.value if mode else "", phase, who)

    def _is_shadowed(self, resource: Resource) -> bool:
        entry = self._index.entry(resource)
        return entry is not None and self._mode(entry) in {Mode.OBSERVE, Mode.CONDEMN}

    def _mode(self, entry: Entry) -> Mode | None:
        return self._index.policy.of(entry.resource, entry.rule).mode

    def _phase(self, entry: Entry) -> Phase:
        holding = entry.facts.holding
        if holding in {Holding.HELD, Holding.PINNED}:
            return Phase.NEEDED
        if holding is Holding.UNACCOUNTED:
            return Phase.OTHER
        over = entry.facts.grace is Grace.OVER and holding is Holding.UNHELD
        return Phase.OVER if over else Phase.UNHELD

    def _who(self, entry: Entry) -> str:
        if entry.facts.holding is Holding.PINNED:
            return "an operator's pin"
        for hold in entry.holds:
            found = self._index.holder(hold.holder)
            if hold.released is False and found is not None and found.beacon:
                return hold.holder
        return next((f"reference of {source.resource}" for source in entry.sources), "")

    def _now(self) -> Instant:
        return Instant(self._clock.now())


def _would(record: ShadowRecord) -> int:
    return record.wrong + record.by_app + record.unheld
