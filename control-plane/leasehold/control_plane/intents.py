"""Finds out what became of calls that were intended and never concluded, their holder having ended in between (L3).

The owner is asked. What the call created is recorded for the holder that made the call, so that the ordinary path
judges it; what it did not create is forgotten, once the owner has said so twice, apart; and what cannot be told stays
in etcd as a *suspect*, with the reason, and is asked about again, ever more slowly. Laws:

- Only under the fence, and only while preparing is allowed: not during a warm-up or a gap, when holders may look gone
  who are not.
- The index only says when to try. What is written is guarded: intent unchanged, its holder still without a beacon.
- One slow owner costs the others nothing: each has a task of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec
import structlog

from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.intents import Inquiries, Over, over
from leasehold.control_plane.core.namesakes import Known, compared, needed
from leasehold.control_plane.core.policy import unread
from leasehold.control_plane.leadership import TenantsAuthority
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.owners.lookup import Found, NotThere, Question, Unclear, question, understood
from leasehold.control_plane.owners.questions import Questions
from leasehold.control_plane.ticking import written_now
from leasehold.control_plane.writing import Written, delete_guarded, put_guarded
from leasehold.protocol import transactions_intents as tx
from leasehold.protocol.errors import StoreError
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import CallId, Holder, Instant, Resource, Revision
from leasehold.protocol.ports import Clock, Store
from leasehold.protocol.records import HoldRecord, ResourceRecord
from leasehold.protocol.rules import Rule
from leasehold.protocol.store import KeyValue
from leasehold.protocol.transactions import Authority

ROUND_SECONDS = 1.0
ASKED_A_ROUND = 200
"""Of one owner; its rate limit counts besides."""
AFTER_SECONDS = 30.0
"""Where no lookup says how long a call may take."""
log = structlog.get_logger()


class Resolver:
    """The keeper of intents. ``opens`` says from when on preparing is allowed; ``None``: it is not."""

    def __init__(
        self,
        store: Store,
        keys: Keyspace,
        index: Index,
        clock: Clock,
        authority: TenantsAuthority,
        questions: Questions,
        metrics: Metrics,
        *,
        deadline: float,
        jitter: Callable[[], float],
        opens: Callable[[], Instant | None],
    ) -> None:
        self._store, self._keys, self._index, self._clock = store, keys, index, clock
        self._authority, self._questions, self._metrics = authority, questions, metrics
        self._deadline, self._jitter, self._opens = deadline, jitter, opens
        self._inquiries = Inquiries()
        self._busy: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._clock.sleep_until(self._clock.now() + ROUND_SECONDS)
                opens, by = self._opens(), self._authority()
                if by is None or opens is None or opens > self._now():
                    self._inquiries.forget()
                    continue
                for owner, cases in self._due(by).items():
                    if owner not in self._busy:
                        self._busy.add(owner)
                        tasks.create_task(self._ask_all(owner, cases[:ASKED_A_ROUND]))

    def _due(self, by: Authority) -> dict[str, list[Over]]:
        cases = list(over(self._index.intents, self._index.holder))
        self._inquiries.look(cases, by.fence, self._now())
        due: dict[str, list[Over]] = {}
        for case in cases:
            rule = self._rule_of(case)
            if self._inquiries.is_due(case, self._after(rule), self._now()) and not self._is_listed(case):
                due.setdefault(rule.owner if rule else "", []).append(case)
        return due

    def _is_listed(self, case: Over) -> bool:
        """Whether nobody can be asked, and that is written down."""
        asked, record = self._question(case), case.intent.record
        return isinstance(asked, Unclear) and (record is None or record.suspect == asked.reason)

    async def _ask_all(self, owner: str, cases: list[Over]) -> None:
        try:
            for case in cases:
                await self._supervised(case)
        finally:
            self._busy.discard(owner)

    async def _supervised(self, case: Over) -> None:
        concluded = False
        try:
            concluded = await self._look_into(case)
        except StoreError as error:
            log.warning("resolving_failed", error=str(error), **_about(case))
        except Exception:
            # A mistake of ours with one intent must not end the others.
            log.exception("resolving_broken", **_about(case))
        if not concluded:
            self._inquiries.on_unclear(case, self._now(), self._jitter())

    # --- one intent ---------------------------------------------------------------------------------------------

    async def _look_into(self, case: Over) -> bool:
        """Whether all is as it should be, be it that nothing was to be done yet; else it is tried again later."""
        asked = self._question(case)
        if isinstance(asked, Unclear):
            return await self._suspect(case, asked)
        answer = await self._questions.ask(asked.owner.name, asked.target)
        if answer is None:
            return True  # not now: the next round
        match understood(asked, answer):
            case Found() as found:
                return await self.record(case, asked.rule, found)
            case NotThere():
                final = self._inquiries.on_absent(case, float(asked.lookup.after), self._now())
                return await self._dismiss(case, asked) if final else True
            case Unclear() as unclear:
                await self._suspect(case, unclear)
                return False

    def _question(self, case: Over) -> Question | Unclear:
        if not case.roster:
            return Unclear("no-roster", "nothing is known of its holder")
        if case.intent.record is None:
            return Unclear("unreadable", "the intent cannot be read")
        standing = self._index.policy.of_rule(case.intent.record.rule)
        if standing.rule is None or standing.owner is None:
            return Unclear("no-rule", standing.why)
        return question(case.call, case.intent.record, standing.rule, standing.owner)

    def _rule_of(self, case: Over) -> Rule | None:
        record = case.intent.record
        return self._index.policy.of_rule(record.rule).rule if record else None

    def _after(self, rule: Rule | None) -> float:
        owner = self._index.policy.owner(rule.owner) if rule else None
        lookup = owner.lookup_of(rule.type) if owner and rule else None
        return float(lookup.after) if lookup else AFTER_SECONDS

    async def record(self, case: Over, rule: Rule, found: Found) -> bool:
        """Record what an intended call is known to have created. Whether the intent is concluded by it."""
        roster = await self._store.get(self._keys.roster(case.holder), deadline=self._deadline)
        by = self._authority()
        if by is None or roster is None or not self._inquiries.knows(case, roster.mod_revision):
            return False  # its holder was back meanwhile: all begins anew
        resource, intent = found.resource, self._found(case, roster.value, roster.mod_revision)
        held = await self._held(case, resource)
        known = await self._store.get(self._keys.record(resource), deadline=self._deadline)
        standing = compared(known, case, found.incarnation)
        if standing is Known.DOUBTFUL:
            await self._suspect(case, Unclear("other-incarnation", f"recorded is another than {found.incarnation}"))
            return False
        seen = known.mod_revision if known is not None else Revision(0)
        if standing is Known.RECORDED:
            txn, outcome = tx.recorded(self._keys, by, intent, resource, seen), "recorded-already"
        else:
            record = ResourceRecord(
                found.incarnation, rule.name, rule.grace_class, case.holder, needed(known, unread((rule,))),
                trace=case.call,
                since=written_now(),
            )  # fmt: skip
            hold = HoldRecord("", 0, f"intent {case.call}", written_now())
            txn, outcome = tx.resolve(self._keys, by, intent, resource, record, hold, held, seen), "found"
        key = self._keys.intent(case.holder, case.call)
        if not await delete_guarded(self._store, txn, key, deadline=self._deadline):
            self._metrics.refused.labels("resolve").inc()
            return False
        await self._note_roster(case, roster)
        self._metrics.intents.labels(resource.owner, outcome).inc()
        log.info("intent_resolved", outcome=outcome, resource=str(resource), **_about(case), fence=by.fence)
        return True

    async def _note_roster(self, case: Over, before: KeyValue) -> None:
        after = await self._store.get(before.key, deadline=self._deadline)
        if after is not None and after.value == before.value:  # ours: an attach writes another
            self._inquiries.on_roster_written(case.holder, before.mod_revision, after.mod_revision)

    async def _dismiss(self, case: Over, asked: Question) -> bool:
        by = self._authority()
        if by is None:
            return False
        held = Revision(0) if asked.expected is None else await self._held(case, asked.expected)
        txn = tx.dismiss(self._keys, by, self._found(case), asked.expected, held)
        key = self._keys.intent(case.holder, case.call)
        if not await delete_guarded(self._store, txn, key, deadline=self._deadline):
            self._metrics.refused.labels("dismiss").inc()
            return False
        self._metrics.intents.labels(asked.owner.name, "not-there").inc()
        log.info("intent_resolved", outcome="not-there", **_about(case), fence=by.fence)
        return True

    async def _suspect(self, case: Over, unclear: Unclear) -> bool:
        by, record = self._authority(), case.intent.record
        if by is None or record is None or record.suspect == unclear.reason:
            return True
        noted = msgspec.structs.replace(record, suspect=unclear.reason)
        txn = tx.suspect(self._keys, by, self._found(case), noted)
        written = await put_guarded(self._store, txn, deadline=self._deadline)
        if isinstance(written, Written):
            self._inquiries.on_written(case, written.revision)
            log.warning("intent_suspect", reason=unclear.reason, detail=unclear.detail, **_about(case))
        return isinstance(written, Written)

    # --- parts --------------------------------------------------------------------------------------------------

    async def _held(self, case: Over, resource: Resource) -> Revision:
        hold = await self._store.get(self._keys.hold(resource, case.holder), deadline=self._deadline)
        return hold.mod_revision if hold else Revision(0)

    def _found(self, case: Over, value: bytes = b"", roster: Revision = Revision(0)) -> tx.IntentFound:
        return tx.IntentFound(
            case.holder, case.call, case.intent.revision, roster or case.roster, value, case.outlived
        )  # fmt: skip

    def _now(self) -> Instant:
        return Instant(self._clock.now())


def suspects(index: Index) -> Iterator[tuple[Holder, CallId, str]]:
    """Intents of ended holders of which it was written down why nobody can tell their outcome, or that nobody can
    read."""
    for case in over(index.intents, index.holder):
        reason = case.intent.record.suspect if case.intent.record else "unreadable"
        if reason:
            yield case.holder, case.call, reason


def reasons(index: Index) -> Counter[str]:
    """How many suspects there are, by reason."""
    return Counter(reason for _, _, reason in suspects(index))


def _about(case: Over) -> dict[str, object]:
    record = case.intent.record
    # Without its query: that is where keys and signatures are.
    said = {"rule": record.rule, "target": record.target.partition("?")[0]} if record else {}
    about = {"holder": case.holder, "call": case.call, "correlation_id": case.call, "intent": case.intent.revision}
    return {**about, **said}
