"""Watches: nothing missed, nothing twice, whatever happens to the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from leasehold.protocol.errors import Compacted, Unavailable
from leasehold.protocol.etcd import rpc_pb2 as rpc
from leasehold.protocol.etcd.assembly import BATCH_EVENTS, Assembly, answers_are_ordered
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.names import LeaseId, Revision
from leasehold.protocol.store import Change, Delete, Event, KeyRange, Put, Txn, WatchBatch
from tests.fakes.etcd import FakeEtcd

DEADLINE = 10.0


async def put(etcd: EtcdClient, *keys: bytes, lease: LeaseId = LeaseId(0)) -> Revision:
    done = await etcd.commit(Txn((), [Put(key, b"v", lease) for key in keys]), deadline=DEADLINE)
    return done.revision


async def collect(batches: AsyncIterator[WatchBatch], count: int) -> list[Event]:
    """The first ``count`` events, or a little more: the batch that completes them is taken whole."""
    events: list[Event] = []
    async with asyncio.timeout(DEADLINE):
        while len(events) < count:
            events += (await anext(batches)).events
    return events


async def test_a_watch_tells_what_happened_and_what_happens(etcd: EtcdClient, prefix: bytes) -> None:
    first = await put(etcd, prefix + b"a")
    async with aclosing(etcd.watch(KeyRange.under(prefix), start=first)) as batches:
        assert [event.item.key for event in await collect(batches, 1)] == [prefix + b"a"]
        second = await put(etcd, prefix + b"b")
        [event] = await collect(batches, 1)
        assert (event.change, event.item.key, event.item.value) == (Change.PUT, prefix + b"b", b"v")
        assert (event.item.create_revision, event.item.mod_revision, event.item.version) == (second, second, 1)


async def test_a_watch_without_a_start_begins_now(etcd: EtcdClient, prefix: bytes) -> None:
    await put(etcd, prefix + b"before")
    async with aclosing(etcd.watch(KeyRange.under(prefix), start=Revision(0), progress_every=0.2)) as batches:
        async with asyncio.timeout(DEADLINE):
            assert not (await anext(batches)).events  # progress: it listens
        await put(etcd, prefix + b"after")
        assert [event.item.key for event in await collect(batches, 1)] == [prefix + b"after"]


async def test_a_watch_on_one_key_sees_that_key_only(etcd: EtcdClient, prefix: bytes) -> None:
    start = await put(etcd, prefix + b"aa", prefix + b"b")
    async with aclosing(etcd.watch(prefix + b"a", start=start)) as batches:
        await put(etcd, prefix + b"ab")
        await put(etcd, prefix + b"a")
        assert [event.item.key for event in await collect(batches, 1)] == [prefix + b"a"]


async def test_a_delete_carries_the_key_and_the_revision_of_the_delete(etcd: EtcdClient, prefix: bytes) -> None:
    start = await put(etcd, prefix + b"a")
    deleted = (await etcd.commit(Txn((), [Delete(prefix + b"a")]), deadline=DEADLINE)).revision
    async with aclosing(etcd.watch(KeyRange.under(prefix), start=start)) as batches:
        event = (await collect(batches, 2))[1]
    assert (event.change, event.item.key, event.item.value) == (Change.DELETE, prefix + b"a", b"")
    assert event.item.mod_revision == deleted


async def test_the_end_of_a_lease_is_seen_as_deletes(etcd: EtcdClient, prefix: bytes) -> None:
    lease = (await etcd.grant(30, deadline=DEADLINE)).lease
    start = await put(etcd, prefix + b"a", prefix + b"b", lease=lease)
    async with aclosing(etcd.watch(KeyRange.under(prefix), start=start)) as batches:
        await collect(batches, 2)
        await etcd.revoke(lease, deadline=DEADLINE)
        ended = await collect(batches, 2)
    assert [(event.change, event.item.key) for event in ended] == [
        (Change.DELETE, prefix + b"a"),
        (Change.DELETE, prefix + b"b"),
    ]


async def test_a_revision_is_never_split_over_two_batches(etcd: EtcdClient, prefix: bytes) -> None:
    width, transactions = 100, 60
    start = await put(etcd, prefix + b"first")
    for number in range(transactions):
        await put(etcd, *(prefix + b"%03d/%03d" % (number, key) for key in range(width)))
    seen: list[int] = []
    async with aclosing(etcd.watch(KeyRange.under(prefix), start=Revision(start + 1))) as batches:
        async with asyncio.timeout(DEADLINE):
            while len(seen) < transactions:
                batch = await anext(batches)
                revisions = [event.item.mod_revision for event in batch.events]
                assert all(revisions.count(revision) == width for revision in set(revisions))
                assert revisions == sorted(revisions)
                assert not revisions or batch.revision == revisions[-1]
                seen += sorted(set(revisions))
    assert seen == sorted(set(seen))


async def test_silence_is_broken_by_progress(etcd: EtcdClient, prefix: bytes) -> None:
    start = await put(etcd, prefix + b"a")
    async with aclosing(etcd.watch(KeyRange.under(prefix), start=start, progress_every=0.2)) as batches:
        await collect(batches, 1)
        async with asyncio.timeout(2):
            for _ in range(3):
                batch = await anext(batches)
                assert not batch.events
                assert batch.revision >= start


async def test_a_start_that_is_compacted_raises_compacted_and_says_what_is_left(
    etcd: EtcdClient, prefix: bytes
) -> None:
    start = await put(etcd, prefix + b"a")
    await put(etcd, prefix + b"a")
    last = await put(etcd, prefix + b"a")
    await etcd.compact(last, deadline=DEADLINE)
    with pytest.raises(Compacted) as gone:
        await collect(etcd.watch(KeyRange.under(prefix), start=start), 1)
    assert gone.value.compact_revision >= last


async def test_the_compacted_revision_itself_can_still_be_watched_from(etcd: EtcdClient, prefix: bytes) -> None:
    await put(etcd, prefix + b"a")
    last = await put(etcd, prefix + b"a")
    await etcd.compact(last, deadline=DEADLINE)
    async with aclosing(etcd.watch(KeyRange.under(prefix), start=last)) as batches:
        await put(etcd, prefix + b"b")
        assert [event.item.key[-1:] for event in await collect(batches, 2)] == [b"a", b"b"]


async def test_nothing_is_missed_and_nothing_comes_twice_over_broken_connections(
    etcd: EtcdClient, prefix: bytes, endpoint: str
) -> None:
    total = 200
    async with Cutter(endpoint) as cutter, EtcdClient(cutter.config) as watching:
        start = await put(etcd, prefix + b"first")
        batches = watching.watch(KeyRange.under(prefix), start=Revision(start + 1))
        async with aclosing(batches):

            async def write() -> None:
                for number in range(total):
                    await put(etcd, prefix + b"%03d" % number)
                    if number % 40 == 20:
                        cutter.cut()
                        await asyncio.sleep(0.1)

            writer = asyncio.create_task(write())
            events = await collect(batches, total)
            await writer
    assert [event.item.key for event in events] == [prefix + b"%03d" % number for number in range(total)]
    assert cutter.connections > 5


async def test_a_compaction_while_cut_off_raises_compacted(fake: FakeEtcd, faked: EtcdClient, prefix: bytes) -> None:
    start = await put(faked, prefix + b"a")
    async with aclosing(faked.watch(KeyRange.under(prefix), start=start)) as batches:
        await collect(batches, 1)
        port = int(fake.endpoint.rpartition(":")[2])
        await fake.stop()
        for number in range(3):
            put_request = rpc.PutRequest(key=prefix + b"%d" % number)
            fake.store.txn(rpc.TxnRequest(success=[rpc.RequestOp(request_put=put_request)]))
        fake.store.compact(fake.store.revision)
        again = FakeEtcd()
        again.store = fake.store
        await again.start(port)
        try:
            with pytest.raises(Compacted):
                await collect(batches, 1)
        finally:
            await again.stop()


async def test_a_watch_that_hears_nothing_connects_anew(fake: FakeEtcd, faked: EtcdClient, prefix: bytes) -> None:
    start = await put(faked, prefix + b"a")
    async with aclosing(faked.watch(KeyRange.under(prefix), start=start, progress_every=0.2)) as batches:
        await collect(batches, 1)
        fake.stall()
        await asyncio.sleep(1.6)  # longer than the patience of the prober
        fake.resume()
        await put(faked, prefix + b"b")
        assert [event.item.key for event in await collect(batches, 1)] == [prefix + b"b"]
    assert fake.watches_created >= 2


async def test_a_slow_consumer_gets_everything_and_is_not_taken_for_a_dead_server(
    fake: FakeEtcd, faked: EtcdClient, prefix: bytes
) -> None:
    start = await put(faked, prefix + b"first")
    async with aclosing(faked.watch(KeyRange.under(prefix), start=start, progress_every=0.2)) as batches:
        await collect(batches, 1)
        for number in range(100):
            await put(faked, prefix + b"%03d" % number)
        await asyncio.sleep(1.6)
        events = await collect(batches, 100)
    assert [event.item.key for event in events] == [prefix + b"%03d" % number for number in range(100)]
    assert fake.watches_created == 1


async def test_closing_the_iterator_ends_the_watch(fake: FakeEtcd, faked: EtcdClient, prefix: bytes) -> None:
    batches = faked.watch(KeyRange.under(prefix), start=Revision(1), progress_every=0.1)
    await anext(batches)
    await batches.aclose()
    await asyncio.sleep(0.05)
    assert not fake._changed


async def test_closing_the_client_ends_its_watches_with_unavailable(fake: FakeEtcd, prefix: bytes) -> None:
    client = EtcdClient(fake.config)
    batches = client.watch(KeyRange.under(prefix), start=Revision(1), progress_every=0.1)
    await anext(batches)
    await client.close()
    with pytest.raises(Unavailable):
        await collect(batches, 1)


async def test_cancelling_the_consumer_is_a_cancellation(faked: EtcdClient, prefix: bytes) -> None:
    async def consume() -> None:
        async for _ in faked.watch(KeyRange.under(prefix), start=Revision(1)):
            pass

    consumer = asyncio.create_task(consume())
    await asyncio.sleep(0.1)
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer


# --- the assembly alone -----------------------------------------------------------------------------------------------


def response(*revisions: int, header: int = 0, **fields: Any) -> rpc.WatchResponse:
    events = [rpc.Event(kv=rpc.KeyValue(key=b"k", mod_revision=revision)) for revision in revisions]
    return rpc.WatchResponse(header=rpc.ResponseHeader(revision=header), events=events, **fields)


def test_what_was_handed_out_before_a_reconnection_is_not_handed_out_again() -> None:
    assembly = Assembly(Revision(5))
    list(assembly.on_response(response(5, 6, 6)))
    assembly.on_connected("elsewhere", "3.5.9")
    assert assembly.resume == 7
    [batch] = assembly.on_response(response(6, 7))
    assert [event.item.mod_revision for event in batch.events] == [7]


def test_a_large_response_is_cut_between_revisions_only() -> None:
    revisions = [1] * (BATCH_EVENTS + 10) + [2] * 5 + [3] * BATCH_EVENTS + [4]
    batches = list(Assembly(Revision(1)).on_response(response(*revisions)))
    assert [sorted({event.item.mod_revision for event in batch.events}) for batch in batches] == [[1], [2, 3], [4]]
    assert [batch.revision for batch in batches] == [1, 3, 4]
    assert sum(len(batch.events) for batch in batches) == len(revisions)


@pytest.mark.parametrize(("version", "resume"), [("3.5.1", 5), ("3.5.8", 9), ("", 5)])
def test_an_answer_to_a_progress_request_is_believed_only_where_it_is_ordered(version: str, resume: int) -> None:
    assembly = Assembly(Revision(5))
    assembly.on_connected("here", version)
    [batch] = assembly.on_response(response(header=8, watch_id=-1))
    assert (assembly.resume, batch.revision) == (resume, resume - 1)


def test_progress_that_etcd_announces_by_itself_is_always_believed() -> None:
    assembly = Assembly(Revision(5))
    assembly.on_connected("here", "3.5.1")
    [batch] = assembly.on_response(response(header=8, watch_id=0))
    assert (assembly.resume, batch.revision) == (9, 8)


def test_the_versions_that_order_their_answers_are_known() -> None:
    ordered = ["3.4.25", "3.4.30", "3.5.8", "3.5.21", "3.6.0", "3.6.0-rc.1", "4.0.0"]
    unordered = ["3.3.27", "3.4.24", "3.5.0", "3.5.1", "3.5.7", "", "unknown"]
    assert [answers_are_ordered(version) for version in ordered] == [True] * len(ordered)
    assert [answers_are_ordered(version) for version in unordered] == [False] * len(unordered)


class Cutter:
    """A TCP relay in front of an endpoint, which can break every connection at will."""

    def __init__(self, endpoint: str) -> None:
        self._host, _, self._port = endpoint.removeprefix("http://").rpartition(":")
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.connections = 0

    @property
    def config(self) -> EtcdConfig:
        assert self._server is not None
        return EtcdConfig(endpoints=[f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"])

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def __aenter__(self) -> Cutter:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.sleep(0.05)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there_reader, there_writer = await asyncio.open_connection(self._host, int(self._port))
        both = {writer, there_writer}
        self._writers |= both

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()

        pumps = [asyncio.create_task(pump(reader, there_writer)), asyncio.create_task(pump(there_reader, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for sink in both:
                sink.transport.abort()
            self._writers -= both
