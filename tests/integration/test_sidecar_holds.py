"""What a sidecar owes its host and the collector, against the fake etcd and the real one."""

from __future__ import annotations

import asyncio

from aiohttp import ClientSession, web

from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Instant
from leasehold.protocol.records import IntentRecord, SweepRecord, SweepState, decode, encode
from leasehold.protocol.rules import Commit, On, RuleSet
from leasehold.protocol.store import Delete, Put, Txn
from leasehold.sidecar.observe.events import Creation
from leasehold.sidecar.ports import Outcome
from tests.fakes.relay import CountingMetrics
from tests.integration.sidecar_world import (
    BY_SERVICE,
    ManyLives,
    OneHost,
    World,
    blob,
    by_timer,
    creation,
    deletion,
    eventually,
    rule,
    use,
)
from tests.integration.test_relay_insertion import CALL, KEYED, in_front_of


async def test_a_creation_is_recorded_and_held_before_its_future_ends(tenant: World) -> None:
    async with tenant.sidecar() as one:
        assert await one.registrar.observed(creation("a")) is Outcome.REGISTERED
        assert await tenant.recorded() == {"a"}
        assert await tenant.held_by(one.holder) == {"a"}
        assert one.holder in await tenant.beacons()


async def test_a_hundred_registrations_are_one_transaction(tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.attached()
        before = one.metric("commits_total")
        futures = [one.registrar.observed(creation(f"r{n}")) for n in range(100)]
        assert set(await asyncio.gather(*futures)) == {Outcome.REGISTERED}
        assert one.metric("commits_total") - before == 1
        assert len(await tenant.recorded()) == 100


async def test_a_use_of_what_is_held_asks_etcd_for_nothing(tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.registrar.observed(creation("a"))
        future = one.registrar.observed(use("a"))
        assert future.done()
        assert await future is Outcome.ALREADY_HELD


async def test_a_use_of_what_nobody_recorded_is_none_of_our_business(tenant: World) -> None:
    async with tenant.sidecar() as one:
        assert await one.registrar.observed(use("stranger")) is Outcome.NOT_OURS
        assert await tenant.family(Family.HOLDS) == {}


async def test_whoever_uses_a_resource_holds_it_too(tenant: World) -> None:
    async with tenant.sidecar() as one, tenant.sidecar(OneHost("2.2.abc"), instance="two") as two:
        await one.registrar.observed(creation("a"))
        assert await two.registrar.observed(use("a")) is Outcome.REGISTERED
        assert await tenant.held_by(two.holder) == {"a"}


async def test_what_the_app_deletes_itself_is_forgotten_by_all(tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.registrar.observed(creation("a"))
        assert await one.registrar.observed(deletion("a")) is Outcome.FORGOTTEN
        assert await tenant.recorded() == set()
        assert await tenant.family(Family.HOLDS) == {}
        assert await one.registrar.observed(use("a")) is Outcome.NOT_OURS
        assert await one.registrar.observed(deletion("a")) is Outcome.NOT_OURS


async def test_operations_on_one_resource_keep_their_order(tenant: World) -> None:
    async with tenant.sidecar() as one:
        steps = [creation("a"), deletion("a"), creation("a", incarnation="uid:2"), deletion("a"), creation("a")]
        outcomes = await asyncio.gather(*(one.registrar.observed(step) for step in steps))
        made, gone = Outcome.REGISTERED, Outcome.FORGOTTEN
        assert outcomes == [made, gone, made, gone, made]
        assert await tenant.recorded() == {"a"}


async def test_a_new_incarnation_replaces_the_record_of_the_old(tenant: World) -> None:
    async with tenant.sidecar() as one, tenant.sidecar(OneHost("2.2.abc"), instance="two") as two:
        await one.registrar.observed(creation("a", incarnation="uid:1"))
        assert await two.registrar.observed(creation("a", incarnation="uid:2")) is Outcome.REGISTERED
        [record] = (await tenant.family(Family.RESOURCES)).values()
        assert b"uid:2" in record
        assert await two.registrar.observed(creation("a", incarnation="uid:2")) is Outcome.REGISTERED


async def test_a_beacon_deleted_by_hand_comes_back_and_nothing_is_lost(tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.registrar.observed(creation("a"))
        await tenant.client.commit(Txn((), (Delete(tenant.keys.beacon(one.holder)),)), deadline=5)
        futures = [one.registrar.observed(creation(f"b{n}")) for n in range(50)]
        assert set(await asyncio.gather(*futures)) == {Outcome.REGISTERED}
        await eventually("the beacon is back", lambda: _has_beacon(tenant, one.holder))
        assert one.metric("reattachments_total") == 1


async def test_a_lease_lost_in_the_middle_of_a_batch_replays_all_of_it(tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.attached()
        lease = one.holds.holders.keepers[one.holder].session.lease
        await tenant.client.revoke(lease, deadline=5)
        futures = [one.registrar.observed(creation(f"r{n}")) for n in range(120)]
        assert set(await asyncio.gather(*futures)) == {Outcome.REGISTERED}
        assert len(await tenant.held_by(one.holder)) == 120
        assert one.holds.holders.keepers[one.holder].session.lease != lease


async def test_a_dead_host_is_retired_within_a_second(tenant: World) -> None:
    async with tenant.sidecar() as one:
        holder = one.holder
        await one.registrar.observed(creation("a"))
        pending = one.registrar.observed(creation("late"))
        one.host.die()
        await eventually("retired", lambda: _ended(tenant, holder, b"exited"), within=1.0)
        assert await pending is Outcome.REGISTERED
        assert holder not in await tenant.beacons()
        assert await tenant.held_by(holder) == {"a", "late"}, "what the dead created is there to be found"
        assert await one.registrar.observed(creation("b")) is Outcome.UNPROTECTED
        assert one.metric("unprotected_creations_total", reason="host-ended") == 1
        assert one.holds.journal.state.lives == {}


async def test_a_killed_sidecar_leaves_its_pending_registrations_to_its_successor(tenant: World) -> None:
    async with tenant.sidecar(crash=True) as one:
        await one.registrar.observed(creation("a"))
        holder, lease = one.holder, one.holds.holders.keepers[one.holder].session.lease
        future = one.registrar.observed(creation("b"))
        one.holds.journal.flush()
        assert not future.done()
    async with tenant.sidecar() as two:
        assert two.holder == holder, "the same host is the same holder"
        await eventually("b is recorded", lambda: _recorded(tenant, {"a", "b"}))
        assert two.holds.holders.keepers[holder].session.lease == lease
        assert await two.registrar.observed(use("a")) is Outcome.ALREADY_HELD


async def test_what_an_earlier_host_left_pending_is_recorded_in_its_name_and_its_end_told(tenant: World) -> None:
    async with tenant.sidecar(OneHost("1.1.abc"), crash=True) as one:
        await one.attached()
        holder = one.holder
        one.registrar.observed(creation("left"))
        one.holds.journal.flush()
    async with tenant.sidecar(OneHost("2.2.abc")) as two:
        assert two.holder != holder
        await eventually("its end is told", lambda: _ended(tenant, holder, b"unknown"))
        assert await tenant.held_by(holder) == {"left"}
        await two.attached()
        assert await tenant.beacons() == {two.holder}


async def test_a_host_that_was_gone_before_we_came_is_retired(tenant: World) -> None:
    async with tenant.sidecar(crash=True) as one:
        await one.registrar.observed(creation("a"))
        holder = one.holder
    async with tenant.sidecar(OneHost(None)) as two:
        await eventually("its end is told", lambda: _ended(tenant, holder, b"unknown"))
        assert await two.registrar.observed(creation("b")) is Outcome.UNPROTECTED


async def test_a_probed_host_that_comes_back_is_a_new_holder(tenant: World) -> None:
    host = ManyLives()
    async with tenant.sidecar(host, crash=True) as one:
        await one.registrar.observed(creation("a"))
        first = one.holder
    async with tenant.sidecar(host := ManyLives()) as one:
        assert one.holder == first, "as far as anyone knows, it is the same one"
        await one.attached()
        host.die()
        await eventually("its end is told", lambda: _ended(tenant, first, b"exited"))
        assert await one.registrar.observed(creation("between")) is Outcome.UNPROTECTED
        host.start_again()
        await eventually("it is back", lambda: one.holds.holders.process)
        assert one.holder != first
        assert await one.registrar.observed(creation("b")) is Outcome.REGISTERED
        assert await tenant.held_by(one.holder) == {"b"}
        assert await tenant.held_by(first) == {"a"}


async def test_a_timer_that_is_due_before_its_registrations_landed_still_records_them(tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.registrar.observed(creation("a", by_timer(30)))
        [timer] = one.holds.timers._timers.values()
        await tenant.client.revoke(timer.life.lease, deadline=5)
        timer.due = Instant(one.holds.clock.now())  # the outage lasted longer than the ttl
        assert await one.registrar.observed(creation("late", by_timer(30))) is Outcome.REGISTERED
        assert await tenant.held_by(timer.life.holder) == {"a", "late"}
        status = await tenant.client.time_to_live(timer.life.lease, deadline=5)
        assert status.granted_seconds <= 5
        timer.due = Instant(one.holds.clock.now())
        one.holds.timers._work.set()
        await eventually("it is over", lambda: not one.holds.timers._timers)
        assert one.holds.journal.state.held == {}


async def test_leaving_with_the_host_alive_leaves_the_beacon(tenant: World) -> None:
    async with tenant.sidecar() as one:
        holder = one.holder
        future = one.registrar.observed(creation("a"))
    assert future.done(), "what was pending was flushed"
    assert holder in await tenant.beacons()


async def test_a_service_outlives_a_rolling_restart_of_its_instances(tenant: World) -> None:
    async with tenant.sidecar(OneHost("1.1.abc"), (BY_SERVICE,), instance="one") as one:
        assert await one.registrar.observed(creation("a", BY_SERVICE)) is Outcome.REGISTERED
        async with tenant.sidecar(OneHost("2.2.abc"), (BY_SERVICE,), instance="two") as two:
            await eventually("two renews too", lambda: two.holds.holders.may_try(two.holds.holders.service))
            one.host.die()
            await eventually("one is gone", lambda: not one.holds.holders.keepers)
            assert "maker" in await tenant.beacons()
            assert await two.registrar.observed(creation("b", BY_SERVICE)) is Outcome.REGISTERED
    assert await tenant.held_by("maker") == {"a", "b"}
    assert "maker" in await tenant.beacons()


async def test_an_instance_that_creates_nothing_keeps_its_service_alive(tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.attached()
        assert "maker" not in await tenant.beacons()
        one.holds.tenure.apply_rules(RuleSet(rules=(BY_SERVICE,)))
        await eventually("attached", lambda: _has_beacon(tenant, "maker"))


async def test_a_timer_is_attached_once_and_never_renewed(tenant: World) -> None:
    timed = by_timer(30)
    async with tenant.sidecar() as one:
        assert await one.registrar.observed(creation("a", timed)) is Outcome.REGISTERED
        assert await one.registrar.observed(creation("b", timed)) is Outcome.REGISTERED
        [timer] = [name for name in await tenant.beacons() if "!" in name]
        assert await tenant.held_by(timer) == {"a", "b"}
        status = await tenant.client.time_to_live(one.holds.timers._timers[timer].life.lease, deadline=5)
        assert status.granted_seconds == 33
        assert one.metric("lease_renewals_total", kind="timer") == 0


async def test_a_timer_that_vanished_too_early_is_put_back(tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.registrar.observed(creation("a", by_timer(60)))
        [timer] = one.holds.timers._timers.values()
        await tenant.client.revoke(timer.life.lease, deadline=5)
        one.holds.timers._looked_at = -1000.0
        one.holds.timers._work.set()
        await eventually("it is back", lambda: _has_beacon(tenant, timer.life.holder))
        status = await tenant.client.time_to_live(timer.life.lease, deadline=5)
        assert 60 <= status.granted_seconds <= 67


async def test_a_use_moves_a_hold_to_a_fresh_timer_once_per_window(tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.registrar.observed(creation("a", by_timer(30)))
        [first] = one.holds.timers._timers
        one.holds.timers._windows.clear()  # the window closes
        used = by_timer(30, On.USE)
        assert await one.registrar.observed(use("a", used)) is Outcome.REGISTERED
        [second] = set(one.holds.timers._timers) - {first}
        assert await tenant.held_by(first) == set()
        assert await tenant.held_by(second) == {"a"}
        assert await one.registrar.observed(use("a", used)) is Outcome.ALREADY_HELD


async def test_pending_timer_registrations_outlive_a_killed_sidecar(tenant: World) -> None:
    async with tenant.sidecar(crash=True) as one:
        future = one.registrar.observed(creation("a", by_timer(30)))
        one.holds.journal.flush()
        assert not future.done()
        [timer] = one.holds.timers._timers
    async with tenant.sidecar():
        await eventually("recorded", lambda: _recorded(tenant, {"a"}))
        assert await tenant.held_by(timer) == {"a"}


async def test_an_idle_hold_is_released_and_the_next_use_takes_it_back(tenant: World) -> None:
    idle = rule(on=On.USE, idle_release=0.05)
    async with tenant.sidecar() as one, tenant.sidecar(OneHost("2.2.abc"), instance="two") as two:
        await one.registrar.observed(creation("a"))
        await two.registrar.observed(use("a", idle))

        async def released() -> bool:
            two.registrar.let_idle_go(10)
            return await tenant.held_by(two.holder) == set()

        await eventually("released", released)
        holds = await tenant.family(Family.HOLDS)
        assert len(holds) == 2, "a released hold stays as evidence"
        assert await two.registrar.observed(use("a", idle)) is Outcome.REGISTERED
        assert await tenant.held_by(two.holder) == {"a"}


async def test_an_intent_is_there_before_the_call_and_gone_after_it(tenant: World) -> None:
    strict = rule(commit=Commit.BEFORE_REQUEST)
    async with tenant.sidecar() as one:
        made = creation("a", strict)
        assert await one.registrar.intend(strict, made.call, "POST", "/v1/blobs", None) is Outcome.REGISTERED
        assert len(await tenant.family(Family.INTENTS)) == 1
        assert await one.registrar.observed(made) is Outcome.REGISTERED
        assert await tenant.family(Family.INTENTS) == {}


async def test_when_the_owner_sees_an_idempotency_key_the_intent_has_it(tenant: World) -> None:
    seen: list[tuple[str | None, str, IntentRecord]] = []

    async def owner(request: web.Request) -> web.Response:
        [((_, call), value)] = (await tenant.family(Family.INTENTS)).items()
        seen.append((request.headers.get("Idempotency-Key"), call, decode(IntentRecord, value)))
        return web.Response()

    async with (
        tenant.sidecar() as one,
        in_front_of(owner, KEYED, one.registrar, CountingMetrics()) as origin,
        ClientSession(headers={"Host": "blobs.test"}) as session,
    ):
        for key in (None, "mine", "../../etc", ""):
            more = {} if key is None else {"Idempotency-Key": key}
            async with session.put(f"{origin}/v1/blobs/b-1", headers=more) as answer:
                assert answer.status == 200
            assert await tenant.family(Family.INTENTS) == {}, "the registration takes it along"
    [(sent, call, record), *others, (_, last, unusable)] = seen
    assert CALL.fullmatch(call)
    assert sent == record.idempotency_key == call
    assert record.sent_as == "Idempotency-Key"
    for sent, call, record in others:
        assert CALL.fullmatch(call), "what a client says never names a key"
        assert (record.idempotency_key, record.sent_as) == (sent, "Idempotency-Key")
    assert (unusable.idempotency_key, unusable.sent_as) == (last, "")


async def test_an_intent_with_a_known_id_holds_early_and_lets_go_when_retracted(tenant: World) -> None:
    strict = rule(commit=Commit.BEFORE_REQUEST)
    async with tenant.sidecar() as one:
        made = creation("a", strict)
        await one.registrar.intend(strict, made.call, "PUT", "/v1/blobs/a", made.resource)
        assert await tenant.held_by(one.holder) == {"a"}
        one.registrar.retract(made.call)
        await eventually("retracted", lambda: one.holds.committer.pending == 0)
        assert await tenant.family(Family.INTENTS) == {}
        assert await tenant.family(Family.HOLDS) == {}


async def test_a_creation_waits_until_the_sweep_of_its_namesake_is_over(tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.attached()
        sweep = tenant.keys.sweep(blob("a"))
        await tenant.client.commit(Txn((), (Put(sweep, b"{}"),)), deadline=5)
        future = one.registrar.observed(creation("a"))
        other = one.registrar.observed(creation("b"))
        assert await other is Outcome.REGISTERED, "others do not wait with it"
        assert not future.done()
        await tenant.client.commit(Txn((), (Delete(sweep),)), deadline=5)
        assert await future is Outcome.REGISTERED


async def test_a_use_of_what_is_being_swept_is_a_late_return(tenant: World) -> None:
    async with tenant.sidecar() as one, tenant.sidecar(OneHost("2.2.abc"), instance="two") as two:
        await one.registrar.observed(creation("a"))
        await tenant.client.commit(Txn((), (Put(tenant.keys.sweep(blob("a")), b"{}"),)), deadline=5)
        assert await two.registrar.observed(use("a")) is Outcome.BEING_SWEPT
        assert two.metric("late_returns_total") == 1


async def test_what_was_swept_while_we_were_away_is_counted_and_not_believed(tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.registrar.observed(creation("a"))
        keys = tenant.keys
        gone = (Delete(keys.record(blob("a"))), Delete(keys.holds_of(blob("a"))), Put(keys.grave(blob("a")), b"{}"))
        await tenant.client.commit(Txn((), gone), deadline=5)
        await tenant.client.revoke(one.holds.holders.keepers[one.holder].session.lease, deadline=5)
        await eventually("counted", lambda: one.metric("late_returns_total") == 1)
        assert await one.registrar.observed(use("a")) is Outcome.NOT_OURS


async def test_what_was_only_prepared_while_we_were_away_stays_held_when_that_is_taken_back(tenant: World) -> None:
    idle = rule(on=On.USE, idle_release=0.05)
    async with tenant.sidecar() as one:
        for name in ("prepared", "sent", "gone"):
            await one.registrar.observed(creation(name))
        keys = tenant.keys
        prepared = SweepRecord(SweepState.PREPARED, "uid:prepared", 1, 1, 1, "1s/1", (one.holder,))
        sent = SweepRecord(SweepState.SENT, "uid:sent", 1, 1, 1, "1s/1", (one.holder,), attempt=1)
        away = (
            Put(keys.sweep(blob("prepared")), encode(prepared)),
            Put(keys.sweep(blob("sent")), encode(sent)),
            Delete(keys.record(blob("gone"))), Delete(keys.holds_of(blob("gone"))),
            Put(keys.grave(blob("gone")), b"{}"),
        )  # fmt: skip
        await tenant.client.commit(Txn((), away), deadline=5)
        await tenant.client.revoke(one.holds.holders.keepers[one.holder].session.lease, deadline=5)
        await eventually("back, and losses were looked for", lambda: one.metric("late_returns_total") == 2)
        await tenant.client.commit(Txn((), (Delete(keys.sweep(blob("prepared"))),)), deadline=5)  # its beacon is back
        await one.registrar.observed(use("prepared", idle))
        await asyncio.sleep(0.1)
        one.registrar.let_idle_go(10)
        await eventually("settled", lambda: one.holds.committer.pending == 0)
        assert "prepared" in await tenant.held_by(one.holder), "it created it, and lives"


async def _has_beacon(tenant: World, holder: str) -> bool:
    return holder in await tenant.beacons()


async def _ended(tenant: World, holder: str, how: bytes) -> bool:
    return b'"ended":"%s"' % how in (await tenant.roster()).get(holder, b"")


async def _recorded(tenant: World, names: set[str]) -> bool:
    return await tenant.recorded() == names


async def test_a_creation_that_was_under_way_when_its_host_died_is_recorded_in_its_name(tenant: World) -> None:
    async with tenant.sidecar(rules=(BY_SERVICE,)) as one:
        await one.registrar.observed(creation("a"))
        holder, tenure = one.holder, one.holds.tenure
        calls = [tenure.new_call() for _ in range(4)]
        one.host.die()
        await eventually(
            "its end is told", lambda: one.holds.journal.state.endings == {} and not one.holds.holders.process
        )
        made = [
            Creation(by, blob(f"late{n}"), f"uid:{n}", calls[n])
            for n, by in enumerate((rule(), BY_SERVICE, by_timer(30), rule(commit=Commit.BACKGROUND)))
        ]
        outcomes = await asyncio.gather(*(one.registrar.observed(one_of) for one_of in made))
        assert set(outcomes) == {Outcome.REGISTERED}
        assert await tenant.held_by(holder) == {"a", "late0", "late3"}
        assert await tenant.held_by("maker") == {"late1"}
        await eventually("its end is told again", lambda: _ended(tenant, holder, b"exited"))
        await eventually("for good", lambda: one.holds.journal.state.endings == {})
        assert holder not in await tenant.beacons()
        assert one.metric("late_returns_total") == 0
        begun_later = Creation(rule(), blob("b"), "uid:b", tenure.new_call())
        assert await one.registrar.observed(begun_later) is Outcome.UNPROTECTED


async def test_a_living_holder_keeps_a_hold_that_a_failed_creation_wrote_anew_until_it_is_idle(tenant: World) -> None:
    idle, strict = rule(on=On.USE, idle_release=0.05), rule(commit=Commit.BEFORE_REQUEST)
    async with tenant.sidecar() as one, tenant.sidecar(OneHost("2.2.abc"), instance="two") as two:
        await one.registrar.observed(creation("a"))
        await two.registrar.observed(use("a", idle))
        made = creation("a", strict)
        await two.registrar.intend(strict, made.call, "PUT", "/v1/blobs/a", made.resource)
        await asyncio.sleep(0.1)
        two.registrar.let_idle_go(10)
        await eventually("settled", lambda: two.holds.committer.pending == 0)
        assert await tenant.held_by(two.holder) == {"a"}, "a call on it is under way"
        two.registrar.retract(made.call)
        await eventually("settled", lambda: two.holds.committer.pending == 0)
        assert await tenant.held_by(two.holder) == {"a"}, "it was held before the call"

        async def released() -> bool:
            two.registrar.let_idle_go(10)
            return await tenant.held_by(two.holder) == set()

        await eventually("and is let go like any other", released, within=5)
