"""Replicas die at every step, or think they act and do not: the successor finishes, exactly once per incarnation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.lifecycle import State, Step
from leasehold.control_plane.crew import Again
from leasehold.protocol import transactions as tx
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.keyspace import Family, shard_of
from leasehold.protocol.names import Instant, Revision
from leasehold.protocol.records import FOUNDED_SHARDS, ShardRecord, SweepState
from leasehold.protocol.store import Delete, Put, Txn, TxnResult
from tests.unit.control_plane.world import DEADLINE, World, blob, eventually, has_all, rules, state, world

pytestmark = pytest.mark.etcd


@pytest.fixture
async def here(real_etcd: EtcdProcess | None) -> AsyncIterator[World]:
    if real_etcd is None:
        pytest.skip("no etcd here")
    async with world(real_etcd.endpoint) as it:
        yield it


class Dying(EtcdClient):
    """A client whose process dies right before or after a certain transaction: it never hears of anything again."""

    def __init__(self, endpoint: str, is_it: Callable[[Txn], bool], *, before: bool) -> None:
        super().__init__(EtcdConfig(endpoints=[endpoint]))
        self._is_it, self._before = is_it, before
        self.dead = asyncio.Event()
        # The watch may tell of a transaction before its answer is here: nothing else may slip through meanwhile.
        self._one_at_a_time = asyncio.Lock()

    async def commit(self, txn: Txn, *, deadline: float) -> TxnResult:
        async with self._one_at_a_time:
            mine = self._is_it(txn)
            if mine and self._before:
                await self._die()
            result = await super().commit(txn, deadline=deadline)
            if mine and result.succeeded:
                await self._die()
            return result

    async def _die(self) -> None:
        self.dead.set()
        await asyncio.Event().wait()


def puts(here: World, family: Family, containing: bytes = b"") -> Callable[[Txn], bool]:
    where = here.keys.family(family)
    return lambda txn: any(isinstance(o, Put) and o.key in where and containing in o.value for o in txn.success)


def deletes(here: World, family: Family) -> Callable[[Txn], bool]:
    where = here.keys.family(family)
    return lambda txn: any(
        isinstance(o, Delete) and isinstance(o.where, bytes) and o.where in where for o in txn.success
    )


STEPS = {
    "condemn": lambda here: puts(here, Family.TOMBSTONES),
    "epoch opened": lambda here: puts(here, Family.EPOCH_LEASES),
    "epoch done": lambda here: puts(here, Family.EPOCHS, b'"done":true'),
    "prepare": lambda here: puts(here, Family.SWEEPS, b'"prepared"'),
    "send": lambda here: puts(here, Family.SWEEPS, b'"sent"'),
    "prepare and send": lambda here: puts(here, Family.SWEEPS, b'"sent"'),
    "finish": lambda here: puts(here, Family.GRAVES),
}


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_leader_killed_at_any_step_is_succeeded_and_each_incarnation_ends_once(
    here: World, step: str, before: bool
) -> None:
    rule_set = rules(here.owner, precondition="if-match")
    dying = Dying(here.endpoint, STEPS[step](here), before=before)
    await here.stack.enter_async_context(dying)
    first = await here.leading(rule_set, client=dying)
    if step in {"prepare", "send"}:
        in_two_steps(first)
    a = await here.hand.attach("a", says_ttl=1)
    kept = await here.hand.attach("kept", says_ttl=1)
    for name in ("x", "held"):
        here.owner.add(name, uid=f"first-{name}")
    await here.hand.register(a, "x", incarnation="uid:first-x")
    await here.hand.register(kept, "held", incarnation="uid:first-held")
    await here.hand.vanish(a)
    await asyncio.wait_for(dying.dead.wait(), 20)
    second = await here.plane(rule_set, name="two")
    await first.crash()
    await eventually("the second acts", lambda: has_all(second))
    await eventually("it is gone, and forgotten", lambda: not _recorded(second, "x"))
    assert set(here.owner.things) == {"held"}
    assert len(here.owner.gone_at) == 1
    assert state(second, "held") is State.HELD
    for family in (Family.TOMBSTONES, Family.SWEEPS):
        assert await here.hand.count(family) == 0


def in_two_steps(plane: ControlPlane) -> None:
    """As for an owner that has no room the very moment that something is prepared."""
    plane.calls.place = lambda _: None  # type: ignore[method-assign]


def _recorded(plane: ControlPlane, name: str) -> bool:
    return plane.index.entry(blob(name)) is not None


async def test_a_leader_killed_after_the_owner_deleted_never_hits_the_namesake_created_since(here: World) -> None:
    rule_set = rules(here.owner, precondition="if-match")
    dying = Dying(here.endpoint, puts(here, Family.GRAVES), before=True)
    await here.stack.enter_async_context(dying)
    first = await here.leading(rule_set, client=dying)
    a = await here.hand.attach("a", says_ttl=1)
    here.owner.add("x", uid="old")
    await here.hand.register(a, "x", incarnation="uid:old")
    await here.hand.vanish(a)
    await asyncio.wait_for(dying.dead.wait(), 20)
    here.owner.add("x", uid="new")
    second = await here.plane(rule_set, name="two")
    await first.crash()
    await eventually("the old one is forgotten", lambda: has_all(second) and not _recorded(second, "x"))
    assert here.owner.things["x"].uid == "new"
    assert len(here.owner.deletes("x")) == 1
    grave = await here.hand.get(here.keys.grave(blob("x")))
    assert grave is not None
    assert b"replaced" in grave.value


async def test_a_clean_stop_hands_over_at_once(here: World) -> None:
    first = await here.leading(rules(here.owner), ttl=30)
    second = await here.plane(rules(here.owner), name="two", ttl=30)
    await eventually("they share", lambda: len(first.leadership.acting()) + len(second.leadership.acting()) == 64)
    assert not has_all(second)
    await first.stop()
    await eventually("the second has all, long before the lease would have ended", lambda: has_all(second), 3)


@pytest.mark.parametrize("step", [Step.CONDEMN, Step.PREPARE, Step.SWEEP])
async def test_a_stale_leader_can_write_nothing(here: World, step: Step) -> None:
    """It believes to lead, its index is frozen in the moment before; somebody else has claimed the shard."""
    wanted = {Step.CONDEMN: "observe", Step.PREPARE: "condemn", Step.SWEEP: "sweep"}[step]
    stale = await here.leading(rules(here.owner, mode=wanted))
    if step is Step.SWEEP:
        here.owner.answers.extend([_answer(500)] * 100)
    a = await here.hand.attach("a")
    here.owner.add("x")
    await here.hand.register(a, "x")
    await here.hand.vanish(a)
    await eventually(f"{step} is due", lambda: blob("x") in stale.index.nominated[step])
    if step is Step.SWEEP:
        await eventually("it was sent", lambda: here.owner.deletes())
    await stale.crash()
    calls = len(here.owner.deletes())
    shard = shard_of(blob("x"), FOUNDED_SHARDS)
    await here.hand.commit(Txn((), (Delete(here.keys.shard(shard)),)))
    lease = (await here.client.grant(60, deadline=DEADLINE)).lease
    assert (await here.hand.commit(tx.claim_shard(here.keys, shard, ShardRecord("new"), lease))).succeeded
    await _permit(here, stale)
    stale.membership._session.valid_until = Instant(float("inf"))
    assert stale.leadership.authority(blob("x"), Revision(1)) is not None, "it believes"
    before = await _everything(here)
    assert await stale.collector.crews[step]._work(blob("x")) == Again()
    assert await _everything(here) == before
    assert len(here.owner.deletes()) == calls


def _answer(status: int):  # type: ignore[no-untyped-def]
    from aiohttp import web

    async def answer() -> web.Response:
        return web.Response(status=status)

    return answer


async def _permit(here: World, stale: ControlPlane) -> None:
    """The rule now permits everything, and the stale leader knows: only the fence is left to stop it."""
    from leasehold.control_plane.loading import document
    from leasehold.protocol.rules import Rule

    rule_set = rules(here.owner)
    stale.index.policy.put(Rule, "make", Revision(10**9), document(rule_set.rules[0]))


async def _everything(here: World) -> list[tuple[bytes, int]]:
    found = await here.client.read(here.keys.everything, deadline=DEADLINE)
    return [(item.key, item.mod_revision) for item in found.items]


async def test_a_hold_acquired_between_condemn_and_prepare_keeps_the_resource(here: World) -> None:
    plane = await here.leading(rules(here.owner))
    a, b = await here.hand.attach("a"), await here.hand.attach("b")
    here.owner.add("x")
    await here.hand.register(a, "x")
    await here.hand.vanish(a)
    await eventually("it is condemned", lambda: state(plane, "x") in {State.CONDEMNED, State.IN_GRACE})
    assert await here.hand.acquire(b, "x")
    assert await here.hand.get(here.keys.tombstone(blob("x"))) is None, "whatever the living do deletes the tombstone"
    await asyncio.sleep(2.5)
    assert state(plane, "x") is State.HELD
    assert here.owner.ledger == []


async def test_a_hold_that_the_index_never_saw_still_stops_the_prepare(here: World) -> None:
    """Caches nominate, transactions decide: the index of this leader is deaf to holds and beacons."""
    plane = await here.leading(rules(here.owner))
    a, b = await here.hand.attach("a"), await here.hand.attach("b")
    here.owner.add("x")
    await here.hand.register(a, "x")
    await eventually("it is known", lambda: state(plane, "x") is State.HELD)
    plane.index._handlers.pop(Family.HOLDS)
    assert await here.hand.acquire(b, "x")
    await here.hand.vanish(a)
    await eventually("the index nominates it, wrongly", lambda: plane.index.nominated[Step.CONDEMN])
    await asyncio.sleep(1.0)
    assert await here.hand.count(Family.TOMBSTONES) == 0
    assert here.owner.ledger == []


async def test_a_beacon_that_returns_between_prepare_and_send_aborts(here: World) -> None:
    rule_set = rules(here.owner)
    dying = Dying(here.endpoint, puts(here, Family.SWEEPS, b'"prepared"'), before=False)
    await here.stack.enter_async_context(dying)
    first = await here.leading(rule_set, client=dying)
    in_two_steps(first)
    a = await here.hand.attach("a", says_ttl=1)
    here.owner.add("x")
    await here.hand.register(a, "x")
    await here.hand.vanish(a)
    await asyncio.wait_for(dying.dead.wait(), 20)
    sweep = await here.hand.sweep_of("x")
    assert sweep is not None
    assert sweep.state is SweepState.PREPARED
    await here.hand.attach("a", says_ttl=1)
    second = await here.plane(rule_set, name="two")
    await first.crash()
    await eventually("the second acts", lambda: has_all(second))
    await eventually("it was aborted", lambda: state(second, "x") is State.HELD)
    assert here.owner.deletes() == []
    reason = {"owner": "store", "reason": "held"}
    # Counted when the answer is here, which the watch may be ahead of.
    await eventually(
        "it was counted", lambda: second.metrics.registry.get_sample_value("leasehold_aborted_total", reason)
    )


async def test_an_epoch_lease_that_is_lost_early_does_not_shorten_the_grace(here: World) -> None:
    import time

    plane = await here.leading(rules(here.owner, grace="3s"))
    a = await here.hand.attach("a")
    here.owner.add("x")
    await here.hand.register(a, "x", grace_class="3s")
    died = time.monotonic()
    await here.hand.vanish(a)
    await eventually("its epoch is open", lambda: plane.index.epochs_of("3s"))
    [epoch] = plane.index.epochs_of("3s")
    await here.client.revoke(epoch.found.record.lease, deadline=DEADLINE)
    await eventually("it is gone", lambda: not here.owner.things)
    assert here.owner.gone_at["x"] - died >= 3


async def test_etcd_being_another_cluster_stops_everything(here: World) -> None:
    from leasehold.protocol.records import ClusterRecord, encode

    plane = await here.leading(rules(here.owner))
    await here.hand.commit(Txn((), (Put(here.keys.cluster, encode(ClusterRecord("abc"))),)))
    await eventually("the brake is on", lambda: "another cluster" in plane.brake.why_not)
    a = await here.hand.attach("a")
    await here.hand.register(a, "x")
    await here.hand.vanish(a)
    await eventually("it is unheld", lambda: state(plane, "x") is State.UNHELD)
    await asyncio.sleep(0.5)
    assert await here.hand.count(Family.TOMBSTONES) == 0
