"""What "already held" rests on: a hold that has gone while its holder lives is noticed, and taken back or given up."""

from __future__ import annotations

from leasehold.protocol.configuration import Seconds
from leasehold.protocol.keyspace import Family
from leasehold.protocol.records import HolderKind
from leasehold.protocol.rules import On, RuleSet
from leasehold.protocol.store import Delete, Put, Txn
from leasehold.sidecar.ports import Outcome
from tests.integration.sidecar_world import (
    BY_SERVICE,
    OneHost,
    Running,
    World,
    blob,
    by_timer,
    creation,
    deletion,
    eventually,
    rule,
    use,
)


async def look(one: Running) -> None:
    """One round, and all that comes of it."""
    await one.attached()
    await one.holds.rounds.look_at_all()
    await eventually("nothing is pending", lambda: one.holds.committer.pending == 0)


async def test_a_living_user_holds_what_was_deleted_and_made_again_by_others(tenant: World) -> None:
    async with tenant.sidecar() as one, tenant.sidecar(OneHost("2.2.abc"), instance="two") as two:
        await one.registrar.observed(creation("a"))
        await two.registrar.observed(use("a"))
        await one.registrar.observed(deletion("a"))
        await one.registrar.observed(creation("a", incarnation="uid:2"))
        assert await two.registrar.observed(use("a")) is Outcome.ALREADY_HELD
        assert await tenant.held_by(two.holder) == set(), "it only believes so"
        await look(two)
        assert await tenant.held_by(two.holder) == {"a"}
        assert two.metric("holds_taken_back_total") == 1


async def test_what_others_deleted_is_not_believed_held_for_ever(tenant: World) -> None:
    async with tenant.sidecar() as one, tenant.sidecar(OneHost("2.2.abc"), instance="two") as two:
        await one.registrar.observed(creation("a"))
        await two.registrar.observed(use("a"))
        await one.registrar.observed(deletion("a"))
        await look(two)
        assert two.holds.journal.state.held == {}
        assert await two.registrar.observed(use("a")) is Outcome.NOT_OURS
        assert await tenant.family(Family.HOLDS) == {}


async def test_a_hold_deleted_by_hand_comes_back_and_its_tombstone_goes(tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.registrar.observed(creation("a"))
        await one.registrar.observed(creation("b"))
        keys = tenant.keys
        gone = (Delete(keys.hold(blob("a"), one.holder)), Put(keys.tombstone(blob("a")), b"{}"))
        await tenant.client.commit(Txn((), gone), deadline=5)
        await look(one)
        assert await tenant.held_by(one.holder) == {"a", "b"}
        assert await tenant.family(Family.TOMBSTONES) == {}


async def test_an_instance_that_still_uses_holds_what_another_let_go_in_the_name_of_the_service(tenant: World) -> None:
    idle = rule(HolderKind.SERVICE, On.USE, idle_release=0.05)
    by = (BY_SERVICE, idle)
    async with (
        tenant.sidecar() as maker,
        tenant.sidecar(OneHost("2.2.abc"), by, instance="two") as two,
        tenant.sidecar(OneHost("3.3.abc"), by, instance="three") as three,
    ):
        await maker.registrar.observed(creation("a"))
        await two.registrar.observed(use("a", idle))
        await three.registrar.observed(use("a", idle))

        async def released() -> bool:
            three.registrar.let_idle_go(10)
            return await tenant.held_by("maker") == set()

        await eventually("three lets go", released)
        assert await two.registrar.observed(use("a", idle)) is Outcome.ALREADY_HELD
        await look(two)
        assert await tenant.held_by("maker") == {"a"}


async def test_a_round_takes_nothing_back_that_is_there_or_on_its_way_or_of_a_timer_that_is_over(tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.registrar.observed(creation("a"))
        await one.registrar.observed(creation("t", by_timer(30)))
        one.registrar.observed(creation("b"))
        await look(one)
        assert one.metric("holds_taken_back_total") == 0


async def test_rounds_are_made_well_within_the_shortest_grace(tenant: World) -> None:
    async with tenant.sidecar() as one:
        one.holds.rounds.apply_rules(RuleSet(rules=(rule(grace=3), rule(grace=300))))
        assert one.holds.rounds.seconds == 1.0
        one.holds.rounds.apply_rules(RuleSet(rules=(rule(grace=3000),)))
        assert one.holds.rounds.seconds == 30.0
        one.holds.rounds.apply_rules(RuleSet(rules=(rule(grace=Seconds(1.0)),)))
        await one.registrar.observed(creation("a"))
        await tenant.client.commit(Txn((), (Delete(tenant.keys.hold(blob("a"), one.holder)),)), deadline=5)
        await eventually("held again", lambda: _holds(tenant, one, "a"))


async def test_a_use_that_came_before_the_record_holds_once_it_is_there(tenant: World) -> None:
    async with tenant.sidecar() as one, tenant.sidecar(OneHost("2.2.abc"), instance="two") as two:
        assert await two.registrar.observed(use("a")) is Outcome.NOT_OURS, "the creator's sidecar is late"
        assert await two.registrar.observed(use("stranger")) is Outcome.NOT_OURS
        await look(two)
        await one.registrar.observed(creation("a"))
        await look(two)
        assert await tenant.held_by(two.holder) == {"a"}
        assert await two.registrar.observed(use("a")) is Outcome.ALREADY_HELD
        assert [str(use.resource) for use in two.holds.cache.strangers(two.holds.clock.now())] == [
            "store/blob/stranger"
        ]
        assert two.holds.cache.strangers(two.holds.clock.now() + 121) == []


async def _holds(tenant: World, one: Running, name: str) -> bool:
    return name in await tenant.held_by(one.holder)
