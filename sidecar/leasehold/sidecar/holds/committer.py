"""Group commit: many operations, one transaction, guarded by the beacons of their holders.

- No artificial delay: a batch is whatever became ready while the one before was in flight. Another beside it begins
  only when ``WORTH_ANOTHER`` operations are ready, up to ``IN_FLIGHT``: each batch costs a round trip's worth of CPU,
  so many small ones cost more than they gain.
- A batch that a missing beacon refused did not happen: the holder is told to attach again and all of it is replayed.
- What etcd could not do is kept and tried again for ever, with full jitter up to ``MAX_PAUSE_SECONDS``, so that
  recovery is quick. The journal is written before the commit is tried, and holds it over a restart.
- What etcd refuses as malformed is split until the culprit is alone. That one ends, visibly, as unprotected: an
  endless loop would hide it. The same becomes of an operation that an error of our own will not let through; an error
  in between, that may be anybody's, is tried again like any trouble of etcd's.
- The queue is as long as the journal allows; whoever submits has journalled before.

A future that nobody waits for any more goes on all the same.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Protocol

import structlog

from leasehold.protocol import transactions as tx
from leasehold.protocol.errors import AccessDenied, NoSpace, Rejected, StoreError
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Boot, Holder, Revision
from leasehold.protocol.ports import Clock, Store
from leasehold.protocol.store import GetResult, Txn, TxnResult
from leasehold.sidecar.holds.cache import Cache
from leasehold.sidecar.holds.entries import HOLDING, Acquire, Done, Operation, Register, speaker_of
from leasehold.sidecar.holds.journal import Journal
from leasehold.sidecar.holds.lanes import Item, Lanes
from leasehold.sidecar.holds.lives import Registered
from leasehold.sidecar.holds.work import Again, Finished, Later, judge, member
from leasehold.sidecar.ports import Outcome

log = structlog.get_logger()

IN_FLIGHT = 3
WORTH_ANOTHER = tx.MAX_BATCH // 2
MAX_PAUSE_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 0.05
DENIED_PAUSE_SECONDS = 5.0
"""Permissions come back by an operator's hand, not by insisting."""
PATIENCE = 5
"""So many tries at once; what needs more competes with somebody and waits a little."""
LATE_SECONDS = 2.0
"""After so long the app has had its answer, and others may have gone on from there."""
NO_BOOT = Boot("")


class Beacons(Protocol):
    """Whom we may speak for."""

    def may_try(self, holder: Holder) -> bool:
        """Whether a batch may try to speak for this holder: it is attached, or its end was told long ago."""
        ...

    def boot_of(self, holder: Holder) -> Boot | None:
        """The holder's boot; ``None`` when we do not speak for it (any more)."""
        ...

    def missing(self, holder: Holder, revision: Revision) -> None:
        """A batch at ``revision`` did not find this beacon."""
        ...


class CommitterMetrics(Protocol):
    """What the committer has counted."""

    def committed(self, members: int, seconds: float) -> None:
        """A batch took place."""
        ...

    def commit_failed(self, reason: str) -> None:
        """A batch did not take place: the error's class in words, or ``no-beacon``."""
        ...

    def operation_ended(self, operation: Operation, outcome: Outcome, seconds: float) -> None:
        """An operation ended so long after it was submitted."""
        ...

    def late_return(self) -> None:
        """A holder came back to a resource that was being swept."""
        ...

    def operation_rejected(self) -> None:
        """etcd refused an operation as malformed; it is unprotected."""
        ...


class Committer:
    """The one who writes what operations ask for."""

    def __init__(
        self,
        store: Store,
        keys: Keyspace,
        journal: Journal,
        cache: Cache,
        beacons: Beacons,
        clock: Clock,
        metrics: CommitterMetrics,
        *,
        deadline: float,
        registered: Registered | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._journal = journal
        self._cache = cache
        self._beacons = beacons
        self._clock = clock
        self._metrics = metrics
        self._deadline = deadline
        self._registered = registered
        self._lanes = Lanes()
        self._items: dict[int, Item] = {}
        self._work = asyncio.Event()
        self._progress = asyncio.Event()
        self._under_way = 0
        self._failures = 0
        self._heard = Revision(0)
        """Of the latest answer. Not the highest ever: etcd's past may be rewritten."""
        self.trouble = ""
        """Why the last batch did not take place; empty when it did."""

    @property
    def pending(self) -> int:
        """Operations that have not ended."""
        return self._lanes.count

    def pending_of(self, holder: Holder) -> int:
        """The same, in the name of one holder."""
        return self._lanes.count_of(holder)

    def oldest_age(self) -> float:
        """Seconds since the oldest pending operation was submitted (to this process)."""
        oldest = next(iter(self._items.values()), None)
        return self._clock.now() - oldest.began if oldest is not None else 0.0

    def submit(self, operation: Operation, *, resumed: bool = False) -> asyncio.Future[Outcome]:
        """Take an operation that is in the journal. The future ends with the durable write, or never.

        ``resumed``: it was observed before a restart, nobody knows how long ago.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        item = Item(operation, future, self._clock.now())
        item.late = resumed
        self._items[operation.n] = item
        self._lanes.add(item)
        self._work.set()
        return future

    def outcome_of(self, n: int) -> asyncio.Future[Outcome]:
        """A future of its own for one more who waits for an operation on its way."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def pass_on(done: asyncio.Future[Outcome]) -> None:
            if not future.done() and not done.cancelled():
                future.set_result(done.result())

        self._items[n].future.add_done_callback(pass_on)
        return future

    def wake(self) -> None:
        """Something changed for somebody: a holder is attached."""
        self._work.set()

    async def run(self) -> None:
        """Commit until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for n in range(IN_FLIGHT):
                tasks.create_task(self._commit_for_ever(), name=f"committer {n}")

    async def drained(self, holder: Holder | None, within: float) -> bool:
        """Wait until nothing is pending (for this holder); ``False`` when it still is after ``within`` seconds."""
        try:
            async with asyncio.timeout(within):
                while self.pending_of(holder) if holder is not None else self.pending:
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            return False
        return True

    # --- batches ------------------------------------------------------------------------------------------------

    async def _commit_for_ever(self) -> None:
        while True:
            batch: list[Item] = []
            if not self._under_way or self._lanes.ready >= WORTH_ANOTHER:
                batch = self._lanes.take(self._beacons.may_try, tx.MAX_BATCH)
            if batch:
                await self._commit(batch)
                continue
            self._work.clear()
            await self._work.wait()

    async def _commit(self, batch: list[Item]) -> None:
        batch = self._of_living(batch)
        if not batch:
            return
        self._journal.flush()
        batch, members = self._said(batch)
        if not batch:
            return
        guards = {item.guard: self._boot(item) for item in batch if item.guard is not None}
        if len(batch) > 1 and not tx.fits(len(guards), members):
            # Registrations that refer to much leave less room for others.
            middle = len(batch) // 2
            await self._commit(batch[:middle])
            await self._commit(batch[middle:])
            return
        began = self._clock.now()
        try:
            result = await self._ask(tx.batch(self._keys, guards, members))
        except Rejected as error:
            await self._isolate(batch, error)
        except StoreError as error:
            await self._pause(batch, error)
        except Exception as error:
            log.exception("commit_crashed", members=len(batch))
            await self._pause(batch, error)
        except BaseException:
            # Cancelled: whoever drains may still see to them.
            self._put_back(batch)
            raise
        else:
            self._failures = 0
            self.trouble = ""
            self._heard = result.revision
            if result.succeeded:
                self._metrics.committed(len(batch), self._clock.now() - began)
                self._settle(batch, result)
            else:
                self._refused(batch, guards, result)

    async def _ask(self, txn: Txn) -> TxnResult:
        self._under_way += 1
        try:
            return await self._store.commit(txn, deadline=self._deadline)
        finally:
            self._under_way -= 1
            self._work.set()

    def _of_living(self, batch: list[Item]) -> list[Item]:
        """Without what was asked in the name of a holder whose end was told: it means nothing any more."""
        living = []
        for item in batch:
            speaker = speaker_of(item.operation)
            if speaker is None or self._beacons.boot_of(speaker) is not None:
                living.append(item)
            elif isinstance(item.operation, HOLDING):
                self._give_up(item, RuntimeError(f"nothing is known any more of its holder {speaker}"))
            else:
                self._finish([(item, Finished(Outcome.UNPROTECTED, False))])
        return living

    def _said(self, batch: list[Item]) -> tuple[list[Item], list[Txn]]:
        """The members of a batch, without those that cannot be said."""
        items, members = [], []
        for item in batch:
            item.heard = self._heard
            try:
                members.append(member(self._keys, item, self._boot(item)))
            except Exception as error:  # noqa: BLE001 - a supervisor: the others must not suffer for it
                self._give_up(item, error)
            else:
                items.append(item)
        return items, members

    def _boot(self, item: Item) -> Boot:
        speaker = speaker_of(item.operation)
        return (self._beacons.boot_of(speaker) if speaker is not None else None) or NO_BOOT

    def _refused(self, batch: list[Item], guards: dict[Holder, Boot], result: TxnResult) -> None:
        self._metrics.commit_failed("no-beacon")
        for (holder, boot), found in zip(guards.items(), result.results, strict=True):
            there = isinstance(found, GetResult) and found.items and found.items[0].value == boot.encode()
            if not there:
                self._beacons.missing(holder, result.revision)
        self._put_back(batch)

    async def _isolate(self, batch: list[Item], error: Rejected) -> None:
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._commit(batch[:middle])
            await self._commit(batch[middle:])
            return
        self._give_up(batch[0], error)

    def _give_up(self, item: Item, error: Exception) -> None:
        self._metrics.operation_rejected()
        log.error("operation_rejected", resource=str(item.operation.resource), error=repr(error))
        self._finish([(item, Finished(Outcome.UNPROTECTED, False))])

    async def _pause(self, batch: list[Item], error: Exception) -> None:
        reason = _reason(error)
        self._metrics.commit_failed(reason)
        if reason != self.trouble:
            log.warning("commit_failed", reason=reason, error=str(error), members=len(batch))
        self.trouble = reason
        self._failures += 1
        longest = min(FIRST_PAUSE_SECONDS * 2 ** min(self._failures, 10), MAX_PAUSE_SECONDS)
        if isinstance(error, AccessDenied):
            longest = DENIED_PAUSE_SECONDS
        try:
            await self._clock.sleep_until(self._clock.now() + random.uniform(0, longest))  # noqa: S311 - jitter
        finally:
            self._put_back(batch)

    def _put_back(self, batch: Iterable[Item]) -> None:
        for item in batch:
            self._lanes.again(item)
        self._work.set()

    # --- what came of them --------------------------------------------------------------------------------------

    def _settle(self, batch: Sequence[Item], result: TxnResult) -> None:
        finished: list[tuple[Item, Finished]] = []
        late = self._clock.now() - LATE_SECONDS
        for item, its in zip(batch, result.results, strict=True):
            item.late = item.late or item.began < late
            if not isinstance(its, TxnResult):
                raise TypeError("expected a transaction's result for each member")
            try:
                held = () if its.succeeded else self._journal.state.held.get(item.operation.resource, ())  # type: ignore[arg-type]
                verdict = judge(item, its, held)
            except Exception as error:  # noqa: BLE001 - a supervisor: the others must not suffer for it
                self._give_up(item, error)
                continue
            if isinstance(verdict, Finished):
                finished.append((item, verdict))
                continue
            item.tries += 1
            if isinstance(verdict, Again) and item.tries % PATIENCE:
                self._lanes.again(item)
            else:
                self._later(item, verdict)
        self._finish(finished)
        self._work.set()

    def _later(self, item: Item, verdict: Again | Later) -> None:
        if isinstance(verdict, Later) and item.tries == 1:
            log.info("waits_for_a_sweep", resource=str(item.operation.resource))
        longest = min(FIRST_PAUSE_SECONDS * 2 ** min(item.tries, 10), MAX_PAUSE_SECONDS)
        asyncio.get_running_loop().call_later(random.uniform(0, longest), self._put_back, (item,))  # noqa: S311

    def _finish(self, finished: Sequence[tuple[Item, Finished]]) -> None:
        """The journal first, then the cache, then whoever waits."""
        if not finished:
            return
        ok = tuple(item.operation.n for item, verdict in finished if verdict.effect)
        dropped = tuple(item.operation.n for item, verdict in finished if not verdict.effect)
        self._journal.note(Done(ok, dropped))
        now = self._clock.now()
        for item, verdict in finished:
            self._items.pop(item.operation.n, None)
            self._lanes.remove(item)
            self._cache.on_done(item.operation, now)
            if verdict.outcome is Outcome.NOT_OURS and isinstance(item.operation, Acquire):
                self._cache.on_stranger(item.operation, now)
            self._metrics.operation_ended(item.operation, verdict.outcome, now - item.began)
            if self._registered is not None and type(item.operation) is Register:
                self._registered(item.operation, verdict.outcome, now - item.began)
            if verdict.late:
                self._metrics.late_return()
                log.warning("late_return", resource=str(item.operation.resource))
            if not item.future.done():
                item.future.set_result(verdict.outcome)
        self._progress.set()


def _reason(error: Exception) -> str:
    if isinstance(error, NoSpace):
        return "no-space"
    if isinstance(error, AccessDenied):
        return "access-denied"
    return type(error).__name__.lower()
