"""Small transactions in groups: each means what it meant alone, and each learns its own result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from leasehold.control_plane.grouping import MEMBERS, Grouping
from leasehold.protocol.errors import LeaseNotFound, StoreError, Uncertain
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.names import LeaseId
from leasehold.protocol.store import (
    Compare,
    Delete,
    Get,
    GetResult,
    KeyRange,
    Put,
    Relation,
    Target,
    Txn,
    TxnResult,
    absent,
    present,
)

DEADLINE = 5.0


class Counted(EtcdClient):
    """Counts the transactions that leave; ``uncertain`` of those that write are carried out and then lost."""

    commits = 0
    uncertain = 0

    async def commit(self, txn: Txn, *, deadline: float) -> TxnResult:
        self.commits += 1
        result = await super().commit(txn, deadline=deadline)
        if self.uncertain and any(not isinstance(operation, Get) for operation in txn.success):
            self.uncertain -= 1
            raise Uncertain("the answer was lost")
        return result


@pytest.fixture
async def store(etcd: EtcdClient) -> AsyncIterator[Counted]:
    async with Counted(etcd.config) as client:
        yield client


@asynccontextmanager
async def grouped(store: Counted) -> AsyncIterator[Grouping]:
    grouping = Grouping(store)
    running = asyncio.create_task(grouping.run())
    await asyncio.sleep(0)
    try:
        yield grouping
    finally:
        running.cancel()
        await asyncio.wait([running])


async def commit_all(grouping: Grouping, *txns: Txn) -> list[TxnResult | BaseException]:
    commits = (grouping.commit(txn, deadline=DEADLINE) for txn in txns)
    return await asyncio.gather(*commits, return_exceptions=True)


def succeeded(result: TxnResult | BaseException) -> bool:
    assert isinstance(result, TxnResult), result
    return result.succeeded


async def test_each_learns_its_own_result_and_few_transactions_leave(store: Counted, prefix: bytes) -> None:
    async with grouped(store) as grouping:
        await store.commit(Txn((), [Put(prefix + b"%d" % n, b"old") for n in range(0, 40, 2)]), deadline=DEADLINE)
        store.commits = 0
        results = await commit_all(
            grouping, *(Txn((absent(prefix + b"%d" % n),), (Put(prefix + b"%d" % n, b"new"),)) for n in range(40))
        )
    assert [succeeded(result) for result in results] == [bool(n % 2) for n in range(40)]
    assert store.commits <= 4
    found = await store.read(KeyRange.under(prefix), deadline=DEADLINE)
    assert {item.key: item.value for item in found.items} == {
        prefix + b"%d" % n: b"new" if n % 2 else b"old" for n in range(40)
    }


async def test_two_of_which_one_writes_what_the_other_compares_are_as_if_one_after_the_other(
    store: Counted, prefix: bytes
) -> None:
    tombstone, sweep = prefix + b"tombstone", prefix + b"sweep"
    await store.commit(Txn((), (Put(tombstone, b""),)), deadline=DEADLINE)
    prepare = Txn((present(tombstone), absent(sweep)), (Put(sweep, b""),))
    revive = Txn((absent(sweep),), (Delete(tombstone),))
    async with grouped(store) as grouping:
        results = await commit_all(grouping, prepare, revive)
    assert sorted(map(succeeded, results)) == [False, True], "together, both would find what they look for"


async def test_two_that_put_the_same_key_do_not_spoil_each_other(store: Counted, prefix: bytes) -> None:
    async with grouped(store) as grouping:
        results = await commit_all(grouping, *(Txn((), (Put(prefix + b"k", b"%d" % n),)) for n in range(5)))
    assert all(map(succeeded, results))
    found = await store.get(prefix + b"k", deadline=DEADLINE)
    assert found is not None
    assert found.version == 5


async def test_a_member_that_etcd_refuses_does_not_cost_the_others_theirs(store: Counted, prefix: bytes) -> None:
    bad = Txn((), (Put(prefix + b"bad", b"", LeaseId(4711)),))
    good = [Txn((), (Put(prefix + b"good%d" % n, b""),)) for n in range(10)]
    async with grouped(store) as grouping:
        results = await commit_all(grouping, *good[:5], bad, *good[5:])
    assert isinstance(results.pop(5), LeaseNotFound)
    assert all(map(succeeded, results))


async def test_an_unknown_outcome_is_unknown_to_each(store: Counted, prefix: bytes) -> None:
    async with grouped(store) as grouping:
        store.uncertain = 1
        results = await commit_all(grouping, *(Txn((), (Put(prefix + b"%d" % n, b""),)) for n in range(10)))
        assert all(isinstance(result, Uncertain) for result in results)
        assert all([await grouping.get(prefix + b"%d" % n, deadline=DEADLINE) for n in range(10)])


async def test_reads_are_of_one_revision_and_ask_for_each_key_once(store: Counted, prefix: bytes) -> None:
    await store.commit(Txn((), [Put(prefix + b"%d" % n, b"%d" % n) for n in range(50)]), deadline=DEADLINE)
    store.commits = 0
    shared = Get(prefix + b"0")
    async with grouped(store) as grouping:
        results = await commit_all(grouping, *(Txn((), (shared, Get(prefix + b"%d" % n))) for n in range(50)))
    assert store.commits == 1
    for n, result in enumerate(results):
        assert isinstance(result, TxnResult)
        values = [found.items[0].value for found in result.results if isinstance(found, GetResult)]
        assert values == [b"0", b"%d" % n]
    assert len({result.revision for result in results if isinstance(result, TxnResult)}) == 1


async def test_more_than_etcd_takes_at_once_is_split(store: Counted, prefix: bytes) -> None:
    def heavy(n: int) -> Txn:
        key = prefix + b"%d" % n
        return Txn([Compare(key, Target.MOD, Relation.LESS, 10**9)] * 90, (Put(key, b""),))

    async with grouped(store) as grouping:
        results = await commit_all(grouping, *(heavy(n) for n in range(MEMBERS * 2)))
        assert all(map(succeeded, results))
        reads = await commit_all(
            grouping, *(Txn((), [Get(prefix + b"%d/%d" % (n, m)) for m in range(90)]) for n in range(4))
        )
    assert not [result for result in reads if isinstance(result, StoreError)]


async def test_who_does_not_wait_any_more_disturbs_nobody(store: Counted, prefix: bytes) -> None:
    async with grouped(store) as grouping:
        calls = [
            asyncio.create_task(grouping.commit(Txn((), (Put(prefix + b"%d" % n, b""),)), deadline=DEADLINE))
            for n in range(10)
        ]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
    assert all(succeeded(result) for result in ended[1::2])


async def test_without_its_workers_each_goes_alone(store: Counted, prefix: bytes) -> None:
    grouping = Grouping(store)
    results = await commit_all(grouping, *(Txn((), (Put(prefix + b"%d" % n, b""),)) for n in range(3)))
    assert all(map(succeeded, results))
    assert store.commits == 3


async def test_when_it_ends_nobody_waits_for_ever(store: Counted, prefix: bytes) -> None:
    async with grouped(store) as grouping:
        await asyncio.sleep(0)
        calls = [
            asyncio.create_task(grouping.commit(Txn((), (Put(prefix + b"k", b""),)), deadline=DEADLINE))
            for _ in range(10)
        ]
        await asyncio.sleep(0)
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(one, TxnResult | StoreError) for one in ended)
