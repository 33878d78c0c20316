"""Transactions: what etcd's semantics are, so that nobody has to believe the comments."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

import etcd3
import pytest

from leasehold.protocol.errors import LeaseNotFound, Rejected
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.names import LeaseId, Revision
from leasehold.protocol.store import (
    MAX_OPERATIONS,
    Compare,
    Delete,
    DeleteResult,
    Get,
    GetResult,
    KeyRange,
    Operation,
    Put,
    PutResult,
    Relation,
    Target,
    Txn,
    TxnResult,
    Where,
    absent,
    created_at,
    holds_value,
    nothing_newer_than,
    present,
    unchanged,
)

DEADLINE = 10.0


async def commit(etcd: EtcdClient, *operations: Operation, compares: Sequence[Compare] = ()) -> TxnResult:
    return await etcd.commit(Txn(compares, operations), deadline=DEADLINE)


async def holds(etcd: EtcdClient, compare: Compare) -> bool:
    return (await etcd.commit(Txn([compare]), deadline=DEADLINE)).succeeded


async def test_the_branch_that_runs_is_the_one_the_compares_choose(etcd: EtcdClient, prefix: bytes) -> None:
    key = prefix + b"a"
    txn = Txn([absent(key)], [Put(key, b"first")], [Get(key)])
    first = await etcd.commit(txn, deadline=DEADLINE)
    second = await etcd.commit(txn, deadline=DEADLINE)
    assert (first.succeeded, list(first.results)) == (True, [PutResult()])
    assert not second.succeeded
    [found] = second.results
    assert isinstance(found, GetResult)
    assert [item.value for item in found.items] == [b"first"]
    assert found.items[0].mod_revision == first.revision == second.revision


async def test_an_empty_transaction_is_one(etcd: EtcdClient) -> None:
    assert (await etcd.commit(Txn(), deadline=DEADLINE)).succeeded


async def test_each_compare_means_what_its_name_says(etcd: EtcdClient, prefix: bytes) -> None:
    key, nothing = prefix + b"a", prefix + b"none"
    created = (await commit(etcd, Put(key, b"v"))).revision
    changed = (await commit(etcd, Put(key, b"w"))).revision
    true = [
        absent(nothing), present(key), unchanged(key, changed), unchanged(nothing, Revision(0)),
        holds_value(key, b"w"), created_at(key, created), nothing_newer_than(key, changed),
        Compare(key, Target.VERSION, Relation.EQUAL, 2), Compare(key, Target.LEASE, Relation.EQUAL, 0),
        Compare(key, Target.VALUE, Relation.NOT_EQUAL, b"v"), Compare(key, Target.VALUE, Relation.GREATER, b"v"),
    ]  # fmt: skip
    false = [
        absent(key), present(nothing), unchanged(key, created), unchanged(key, Revision(0)),
        holds_value(key, b"v"), created_at(key, changed), nothing_newer_than(key, created),
        Compare(key, Target.VERSION, Relation.GREATER, 2), Compare(key, Target.VALUE, Relation.LESS, b"w"),
    ]  # fmt: skip
    assert [await holds(etcd, compare) for compare in true] == [True] * len(true)
    assert [await holds(etcd, compare) for compare in false] == [False] * len(false)


async def test_a_value_compare_on_an_absent_key_is_false_even_for_the_empty_value(
    etcd: EtcdClient, prefix: bytes
) -> None:
    nowhere: list[Where] = [prefix + b"a", KeyRange.under(prefix)]
    for where in nowhere:
        assert not await holds(etcd, Compare(where, Target.VALUE, Relation.EQUAL, b""))
        assert not await holds(etcd, Compare(where, Target.VALUE, Relation.NOT_EQUAL, b"x"))


async def test_a_compare_over_a_range_must_hold_for_every_key(etcd: EtcdClient, prefix: bytes) -> None:
    there = KeyRange.under(prefix)
    assert await holds(etcd, absent(there))
    old = (await commit(etcd, Put(prefix + b"a", b"v"))).revision
    assert not await holds(etcd, absent(there))
    assert await holds(etcd, nothing_newer_than(there, old))
    new = (await commit(etcd, Put(prefix + b"b", b"v"))).revision
    assert not await holds(etcd, nothing_newer_than(there, old))
    assert await holds(etcd, nothing_newer_than(there, new))
    assert await holds(etcd, Compare(there, Target.VALUE, Relation.EQUAL, b"v"))


async def test_over_an_empty_range_a_compare_sees_zero(etcd: EtcdClient, prefix: bytes) -> None:
    there = KeyRange.under(prefix)
    for target in (Target.VERSION, Target.CREATE, Target.MOD, Target.LEASE):
        assert await holds(etcd, Compare(there, target, Relation.EQUAL, 0))
        assert not await holds(etcd, Compare(there, target, Relation.GREATER, 0))


async def test_everything_of_a_transaction_has_its_revision(etcd: EtcdClient, prefix: bytes) -> None:
    nested = Txn((), [Put(prefix + b"c", b"")])
    done = await commit(etcd, Put(prefix + b"a", b""), Put(prefix + b"b", b""), nested)
    found = await etcd.read(KeyRange.under(prefix), deadline=DEADLINE)
    assert {item.mod_revision for item in found.items} == {done.revision}
    inner = done.results[2]
    assert isinstance(inner, TxnResult)
    assert inner.revision == done.revision


async def test_nested_compares_see_the_state_before_the_whole_transaction(etcd: EtcdClient, prefix: bytes) -> None:
    a, b = prefix + b"a", prefix + b"b"
    done = await commit(etcd, Put(a, b"1"), Txn([absent(a)], [Put(b, b"a was absent")], [Put(b, b"a was there")]))
    assert isinstance(done.results[1], TxnResult)
    assert done.results[1].succeeded
    found = await etcd.get(b, deadline=DEADLINE)
    assert found is not None
    assert found.value == b"a was absent"


async def test_a_get_sees_what_the_transaction_wrote_before_it(etcd: EtcdClient, prefix: bytes) -> None:
    done = await commit(etcd, Put(prefix + b"a", b"1"), Get(KeyRange.under(prefix)))
    found = done.results[1]
    assert isinstance(found, GetResult)
    assert ([item.value for item in found.items], found.count) == ([b"1"], 1)


async def test_a_get_may_be_limited_and_still_counts_all(etcd: EtcdClient, prefix: bytes) -> None:
    await commit(etcd, *(Put(prefix + b"%d" % number, b"v") for number in range(5)))
    [found] = (await commit(etcd, Get(KeyRange.under(prefix), limit=2, keys_only=True))).results
    assert isinstance(found, GetResult)
    assert ([item.key[-1:] for item in found.items], found.count) == ([b"0", b"1"], 5)
    assert {item.value for item in found.items} == {b""}


async def test_deletes_say_how_many_keys_they_removed(etcd: EtcdClient, prefix: bytes) -> None:
    await commit(etcd, *(Put(prefix + b"%d" % number, b"v") for number in range(5)))
    done = await commit(etcd, Delete(prefix + b"0"), Delete(prefix + b"none"), Delete(KeyRange.under(prefix)))
    assert list(done.results) == [DeleteResult(1), DeleteResult(0), DeleteResult(4)]


async def test_deleting_nothing_makes_no_revision(etcd: EtcdClient, prefix: bytes) -> None:
    before = (await commit(etcd, Put(prefix + b"a", b""))).revision
    assert (await commit(etcd, Delete(prefix + b"none"))).revision == before


async def test_one_key_cannot_be_put_twice(etcd: EtcdClient, prefix: bytes) -> None:
    key = prefix + b"a"
    refused = [
        [Put(key, b"1"), Put(key, b"2")],
        [Put(key, b"1"), Delete(key)],
        [Put(key, b"1"), Delete(KeyRange.under(prefix))],
        [Put(key, b"1"), Txn((), [Put(key, b"2")])],
        [Txn((), [Put(key, b"1")]), Txn((), (), [Put(key, b"2")])],
        [Txn((), [Delete(key)]), Put(key, b"2")],
    ]
    for operations in refused:
        with pytest.raises(Rejected, match="duplicate key"):
            await commit(etcd, *operations)
    assert await etcd.get(key, deadline=DEADLINE) is None


async def test_two_branches_of_one_nested_transaction_may_put_the_same_key(etcd: EtcdClient, prefix: bytes) -> None:
    key = prefix + b"a"
    await commit(etcd, Txn([present(key)], [Put(key, b"again")], [Put(key, b"first")]))
    found = await etcd.get(key, deadline=DEADLINE)
    assert found is not None
    assert found.value == b"first"


async def test_the_same_key_may_be_deleted_twice(etcd: EtcdClient, prefix: bytes) -> None:
    await commit(etcd, Put(prefix + b"a", b""))
    done = await commit(etcd, Delete(prefix + b"a"), Delete(prefix + b"a"))
    assert list(done.results) == [DeleteResult(1), DeleteResult(0)]


async def test_a_level_holds_as_many_operations_as_etcd_allows_and_not_one_more(
    etcd: EtcdClient, prefix: bytes
) -> None:
    puts = [Put(prefix + b"%03d" % number, b"") for number in range(MAX_OPERATIONS + 1)]
    assert (await commit(etcd, *puts[:-1])).succeeded
    with pytest.raises(Rejected, match="too many operations"):
        await commit(etcd, *puts)
    with pytest.raises(Rejected, match="too many operations"):
        await commit(etcd, compares=[absent(put.key) for put in puts])


async def test_a_nested_level_holds_what_the_levels_above_have_left_over(etcd: EtcdClient, prefix: bytes) -> None:
    def batch(width: int, depth: int) -> list[Txn]:
        return [
            Txn((), [Put(prefix + b"%d/%d" % (number, inner), b"") for inner in range(depth)])
            for number in range(width)
        ]

    assert (await commit(etcd, *batch(MAX_OPERATIONS - 6, 6))).succeeded
    with pytest.raises(Rejected, match="too many operations"):
        await commit(etcd, *batch(MAX_OPERATIONS - 5, 6))


async def test_a_hundred_registrations_of_six_operations_are_one_commit(etcd: EtcdClient, prefix: bytes) -> None:
    def registration(number: int) -> Txn:
        keys = [prefix + b"%03d/%d" % (number, part) for part in range(5)]
        return Txn(
            [absent(key) for key in keys],
            [*(Put(key, b"v") for key in keys), Delete(prefix + b"%03d/tombstone" % number)],
            [Get(keys[0])],
        )

    batch = Txn((), [registration(number) for number in range(100)])
    first = await etcd.commit(batch, deadline=DEADLINE)
    assert all(isinstance(result, TxnResult) and result.succeeded for result in first.results)
    second = await etcd.commit(batch, deadline=DEADLINE)
    assert not any(isinstance(result, TxnResult) and result.succeeded for result in second.results)
    assert second.revision == first.revision
    found = await etcd.read(KeyRange.under(prefix), deadline=DEADLINE)
    assert len(found.items) == 500
    assert {item.mod_revision for item in found.items} == {first.revision}


async def test_a_put_on_a_lost_lease_writes_nothing_at_all(etcd: EtcdClient, prefix: bytes) -> None:
    leased = Put(prefix + b"beacon", b"", LeaseId(0x7FFF_0000_0000_0001))
    with pytest.raises(LeaseNotFound):
        await commit(etcd, Put(prefix + b"a", b""), leased)
    with pytest.raises(LeaseNotFound):
        await commit(etcd, Put(prefix + b"a", b""), Txn((), [leased]))
    assert not (await etcd.read(KeyRange.under(prefix), deadline=DEADLINE)).items


async def test_keys_must_not_be_empty(etcd: EtcdClient) -> None:
    with pytest.raises(Rejected):
        await commit(etcd, Put(b"", b"v"))


async def test_keys_and_values_may_be_any_bytes(etcd: EtcdClient, prefix: bytes) -> None:
    key, value = prefix + bytes(range(256)), bytes(reversed(range(256)))
    await commit(etcd, Put(key, value))
    found = await etcd.get(key, deadline=DEADLINE)
    assert found is not None
    assert (found.key, found.value) == (key, value)


@pytest.mark.etcd
async def test_an_independent_client_sees_what_we_wrote(real_etcd: EtcdProcess | None, prefix: bytes) -> None:
    if real_etcd is None:
        pytest.skip("no etcd here")
    async with EtcdClient(EtcdConfig(endpoints=[real_etcd.endpoint])) as etcd:
        lease = (await etcd.grant(60, deadline=DEADLINE)).lease
        batch = [Txn([absent(prefix + b"%d" % n)], [Put(prefix + b"%d" % n, b"v%d" % n, lease)]) for n in range(9)]
        done = await commit(etcd, *batch)
    address = urlsplit(real_etcd.endpoint)

    def witness() -> list[tuple[bytes, bytes, int, int]]:
        client = etcd3.Client(address.hostname, address.port)
        try:
            found = client.range(prefix, prefix=True).kvs
            return [(kv.key, kv.value, int(kv.mod_revision), int(kv.lease)) for kv in found]
        finally:
            client.close()

    expected = [(prefix + b"%d" % n, b"v%d" % n, done.revision, lease) for n in range(9)]
    assert await asyncio.to_thread(witness) == expected
