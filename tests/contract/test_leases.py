"""Leases: grant, renew, revoke, look at; and what hangs on them."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from leasehold.protocol.errors import LeaseExists, LeaseNotFound, Unavailable, Uncertain
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.names import LeaseId
from leasehold.protocol.store import KeyRange, Put, Txn
from tests.fakes.etcd import FakeEtcd

DEADLINE = 10.0


def some_lease() -> LeaseId:
    return LeaseId(random.randrange(1, 2**63))


async def test_a_grant_gives_an_id_and_the_ttl(etcd: EtcdClient) -> None:
    grant = await etcd.grant(30, deadline=DEADLINE)
    assert grant.lease > 0
    assert grant.ttl_seconds == 30


async def test_a_ttl_of_one_second_is_granted_as_two(etcd: EtcdClient) -> None:
    assert (await etcd.grant(1, deadline=DEADLINE)).ttl_seconds == 2


async def test_a_given_id_is_granted_once(etcd: EtcdClient) -> None:
    lease = some_lease()
    assert (await etcd.grant(30, deadline=DEADLINE, lease=lease)).lease == lease
    with pytest.raises(LeaseExists):
        await etcd.grant(30, deadline=DEADLINE, lease=lease)
    await etcd.revoke(lease, deadline=DEADLINE)
    assert (await etcd.grant(30, deadline=DEADLINE, lease=lease)).lease == lease


async def test_a_renewal_tells_the_ttl(etcd: EtcdClient) -> None:
    lease = (await etcd.grant(30, deadline=DEADLINE)).lease
    assert await etcd.keep_alive(lease, deadline=DEADLINE) == 30
    assert await etcd.keep_alive(lease, deadline=DEADLINE) == 30


async def test_many_renewals_at_once_each_get_their_own_answer(etcd: EtcdClient) -> None:
    leases = [(await etcd.grant(30 + number, deadline=DEADLINE)).lease for number in range(40)]
    twice = leases + leases
    answers = await asyncio.gather(*(etcd.keep_alive(lease, deadline=DEADLINE) for lease in twice))
    assert answers == [30 + number for number in range(40)] * 2


async def test_a_lost_lease_cannot_be_renewed_and_costs_the_others_nothing(etcd: EtcdClient) -> None:
    good = (await etcd.grant(30, deadline=DEADLINE)).lease
    outcomes = await asyncio.gather(
        etcd.keep_alive(some_lease(), deadline=DEADLINE),
        etcd.keep_alive(good, deadline=DEADLINE),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], LeaseNotFound)
    assert outcomes[1] == 30


async def test_revoking_deletes_the_keys_and_may_be_repeated(etcd: EtcdClient, prefix: bytes) -> None:
    lease = (await etcd.grant(30, deadline=DEADLINE)).lease
    await etcd.commit(Txn((), [Put(prefix + b"beacon", b"", lease), Put(prefix + b"plain", b"")]), deadline=DEADLINE)
    await etcd.revoke(lease, deadline=DEADLINE)
    await etcd.revoke(lease, deadline=DEADLINE)
    left = await etcd.read(KeyRange.under(prefix), deadline=DEADLINE)
    assert [item.key for item in left.items] == [prefix + b"plain"]


async def test_a_key_put_without_its_lease_survives_it(etcd: EtcdClient, prefix: bytes) -> None:
    lease = (await etcd.grant(30, deadline=DEADLINE)).lease
    await etcd.commit(Txn((), [Put(prefix + b"a", b"", lease)]), deadline=DEADLINE)
    await etcd.commit(Txn((), [Put(prefix + b"a", b"")]), deadline=DEADLINE)
    await etcd.revoke(lease, deadline=DEADLINE)
    assert await etcd.get(prefix + b"a", deadline=DEADLINE) is not None


async def test_looking_at_a_lease_tells_its_keys(etcd: EtcdClient, prefix: bytes) -> None:
    lease = (await etcd.grant(30, deadline=DEADLINE)).lease
    await etcd.commit(Txn((), [Put(prefix + b"a", b"", lease), Put(prefix + b"b", b"", lease)]), deadline=DEADLINE)
    status = await etcd.time_to_live(lease, deadline=DEADLINE, keys=True)
    assert (status.lease, status.granted_seconds, sorted(status.keys)) == (lease, 30, [prefix + b"a", prefix + b"b"])
    assert 28 <= status.remaining_seconds <= 30
    assert not (await etcd.time_to_live(lease, deadline=DEADLINE)).keys


async def test_looking_at_a_lease_that_is_gone_is_no_error(etcd: EtcdClient) -> None:
    assert (await etcd.time_to_live(some_lease(), deadline=DEADLINE)).remaining_seconds == -1


async def test_a_lease_nobody_renews_ends_with_its_keys(fake: FakeEtcd, faked: EtcdClient, prefix: bytes) -> None:
    kept = (await faked.grant(10, deadline=DEADLINE)).lease
    left = (await faked.grant(10, deadline=DEADLINE)).lease
    await faked.commit(Txn((), [Put(prefix + b"kept", b"", kept), Put(prefix + b"left", b"", left)]), deadline=DEADLINE)
    fake.advance(6)
    await faked.keep_alive(kept, deadline=DEADLINE)
    fake.advance(6)
    found = await faked.read(KeyRange.under(prefix), deadline=DEADLINE)
    assert [item.key for item in found.items] == [prefix + b"kept"]
    with pytest.raises(LeaseNotFound):
        await faked.keep_alive(left, deadline=DEADLINE)


async def test_all_renewals_share_one_stream(fake: FakeEtcd, faked: EtcdClient) -> None:
    leases = [(await faked.grant(30, deadline=DEADLINE)).lease for _ in range(5)]
    for _ in range(3):
        await asyncio.gather(*(faked.keep_alive(lease, deadline=DEADLINE) for lease in leases))
    assert fake.calls.count("LeaseKeepAlive") == 1


async def test_renewals_go_on_after_the_connection_broke(fake: FakeEtcd, faked: EtcdClient) -> None:
    lease = (await faked.grant(30, deadline=DEADLINE)).lease
    await faked.keep_alive(lease, deadline=DEADLINE)
    fake.disconnect()
    with suppress(Unavailable, Uncertain):  # the break may not have been noticed yet
        await faked.keep_alive(lease, deadline=DEADLINE)
    assert await faked.keep_alive(lease, deadline=DEADLINE) == 30
    assert fake.calls.count("LeaseKeepAlive") == 2


async def test_a_renewal_without_an_answer_is_uncertain_and_takes_the_stream_with_it(
    fake: FakeEtcd, faked: EtcdClient
) -> None:
    lease = (await faked.grant(30, deadline=DEADLINE)).lease
    await faked.keep_alive(lease, deadline=DEADLINE)
    fake.stall()
    with pytest.raises(Uncertain):
        await faked.keep_alive(lease, deadline=0.1)
    fake.resume()
    assert await faked.keep_alive(lease, deadline=DEADLINE) == 30
    assert fake.calls.count("LeaseKeepAlive") == 2


async def test_a_caller_who_gives_up_does_not_take_the_next_ones_answer(fake: FakeEtcd, faked: EtcdClient) -> None:
    lease = (await faked.grant(30, deadline=DEADLINE)).lease
    await faked.keep_alive(lease, deadline=DEADLINE)
    fake.stall()
    first = asyncio.create_task(faked.keep_alive(lease, deadline=DEADLINE))
    await asyncio.sleep(0.05)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(faked.keep_alive(lease, deadline=DEADLINE))
    await asyncio.sleep(0.05)
    fake.resume()
    assert await second == 30
