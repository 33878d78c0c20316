"""Many small transactions to etcd as few large ones: the collector's group commit, and its group read.

Whoever works on one resource reads a little and commits a little; a hundred do so at a time. Their transactions become
members of one, each with its own IF and THEN, and each learns its own result. Laws:

- A member means what it meant alone. etcd evaluates every IF against the state *before* the whole, so two members go
  together only if neither writes a key that the other compares, reads or writes; one of them waits for the next batch.
  (Who deletes a resource's holds or references also writes its sweep, which everybody else about it compares.)
- What happens to the whole happened to each: ``Uncertain`` means that each has to read back what it wrote. What etcd
  refuses as a whole did not happen, and is tried one by one, so that one bad member does not cost the others theirs.
- Reads alone are one read-only transaction, at one revision, that asks for each key once.
- Nobody waits for company: what is there when a worker is free goes, alone if it must. The bound is the callers' own:
  each has one call under way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import structlog

from leasehold.protocol.errors import LeaseNotFound, Rejected, StoreError, Unavailable, Uncertain
from leasehold.protocol.names import Revision
from leasehold.protocol.ports import Store
from leasehold.protocol.store import (
    MAX_OPERATIONS,
    Delete,
    Get,
    GetResult,
    KeyRange,
    KeyValue,
    Operation,
    Put,
    Snapshot,
    Txn,
    TxnResult,
    Where,
)
from leasehold.protocol.transactions import weight

MEMBERS = 64
"""Of one batch. More would save little and make each wait longer."""
WRITERS = 2
READERS = 2
"""One batch is made while another is on its way; more would only make them smaller."""
log = structlog.get_logger()


class Member:
    """One caller's transaction, and who waits for its result."""

    __slots__ = ("answer", "deadline", "touched", "txn", "weight", "written")

    def __init__(self, txn: Txn, deadline: float) -> None:
        self.txn, self.deadline, self.weight = txn, deadline, weight(txn)
        self.answer: asyncio.Future[TxnResult] = asyncio.get_running_loop().create_future()
        self.written: set[Where] = set()
        self.touched: set[Where] = {compare.where for compare in txn.compares}
        for operation in (*txn.success, *txn.failure):
            self._touch(operation)

    def _touch(self, operation: Operation) -> None:
        if isinstance(operation, Put):
            self.written.add(operation.key)
        elif isinstance(operation, Delete):
            self.written.add(operation.where)
        elif isinstance(operation, Get):
            self.touched.add(operation.where)
        else:
            self.touched.update(compare.where for compare in operation.compares)
            for inner in (*operation.success, *operation.failure):
                self._touch(inner)

    def settle(self, outcome: TxnResult | Exception) -> None:
        """Tell whoever waits, if somebody still does."""
        if self.answer.done():
            return
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


class Grouping:
    """``ports.Store``, in groups while ``run`` runs; else each goes alone."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._running = False
        self._writes = _Line(self._commit_all, _nests)
        self._reads = _Line(self._read_all, _reads_at_once)

    async def run(self) -> None:
        """Until cancelled; what is under way ends with it."""
        self._running = True
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(WRITERS):
                    tasks.create_task(self._writes.serve())
                for _ in range(READERS):
                    tasks.create_task(self._reads.serve())
        finally:
            self._running = False
            self._writes.close()
            self._reads.close()

    # --- ports.Store ----------------------------------------------------------------------------------------------

    async def get(self, key: bytes, *, deadline: float) -> KeyValue | None:
        """One key, or ``None``. Safe to retry."""
        result = await self.commit(Txn((), (Get(key),)), deadline=deadline)
        [found] = result.results
        return found.items[0] if isinstance(found, GetResult) and found.items else None

    async def read(
        self, where: Where, *, deadline: float, revision: Revision = Revision(0), keys_only: bool = False
    ) -> Snapshot:
        return await self._store.read(where, deadline=deadline, revision=revision, keys_only=keys_only)

    def pages(
        self, where: KeyRange, *, deadline: float, revision: Revision = Revision(0), page_size: int = 5000
    ) -> AsyncGenerator[Snapshot, None]:
        return self._store.pages(where, deadline=deadline, revision=revision, page_size=page_size)

    async def commit(self, txn: Txn, *, deadline: float) -> TxnResult:
        """Run one transaction, with others. Raises as the store's own does."""
        if not self._running:
            return await self._store.commit(txn, deadline=deadline)
        member = Member(txn, deadline)
        reads = not txn.compares and all(type(operation) is Get for operation in txn.success)
        line = self._reads if reads else self._writes
        return await line.wait_for(member)

    # --- parts ----------------------------------------------------------------------------------------------------

    async def _commit_all(self, members: Sequence[Member]) -> None:
        deadline = max(member.deadline for member in members)
        if len(members) == 1:
            members[0].settle(await self._store.commit(members[0].txn, deadline=deadline))
            return
        try:
            whole = await self._store.commit(Txn((), [member.txn for member in members]), deadline=deadline)
        except (Rejected, LeaseNotFound):
            for member in members:
                await _settled([member], self._commit_all)
            return
        for member, result in zip(members, whole.results, strict=True):
            if isinstance(result, TxnResult):
                member.settle(result)

    async def _read_all(self, members: Sequence[Member]) -> None:
        asked = dict.fromkeys(get for member in members for get in member.txn.success if isinstance(get, Get))
        reading = Txn((), list(asked))
        deadline = max(member.deadline for member in members)
        try:
            whole = await self._store.commit(reading, deadline=deadline)
        except Uncertain:
            # The store never repeats a transaction; this one only reads.
            whole = await self._store.commit(reading, deadline=deadline)
        found = dict(zip(asked, whole.results, strict=True))
        for member in members:
            own = [found[get] for get in member.txn.success if isinstance(get, Get)]
            member.settle(TxnResult(True, whole.revision, own))


class _Line:
    """Members that wait to be carried out by whichever worker is free."""

    def __init__(
        self, carry_out: Callable[[Sequence[Member]], Awaitable[None]], fits: Callable[[_Company], bool]
    ) -> None:
        self._carry_out, self._fits = carry_out, fits
        self._waiting: deque[Member] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()

    async def wait_for(self, member: Member) -> TxnResult:
        self._waiting.append(member)
        self._wake()
        return await member.answer

    async def serve(self) -> None:
        while True:
            if not self._waiting:
                wake = asyncio.get_running_loop().create_future()
                self._idle.append(wake)
                await wake
            await asyncio.sleep(0)  # whoever is awake by now joins
            members = self._take()
            if self._waiting:
                self._wake()
            if members:
                await _settled(members, self._carry_out)

    def close(self) -> None:
        """Nobody serves any more."""
        while self._waiting:
            self._waiting.popleft().settle(Unavailable("nothing was sent: the group commit has ended"))

    def _wake(self) -> None:
        """One worker, if one is idle: a batch is to grow."""
        while self._idle:
            wake = self._idle.popleft()
            if not wake.done():
                wake.set_result(None)
                return

    def _take(self) -> list[Member]:
        """As many as go together, in the order in which they came; the others stay."""
        company, left = _Company(), list[Member]()
        while self._waiting and len(company.members) < MEMBERS and len(left) < MEMBERS:
            member = self._waiting.popleft()
            if not member.answer.done() and not company.admits(member, self._fits):
                left.append(member)
        self._waiting.extendleft(reversed(left))
        return company.members


class _Company:
    """Those that go together."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.touched: set[Where] = set()
        self.written: set[Where] = set()
        self.heaviest = 0

    def admits(self, member: Member, fits: Callable[[_Company], bool]) -> bool:
        """Take it in, if it means the same among them and etcd takes so much. The first is always taken."""
        if not (
            member.written.isdisjoint(self.touched)
            and member.written.isdisjoint(self.written)
            and member.touched.isdisjoint(self.written)
        ):
            return False
        before = (self.touched, self.heaviest)
        self.touched, self.heaviest = self.touched | member.touched, max(self.heaviest, member.weight)
        self.members.append(member)
        if len(self.members) > 1 and not fits(self):
            self.members.pop()
            self.touched, self.heaviest = before
            return False
        self.written |= member.written
        return True


def _nests(company: _Company) -> bool:
    return len(company.members) + company.heaviest <= MAX_OPERATIONS


def _reads_at_once(company: _Company) -> bool:
    return len(company.touched) <= MAX_OPERATIONS


async def _settled(members: Sequence[Member], carry_out: Callable[[Sequence[Member]], Awaitable[None]]) -> None:
    """Whatever comes of it, everybody is told, and the worker goes on."""
    try:
        await carry_out(members)
    except asyncio.CancelledError:
        for member in members:
            member.settle(Uncertain("the group commit has ended meanwhile"))
        raise
    except StoreError as error:
        for member in members:
            member.settle(error)
    except Exception as error:
        # The supervisor of one batch: a mistake in it must not end the others.
        log.exception("batch_broken", members=len(members))
        for member in members:
            member.settle(error)
