"""What a real etcd does to leases when it is stopped, full, restored or elects: nothing that is held is deleted."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.lifecycle import State
from leasehold.protocol import transactions as tx
from leasehold.protocol.errors import NoSpace, StoreError
from leasehold.protocol.etcd.binary import EtcdNotFound, find_etcd
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.records import ArmedRecord
from leasehold.protocol.rules import RuleSet
from leasehold.protocol.store import Put, Txn
from leasehold.sidecar.holds.registrar import Outcome
from leasehold.sidecar.observe.events import Use
from tests.etcd_process import freeze, running_etcd
from tests.integration.sidecar_world import USES, Running
from tests.scenarios.etcd_tools import leader_of, restore, run
from tests.scenarios.house import House, house_at, making
from tests.unit.control_plane.world import DEADLINE, blob, eventually, rules, state

TTL = 2
GRACE = 4.0

pytestmark = [pytest.mark.etcd, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _needs_etcd() -> None:
    try:
        find_etcd()
    except EtcdNotFound as error:
        pytest.skip(str(error))


@asynccontextmanager
async def cluster(folder: Path, members: int = 1, extra: tuple[str, ...] = ()) -> AsyncIterator[list[EtcdProcess]]:
    (folder / "etcd").mkdir()
    async with running_etcd(folder / "etcd", members=members, extra=extra) as processes:
        yield processes


def house_on(members: list[EtcdProcess], folder: Path):  # type: ignore[no-untyped-def]
    return house_at([member.endpoint for member in members], folder)


def four_seconds(house: House) -> RuleSet:
    return rules(house.owner, grace=f"{GRACE:.0f}s")


async def holds(house: House, one: Running, rule_set: RuleSet, name: str) -> None:
    house.owner.add(name)
    await one.attached()
    assert await one.registrar.observed(making(rule_set, name)) is Outcome.REGISTERED


async def abandons(house: House, name: str, holder: str = "a") -> None:
    """Held by somebody whose lease is not renewed."""
    house.owner.add(name)
    a = await house.hand.attach(holder, ttl=TTL)
    await house.hand.register(a, name, grace_class=f"{GRACE:.0f}s")


async def as_if_nothing_had_happened(house: House, plane: ControlPlane, one: Running, kept: str) -> None:
    """The living are attached again, and while others are condemned, measured and swept nothing befalls what they
    hold."""
    await eventually("attached again", lambda: _has_beacon(house, one), within=40)
    await eventually("etcd takes writes", lambda: _abandoned(house, "abandoned-later"), within=40)
    await eventually("who vanished later is collected", lambda: "abandoned-later" not in house.owner.things, within=60)
    assert kept in house.owner.things
    assert house.owner.deletes(kept) == []
    await eventually("it is known to be held", lambda: state(plane, kept) is State.HELD)


async def _has_beacon(house: House, one: Running) -> bool:
    try:
        return await house.hand.there(house.keys.beacon(one.holder))
    except StoreError:
        return False


async def _abandoned(house: House, name: str) -> bool:
    try:
        await abandons(house, name, f"of-{name}-{time.monotonic_ns()}")
    except StoreError:
        return False
    return True


async def test_a_frozen_etcd_that_expires_everything_on_waking_costs_nobody_what_they_hold(tmp_path: Path) -> None:
    async with cluster(tmp_path) as [server], house_on([server], tmp_path) as house:
        rule_set = four_seconds(house)
        plane = await house.leading(rule_set)
        async with house.sidecar(rule_set, ttl=TTL) as one:
            await holds(house, one, rule_set, "held")
            before = await house.client.get(house.keys.beacon(one.holder), deadline=DEADLINE)
            assert before is not None
            await freeze(server)
            await asyncio.sleep(2.5 * TTL)  # the outage, longer than any lease
            server.signal(signal.SIGCONT)
            await as_if_nothing_had_happened(house, plane, one, "held")
            after = await house.client.get(house.keys.beacon(one.holder), deadline=DEADLINE)
            assert after is not None
            assert after.create_revision > before.create_revision, "it had expired, though its holder lived"


async def test_a_stopped_etcd_leader_that_wakes_and_revokes_costs_nobody_what_they_hold(tmp_path: Path) -> None:
    async with cluster(tmp_path, 3) as members, house_on(members, tmp_path) as house:
        rule_set = four_seconds(house)
        plane = await house.leading(rule_set)
        async with house.sidecar(rule_set, ttl=TTL) as one:
            await holds(house, one, rule_set, "held")
            stale = await leader_of(house.client, members)
            await freeze(stale)
            await eventually("another leads", lambda: _led_by_another(house, members, stale), within=40)
            await eventually("renewed there", lambda: _has_beacon(house, one), within=40)
            await asyncio.sleep(1.5 * TTL)  # by the stale one's reckoning everything is over
            stale.signal(signal.SIGCONT)
            await as_if_nothing_had_happened(house, plane, one, "held")


async def _led_by_another(house: House, members: list[EtcdProcess], stale: EtcdProcess) -> bool:
    try:
        return await leader_of(house.client, [one for one in members if one is not stale]) is not stale
    except (ValueError, StopIteration):
        return False


async def test_an_election_restarts_every_ttl_and_so_can_only_lengthen_a_grace(tmp_path: Path) -> None:
    async with cluster(tmp_path, 3) as members, house_on(members, tmp_path) as house:
        rule_set = four_seconds(house)
        plane = await house.leading(rule_set)
        lease = (await house.client.grant(60, deadline=DEADLINE)).lease
        await abandons(house, "x")
        await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE, within=40)
        opened = time.monotonic()
        before = (await house.client.time_to_live(lease, deadline=DEADLINE)).remaining_seconds
        assert before < 60
        await (await leader_of(house.client, members)).kill()
        after = await eventually("another leads", lambda: _remaining(house, lease), within=40)
        elapsed = time.monotonic() - opened
        assert after > before - elapsed + 0.5, "its time began anew"
        await eventually("it is gone", lambda: not house.owner.things, within=60)
        assert house.owner.gone_at["x"] - opened >= GRACE - 0.5  # noticed open up to so much later


async def _remaining(house: House, lease: int) -> int:
    try:
        return (await house.client.time_to_live(lease, deadline=1.0)).remaining_seconds  # type: ignore[arg-type]
    except StoreError:
        return 0


async def test_a_beacon_that_is_lost_while_etcd_is_full_costs_nobody_what_they_hold(tmp_path: Path) -> None:
    """Leases can be lost, but not granted; and what takes writes to permit cannot happen either."""
    extra = (f"--quota-backend-bytes={8 * 2**20}",)
    async with cluster(tmp_path, extra=extra) as [server], house_on([server], tmp_path) as house:
        rule_set = four_seconds(house)
        plane = await house.leading(rule_set)
        async with house.sidecar(rule_set, ttl=TTL) as one:
            await holds(house, one, rule_set, "held")
            await abandons(house, "abandoned")
            await _fill(house)
            await house.client.revoke(one.holds.holders.keepers[one.holder].session.lease, deadline=DEADLINE)
            await eventually("the lease of the other is lost too", lambda: _no_beacons(house))
            await asyncio.sleep(GRACE)  # longer than it would need
            assert house.owner.deletes() == []
            assert not await _has_beacon(house, one)
            await _make_room(house, server)
            await as_if_nothing_had_happened(house, plane, one, "held")
            await eventually("what was abandoned goes", lambda: "abandoned" not in house.owner.things, within=40)


async def _no_beacons(house: House) -> bool:
    from leasehold.protocol.keyspace import Family

    return await house.hand.count(Family.BEACONS) == 0


async def _fill(house: House) -> None:
    with pytest.raises(NoSpace):
        await _pile_up(house)


async def _pile_up(house: House) -> None:
    for number in range(200):  # etcd looks at its size ten times a second only
        await house.client.commit(Txn((), (Put(b"/ballast/%d" % number, b"x" * 700_000),)), deadline=DEADLINE)


async def _make_room(house: House, server: EtcdProcess) -> None:
    at = f"--endpoints={server.endpoint}"
    await run("etcdctl", at, "del", "--prefix", "/ballast/")
    revision = (await house.client.read(b"/ballast/0", deadline=DEADLINE)).revision
    await run("etcdctl", at, "compact", str(revision))
    await run("etcdctl", at, "defrag")
    await run("etcdctl", at, "alarm", "disarm")


@pytest.mark.parametrize("watched", [True, False], ids=["while a control plane watched", "while none ran"])
async def test_a_snapshot_that_is_restored_costs_nobody_what_they_hold(tmp_path: Path, watched: bool) -> None:
    async with cluster(tmp_path) as [server], house_on([server], tmp_path) as house:
        rule_set = four_seconds(house)
        plane = await house.leading(rule_set)
        async with house.sidecar(rule_set, ttl=TTL) as one:
            await holds(house, one, rule_set, "early")
            await abandons(house, "x")
            await eventually("it is condemned", lambda: state(plane, "x") in {State.CONDEMNED, State.IN_GRACE})
            await run("etcdctl", f"--endpoints={server.endpoint}", "snapshot", "save", str(tmp_path / "snapshot"))
            assert await one.registrar.observed(Use(USES, blob("x"))) is Outcome.REGISTERED
            await holds(house, one, rule_set, "later")
            await _far_ahead(house)
            if not watched:
                await plane.stop()
            await restore(server, tmp_path / "snapshot", tmp_path / "etcd")
            if watched:
                await eventually("it is noticed", lambda: _disarmed(house), within=40)
                await eventually("attached again", lambda: _has_beacon(house, one), within=40)
                await house.hand.commit(tx.arm(house.keys, ArmedRecord("me", "everybody is back")))
            else:
                plane = await house.plane(rule_set, name="two")
            await as_if_nothing_had_happened(house, plane, one, "x")
            assert {"early", "later"} <= set(house.owner.things)


async def _disarmed(house: House) -> bool:
    return not await house.hand.there(house.keys.armed)


async def _far_ahead(house: House) -> None:
    """So many revisions that what is written after the restore does not make up for them at once."""
    for number in range(2000):
        await house.client.commit(Txn((), (Put(b"/elsewhere", b"%d" % number),)), deadline=DEADLINE)
