"""Tells owners that something of theirs is condemned, and pursues it until they know that it is not any more.

Laws:

- A notice is in etcd before the first byte of a ``condemn`` leaves, so that whoever leads later owes the ``restore``.
- What is owed is read in etcd, at one revision, before anything is told; of one resource, one thing at a time.
- Nothing waits for a notice: no grace, no sweep. A ``restore`` is tried again until it is done, at least once a minute
  as far as the owner's breaker lets it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog

from leasehold.control_plane.attempt import recorded
from leasehold.control_plane.core.backlog import backoff_ceiling
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.notices import Due, Notice, Told, owed
from leasehold.control_plane.crew import Again, At, Done, Outcome
from leasehold.control_plane.leadership import Leadership
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.owners.outcome import Answer, Verdict
from leasehold.control_plane.owners.register import Owners
from leasehold.control_plane.ticking import written_now
from leasehold.control_plane.writing import Refused, delete_guarded, put_guarded
from leasehold.protocol import transactions
from leasehold.protocol.correlation import correlation_id
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Instant, Resource, Revision
from leasehold.protocol.ports import Clock, Store
from leasehold.protocol.records import NoticeRecord, ResourceRecord, Unreadable, decode
from leasehold.protocol.rules import Retries
from leasehold.protocol.store import KeyValue
from leasehold.protocol.transactions import Authority

LONGEST_RESTORE_SECONDS = 60.0
"""Somebody who needs the resource waits for it."""
BUSY_SECONDS = 0.5
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Found:
    """What etcd holds of a resource, as far as it matters here."""

    resource: Resource
    record: Revision
    told: Told
    trace: str = ""

    @property
    def about(self) -> dict[str, object]:
        """What every line of the log about it tells."""
        return {"resource": str(self.resource), "correlation_id": correlation_id(self.trace)}

    @property
    def seen(self) -> Revision:
        return self.told.notice.revision if self.told.notice else Revision(0)

    @property
    def notice(self) -> NoticeRecord | None:
        return self.told.notice.record if self.told.notice else None


class Informer:
    """Everything that owners are told."""

    def __init__(
        self,
        store: Store,
        keys: Keyspace,
        index: Index,
        clock: Clock,
        leadership: Leadership,
        owners: Owners,
        metrics: Metrics,
        *,
        deadline: float,
        jitter: Callable[[], float],
    ) -> None:
        self._store, self._keys, self._index, self._clock = store, keys, index, clock
        self._leadership, self._owners, self._metrics = leadership, owners, metrics
        self._deadline, self._jitter = deadline, jitter
        self._in_hand: set[Resource] = set()

    async def inform(self, resource: Resource) -> Outcome:
        """Do what is owed for one resource, if anything still is."""
        if self._index.notices.due_of(resource) is None:
            return Done()
        if resource in self._in_hand:
            return At(Instant(self._clock.now() + BUSY_SECONDS))
        self._in_hand.add(resource)
        try:
            return await self._inform(resource)
        finally:
            self._in_hand.discard(resource)

    async def _inform(self, resource: Resource) -> Outcome:
        found = await self._look(resource)
        by = self._leadership.authority(resource, self._index.armed)
        if by is None:
            return Again()  # belief lapsed: perhaps for a moment; what is not ours any more is dropped when it is due
        match owed(found.told):
            case Due.CONDEMN:
                return await self._condemn(found, by)
            case Due.RESTORE:
                return await self._restore(found, by)
            case Due.DROP:
                return await self._withdraw(found, by, "moot")
            case _:
                return Again()  # the index will see it soon, too

    async def _look(self, resource: Resource) -> _Found:
        keys = self._keys
        first = await self._store.read(keys.notice(resource), deadline=self._deadline)
        notice = first.items[0] if first.items else None
        record = await self._read(keys.record(resource), first.revision)
        tombstone = await self._read(keys.tombstone(resource), first.revision)
        sweep = await self._read(keys.sweep(resource), first.revision)
        office = self._owners.get(resource.owner)
        told = Told(
            record is not None,
            _incarnation(record),
            tombstone.mod_revision if tombstone else Revision(0),
            sweep is not None,
            Notice(notice.mod_revision, _notice(notice)) if notice else None,
            office is not None and office.owner.condemn_of(resource.type) is not None,
        )
        known = recorded(record)
        return _Found(
            resource, record.mod_revision if record else Revision(0), told, known.trace if known is not None else ""
        )

    async def _read(self, key: bytes, at: Revision) -> KeyValue | None:
        items = (await self._store.read(key, deadline=self._deadline, revision=at)).items
        return items[0] if items else None

    # --- the three things that may be owed ------------------------------------------------------------------------

    async def _condemn(self, found: _Found, by: Authority) -> Outcome:
        resource, tombstone, before = found.resource, found.told.tombstone, found.notice
        again = before is not None and not before.told and before.tombstone_revision == tombstone
        attempt = before.attempt + 1 if before is not None and again else 1
        outcome = before.outcome if before is not None and again else ""
        notice = NoticeRecord(
            found.told.incarnation or "", tombstone, attempt=attempt, outcome=outcome, since=written_now()
        )
        txn = transactions.notify(self._keys, by, resource, tombstone, found.seen, notice)
        written = await put_guarded(self._store, txn, deadline=self._deadline)
        if isinstance(written, Refused):
            self._metrics.refused.labels("notify").inc()
            return Again()
        answer = await self._tell(resource, Due.CONDEMN, notice.incarnation)
        return await self._noted(Due.CONDEMN, found, written.revision, notice, answer)

    async def _restore(self, found: _Found, by: Authority) -> Outcome:
        answer = await self._tell(found.resource, Due.RESTORE, None)
        before = found.notice
        if answer.verdict is Verdict.TOLD or before is None:
            return await self._withdraw(found, by, "restored")
        attempt = 1 if before.told else before.attempt + 1
        notice = msgspec.structs.replace(before, told=False, attempt=attempt)
        return await self._noted(Due.RESTORE, found, found.seen, notice, answer)

    async def _withdraw(self, found: _Found, by: Authority, why: str) -> Outcome:
        txn = transactions.withdraw(self._keys, by, found.resource, found.seen, found.record)
        if not await delete_guarded(self._store, txn, self._keys.notice(found.resource), deadline=self._deadline):
            self._metrics.refused.labels("withdraw").inc()
            return Again()
        log.info("notice_withdrawn", **found.about, reason=why)
        return Done()

    async def _noted(self, what: Due, found: _Found, seen: Revision, notice: NoticeRecord, answer: Answer) -> Outcome:
        """Write down what became of a call. The next one comes after a random part of a growing ceiling."""
        resource = found.resource
        by = self._leadership.authority(resource, self._index.armed)
        if by is None:
            return Again()
        told, outcome = answer.verdict is Verdict.TOLD, f"{what}: {answer.verdict}: {answer.detail}"
        record = msgspec.structs.replace(notice, told=told, outcome=outcome, since=written_now())
        txn = transactions.note_notice(self._keys, by, resource, seen, record)
        if isinstance(await put_guarded(self._store, txn, deadline=self._deadline), Refused):
            self._metrics.refused.labels("note").inc()
            return Again()
        if told:
            log.info("owner_told", **found.about, outcome=outcome)
            return Done()
        log.warning("owner_not_told", **found.about, outcome=outcome, attempt=notice.attempt)
        if answer.retry_after is not None:
            return At(Instant(self._clock.now() + answer.retry_after))
        office = self._owners.get(resource.owner)
        retries = office.owner.retries if office is not None else Retries()
        longest = min(float(retries.longest), LONGEST_RESTORE_SECONDS) if what is Due.RESTORE else retries.longest
        return At(Instant(self._clock.now() + backoff_ceiling(notice.attempt, retries.first, longest) * self._jitter()))

    # --- the call -------------------------------------------------------------------------------------------------

    async def _tell(self, resource: Resource, due: Due, incarnation: str | None) -> Answer:
        """Bounded by the owner's timeout and by our belief to act for the resource's shard."""
        office = self._owners.get(resource.owner)
        if office is None:
            return Answer(Verdict.MISCONFIGURED, f"there is no owner {resource.owner!r}")
        owner = office.owner
        call = owner.condemn_of(resource.type) if due is Due.CONDEMN else owner.restore_of(resource.type)
        if call is None:
            return Answer(Verdict.MISCONFIGURED, f"the owner declares no {due}")
        began = Instant(self._clock.now())
        until = self._leadership.cut_off(resource)
        if until <= began:
            return Answer(Verdict.UNKNOWN, "nothing was sent: the shard was not ours any more")
        answer = Answer(Verdict.UNKNOWN, "cut off")
        office.begin(began)
        try:
            async with asyncio.timeout(min(until - began, float(owner.limits.timeout))):
                answer = await office.client.tell(resource, call, incarnation)
        except TimeoutError:
            answer = Answer(Verdict.UNKNOWN, f"no answer within {self._clock.now() - began:.1f} s")
        finally:
            office.end(Instant(self._clock.now()), answer, first=False)
            self._metrics.notices.labels(resource.owner, due, answer.verdict).inc()
        return answer


def _incarnation(item: KeyValue | None) -> str | None:
    try:
        return decode(ResourceRecord, item.value).incarnation if item is not None else None
    except Unreadable:
        return None


def _notice(item: KeyValue) -> NoticeRecord | None:
    try:
        return decode(NoticeRecord, item.value)
    except Unreadable:
        return None
