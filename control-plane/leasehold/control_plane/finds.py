"""Acts on what two listings of an owner have proved: orphans are recorded, records of what is gone are closed.

Nothing is deleted from here. An orphan is recorded under a rule of its own, which only observes unless its mode says
more; or, where a key shows whose call created it, as the resolver would have. What is gone is closed after a read of
that one resource has said so, as the app's own deletion would.
"""

from __future__ import annotations

import structlog

from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.intents import Over, over
from leasehold.control_plane.core.inventory import Judged, Listed
from leasehold.control_plane.intents import Resolver
from leasehold.control_plane.leadership import TenantsAuthority
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.owners.lookup import Found, unusable
from leasehold.control_plane.owners.outcome import Fetched, Verdict, of_read
from leasehold.control_plane.owners.questions import Questions
from leasehold.control_plane.ticking import written_now
from leasehold.control_plane.writing import Written, delete_guarded, put_guarded
from leasehold.protocol import transactions_intents as tx
from leasehold.protocol.correlation import MAX_CORRELATION, correlation_id
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import CallId, OwnerName, Resource, Revision, TypeName
from leasehold.protocol.orphans import orphan_rule_name
from leasehold.protocol.ports import Store
from leasehold.protocol.records import HoldRecord, ResourceRecord, Unreadable, decode
from leasehold.protocol.rules import Owner
from leasehold.protocol.templates import PathTemplate, UnsafeId

log = structlog.get_logger()


class Finds:
    """What the inventory found, carried out."""

    def __init__(
        self,
        store: Store,
        keys: Keyspace,
        index: Index,
        authority: TenantsAuthority,
        questions: Questions,
        resolver: Resolver,
        metrics: Metrics,
        *,
        deadline: float,
    ) -> None:
        self._store, self._keys, self._index, self._authority = store, keys, index, authority
        self._questions, self._resolver, self._metrics, self._deadline = questions, resolver, metrics, deadline

    async def carry_out(self, owner: Owner, kind: str, mode: str, judged: Judged) -> None:
        """One after another. Raises ``StoreError``; what is left then is found again by the next scan."""
        calls = told_calls(self._index, owner, kind)
        for item in judged.orphans:
            if item.call:
                await self._record_for_call(owner, kind, item, calls)
            else:
                await self._adopt(owner, kind, mode, item)
        for name, revision in judged.gone:
            await self._close(owner, Resource(OwnerName(owner.name), TypeName(kind), name), revision)

    async def _record_for_call(self, owner: Owner, kind: str, item: Listed, calls: dict[CallId, Over]) -> None:
        case = calls.get(item.call)
        rule = self._index.policy.of_rule(case.intent.record.rule).rule if case and case.intent.record else None
        if case is None or rule is None:
            return  # resolved meanwhile
        resource = Resource(OwnerName(owner.name), TypeName(kind), item.id)
        if problem := unusable(resource, owner, rule):
            log.warning("orphan_unusable", resource=str(resource), problem=problem)
        elif await self._resolver.record(case, rule, Found(resource, item.incarnation or f"call:{item.call}")):
            self._metrics.orphans.labels(owner.name, kind).inc()

    async def _adopt(self, owner: Owner, kind: str, mode: str, item: Listed) -> None:
        resource = Resource(OwnerName(owner.name), TypeName(kind), item.id)
        name = orphan_rule_name(owner.name, kind)
        standing, by = self._index.policy.of(resource, name), self._authority()
        if by is None or standing.rule is None:
            return
        if problem := unusable(resource, owner, standing.rule):
            log.warning("orphan_unusable", resource=str(resource), problem=problem)
            return
        incarnation = item.incarnation or f"listed:{by.fence}"
        needs = self._index.policy.unread_of(owner.name, kind)
        record = ResourceRecord(
            incarnation,
            name,
            standing.rule.grace_class,
            tx.LISTED,
            needs,
            trace=incarnation[:MAX_CORRELATION],
            since=written_now(),
        )
        hold = HoldRecord("", 0, "inventory", written_now(), released=True)
        txn = tx.adopt(self._keys, by, resource, record, hold)
        if isinstance(await put_guarded(self._store, txn, deadline=self._deadline), Written):
            self._metrics.orphans.labels(owner.name, kind).inc()
            log.warning(
                "orphan_recorded", resource=str(resource), correlation_id=correlation_id(record.trace), mode=mode,
                fence=by.fence,
            )  # fmt: skip
        else:
            self._metrics.refused.labels("adopt").inc()

    async def _close(self, owner: Owner, resource: Resource, revision: Revision) -> None:
        entry = self._index.entry(resource)
        if entry is None or entry.record != revision or entry.sweep or entry.pin:
            return
        if not await self._is_gone(owner, resource):
            return
        item = await self._store.get(self._keys.record(resource), deadline=self._deadline)
        by = self._authority()
        if by is None or item is None or item.mod_revision != revision:
            return
        try:
            record = decode(ResourceRecord, item.value)
        except Unreadable:
            return
        txn = tx.close(self._keys, by, resource, record, revision)
        if await delete_guarded(self._store, txn, item.key, deadline=self._deadline):
            self._metrics.closed.labels(resource.owner, resource.type).inc()
            log.warning(
                "closed", resource=str(resource), correlation_id=correlation_id(record.trace), record=revision,
                fence=by.fence,
            )  # fmt: skip
        else:
            self._metrics.refused.labels("close").inc()

    async def _is_gone(self, owner: Owner, resource: Resource) -> bool:
        """Whether the owner says so of this very one. Without a read by HTTP nobody can say."""
        read = owner.read_of(resource.type)
        if read is None or read.grpc is not None:
            return False
        try:
            template = PathTemplate.compile(read.path)
            target = template.expand(dict.fromkeys(template.names, resource.id))
        except UnsafeId:
            return False
        answer = await self._questions.ask_patiently(owner.name, target, read.method)
        return isinstance(answer, Fetched) and of_read(answer.status) is Verdict.ABSENT


def told_calls(index: Index, owner: Owner, kind: str) -> dict[CallId, Over]:
    """Calls of ended holders, of this owner and type, whose key the owner was told."""
    calls = {}
    for case in over(index.intents, index.holder):
        record = case.intent.record
        if record is not None and record.sent_as and record.idempotency_key == case.call:
            rule = index.policy.of_rule(record.rule).rule
            if rule is not None and (rule.owner, rule.type) == (owner.name, kind) and not case.alive:
                calls[case.call] = case
    return calls
