"""Troubles: which class of ``errors`` each becomes, and above all what is *surely not done* and what is uncertain."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from leasehold.protocol.errors import NoSpace, Rejected, Unavailable, Uncertain
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.cluster import Unreachable
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.process import free_ports
from leasehold.protocol.names import LeaseId
from leasehold.protocol.store import MemberStatus, Put, Txn
from tests.fakes.etcd import FakeEtcd

DEADLINE = 5.0


def writes(key: bytes) -> Txn:
    return Txn((), [Put(key, b"v")])


def nobody() -> str:
    return f"http://127.0.0.1:{free_ports(1)[0]}"


async def test_nobody_listening_is_unavailable() -> None:
    async with EtcdClient(EtcdConfig(endpoints=[nobody()])) as etcd:
        with pytest.raises(Unavailable):
            await etcd.commit(writes(b"/a"), deadline=DEADLINE)
        with pytest.raises(Unavailable):
            await etcd.get(b"/a", deadline=DEADLINE)
        with pytest.raises(Unavailable):
            await etcd.grant(10, deadline=DEADLINE)
        with pytest.raises(Unavailable):
            await etcd.keep_alive(LeaseId(1), deadline=DEADLINE)


async def test_a_connection_that_is_lost_as_soon_as_it_is_made_is_unavailable(
    faked: EtcdClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    async def lose(*arguments: object, **more: object) -> object:
        transport, protocol = await connect(*arguments, **more)  # type: ignore[arg-type]
        transport.abort()
        await protocol.gone.wait()  # type: ignore[attr-defined]
        return transport, protocol

    monkeypatch.setattr(loop, "create_connection", lose)
    with pytest.raises(Unavailable):
        await faked.commit(writes(b"/a"), deadline=DEADLINE)
    with pytest.raises(Unavailable):
        await faked.get(b"/a", deadline=DEADLINE)
    with pytest.raises(Unavailable):
        await faked.keep_alive(LeaseId(1), deadline=DEADLINE)
    assert [type(one) for one in await faked.status()] == [Unreachable]


async def test_somebody_who_does_not_speak_grpc_is_an_error_of_ours(prefix: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with EtcdClient(EtcdConfig(endpoints=[f"http://127.0.0.1:{port}"])) as etcd:
            with pytest.raises((Unavailable, Uncertain)):
                await etcd.commit(writes(prefix + b"a"), deadline=DEADLINE)
            with pytest.raises(Unavailable):
                await etcd.get(prefix + b"a", deadline=DEADLINE)


async def test_an_answer_that_got_lost_is_uncertain_and_the_write_is_there(
    fake: FakeEtcd, faked: EtcdClient, prefix: bytes
) -> None:
    fake.drop_after_apply()
    with pytest.raises(Uncertain):
        await faked.commit(writes(prefix + b"a"), deadline=DEADLINE)
    assert await faked.get(prefix + b"a", deadline=DEADLINE) is not None
    assert fake.calls.count("Txn") == 1


async def test_a_refusal_is_unavailable_and_nothing_was_done(fake: FakeEtcd, faked: EtcdClient, prefix: bytes) -> None:
    fake.refuse()
    with pytest.raises(Unavailable):
        await faked.commit(writes(prefix + b"a"), deadline=DEADLINE)
    assert await faked.get(prefix + b"a", deadline=DEADLINE) is None


async def test_a_deadline_is_kept_and_leaves_a_write_uncertain_but_a_read_undone(
    fake: FakeEtcd, faked: EtcdClient, prefix: bytes
) -> None:
    await faked.get(prefix + b"a", deadline=DEADLINE)
    fake.stall()
    began = monotonic()
    with pytest.raises(Uncertain):
        await faked.commit(writes(prefix + b"a"), deadline=0.2)
    with pytest.raises(Unavailable):
        await faked.get(prefix + b"a", deadline=0.2)
    assert 0.4 <= monotonic() - began < 2
    fake.resume()
    await faked.get(prefix + b"a", deadline=DEADLINE)


async def test_without_space_writes_say_so_and_reads_work(fake: FakeEtcd, faked: EtcdClient, prefix: bytes) -> None:
    fake.no_space = True
    with pytest.raises(NoSpace):
        await faked.commit(writes(prefix + b"a"), deadline=DEADLINE)
    with pytest.raises(NoSpace):
        await faked.grant(10, deadline=DEADLINE)
    assert await faked.get(prefix + b"a", deadline=DEADLINE) is None
    [status] = await faked.status()
    assert isinstance(status, MemberStatus)
    assert list(status.alarms) == ["NOSPACE"]


async def test_calls_work_again_after_the_connection_broke(fake: FakeEtcd, faked: EtcdClient, prefix: bytes) -> None:
    await faked.commit(writes(prefix + b"a"), deadline=DEADLINE)
    fake.disconnect()
    await asyncio.sleep(0.05)
    await faked.commit(writes(prefix + b"b"), deadline=DEADLINE)


async def test_a_dead_endpoint_costs_a_live_one_nothing(fake: FakeEtcd, prefix: bytes) -> None:
    config = EtcdConfig(endpoints=[nobody(), fake.endpoint])
    async with EtcdClient(config) as etcd:
        await etcd.commit(writes(prefix + b"a"), deadline=DEADLINE)
        lease = (await etcd.grant(30, deadline=DEADLINE)).lease
        assert await etcd.keep_alive(lease, deadline=DEADLINE) == 30
        first, second = await etcd.status()
        assert isinstance(first, Unreachable)
        assert isinstance(first.error, Unavailable)
        assert isinstance(second, MemberStatus)


async def test_a_read_goes_on_elsewhere_when_an_endpoint_swallows_it(fake: FakeEtcd, prefix: bytes) -> None:
    async with FakeEtcd() as hole:
        hole.stall()
        async with EtcdClient(EtcdConfig(endpoints=[hole.endpoint, fake.endpoint])) as etcd:
            assert await etcd.get(prefix + b"a", deadline=1.0) is None
            with pytest.raises(Uncertain):
                async with EtcdClient(EtcdConfig(endpoints=[hole.endpoint, fake.endpoint])) as other:
                    await other.commit(writes(prefix + b"a"), deadline=0.3)
    assert fake.calls.count("Txn") == 0


async def test_a_request_that_is_too_large_is_rejected(etcd: EtcdClient, prefix: bytes, endpoint: str) -> None:
    if (await etcd.members())[0].name == "fake":
        pytest.skip("the fake has no limit")
    with pytest.raises(Rejected):
        await etcd.commit(Txn((), [Put(prefix + b"a", b"v" * 2_000_000)]), deadline=DEADLINE)


async def test_a_cancelled_caller_is_cancelled_and_no_other(fake: FakeEtcd, faked: EtcdClient, prefix: bytes) -> None:
    await faked.get(prefix + b"a", deadline=DEADLINE)
    fake.stall()
    calls = [asyncio.create_task(faked.get(prefix + b"a", deadline=DEADLINE)) for _ in range(3)]
    await asyncio.sleep(0.05)
    calls[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await calls[0]
    fake.resume()
    assert await asyncio.gather(*calls[1:]) == [None, None]


async def test_trouble_leaves_no_cancellation_behind_in_the_callers_task(
    fake: FakeEtcd, faked: EtcdClient, prefix: bytes
) -> None:
    await faked.get(prefix + b"a", deadline=DEADLINE)
    fake.stall()
    for _ in range(2):
        with pytest.raises(Uncertain):
            await faked.commit(writes(prefix + b"a"), deadline=0.05)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await faked.get(prefix + b"a", deadline=DEADLINE)


async def test_closing_ends_calls_under_way_as_uncertain(fake: FakeEtcd, prefix: bytes) -> None:
    etcd = EtcdClient(fake.config)
    await etcd.get(prefix + b"a", deadline=DEADLINE)
    fake.stall()
    calls = [
        asyncio.create_task(etcd.commit(writes(prefix + b"a"), deadline=DEADLINE)),
        asyncio.create_task(etcd.keep_alive(LeaseId(1), deadline=DEADLINE)),
    ]
    await asyncio.sleep(0.05)
    await etcd.close()
    await etcd.close()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, (Uncertain, Unavailable)) for outcome in outcomes)
    with pytest.raises(Unavailable):
        await etcd.get(prefix + b"a", deadline=DEADLINE)


@pytest.mark.parametrize("endpoint", ["127.0.0.1:2379", "ftp://host:1", "http://", "http://host:1/path"])
def test_a_malformed_endpoint_is_refused_at_once(endpoint: str) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        EtcdClient(EtcdConfig(endpoints=[endpoint]))
