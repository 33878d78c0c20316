"""etcd killed, frozen, full, or answering into the void: all that was observed is registered afterwards, once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from leasehold.protocol.etcd.binary import EtcdNotFound
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.keyspace import Family
from leasehold.protocol.store import Put, Txn, TxnResult
from leasehold.sidecar.holds.entries import Holding
from leasehold.sidecar.holds.lanes import Item
from leasehold.sidecar.holds.work import Verdict
from leasehold.sidecar.ports import Outcome
from tests.etcd_process import freeze, running_etcd
from tests.fakes.etcd import FakeEtcd
from tests.integration.sidecar_world import (
    BY_SERVICE,
    ManyLives,
    OneHost,
    World,
    blob,
    creation,
    deletion,
    eventually,
    use,
)


@pytest.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[EtcdProcess]:
    try:
        async with running_etcd(tmp_path) as [process]:
            yield process
    except EtcdNotFound:
        pytest.skip("no etcd here")


@pytest.fixture
async def fake() -> AsyncIterator[FakeEtcd]:
    async with FakeEtcd() as it:
        yield it


@pytest.fixture
async def tenant(fake: FakeEtcd, tmp_path: Path) -> AsyncIterator[World]:
    it = World(fake.endpoint, tmp_path)
    yield it
    await it.client.close()


@pytest.mark.etcd
@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_all_that_was_observed_during_an_outage_is_registered_after_it(
    etcd: EtcdProcess, tmp_path: Path, how: str
) -> None:
    tenant = World(etcd.endpoint, tmp_path)
    async with tenant.sidecar(ttl=3, deadline=0.5) as one:
        await one.registrar.observed(creation("before"))
        if how == "killed":
            await etcd.kill()
        else:
            await freeze(etcd)
        futures = [one.registrar.observed(creation(f"r{n}")) for n in range(300)]
        await eventually("the outage is noticed", lambda: one.holds.committer.trouble)
        futures += [one.registrar.observed(creation(f"s{n}")) for n in range(300)]
        if how == "killed":
            await etcd.start()
        else:
            etcd.signal(signal.SIGCONT)
        assert set(await asyncio.gather(*futures)) == {Outcome.REGISTERED}
        assert len(await tenant.held_by(one.holder)) == 601
        assert len(await tenant.recorded()) == 601
        await one.attached()
    await tenant.client.close()


@pytest.mark.etcd
async def test_a_sidecar_starts_and_restarts_without_etcd_and_loses_nothing(etcd: EtcdProcess, tmp_path: Path) -> None:
    tenant = World(etcd.endpoint, tmp_path)
    await etcd.kill()
    async with tenant.sidecar(crash=True, deadline=0.5) as one:
        one.registrar.observed(creation("a"))
        one.holds.journal.flush()
    async with tenant.sidecar(crash=True, deadline=0.5) as two:
        two.registrar.observed(creation("b"))
        two.holds.journal.flush()
    async with tenant.sidecar(deadline=0.5) as three:
        await eventually("degraded", lambda: three.holds.holders.keepers[three.holder].trouble)
        await etcd.start()

        async def recorded() -> bool:
            return await tenant.recorded() == {"a", "b"}

        await eventually("both are recorded", lambda: three.holds.committer.pending == 0)
        assert await recorded()
    await tenant.client.close()


@pytest.mark.etcd
async def test_a_host_that_dies_during_an_outage_is_retired_after_it_with_everything_recorded(
    etcd: EtcdProcess, tmp_path: Path
) -> None:
    tenant = World(etcd.endpoint, tmp_path)
    async with tenant.sidecar(ttl=3, deadline=0.5) as one:
        await one.attached()
        holder = one.holder
        await etcd.kill()
        future = one.registrar.observed(creation("orphan"))
        one.host.die()
        await eventually("noticed", lambda: one.holds.holders.process is None)
        await etcd.start()
        assert await future is Outcome.REGISTERED
        await eventually("told", lambda: not one.holds.journal.state.endings)
        assert holder not in await tenant.beacons()
        assert b'"ended":"exited"' in (await tenant.roster())[holder]
        assert await tenant.held_by(holder) == {"orphan"}
    await tenant.client.close()


async def test_answers_that_never_arrive_register_nothing_twice(fake: FakeEtcd, tenant: World) -> None:
    async with tenant.sidecar(deadline=0.3) as one:
        await one.attached()
        fake.drop_after_apply(2)
        futures = [one.registrar.observed(creation(f"r{n}")) for n in range(250)]
        assert set(await asyncio.gather(*futures)) == {Outcome.REGISTERED}
        assert len(await tenant.recorded()) == 250
        assert len(await tenant.family(Family.HOLDS)) == 250


async def test_a_refusing_etcd_is_asked_again(fake: FakeEtcd, tenant: World) -> None:
    async with tenant.sidecar(deadline=0.3) as one:
        await one.attached()
        fake.refuse(5)
        assert await one.registrar.observed(creation("a")) is Outcome.REGISTERED


async def test_a_full_etcd_is_waited_for(fake: FakeEtcd, tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.attached()
        fake.no_space = True
        future = one.registrar.observed(creation("a"))
        await eventually("noticed", lambda: one.holds.committer.trouble == "no-space")
        assert not future.done()
        fake.no_space = False
        assert await future is Outcome.REGISTERED


async def test_a_lease_that_expires_while_nobody_looks_is_replaced(fake: FakeEtcd, tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.registrar.observed(creation("a"))
        fake.advance(3600)
        await eventually("reattached", lambda: one.metric("reattachments_total") == 1)
        assert one.holder in await tenant.beacons()
        assert await one.registrar.observed(use("a")) is Outcome.ALREADY_HELD


async def test_a_compacted_watch_looks_for_its_beacon_again(fake: FakeEtcd, tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.registrar.observed(creation("a"))
        fake.stall()
        lease = one.holds.holders.keepers[one.holder].session.lease
        fake.store.end_lease(lease)
        fake.compact(fake.store.revision)
        fake.resume()
        fake.disconnect()
        await eventually("reattached", lambda: one.metric("reattachments_total") >= 1)


async def test_one_poisonous_operation_is_isolated_and_ends_visibly(fake: FakeEtcd, tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.attached()
        whole = fake.store.txn

        def picky(request):  # type: ignore[no-untyped-def]
            from grpclib import Status

            from tests.fakes.etcd_store import refused

            if b"poison" in request.SerializeToString():
                raise refused(Status.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request")
            return whole(request)

        fake.store.txn = picky  # type: ignore[method-assign]
        names = [*(f"r{n}" for n in range(40)), "poison", *(f"s{n}" for n in range(40))]
        outcomes = await asyncio.gather(*(one.registrar.observed(creation(name)) for name in names))
        assert outcomes.count(Outcome.UNPROTECTED) == 1
        assert outcomes[40] is Outcome.UNPROTECTED
        assert one.metric("rejected_operations_total") == 1
        assert len(await tenant.recorded()) == 80


async def test_an_instance_whose_beacon_somebody_else_has_waits_for_its_turn(tenant: World) -> None:
    async with tenant.sidecar(OneHost("7.7.abc"), instance="twin") as one:
        await one.registrar.observed(creation("a"))
        # A lost journal: the same host, but nothing is remembered of its boot.
        for left in (tenant.folder / "twin").iterdir():
            left.rename(left.with_suffix(".lost"))
        settings = tenant.settings("twin")
        assert not (settings.journal / "journal").exists()
        async with tenant.sidecar(OneHost("7.7.abc"), instance="twin") as two:
            keeper = two.holds.holders.keepers[two.holder]
            await eventually("it says so", lambda: "another sidecar" in keeper.trouble)
            assert not keeper.attached
            await tenant.client.revoke(one.holds.holders.keepers[one.holder].session.lease, deadline=5)
            await eventually("one of both has it", lambda: one.holds.holders.may_try(one.holder) or keeper.attached)


async def test_a_host_that_comes_back_during_an_outage_need_not_wait_for_its_burial(
    fake: FakeEtcd, tenant: World
) -> None:
    host = ManyLives()
    async with tenant.sidecar(host, (BY_SERVICE,), deadline=0.3) as one:
        await one.registrar.observed(creation("a"))
        await one.registrar.observed(creation("s", BY_SERVICE))
        first = one.holder
        fake.stall()
        pending = one.registrar.observed(creation("pending"))
        host.die()
        await eventually("it is over", lambda: one.holds.holders.process is None)
        host.start_again()
        await eventually("it is back", lambda: one.holds.holders.process, within=2)
        futures = [one.registrar.observed(creation("b")), one.registrar.observed(creation("c", BY_SERVICE))]
        fake.resume()
        assert set(await asyncio.gather(pending, *futures)) == {Outcome.REGISTERED}
        assert await tenant.held_by(first) == {"a", "pending"}
        assert await tenant.held_by(one.holder) == {"b"}
        assert await tenant.held_by("maker") == {"s", "c"}
        await eventually("the first one is buried", lambda: one.holds.journal.state.endings == {})
        assert await tenant.beacons() == {one.holder, "maker"}
        assert one.holds.holders.may_try(one.holds.holders.service or one.holder), "the service is still kept"


@pytest.mark.parametrize("step", ["creation", "deletion"])
async def test_a_record_that_nobody_could_have_written_is_no_crash(tenant: World, step: str) -> None:
    async with tenant.sidecar() as one:
        await one.attached()
        record = b'{"incarnation":"x","rule":"r","grace_class":"1s","creator":"c","references":[["","",""]]}'
        await tenant.client.commit(Txn((), (Put(tenant.keys.record(blob("poison")), record),)), deadline=5)
        touched = one.registrar.observed(creation("poison") if step == "creation" else deletion("poison"))
        others = [one.registrar.observed(creation(f"r{n}")) for n in range(10)]
        assert set(await asyncio.gather(*others)) == {Outcome.REGISTERED}
        assert await touched is (Outcome.REGISTERED if step == "creation" else Outcome.FORGOTTEN)


async def test_an_error_of_our_own_costs_the_operation_it_concerns_and_readyz_says_so(
    tenant: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from leasehold.sidecar.holds import committer

    judge = committer.judge

    def broken(item: Item, result: TxnResult, held: Sequence[Holding]) -> Verdict:
        if item.operation.resource == blob("poison"):
            raise ZeroDivisionError
        return judge(item, result, held)

    monkeypatch.setattr(committer, "judge", broken)
    async with tenant.sidecar() as one:
        names = [*(f"r{n}" for n in range(10)), "poison", *(f"s{n}" for n in range(10))]
        outcomes = await asyncio.gather(*(one.registrar.observed(creation(name)) for name in names))
        assert outcomes.count(Outcome.UNPROTECTED) == 1
        assert outcomes[10] is Outcome.UNPROTECTED
        assert await one.registrar.observed(creation("after")) is Outcome.REGISTERED
        assert "1" in one.not_ready()["unprotected"]


async def test_a_deletion_that_comes_late_forgets_no_namesake_that_others_made_since(
    tenant: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tenant.sidecar() as one, tenant.sidecar(OneHost("2.2.abc"), instance="two") as two:
        await one.registrar.observed(creation("a", incarnation="uid:1"))
        await one.registrar.observed(creation("b", incarnation="uid:2"))  # two deleted its first incarnation long ago
        monkeypatch.setattr("leasehold.sidecar.holds.committer.LATE_SECONDS", -1.0)
        assert await two.registrar.observed(deletion("b")) is Outcome.NOT_OURS
        assert await tenant.held_by(one.holder) == {"a", "b"}
        assert await one.registrar.observed(deletion("a")) is Outcome.FORGOTTEN, "we know which one it was"
        assert await tenant.recorded() == {"b"}
