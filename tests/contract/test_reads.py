"""Reads: one key, a range, page by page, at one revision."""

from __future__ import annotations

import pytest

from leasehold.protocol.errors import Compacted, Rejected
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.names import Revision
from leasehold.protocol.store import Delete, KeyRange, Put, Txn

DEADLINE = 10.0


async def put(etcd: EtcdClient, *pairs: tuple[bytes, bytes]) -> Revision:
    done = await etcd.commit(Txn((), [Put(key, value) for key, value in pairs]), deadline=DEADLINE)
    return done.revision


async def test_an_absent_key_is_none(etcd: EtcdClient, prefix: bytes) -> None:
    assert await etcd.get(prefix + b"a", deadline=DEADLINE) is None


async def test_a_key_carries_its_revisions_and_version(etcd: EtcdClient, prefix: bytes) -> None:
    created = await put(etcd, (prefix + b"a", b"1"))
    changed = await put(etcd, (prefix + b"a", b"2"))
    found = await etcd.get(prefix + b"a", deadline=DEADLINE)
    assert found is not None
    assert (found.key, found.value, found.lease) == (prefix + b"a", b"2", 0)
    assert (found.create_revision, found.mod_revision, found.version) == (created, changed, 2)


async def test_a_key_created_again_is_another_creation(etcd: EtcdClient, prefix: bytes) -> None:
    first = await put(etcd, (prefix + b"a", b"1"))
    await etcd.commit(Txn((), [Delete(prefix + b"a")]), deadline=DEADLINE)
    second = await put(etcd, (prefix + b"a", b"1"))
    found = await etcd.get(prefix + b"a", deadline=DEADLINE)
    assert found is not None
    assert found.create_revision == second > first
    assert found.version == 1


async def test_a_range_does_not_see_siblings(etcd: EtcdClient, prefix: bytes) -> None:
    inside = [prefix + b"a/1", prefix + b"a/2", prefix + b"a/\xff"]
    await put(etcd, *((key, b"") for key in [*inside, prefix + b"a", prefix + b"a0", prefix + b"b/1"]))
    found = await etcd.read(KeyRange.under(prefix + b"a/"), deadline=DEADLINE)
    assert [item.key for item in found.items] == inside


async def test_reading_one_key_is_a_snapshot_of_at_most_one(etcd: EtcdClient, prefix: bytes) -> None:
    written = await put(etcd, (prefix + b"a", b"1"), (prefix + b"ab", b"2"))
    found = await etcd.read(prefix + b"a", deadline=DEADLINE)
    assert [item.key for item in found.items] == [prefix + b"a"]
    assert found.revision >= written


async def test_an_empty_range_is_an_empty_snapshot_with_a_revision(etcd: EtcdClient, prefix: bytes) -> None:
    found = await etcd.read(KeyRange.under(prefix), deadline=DEADLINE)
    assert list(found.items) == []
    assert found.revision > 0
    assert [list(page.items) async for page in etcd.pages(KeyRange.under(prefix), deadline=DEADLINE)] == [[]]


async def test_keys_only_leaves_the_values_out(etcd: EtcdClient, prefix: bytes) -> None:
    await put(etcd, (prefix + b"a", b"1"))
    found = await etcd.read(KeyRange.under(prefix), deadline=DEADLINE, keys_only=True)
    assert [(item.key, item.value) for item in found.items] == [(prefix + b"a", b"")]


async def test_pages_are_one_snapshot_although_somebody_writes_between_them(etcd: EtcdClient, prefix: bytes) -> None:
    before = [(prefix + b"%03d" % number, b"old") for number in range(50)]
    written = await put(etcd, *before)
    seen = []
    async for page in etcd.pages(KeyRange.under(prefix), deadline=DEADLINE, page_size=7):
        assert len(page.items) <= 7
        seen += [(item.key, item.value) for item in page.items]
        revision = page.revision
        await put(etcd, (prefix + b"%03d" % (len(seen) + 1), b"new"), (prefix + b"999", b"new"))
        await etcd.commit(Txn((), [Delete(prefix + b"%03d" % (len(seen) + 2))]), deadline=DEADLINE)
    assert seen == before
    assert revision >= written


async def test_a_page_that_is_exactly_full_is_followed_by_no_page_or_an_empty_one(
    etcd: EtcdClient, prefix: bytes
) -> None:
    await put(etcd, *((prefix + b"%d" % number, b"") for number in range(6)))
    pages = [page async for page in etcd.pages(KeyRange.under(prefix), deadline=DEADLINE, page_size=3)]
    assert [len(page.items) for page in pages if page.items] == [3, 3]


async def test_the_past_can_be_read_at_its_revision(etcd: EtcdClient, prefix: bytes) -> None:
    past = await put(etcd, (prefix + b"a", b"old"))
    await put(etcd, (prefix + b"a", b"new"), (prefix + b"b", b"new"))
    found = await etcd.read(KeyRange.under(prefix), deadline=DEADLINE, revision=past)
    assert found.revision == past
    assert [(item.key, item.value) for item in found.items] == [(prefix + b"a", b"old")]


async def test_a_compacted_past_raises_compacted(etcd: EtcdClient, prefix: bytes) -> None:
    past = await put(etcd, (prefix + b"a", b"1"))
    await put(etcd, (prefix + b"a", b"2"))
    last = await put(etcd, (prefix + b"a", b"3"))
    await etcd.compact(last, deadline=DEADLINE)
    await etcd.compact(last, deadline=DEADLINE)  # once more is no error
    with pytest.raises(Compacted):
        await etcd.read(KeyRange.under(prefix), deadline=DEADLINE, revision=past)
    at_the_edge = await etcd.read(KeyRange.under(prefix), deadline=DEADLINE, revision=last)
    assert [item.value for item in at_the_edge.items] == [b"3"]


async def test_a_compaction_between_two_pages_raises_compacted(etcd: EtcdClient, prefix: bytes) -> None:
    await put(etcd, *((prefix + b"%d" % number, b"") for number in range(6)))
    pages = etcd.pages(KeyRange.under(prefix), deadline=DEADLINE, page_size=2)
    await anext(pages)
    for number in range(2):
        last = await put(etcd, (prefix + b"x", b"%d" % number))
    await etcd.compact(last, deadline=DEADLINE)
    with pytest.raises(Compacted):
        assert [page async for page in pages]


async def test_the_future_cannot_be_read(etcd: EtcdClient, prefix: bytes) -> None:
    now = await put(etcd, (prefix + b"a", b"1"))
    with pytest.raises(Rejected):
        await etcd.read(KeyRange.under(prefix), deadline=DEADLINE, revision=Revision(now + 100_000))


async def test_large_answers_arrive_whole(etcd: EtcdClient, prefix: bytes) -> None:
    for number in range(12):
        await put(etcd, (prefix + b"%02d" % number, b"%d" % number * 500_000))
    found = await etcd.read(KeyRange.under(prefix), deadline=DEADLINE)
    assert sum(len(item.value) for item in found.items) == 500_000 * (10 + 2 * 2)
