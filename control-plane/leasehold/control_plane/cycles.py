"""Finds dead reference cycles now and then, condemns them, and prepares them: each as a whole, by one transaction.

What is referred to by something that exists is kept, and its turn comes when that is gone: for everything but cycles
this is all there is to references. Members of a cycle would wait for each other for ever. So at intervals the index's
picture of what is merely referenced is searched (in a thread: it may be large) for cycles that nothing else leads to;
each is looked at in etcd at one revision, and judged with all its members (``core.cycles``).

Whoever acts for the shard of the first member, as its tombstone names them, acts for all of it until it is prepared;
each member is then swept in its own shard.

The search only nominates. Everything that is not certain, or does not fit into one transaction, is kept and counted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from leasehold.control_plane.core.cycles import TOO_LARGE, ripe_together, unheld_together
from leasehold.control_plane.core.graph import Cycle, unreached_cycles
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.policy import Standing
from leasehold.control_plane.core.verdict import Condemnable, Keep, Ripe
from leasehold.control_plane.crew import Again, At, Done, Gate, Outcome
from leasehold.control_plane.leadership import AuthorityFor
from leasehold.control_plane.lives import Lives
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.rations import Rations
from leasehold.control_plane.ticking import written_now
from leasehold.control_plane.witness import Witness
from leasehold.control_plane.writing import Refused, put_guarded
from leasehold.protocol import cycles as tx
from leasehold.protocol.correlation import correlation_id
from leasehold.protocol.errors import StoreError
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Instant, Resource
from leasehold.protocol.ports import Clock, Store
from leasehold.protocol.records import SweepRecord, SweepState, TombstoneRecord
from leasehold.protocol.transactions import Authority

log = structlog.get_logger()
Names = tuple[tuple[str, str, str], ...]


class Cycles:
    """The reversible half of the destructive path, for cycles."""

    def __init__(
        self,
        store: Store,
        keys: Keyspace,
        index: Index,
        witness: Witness,
        clock: Clock,
        authority: AuthorityFor,
        metrics: Metrics,
        *,
        deadline: float,
        every_seconds: float,
        opens: Gate,
        patience: Callable[[Resource], float],
        rations: Rations,
        lives: Lives,
    ) -> None:
        self._store, self._keys, self._index, self._witness = store, keys, index, witness
        self._clock, self._authority, self._metrics = clock, authority, metrics
        self._deadline, self._every_seconds, self._opens = deadline, every_seconds, opens
        self._patience, self._rations, self._lives = patience, rations, lives
        self._left_alone: dict[frozenset[Resource], Instant] = {}
        self.too_large = 0
        """Cycles that the last search found and no transaction can hold: kept for ever, unless somebody breaks them."""

    async def run(self) -> None:
        """Search at intervals, until cancelled."""
        while True:
            await self._clock.sleep_until(self._clock.now() + self._every_seconds)
            await self.search()

    async def search(self) -> None:
        """Condemn every dead cycle that is found. Does nothing while nothing may be condemned."""
        if not self._may_begin():
            return
        found = await asyncio.to_thread(unreached_cycles, self._index.picture())
        self._leave_alone(found)
        outcomes: Counter[str] = Counter()
        for cycle in found:
            if not self._may_begin():
                return
            outcomes[await self._condemn_safely(cycle)] += 1
        self.too_large = outcomes[TOO_LARGE]
        if found:
            log.info("cycles_searched", found=len(found), **outcomes)

    async def _condemn_safely(self, cycle: Cycle) -> str:
        try:
            return await self._condemn(cycle)
        except StoreError as error:
            log.warning("cycle_failed", first=str(cycle.members[0]), error=str(error))
        except Exception:
            # A mistake with one cycle must not end the search for the others.
            log.exception("cycle_broken", first=str(cycle.members[0]))
        return "failed"

    async def _condemn(self, cycle: Cycle) -> str:
        if self._left_alone[frozenset(cycle.members)] > self._clock.now():
            return "refused-before"
        if any(map(self._index.exists, cycle.outside)):
            return "referenced"
        if len(cycle.members) > tx.MAX_MEMBERS:
            return self._too_large(cycle.members, "")
        if not self._permitted(cycle.members, lambda standing: standing.may_condemn):
            return "not-permitted"
        found = unheld_together(await self._witness.look_together(cycle.members))
        if isinstance(found, Keep):
            self._metrics.kept.labels("condemn-cycle", found.reason).inc()
            return self._too_large(cycle.members, found.detail) if found.reason == TOO_LARGE else found.reason
        return await self._put_tombstones(found)

    async def _put_tombstones(self, found: Sequence[Condemnable]) -> str:
        by = self._authority_over(found)
        if by is None:
            return "not-ours"
        revision, names = found[0].facts.revision, _names(found)
        tombstones = {
            one.facts.resource: TombstoneRecord(one.record.incarnation, "a cycle", revision, written_now(), names)
            for one in found
        }
        txn = tx.condemn_cycle(self._keys, by, [one.facts for one in found], tombstones)
        written = await put_guarded(self._store, txn, deadline=self._deadline)
        if isinstance(written, Refused):
            self._metrics.refused.labels("condemn-cycle").inc()
            return "refused"
        self._metrics.condemned.inc(len(found))
        for one in found:
            self._lives.condemned(one.facts.resource, one.record, one.facts.holders, written.revision)
        log.info("cycle_condemned", **_evidence(found), read_at=revision, tombstone=written.revision, fence=by.fence)
        return "condemned"

    async def judge(self, members: Sequence[Resource]) -> tuple[Ripe, ...] | Keep:
        """Whether all of them may be prepared, by what etcd holds now. Raises ``StoreError``."""
        return ripe_together(await self._witness.look_together(members), self._index.epochs_of)

    def may_sweep(self, found: Sequence[Ripe]) -> bool:
        """Whether the rules of all of them permit it."""
        return self._permitted([one.facts.resource for one in found], lambda standing: standing.may_sweep)

    async def prepare(self, found: Sequence[Ripe]) -> Outcome:
        """Decide that they will be swept: nobody held any of them, or led to them, for one whole grace."""
        if not self.may_sweep(found):
            return Done()
        by = self._authority_over(found)
        if by is None:
            return Again()
        again = self._rations.take(Counter(one.facts.resource.owner for one in found))
        if again is not None:
            return At(again)
        sweeps, epochs = _sweeps(found, by), {one.facts.resource: one.epoch for one in found}
        txn = tx.prepare_cycle(self._keys, by, [one.facts for one in found], found[0].tombstone, epochs, sweeps)
        written = await put_guarded(self._store, txn, deadline=self._deadline)
        if isinstance(written, Refused):
            self._metrics.refused.labels("prepare-cycle").inc()
            return Again()
        self._metrics.prepared.inc(len(found))
        log.info(
            "cycle_prepared", **_evidence(found), read_at=found[0].facts.revision, tombstone=found[0].tombstone,
            sweep=written.revision, fence=by.fence,
        )  # fmt: skip
        return Done()

    # --- parts --------------------------------------------------------------------------------------------------

    def _authority_over(self, found: Sequence[Condemnable | Ripe]) -> Authority | None:
        """In whose name all of them are condemned and prepared: that of the first one, whose turn is everybody's."""
        return self._authority(found[0].facts.resource, found[0].armed)

    def _leave_alone(self, found: Sequence[Cycle]) -> None:
        """What was found for the first time since its owner refused to delete a member is given a rest, as that member
        would be if it stood alone."""
        now, before = Instant(self._clock.now()), self._left_alone
        self._left_alone = {}
        for cycle in found:
            members = frozenset(cycle.members)
            wait = max(map(self._patience, members))
            self._left_alone[members] = before.get(members, Instant(now + wait))

    def _may_begin(self) -> bool:
        opens = self._opens()
        return opens is not None and opens <= self._clock.now()

    def _permitted(self, members: Sequence[Resource], permits: Callable[[Standing], bool]) -> bool:
        entries = [self._index.entry(member) for member in members]
        return all(
            entry is not None and permits(self._index.policy.of(entry.resource, entry.rule)) for entry in entries
        )

    def _too_large(self, members: Sequence[Resource], detail: str) -> str:
        log.warning("cycle_too_large", members=len(members), first=str(members[0]), detail=detail)
        return TOO_LARGE


def _sweeps(found: Sequence[Ripe], by: Authority) -> dict[Resource, SweepRecord]:
    """Each names the holders of all: none of the members may be sent when one of them comes back."""
    holders = tuple(dict.fromkeys(holder for one in found for holder in one.facts.holders))
    names, since = _names(found), written_now()
    return {
        one.facts.resource: SweepRecord(
            SweepState.PREPARED, one.record.incarnation, by.fence, one.facts.revision, one.tombstone,
            f"{one.epoch.name}/{one.epoch.number}", holders, since=since, cycle=names,
        )
        for one in found
    }  # fmt: skip


def _names(found: Sequence[Condemnable | Ripe]) -> Names:
    return tuple((one.facts.resource.owner, one.facts.resource.type, one.facts.resource.id) for one in found)


def _evidence(found: Sequence[Condemnable | Ripe]) -> dict[str, object]:
    return {
        "resources": [str(one.facts.resource) for one in found],
        "correlation_id": correlation_id(found[0].record.trace),
        "correlation_ids": [correlation_id(one.record.trace) for one in found],
        "incarnations": [one.record.incarnation for one in found],
        "holders": [list(one.facts.holders) for one in found],
        "armed": found[0].armed,
    }
