"""What goes wrong rarely: each a scenario that once deleted, leaked, span or got stuck."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from leasehold.control_plane import app
from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.collector import ALWAYS
from leasehold.control_plane.core.lifecycle import State, Step
from leasehold.control_plane.crew import At, Crew, Outcome
from leasehold.control_plane.owners.http import HttpOwner
from leasehold.protocol import transactions as tx
from leasehold.protocol.errors import AccessDenied
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Instant, Resource
from leasehold.protocol.records import ArmedRecord, ClusterRecord, encode
from leasehold.protocol.store import Delete, Put, Txn, TxnResult
from leasehold.shell.daemon import STOP_WITHIN_SECONDS, Lifetime
from tests.fakes.etcd import FakeEtcd
from tests.fakes.etcd_store import FakeStore
from tests.unit.control_plane.stage import GRACE, Stage, abandoned, rule_set
from tests.unit.control_plane.standing_clock import StandingClock
from tests.unit.control_plane.world import blob, calling, eventually, metric, state


async def prepared(stage: Stage, plane: ControlPlane, name: str) -> None:
    """Abandoned and prepared; nothing is sent while this plane leads."""
    plane.collector.crews[Step.SWEEP]._room = lambda *_: False
    plane.calls.place = lambda _: None  # type: ignore[method-assign]
    await abandoned(stage, name)
    await eventually("it is in its grace", lambda: state(plane, name) is State.IN_GRACE)
    await stage.clock.advance(GRACE + 0.5)
    await eventually("it is prepared", lambda: state(plane, name) is State.PREPARED)


def go_on(plane: ControlPlane) -> None:
    crew = plane.collector.crews[Step.SWEEP]
    crew._room = plane.owners.room
    crew.nudge()


class Meddling(EtcdClient):
    """A client that does something of the test's right before or after a certain transaction."""

    def __init__(self, stage: Stage, meddle: Callable[[Txn, bool], None]) -> None:
        super().__init__(stage.fake.config)
        self._meddle = meddle

    async def commit(self, txn: Txn, *, deadline: float) -> TxnResult:
        self._meddle(txn, True)
        result = await super().commit(txn, deadline=deadline)
        self._meddle(txn, False)
        return result


def puts(stage: Stage, family: Family, containing: bytes = b"") -> Callable[[Txn], bool]:
    where = stage.keys.family(family)
    return lambda txn: any(isinstance(o, Put) and o.key in where and containing in o.value for o in txn.success)


# --- nothing in use is deleted ----------------------------------------------------------------------------------


async def test_a_holder_that_came_back_for_a_moment_after_the_prepare_stops_the_first_send(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    await prepared(stage, plane, "x")
    again = await stage.hand.attach("a", ttl=10**6, says_ttl=1)
    await stage.hand.vanish(again)
    go_on(plane)
    await eventually("it was given up", lambda: metric(plane, "leasehold_aborted_total", owner="store", reason="held"))
    assert stage.owner.ledger == []
    assert await stage.hand.sweep_of("x") is None


async def test_a_refusal_of_a_later_attempt_lets_nobody_hold_what_an_earlier_delete_may_still_hit(
    stage: Stage,
) -> None:
    stage.owner.answers += [web.Response(status=504), web.Response(status=409), web.Response(status=409)]
    plane = await stage.leading(rule_set(stage))
    await abandoned(stage, "x")
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    for _ in range(40):
        await stage.clock.advance(1.0, step=0.5)
        if len(stage.owner.deletes()) >= 2:
            break
    await asyncio.sleep(0.1)
    assert len(stage.owner.deletes()) >= 2
    assert metric(plane, "leasehold_aborted_total", owner="store", reason="refused") == 0
    b = await stage.hand.attach("b", ttl=10**6)
    assert not await stage.hand.acquire(b, "x")
    for _ in range(60):
        await stage.clock.advance(1.0, step=0.5)
        if not stage.owner.things:
            break
    assert not stage.owner.things


async def test_a_later_attempt_that_is_refused_again_and_again_is_quarantined(stage: Stage) -> None:
    stage.owner.answers += [web.Response(status=504), *(web.Response(status=409) for _ in range(30))]
    plane = await stage.leading(rule_set(stage))
    await abandoned(stage, "x")
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    for _ in range(200):
        await stage.clock.advance(1.0, step=0.5)
        if state(plane, "x") is State.QUARANTINED:
            break
    assert state(plane, "x") is State.QUARANTINED
    assert metric(plane, "leasehold_aborted_total", owner="store", reason="refused") == 0


async def test_in_another_cluster_no_sweep_goes_on(stage: Stage) -> None:
    stage.owner.answers += [web.Response(status=500)] * 3
    plane = await stage.leading(rule_set(stage))
    await abandoned(stage, "x")
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    await stage.clock.advance(GRACE + 0.5)
    await eventually("it was sent", lambda: stage.owner.deletes())
    await stage.hand.commit(Txn((), (Put(stage.keys.cluster, encode(ClusterRecord("abc"))),)))
    await eventually("the brake is on", lambda: "another cluster" in plane.brake.why_not)
    await asyncio.sleep(0.1)
    before = len(stage.owner.deletes())
    await stage.clock.advance(60, step=0.5)
    assert len(stage.owner.deletes()) == before


async def test_an_unreadable_cluster_record_stops_everything(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    await stage.hand.commit(Txn((), (Put(stage.keys.cluster, b"{"),)))
    await eventually("the brake is on", lambda: plane.brake.why_not)
    await abandoned(stage, "x")
    await eventually("it is unheld", lambda: state(plane, "x") is State.UNHELD)
    await stage.clock.advance(2)
    assert await stage.hand.count(Family.TOMBSTONES) == 0


async def test_a_new_leader_makes_no_first_send_before_those_who_may_return_had_the_time(stage: Stage) -> None:
    first = await stage.leading(rule_set(stage))
    await stage.hand.attach("alive", ttl=10**6, says_ttl=20)
    await prepared(stage, first, "x")
    await first.stop()
    second = await stage.plane(rule_set(stage), name="two")
    await eventually("the second leads", lambda: second.leadership.leading)
    await stage.clock.advance(25)
    assert stage.owner.ledger == []
    await stage.clock.advance(8)
    await eventually("after the warm-up it is gone", lambda: not stage.owner.things)


async def test_a_leader_that_was_stopped_past_its_lease_calls_nobody(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []

    async def sweep(self: HttpOwner, resource: Resource, incarnation: str, *, first: bool) -> object:
        called.append(resource)
        raise AssertionError

    monkeypatch.setattr(HttpOwner, "sweep", sweep)
    sent = puts(stage, Family.SWEEPS, b'"sent"')
    stopped = []

    def stop(txn: Txn, before: bool) -> None:
        if not before and sent(txn) and not stopped:
            stopped.append(txn)
            stage.clock._now += 30.0  # everything stood still, the clock went on

    client = await stage.stack.enter_async_context(Meddling(stage, stop))
    plane = await stage.leading(rule_set(stage), client=client)
    await abandoned(stage, "x")
    await stage.clock.advance_until("it was about to send", lambda: stopped, within=10 * GRACE)
    await eventually("it gave up", lambda: not calling(plane))
    assert called == []


# --- nothing leaks, spins or grows ------------------------------------------------------------------------------


async def test_a_busy_crew_does_not_spin_over_what_is_due() -> None:
    clock = StandingClock(FakeEtcd())
    turns, let_go = [], asyncio.Event()

    async def work(resource: Resource) -> Outcome:
        await let_go.wait()
        return At(Instant(clock.now() + 1000))

    def gate() -> Instant:
        turns.append(clock.now())
        return Instant(float("-inf"))

    crew = Crew("test", work, clock, limit=1, jitter=lambda: 1.0, gate=gate, admits=lambda _: ALWAYS)
    crew.offer(blob("in-hand"))
    crew.offer(blob("due"), Instant(clock.now() + 1))
    running = asyncio.create_task(crew.run())
    await asyncio.sleep(0.01)
    await clock.advance(2)
    before = len(turns)
    await asyncio.sleep(0.05)
    assert len(turns) - before < 5
    let_go.set()
    await asyncio.sleep(0.01)
    assert len(crew.backlog) == 2
    running.cancel()


async def test_what_a_full_backlog_declined_is_offered_again_by_the_scan_and_said_once(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    plane.collector.crews[Step.CONDEMN].backlog.capacity = 1
    names = [f"r{n}" for n in range(5)]
    with capture_logs() as logs:
        await abandoned(stage, *names)
        await eventually("all are known", lambda: len(plane.index) == len(names))
        for _ in names:
            await asyncio.sleep(0.1)
            await plane.observer.scan()
        await eventually("all are condemned", lambda: not plane.index.nominated[Step.CONDEMN], within=3)
    said = [log for log in logs if log["event"] == "backlog_full"]
    assert 1 <= len(said) <= len(names) + 1


async def test_an_epoch_that_cannot_be_opened_leaves_no_leases_behind(stage: Stage) -> None:
    opens = puts(stage, Family.EPOCH_LEASES)

    def deny(txn: Txn, before: bool) -> None:
        if before and opens(txn):
            raise AccessDenied("no right to write epochs")

    client = await stage.stack.enter_async_context(Meddling(stage, deny))
    await stage.leading(rule_set(stage), client=client)
    await stage.hand.attach("other", ttl=10**6)
    await abandoned(stage, "x")
    await eventually("a grant was made", lambda: "LeaseGrant" in stage.fake.calls)
    before, asked = len(stage.fake.store.leases), stage.fake.calls.count("LeaseGrant")
    await stage.clock.advance(7)
    assert len(stage.fake.store.leases) <= before + 1
    assert stage.fake.calls.count("LeaseGrant") - asked <= 10, "it asks less and less often"


async def test_steps_that_fail_are_counted(stage: Stage) -> None:
    tombs = puts(stage, Family.TOMBSTONES)

    def deny(txn: Txn, before: bool) -> None:
        if before and tombs(txn):
            raise AccessDenied("no right to condemn")

    client = await stage.stack.enter_async_context(Meddling(stage, deny))
    plane = await stage.leading(rule_set(stage), client=client)
    await abandoned(stage, "x")
    await eventually("it was tried", lambda: metric(plane, "leasehold_failed_steps_total", step="condemn") >= 1)


# --- etcd's past is rewritten -------------------------------------------------------------------------------------


async def test_a_restored_snapshot_is_noticed_and_stops_everything_until_somebody_arms(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    a = await stage.hand.attach("a", ttl=10**6, says_ttl=1)
    stage.owner.add("x")
    await stage.hand.register(a, "x", grace_class="8s")
    await stage.hand.vanish(a)
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    snapshot = copy.deepcopy(stage.fake.store)
    b = await stage.hand.attach("b", ttl=10**6)
    assert await stage.hand.acquire(b, "x")
    await stage.hand.register(b, "later", grace_class="8s")
    await eventually("it is held", lambda: state(plane, "x") is State.HELD)
    stage.fake.store = snapshot
    stage.fake.disconnect()
    for _ in range(60):
        await stage.clock.advance(1.0, step=0.5)
        if await stage.hand.get(stage.keys.armed) is None and plane.observer.sight.synced:
            break
    assert plane.index.entry(blob("later")) is None, "what was written after the snapshot is not there any more"
    assert await stage.hand.get(stage.keys.armed) is None
    await eventually("the brake is on", lambda: "control/armed" in plane.brake.why_not)
    await stage.clock.advance(3 * GRACE, step=0.5)
    assert "x" in stage.owner.things
    await stage.hand.commit(tx.arm(stage.keys, ArmedRecord("me", "all holders are back")))
    for _ in range(60):
        await stage.clock.advance(1.0, step=0.5)
        if not stage.owner.things:
            break
    assert not stage.owner.things


async def test_an_etcd_that_was_wiped_is_a_new_tenant_and_collecting_goes_on(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    await abandoned(stage, "x")
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    stage.fake.store = FakeStore()
    stage.fake.disconnect()
    for _ in range(60):
        await stage.clock.advance(1.0, step=0.5)
        if plane.leadership.leading and not plane.brake.why_not and not len(plane.index):
            break
    assert not len(plane.index)
    assert plane.brake.why_not == ""
    for document in rule_set(stage).owners:
        from leasehold.control_plane.loading import document as written

        await stage.hand.commit(Txn((), (Put(stage.keys.owner(document.name), written(document)),)))  # type: ignore[arg-type]
    for rule in rule_set(stage).rules:
        await stage.hand.commit(Txn((), (Put(stage.keys.rule(rule.name), written(rule)),)))  # type: ignore[arg-type]
    stage.owner.things.clear()
    await abandoned(stage, "y")
    for _ in range(60):
        await stage.clock.advance(1.0, step=0.5)
        if not stage.owner.things:
            break
    assert not stage.owner.things
    assert len(await _epochs(stage)) <= 2


async def _epochs(stage: Stage) -> list[object]:
    return list((await stage.client.read(stage.keys.family(Family.EPOCHS), deadline=5)).items)


# --- the roster ---------------------------------------------------------------------------------------------------


async def test_long_gone_holders_are_struck_off_the_roster(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage), ttl=60)
    alive = await stage.hand.attach("alive", ttl=10**6)
    gone = await stage.hand.attach("gone", ttl=10**6, says_ttl=1)
    holding = await stage.hand.attach("holding", ttl=10**6, says_ttl=1)
    calling = await stage.hand.attach("calling", ttl=10**6, says_ttl=1)
    await stage.hand.register(holding, "kept", grace_class="8s", rule="unknown")
    await stage.hand.release(holding, "kept")
    await stage.hand.commit(Txn((), (Put(stage.keys.intents_of(calling).start + b"1", b"{}"),)))
    for holder in (gone, holding, calling):
        await stage.hand.vanish(holder)
    await stage.clock.advance(590, step=10)
    assert await stage.hand.count(Family.ROSTER) == 4
    await stage.clock.advance(90, step=10)
    await eventually("one is struck", lambda: metric(plane, "leasehold_struck_total") == 1)
    left = await stage.client.read(stage.keys.family(Family.ROSTER), deadline=5)
    assert {stage.keys.parse(item.key).holder for item in left.items} == {alive, holding, calling}  # type: ignore[union-attr]


async def test_nobody_is_struck_while_collecting_is_not_allowed_or_by_what_another_leader_saw(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage), ttl=60)
    gone = await stage.hand.attach("gone", ttl=10**6, says_ttl=1)
    await stage.hand.vanish(gone)
    await stage.clock.advance(400, step=10)
    await plane.stop()
    second = await stage.plane(rule_set(stage), name="two", ttl=60)
    await eventually("the second leads", lambda: second.leadership.leading)
    await stage.clock.advance(400, step=10)
    assert await stage.hand.count(Family.ROSTER) == 1
    await stage.hand.commit(Txn((), (Delete(stage.keys.armed),)))
    await eventually("the brake is on", lambda: second.brake.why_not)
    await stage.clock.advance(400, step=10)
    assert await stage.hand.count(Family.ROSTER) == 1


async def test_a_request_that_never_ends_does_not_hold_up_a_stop(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    addresses: dict[str, object] = {}
    monkeypatch.setattr(app, "api_routes", lambda *_: [web.get("/endless", endless)])
    monkeypatch.setattr(Lifetime, "ready", lambda _, **told: addresses.update(told))
    lifetime = Lifetime()
    serving = asyncio.create_task(app.serve(stage.config(None), lifetime))
    await eventually("it serves", lambda: addresses)
    await eventually("it leads", lambda: stage.client.get(stage.keys.shard(0), deadline=5))
    host, _, port = str(addresses["http"]).rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(0.1)
    lifetime.stopping.set()
    await asyncio.wait_for(serving, STOP_WITHIN_SECONDS)
    assert await stage.hand.get(stage.keys.shard(0)) is None, "it resigned"
    writer.close()
