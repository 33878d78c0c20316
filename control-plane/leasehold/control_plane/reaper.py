"""Condemn, revive, prepare: look at one revision, judge, then the guarded transaction.

Each step takes a resource the index nominated, looks again in etcd itself, and writes only if what it saw still holds
when the transaction runs. Everything else is "keep", with a reason that is counted and shown.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from leasehold.control_plane.at_once import AtOnce, Place
from leasehold.control_plane.attempt import recorded
from leasehold.control_plane.core.cycles import members_of
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.lifecycle import Step
from leasehold.control_plane.core.verdict import Condemnable, Evidence, Keep, Ripe, ripe, unheld
from leasehold.control_plane.crew import Again, At, Done, Outcome
from leasehold.control_plane.cycles import Cycles
from leasehold.control_plane.handover import Handover, Prepared
from leasehold.control_plane.leadership import AuthorityFor
from leasehold.control_plane.lives import Lives
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.owners.outcome import Answer, Verdict
from leasehold.control_plane.owners.verifier import Verifier
from leasehold.control_plane.rations import Rations
from leasehold.control_plane.ticking import written_now
from leasehold.control_plane.witness import Witness
from leasehold.control_plane.writing import Refused, delete_guarded, put_guarded
from leasehold.protocol import transactions
from leasehold.protocol.correlation import correlation_id
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Resource, Revision
from leasehold.protocol.ports import Store
from leasehold.protocol.records import SweepRecord, SweepState, TombstoneRecord
from leasehold.protocol.transactions import Authority

log = structlog.get_logger()

_REVIVES = frozenset(
    {"held", "restless", "referenced", "unaccounted", "other-incarnation", "unreadable-tombstone", "broken-cycle"}
)
"""Reasons that make a tombstone untrue: it is taken away, and all grace starts anew."""


class Reaper:
    """The reversible half of the destructive path."""

    def __init__(
        self,
        store: Store,
        keys: Keyspace,
        index: Index,
        witness: Witness,
        authority: AuthorityFor,
        metrics: Metrics,
        verifier: Verifier,
        cycles: Cycles,
        handover: Handover,
        at_once: AtOnce,
        lives: Lives,
        *,
        deadline: float,
        may_prepare: Callable[[Resource], bool],
        rations: Rations,
    ) -> None:
        self._store, self._keys, self._index, self._witness = store, keys, index, witness
        self._authority, self._metrics, self._deadline = authority, metrics, deadline
        self._verifier, self._cycles, self._handover, self._at_once = verifier, cycles, handover, at_once
        self._may_prepare, self._rations, self._lives = may_prepare, rations, lives

    async def condemn(self, resource: Resource) -> Outcome:
        """Put a tombstone on what nobody holds."""
        if self._index.step_of(resource) is not Step.CONDEMN:
            return Done()
        evidence = await self._witness.look(resource)
        found = unheld(evidence)
        if isinstance(found, Keep):
            return self._keep("condemn", resource, found)
        standing = self._index.policy.of(resource, found.record.rule)
        by = self._authority(resource, found.armed)
        if not standing.may_condemn:
            return Done()
        if by is None:
            return Again()  # belief lapsed: perhaps for a moment; what is not ours any more is dropped when it is due
        tombstone = TombstoneRecord(found.record.incarnation, _reason(found), evidence.revision, written_now())
        txn = transactions.condemn(self._keys, by, found.facts, tombstone)
        written = await put_guarded(self._store, txn, deadline=self._deadline)
        if isinstance(written, Refused):
            self._metrics.refused.labels("condemn").inc()
            return Again()
        self._metrics.condemned.inc()
        self._lives.condemned(resource, found.record, found.facts.holders, written.revision)
        log.info("condemned", **_evidence(resource, found, evidence), tombstone=written.revision, fence=by.fence)
        return Done()

    async def revive(self, resource: Resource) -> Outcome:
        """Take the tombstone off what is held after all, or whose grace was disturbed."""
        if self._index.step_of(resource) is not Step.REVIVE:
            return Done()
        evidence = await self._witness.look(resource)
        members = members_of(evidence.tombstone)
        found = await self._cycles.judge(members) if members else ripe(evidence, lambda _: ())
        if not isinstance(found, Keep):
            return Again()
        if found.reason not in _REVIVES | {"no-record"}:
            return self._keep("revive", resource, found)
        return await self._revive(resource, evidence, found)

    async def prepare(self, resource: Resource) -> Outcome:
        """Decide that it will be swept: nobody held it for one whole grace."""
        if self._index.step_of(resource) is not Step.PREPARE:
            return Done()
        members = self._index.cycle_of(resource)
        if members and members[0] != resource:
            return Done()  # it is prepared with all of them, when the first one's turn comes
        evidence = await self._witness.look(resource)
        if members_of(evidence.tombstone) != members:
            return Again()  # the index will hear of it
        found = await self._cycles.judge(members) if members else ripe(evidence, self._index.epochs_of)
        if isinstance(found, Keep):
            if found.reason in _REVIVES:
                return await self._revive(resource, evidence, found)
            return self._keep("prepare", resource, found)
        if isinstance(found, tuple):
            return await self._prepare_cycle(evidence, found)
        return await self._prepare_one(resource, evidence, found)

    async def _prepare_one(self, resource: Resource, evidence: Evidence, found: Ripe) -> Outcome:
        standing = self._index.policy.of(resource, found.record.rule)
        if not standing.may_sweep:
            return Done()
        answer = await self._verifier.ask(resource)
        kept = await self._against(resource, resource, evidence, answer)
        if kept is not None:
            return kept
        by = self._authority(resource, found.armed)
        if by is None:
            return Again()  # belief lapsed: perhaps for a moment; what is not ours any more is dropped when it is due
        again = self._rations.take({resource.owner: 1})
        if again is not None:
            return At(again)
        if answer is not None or not self._may_prepare(resource):
            return await self._prepare(evidence, found, by, None)
        with self._at_once.place(resource) as place:
            return await self._prepare(evidence, found, by, place)

    async def _prepare_cycle(self, evidence: Evidence, found: tuple[Ripe, ...]) -> Outcome:
        if not self._cycles.may_sweep(found):
            return Done()
        for one in found:
            answer = await self._verifier.ask_patiently(one.facts.resource)
            kept = await self._against(one.facts.resource, found[0].facts.resource, evidence, answer)
            if kept is not None:
                return kept
        return await self._cycles.prepare(found)

    async def _against(
        self, asked: Resource, first: Resource, evidence: Evidence, answer: Answer | None
    ) -> Outcome | None:
        """What comes of it if the owner, being asked about one resource, has something against it.

        ``first`` is whose tombstone ``evidence`` has, and in whose shard we act: the first of its cycle, or the one
        itself. If one of a cycle is in use, so are all: without the first one's tombstone the grace of all ends.
        """
        if answer is None:
            return None
        if answer.verdict is Verdict.IN_USE:
            self._metrics.vetoed.labels(asked.owner, "prepare").inc()
            return await self._revive(first, evidence, Keep("in-use", answer.detail))
        if answer.verdict is not Verdict.NOT_IN_USE:
            log.info("unverified", resource=str(asked), verdict=answer.verdict, detail=answer.detail)
            return self._keep("prepare", first, Keep("unverified", answer.detail))
        # Asking takes time, in which a gap may have begun. What etcd held is compared by the transaction anyway.
        return None if self._may_prepare(first) else Again()

    async def _prepare(self, evidence: Evidence, found: Ripe, by: Authority, place: Place | None) -> Outcome:
        """With a ``place`` it is sent, too."""
        resource = found.facts.resource
        sweep = SweepRecord(
            SweepState.PREPARED if place is None else SweepState.SENT, found.record.incarnation, by.fence,
            evidence.revision, found.tombstone, f"{found.epoch.name}/{found.epoch.number}", found.facts.holders,
            attempt=0 if place is None else 1, since=written_now(),
        )  # fmt: skip
        build = transactions.prepare if place is None else transactions.prepare_and_send
        txn = build(self._keys, by, found.facts, found.tombstone, found.epoch, sweep, found.haste)
        written = await put_guarded(self._store, txn, deadline=self._deadline)
        if isinstance(written, Refused):
            self._metrics.refused.labels("prepare").inc()
            if place is not None:
                place.over = True
            return Again()
        self._metrics.prepared.inc()
        log.info(
            "prepared", **_evidence(resource, found, evidence), tombstone=found.tombstone, epoch=sweep.epoch,
            sweep=written.revision, fence=by.fence,
        )  # fmt: skip
        if place is not None:
            return await self._at_once.send(place, resource, written.revision, sweep, found.record)
        self._handover.give(resource, Prepared(written.revision, sweep, found.record))
        return Done()

    async def _revive(self, resource: Resource, evidence: Evidence, why: Keep) -> Outcome:
        by = self._authority(resource, Revision(0))
        if evidence.tombstone is None:
            return Done()
        if by is None:
            return Again()
        txn = transactions.revive(self._keys, by, resource, evidence.tombstone.mod_revision)
        if not await delete_guarded(self._store, txn, self._keys.tombstone(resource), deadline=self._deadline):
            self._metrics.refused.labels("revive").inc()
            return Again()
        self._metrics.revived.labels(why.reason).inc()
        record = recorded(evidence.record)
        log.info(
            "revived", resource=str(resource), correlation_id=correlation_id(record.trace if record else ""),
            reason=why.reason, detail=why.detail, read_at=evidence.revision,
        )  # fmt: skip
        return Done()

    def _keep(self, step: str, resource: Resource, keep: Keep) -> Outcome:
        self._metrics.kept.labels(step, keep.reason).inc()
        log.debug("kept", step=step, resource=str(resource), reason=keep.reason, detail=keep.detail)
        # The index sees it otherwise, or will soon: if it does not, this comes back, ever more slowly.
        return Again()


def _reason(found: Condemnable) -> str:
    dead, released = len(found.facts.holders), len(found.facts.holds) - len(found.facts.holders)
    return ", ".join(text for count, text in ((dead, f"{dead} dead"), (released, f"{released} released")) if count)


def _evidence(resource: Resource, found: Condemnable | Ripe, evidence: Evidence) -> dict[str, object]:
    return {
        "resource": str(resource),
        "incarnation": found.record.incarnation,
        "correlation_id": correlation_id(found.record.trace),
        "rule": found.record.rule,
        "holders": list(found.facts.holders),
        "record": found.facts.record_revision,
        "read_at": evidence.revision,
        "armed": found.armed,
    }
