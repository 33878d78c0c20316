"""The irreversible part, one state machine per resource, each step written to etcd before it is taken.

    prepared --send(1)--> sent --owner: gone--> (finished: record, holds, refs, tombstone, sweep deleted; grave put)
    prepared --a holder's beacon is back, or the owner says that it is in use--> aborted (sweep and tombstone deleted)
    prepared, in a cycle: waits until the members before it are gone; aborted together with all that were not sent
    sent(1) --refused--> aborted; condemned again only after a while, and quarantined after a budget of refusals
    sent(n) --refused--> sent(n+1) or quarantined: an earlier delete may still be on its way, so nobody may hold it
    sent --unknown, pending, wait--> sent(n+1) after a while; after a budget of attempts quarantined
    sent --misconfigured, unverifiable--> quarantined     quarantined --slow retry, for ever--> sent(n+1)

Attempt n is written before its bytes leave (S9), so a successor knows what may already have happened, and repeats it
under its own fence. Calls are made only while we believe to hold the resource's shard, and are cut off when that belief
ends, or when the shard was being left for too long: what a cut-off call did is unknown, and the owner's precondition
covers it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import structlog

from leasehold.control_plane.attempt import Sweep, recorded
from leasehold.control_plane.calling import NEEDED_SECONDS, Calls
from leasehold.control_plane.concluding import Conclusions
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.lifecycle import Step, Sweeping
from leasehold.control_plane.crew import Again, At, Done, Outcome
from leasehold.control_plane.handover import Handover
from leasehold.control_plane.leadership import Leadership
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.owners.outcome import Verdict
from leasehold.control_plane.owners.register import Owners
from leasehold.control_plane.owners.verifier import Verifier
from leasehold.control_plane.returning import Returns
from leasehold.control_plane.ticking import written_now
from leasehold.control_plane.writing import Refused, put_guarded
from leasehold.protocol import transactions
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Instant, Resource, Revision
from leasehold.protocol.ports import Clock, Store
from leasehold.protocol.records import (
    ResourceRecord,
    SweepRecord,
    SweepState,
    Unreadable,
    decode,
)
from leasehold.protocol.store import Get, KeyValue, Txn
from leasehold.protocol.transactions import Authority

CLOSED_SECONDS = 30.0
"""How often a first send that must wait looks again by itself. What ends the wait (arming, the end of a gap) offers
everything anew, so this only bounds a mistake."""
TURN_SECONDS, LATER_TURN_SECONDS = 0.5, 60.0
"""How often a member of a cycle looks whether those before it are gone; and when one of them is in quarantine."""
log = structlog.get_logger()


class Sweeper:
    """Everything that happens to prepared resources."""

    def __init__(
        self,
        store: Store,
        keys: Keyspace,
        index: Index,
        clock: Clock,
        leadership: Leadership,
        owners: Owners,
        metrics: Metrics,
        verifier: Verifier,
        handover: Handover,
        calls: Calls,
        conclusions: Conclusions,
        *,
        deadline: float,
        opens: Callable[[Resource], Instant | None],
    ) -> None:
        self._store, self._keys, self._index, self._clock = store, keys, index, clock
        self._leadership, self._owners, self._metrics = leadership, owners, metrics
        self._verifier, self._handover, self._opens = verifier, handover, opens
        self._returns = Returns(store, keys, index, deadline=deadline)
        self._deadline, self._calls, self._conclusions = deadline, calls, conclusions

    def on_leadership(self) -> None:
        """Belief grew or ended, or shards are being left."""
        self._calls.on_leadership()

    def patience(self, resource: Resource) -> float:
        """How long a resource that its owner refused to delete is left alone before it is condemned again."""
        return self._conclusions.patience(resource)

    def forget_gone(self) -> None:
        """Nothing is remembered of resources that do not exist any more."""
        self._conclusions.forget_gone()

    async def sweep(self, resource: Resource) -> Outcome:
        """Take the next step for a resource that has a sweep."""
        if self._index.step_of(resource) is not Step.SWEEP:
            return Done()
        entry, retries = self._index.entry(resource), self._owners.retries(resource.owner)
        handed = self._handover.take(resource, entry.sweep if entry is not None else Revision(0))
        if handed is not None:
            sweep = Sweep(resource, handed.revision, handed.sweep, resource.owner, retries, handed.record.trace)
            return await self._next(sweep, handed.record)
        item, record_item = await self._look(resource)
        if item is None:
            return Done()
        try:
            record = decode(SweepRecord, item.value)
        except Unreadable as error:
            log.error("sweep_unreadable", resource=str(resource), error=str(error))
            return Done()  # listed by the index; blocked until somebody mends it
        known = recorded(record_item)
        sweep = Sweep(
            resource, item.mod_revision, record, resource.owner, retries, known.trace if known is not None else ""
        )
        return await self._next(sweep, known)

    async def _look(self, resource: Resource) -> tuple[KeyValue | None, KeyValue | None]:
        """Its sweep and its record, as of one revision. Raises ``StoreError``."""
        reading = Txn((), (Get(self._keys.sweep(resource)), Get(self._keys.record(resource))))
        result = await self._store.commit(reading, deadline=self._deadline)
        sweep, record = (found.items[0] if found.items else None for found in result.results)  # type: ignore[union-attr]
        return sweep, record

    # --- before the call ----------------------------------------------------------------------------------------

    async def _next(self, sweep: Sweep, record: ResourceRecord | None) -> Outcome:
        by = self._leadership.authority(sweep.resource, self._index.armed)
        if by is None:
            return Again()  # belief lapsed: perhaps for a moment; what is not ours is dropped when it is due
        turn = self._turn(sweep) if sweep.record.attempt == 0 else None
        if turn is not None:
            return At(turn)
        standing = self._index.policy.of(sweep.resource, record.rule) if record else None
        first = sweep.record.attempt == 0
        if record is None or standing is None or not standing.may_sweep:
            why = standing.why if standing and standing.why else "the rule does not permit sweeping any more"
            if first:
                return await self._conclusions.abort(sweep, by, "not-permitted", why)
            return await self._conclusions.hold_back(sweep, by, "not-permitted", why)
        if self._leadership.cut_off(sweep.resource) - self._now() < NEEDED_SECONDS:
            return At(Instant(self._now() + NEEDED_SECONDS))
        return await self._send(sweep, by, record)

    def _turn(self, sweep: Sweep) -> Instant | None:
        """When to look again, if members of its cycle are to be swept before. The transaction sees to it anyway."""
        entries = map(self._index.entry, transactions.before(sweep.record, sweep.resource))
        states = {entry.sweep_state for entry in entries if entry is not None and entry.sweep}
        if not states:
            return None
        stuck = states & {Sweeping.QUARANTINED, Sweeping.UNREADABLE}
        return Instant(self._now() + (LATER_TURN_SECONDS if stuck else TURN_SECONDS))

    async def _send(self, sweep: Sweep, by: Authority, record: ResourceRecord) -> Outcome:
        attempt = msgspec.structs.replace(
            sweep.record, state=SweepState.SENT, attempt=sweep.record.attempt + 1, fence=by.fence, since=written_now()
        )
        looked = Revision(0)
        if attempt.attempt == 1:
            not_now, looked = await self._before_the_first(sweep, by)
            if not_now is not None:
                return not_now
        txn = transactions.send(self._keys, by, sweep.resource, sweep.revision, attempt, looked)
        written = await put_guarded(self._store, txn, deadline=self._deadline)
        if isinstance(written, Refused):
            self._metrics.refused.labels("send").inc()
            return Again()  # read anew: a beacon that is back aborts, a lost fence ends it
        sent, began = replace(sweep, revision=written.revision, record=attempt), self._now()
        log.info("sweep_sent", **sent.evidence)
        answer = await self._calls.sweep(sent)
        return await self._conclusions.conclude(sent, record, answer, began)

    async def _before_the_first(self, sweep: Sweep, by: Authority) -> tuple[Outcome | None, Revision]:
        """What keeps the first attempt from being sent, if something does; and when we looked, if we had to."""
        not_now, looked = await self._still_unheld(sweep, by)
        if not_now is not None:
            return not_now, looked
        answer = await self._verifier.ask(sweep.resource)
        if answer is None:
            return None, looked
        if answer.verdict is Verdict.IN_USE:
            self._metrics.vetoed.labels(sweep.owner, "send").inc()
            return await self._conclusions.abort(sweep, by, "in-use", answer.detail), looked
        if answer.verdict is not Verdict.NOT_IN_USE:
            # Rather than stay prepared for nobody knows how long: then nobody could hold it. Before the next prepare
            # the owner is asked again, and while it cannot tell, everything stays as it is.
            return await self._conclusions.abort(sweep, by, "unverified", answer.detail), looked
        return await self._still_unheld(sweep, by)  # asking took time

    async def _still_unheld(self, sweep: Sweep, by: Authority) -> tuple[Outcome | None, Revision]:
        returned, looked = await self._returns.look(sweep.record)
        if returned:
            return await self._conclusions.abort(sweep, by, "held", returned), looked
        # Whoever is to be found alive needs the time to come back after a gap, as before a prepare.
        opens = self._opens(sweep.resource)
        if opens is None or opens > self._now():
            return At(Instant(min(opens or float("inf"), self._now() + CLOSED_SECONDS))), looked
        return None, looked

    def _now(self) -> Instant:
        return Instant(self._clock.now())
