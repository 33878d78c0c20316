"""A keeper and its beacon, when etcd's past is another than it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from leasehold.protocol.errors import Unavailable
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Boot, Holder, LeaseId, Revision, Tenant
from leasehold.protocol.records import HolderKind
from leasehold.protocol.store import Change, Event, Grant, KeyValue, Txn, TxnResult, WatchBatch
from leasehold.sidecar.holds.entries import Life
from leasehold.sidecar.holds.etcd import Etcd
from leasehold.sidecar.holds.keeper import Keeper

KEYS = Keyspace(Tenant("t"))
A = Holder("a@1~1")
BEACON = KEYS.beacon(A)


class Past:
    """As much of an etcd as a keeper sees: one beacon, and a revision that may be set back."""

    def __init__(self) -> None:
        self.revision, self.there, self.asked, self.trouble = 1000, False, 0, False
        self.watched: list[int] = []
        self._watches: list[asyncio.Queue[WatchBatch]] = []
        self.notes: list[object] = []

    async def commit(self, txn: Txn, *, deadline: float) -> TxnResult:
        self.revision += 1
        self.there = True
        return TxnResult(True, Revision(self.revision))

    async def get(self, key: bytes, *, deadline: float) -> KeyValue | None:
        self.asked += 1
        if self.trouble:
            self.trouble = False
            raise Unavailable("not now")
        at = Revision(self.revision)
        return KeyValue(key, b"boot", at, at, 1, LeaseId(7)) if self.there else None

    async def grant(self, ttl_seconds: int, *, deadline: float, lease: LeaseId = LeaseId(0)) -> Grant:
        return Grant(LeaseId(7), ttl_seconds)

    async def keep_alive(self, lease: LeaseId, *, deadline: float) -> int:
        return 10

    async def watch(self, where: bytes, *, start: Revision) -> AsyncGenerator[WatchBatch, None]:
        self.watched.append(start)
        told: asyncio.Queue[WatchBatch] = asyncio.Queue(8)
        self._watches.append(told)
        try:
            while True:
                batch = await told.get()
                if batch.revision >= start:
                    yield batch
        finally:
            self._watches.remove(told)

    def expire(self, keeper: Keeper) -> None:
        """The beacon goes, and whoever watches hears of it."""
        self.revision += 1
        self.there = False
        at = Revision(self.revision)
        for told in self._watches:
            told.put_nowait(WatchBatch(at, (Event(Change.DELETE, KeyValue(BEACON, b"", at, at, 0, LeaseId(0))),)))

    def restored(self, revision: int) -> None:
        """A snapshot from before the beacon was put takes the place of what was there."""
        self.revision, self.there = revision, False

    # --- the rest of what a keeper is given -------------------------------------------------------------------------

    def now(self) -> float:
        return 0.0

    async def sleep_until(self, instant: float) -> None:
        if instant > 1:
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    def note(self, entry: object) -> None:
        self.notes.append(entry)

    def flush(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None  # metrics


@asynccontextmanager
async def kept(past: Past) -> AsyncIterator[Keeper]:
    life = Life(A, HolderKind.PROCESS, Boot("boot"), 10, "")
    etcd = Etcd(past, past, past, KEYS, past, "s", "1", 1.0)  # type: ignore[arg-type]
    keeper = Keeper(life, etcd, past, past, lambda _: None)  # type: ignore[arg-type]
    task = asyncio.create_task(keeper.run())
    try:
        await until(lambda: keeper.attached and past.watched)
        yield keeper
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(look: Any) -> None:
    for _ in range(500):
        if look():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to be so")


async def test_a_beacon_that_a_restored_etcd_does_not_have_is_put_back() -> None:
    """Its revision is older than our attachment, which proves nothing: that was in another past."""
    past = Past()
    async with kept(past) as keeper:
        past.restored(500)
        keeper.gone(Revision(past.revision))
        await until(lambda: keeper.attachments == 2 and keeper.attached)
        assert past.there


async def test_news_from_before_our_attachment_puts_nothing_back() -> None:
    past = Past()
    async with kept(past) as keeper:
        keeper.gone(Revision(past.revision - 1))
        await until(lambda: past.asked == 1)
        assert keeper.attached
        assert keeper.attachments == 1


async def test_a_look_that_fails_is_repeated() -> None:
    past = Past()
    async with kept(past) as keeper:
        past.restored(500)
        past.trouble = True
        keeper.gone(Revision(past.revision))
        await until(lambda: keeper.attachments == 2 and keeper.attached)


@pytest.mark.parametrize("snapshot", [500, 1001])
async def test_who_attached_again_in_another_past_is_believed_and_watched_there(snapshot: int) -> None:
    """Also where it was gone before, at a revision that the new past has not reached yet."""
    past = Past()
    async with kept(past) as keeper:
        past.revision += 500
        past.expire(keeper)
        past.restored(snapshot)
        await until(lambda: keeper.attachments == 2 and keeper.attached)
        await until(lambda: past.watched[-1] == past.revision + 1)
        past.expire(keeper)
        await until(lambda: keeper.attachments == 3 and keeper.attached)
