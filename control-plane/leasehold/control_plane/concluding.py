"""What follows from an owner's answer: finished, aborted, noted for later, quarantined; ``sweeper`` shows the whole.

Everything is written under our own fence, and only if the sweep is still as it was sent.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec
import structlog

from leasehold.control_plane.attempt import Sweep
from leasehold.control_plane.core.backlog import backoff_ceiling
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.crew import Again, At, Done, Outcome
from leasehold.control_plane.graves import Graves
from leasehold.control_plane.leadership import Leadership
from leasehold.control_plane.lives import Lives
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.owners.outcome import Answer, Verdict
from leasehold.control_plane.owners.register import Owners
from leasehold.control_plane.ticking import written_now
from leasehold.control_plane.writing import Refused, delete_guarded, put_guarded
from leasehold.protocol import transactions
from leasehold.protocol.errors import LeaseNotFound
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Holder, Instant, Resource, Revision
from leasehold.protocol.ports import Clock, Store
from leasehold.protocol.records import GraveRecord, ResourceRecord, SweepRecord, SweepState, Unreadable, decode
from leasehold.protocol.transactions import Authority

log = structlog.get_logger()


class Conclusions:
    """Of all sweeps. Remembers how often an owner refused."""

    def __init__(
        self,
        store: Store,
        keys: Keyspace,
        index: Index,
        clock: Clock,
        leadership: Leadership,
        owners: Owners,
        graves: Graves,
        metrics: Metrics,
        lives: Lives,
        *,
        deadline: float,
        jitter: Callable[[], float],
    ) -> None:
        self._store, self._keys, self._index, self._clock = store, keys, index, clock
        self._leadership, self._owners, self._graves, self._metrics = leadership, owners, graves, metrics
        self._deadline, self._jitter, self._lives = deadline, jitter, lives
        self._refusals: dict[Resource, int] = {}

    def patience(self, resource: Resource) -> float:
        """How long a resource that its owner refused to delete is left alone before it is condemned again."""
        refusals = self._refusals.get(resource, 0)
        retries = self._owners.retries(resource.owner)
        return backoff_ceiling(refusals, retries.first, retries.longest) * self._jitter() if refusals else 0.0

    def forget_gone(self) -> None:
        """Refusals are remembered only of resources that still exist."""
        self._refusals = {
            resource: count for resource, count in self._refusals.items() if self._index.entry(resource) is not None
        }

    async def conclude(self, sweep: Sweep, record: ResourceRecord, answer: Answer, began: Instant) -> Outcome:
        """``began``: when the attempt did, that was answered so."""
        by = self._leadership.authority(sweep.resource, self._index.armed)
        if by is None:
            # Whoever acts for the shard next repeats attempt n; the owner's precondition makes that harmless. Perhaps
            # it is us, and belief only lapsed for a moment.
            return Again()
        verdict, detail = answer.verdict, answer.detail
        if verdict is Verdict.ABSENT and self._owners.is_suspect(sweep.owner):
            log.error("owner_suspect", owner=sweep.owner, resource=str(sweep.resource))
            return await self._later(sweep, by, answer)
        if verdict in {Verdict.GONE, Verdict.ABSENT, Verdict.REPLACED}:
            return await self._finish(sweep, by, record, answer, began)
        if verdict is Verdict.REFUSED:
            return await self._refused(sweep, by, answer)
        if verdict in {Verdict.MISCONFIGURED, Verdict.UNVERIFIABLE}:
            if verdict is Verdict.MISCONFIGURED:
                self._metrics.misconfigured.labels(sweep.owner).inc()
                log.error("owner_misconfigured", owner=sweep.owner, detail=detail, alert=True)
            return await self.hold_back(sweep, by, verdict, detail)
        if sweep.spent:
            return await self.hold_back(sweep, by, "budget", detail)
        return await self._later(sweep, by, answer)

    async def _finish(
        self, sweep: Sweep, by: Authority, record: ResourceRecord, answer: Answer, began: Instant
    ) -> Outcome:
        outcome = "gone" if answer.verdict is Verdict.ABSENT else answer.verdict.value
        grave = GraveRecord(sweep.record.incarnation, f"{outcome}: {answer.detail}", written_now())
        lease = await self._graves.lease()
        txn = transactions.finish(self._keys, by, sweep.resource, sweep.revision, record, grave, lease)
        try:
            if not await delete_guarded(self._store, txn, self._keys.sweep(sweep.resource), deadline=self._deadline):
                self._metrics.refused.labels("finish").inc()
                return Again()
        except LeaseNotFound:
            self._graves.lease_lost()
            return Again()
        self._refusals.pop(sweep.resource, None)
        self._count_late_returns(sweep)
        self._metrics.swept.labels(sweep.owner, outcome).inc()
        self._lives.swept(sweep, answer.verdict, self._now() - began)
        log.info("swept", **sweep.about, outcome=outcome, detail=answer.detail, fence=by.fence)
        return Done()

    def _count_late_returns(self, sweep: Sweep) -> None:
        known = ((name, self._index.holder(Holder(name))) for name in sweep.record.holders)
        late = [name for name, holder in known if holder is not None and holder.beacon]
        if late:
            self._metrics.late_returns.inc(len(late))
            log.warning("late_return", **sweep.about, holders=late)

    async def _refused(self, sweep: Sweep, by: Authority, answer: Answer) -> Outcome:
        refusals = self._refusals[sweep.resource] = self._refusals.get(sweep.resource, 0) + 1
        if refusals >= sweep.retries.refusals:
            return await self.hold_back(sweep, by, Verdict.REFUSED, answer.detail)
        if sweep.record.attempt > 1:
            # Perhaps refused *because* an earlier delete is being carried out. Aborting would let somebody hold it.
            return await self._later(sweep, by, answer)
        return await self.abort(sweep, by, Verdict.REFUSED, answer.detail)

    async def abort(self, sweep: Sweep, by: Authority, reason: str, detail: str) -> Outcome:
        unsent = await self._unsent(sweep)
        txn = transactions.abort(self._keys, by, sweep.resource, sweep.revision, unsent)
        if not await delete_guarded(self._store, txn, self._keys.sweep(sweep.resource), deadline=self._deadline):
            self._metrics.refused.labels("abort").inc()
            return Again()
        self._metrics.aborted.labels(sweep.owner, reason).inc()
        log.info("sweep_aborted", **sweep.about, reason=reason, detail=detail, fence=by.fence)
        return Done()

    async def _unsent(self, sweep: Sweep) -> dict[Resource, Revision]:
        """The other members of its cycle of which nothing has been sent: what stays may need them."""
        found = {}
        for member in transactions.resources(sweep.record.cycle):
            item = None if member == sweep.resource else await self._store.get(
                self._keys.sweep(member), deadline=self._deadline
            )  # fmt: skip
            if item is None:
                continue
            with suppress(Unreadable):  # nobody sends what nobody can read
                other = decode(SweepRecord, item.value)
                if other.attempt == 0 and other.cycle == sweep.record.cycle:
                    found[member] = item.mod_revision
        return found

    async def _later(self, sweep: Sweep, by: Authority, answer: Answer) -> Outcome:
        noted = await self._note(sweep, by, SweepState.SENT, answer.verdict, answer.detail)
        log.info("sweep_waits", **sweep.about, verdict=answer.verdict, detail=answer.detail)
        if not noted:
            return Again()
        wait = sweep.retry * self._jitter() if answer.retry_after is None else answer.retry_after
        return At(Instant(self._now() + wait))

    async def hold_back(self, sweep: Sweep, by: Authority, reason: str, detail: str) -> Outcome:
        """Quarantine: visible, and tried again slowly for ever."""
        known = sweep.record.outcome == f"{reason}: {detail}"  # a slow retry that ended like the last one
        noted = known and sweep.record.state is SweepState.QUARANTINED
        if not noted and not await self._note(sweep, by, SweepState.QUARANTINED, reason, detail):
            return Again()
        if not known:
            self._metrics.quarantined.labels(sweep.owner, reason).inc()
            log.warning("quarantined", **sweep.about, reason=reason, detail=detail, fence=by.fence)
        return At(Instant(self._now() + sweep.retries.slow * (0.5 + self._jitter() / 2)))

    async def _note(self, sweep: Sweep, by: Authority, state: SweepState, reason: str, detail: str) -> bool:
        noted = msgspec.structs.replace(sweep.record, state=state, outcome=f"{reason}: {detail}", since=written_now())
        txn = transactions.note(self._keys, by, sweep.resource, sweep.revision, noted)
        written = await put_guarded(self._store, txn, deadline=self._deadline)
        if isinstance(written, Refused):
            self._metrics.refused.labels("note").inc()
        return not isinstance(written, Refused)

    def _now(self) -> Instant:
        return Instant(self._clock.now())
