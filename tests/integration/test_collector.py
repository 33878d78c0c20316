"""The collector against a real etcd and a real owner: what is abandoned goes, what anybody needs stays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from leasehold.control_plane.core.lifecycle import State
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.keyspace import Family
from leasehold.protocol.store import Delete, Txn
from tests.unit.control_plane.world import World, blob, eventually, metric, rules, state, world

pytestmark = pytest.mark.etcd
GRACE = 1.0


@pytest.fixture
async def here(real_etcd: EtcdProcess | None) -> AsyncIterator[World]:
    if real_etcd is None:
        pytest.skip("no etcd here")
    async with world(real_etcd.endpoint) as it:
        yield it


async def test_what_a_dead_holder_abandoned_is_swept_within_two_graces(here: World) -> None:
    plane = await here.leading(rules(here.owner))
    a = await here.hand.attach("a")
    for name in ("x", "y/z"):
        here.owner.add(name)
    await here.hand.register(a, "x", "y/z")
    await eventually("both are held", lambda: [state(plane, n) for n in ("x", "y/z")] == [State.HELD] * 2)
    died = time.monotonic()
    await here.hand.vanish(a)
    await eventually("both are gone", lambda: not here.owner.things)
    took = max(here.owner.gone_at.values()) - died
    assert GRACE <= took < 2 * GRACE + 3, took
    print(f"gone after {took:.2f} s (grace {GRACE} s)")
    await eventually("nothing is recorded", lambda: len(plane.index) == 0)
    for family in (Family.RESOURCES, Family.HOLDS, Family.TOMBSTONES, Family.SWEEPS):
        assert await here.hand.count(family) == 0, family
    assert await here.hand.count(Family.GRAVES) == 2
    assert sorted(here.owner.deletes()) == ["x", "y/z"], "each was deleted exactly once"


async def test_a_resource_with_two_holders_survives_the_death_of_one(here: World) -> None:
    plane = await here.leading(rules(here.owner))
    a, b = await here.hand.attach("a"), await here.hand.attach("b")
    here.owner.add("shared")
    here.owner.add("lonely")
    await here.hand.register(a, "shared", "lonely")
    assert await here.hand.acquire(b, "shared")
    await here.hand.vanish(a)
    await eventually("the lonely one is gone", lambda: "lonely" not in here.owner.things)
    assert state(plane, "shared") is State.HELD
    assert here.owner.deletes("shared") == []
    await here.hand.vanish(b)
    await eventually("then the other one too", lambda: not here.owner.things)


async def test_a_holder_that_returns_in_the_grace_revives_and_the_grace_starts_anew(here: World) -> None:
    plane = await here.leading(rules(here.owner, grace="2s"))
    a = await here.hand.attach("a")
    here.owner.add("x")
    await here.hand.register(a, "x", grace_class="2s")
    await here.hand.vanish(a)
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    await here.hand.attach("a")
    await eventually("it is held again, without a tombstone", lambda: state(plane, "x") is State.HELD)
    assert metric(plane, "leasehold_revived_total", reason="held") == 1
    ended = time.monotonic()
    await here.hand.vanish(a)
    await eventually("it is gone in the end", lambda: not here.owner.things)
    assert here.owner.gone_at["x"] - ended >= 2, "a whole new grace"


async def test_a_holder_that_came_back_only_for_a_moment_still_restarts_the_grace(here: World) -> None:
    plane = await here.leading(rules(here.owner, grace="2s"))
    a = await here.hand.attach("a")
    here.owner.add("x")
    await here.hand.register(a, "x", grace_class="2s")
    await here.hand.vanish(a)
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    await asyncio.sleep(1)
    await here.hand.attach("a")
    again = time.monotonic()
    await here.hand.vanish(a)
    await eventually("it is gone in the end", lambda: not here.owner.things)
    assert here.owner.gone_at["x"] - again >= 2


async def test_a_released_resource_is_swept_though_its_holder_lives(here: World) -> None:
    plane = await here.leading(rules(here.owner))
    a = await here.hand.attach("a", says_ttl=0)
    here.owner.add("x")
    await here.hand.register(a, "x")
    await here.hand.release(a, "x")
    await eventually("it is gone", lambda: not here.owner.things)
    await eventually("nothing is recorded", lambda: len(plane.index) == 0)


async def test_a_pinned_resource_is_kept_until_it_is_unpinned(here: World) -> None:
    plane = await here.leading(rules(here.owner))
    a = await here.hand.attach("a")
    for name in ("pinned", "other"):
        here.owner.add(name)
    await here.hand.register(a, "pinned", "other")
    await here.hand.pin("pinned")
    await here.hand.vanish(a)
    await eventually("the other one is gone", lambda: "other" not in here.owner.things)
    assert state(plane, "pinned") is State.UNHELD
    await here.hand.unpin("pinned")
    await eventually("it is gone", lambda: not here.owner.things)


async def test_an_observing_rule_condemns_nothing_and_says_so(here: World) -> None:
    plane = await here.leading(rules(here.owner, mode="observe"))
    a = await here.hand.attach("a", ttl=2)  # a second replica waits for it to come back
    here.owner.add("x")
    await here.hand.register(a, "x")
    await here.hand.vanish(a)
    await eventually("it is shown", lambda: state(plane, "x") is State.OBSERVE_ONLY)
    await asyncio.sleep(0.5)
    assert await here.hand.count(Family.TOMBSTONES) == 0
    # Permitted later, it gets its turn without a restart.
    await here.plane(rules(here.owner), name="two")
    await eventually("it is gone", lambda: not here.owner.things)


async def test_a_condemning_rule_puts_tombstones_and_never_prepares(here: World) -> None:
    plane = await here.leading(rules(here.owner, mode="condemn"))
    a = await here.hand.attach("a")
    here.owner.add("x")
    await here.hand.register(a, "x")
    await here.hand.vanish(a)
    await eventually("its grace is over", lambda: len(plane.index.nominated["prepare"]) == 1)
    await asyncio.sleep(0.5)
    assert await here.hand.count(Family.SWEEPS) == 0
    assert here.owner.ledger == []


async def test_a_resource_without_a_rule_is_kept_and_shown(here: World) -> None:
    plane = await here.leading(rules(here.owner))
    a = await here.hand.attach("a")
    here.owner.add("x")
    await here.hand.register(a, "x", rule="nobody-knows")
    await here.hand.vanish(a)
    await eventually("it is shown", lambda: state(plane, "x") is State.OBSERVE_ONLY)
    assert await here.hand.count(Family.TOMBSTONES) == 0


async def test_a_lost_holds_range_condemns_nothing(here: World) -> None:
    plane = await here.leading(rules(here.owner))
    a = await here.hand.attach("a")
    for name in ("x", "y"):
        here.owner.add(name)
    await here.hand.register(a, "x", "y")
    await here.hand.vanish(a)
    await here.hand.commit(Txn((), (Delete(here.keys.family(Family.HOLDS)),)))
    await eventually("both are unaccounted", lambda: [state(plane, n) for n in "xy"] == [State.UNACCOUNTED] * 2)
    await asyncio.sleep(2.5)
    assert [state(plane, n) for n in "xy"] == [State.UNACCOUNTED] * 2, "a tombstone put before is taken away"
    assert await here.hand.count(Family.TOMBSTONES) == 0
    assert here.owner.ledger == []
    assert metric(plane, "leasehold_unaccounted_resources") == 2


async def test_a_missing_armed_key_stops_everything_until_somebody_arms(here: World) -> None:
    from leasehold.protocol import transactions as tx
    from leasehold.protocol.records import ArmedRecord

    plane = await here.leading(rules(here.owner))
    a = await here.hand.attach("a")
    here.owner.add("x")
    await here.hand.register(a, "x")
    await here.hand.commit(tx.trip(here.keys))
    await here.hand.vanish(a)
    await eventually("it is known to be unheld", lambda: state(plane, "x") is State.UNHELD)
    await asyncio.sleep(0.5)
    assert await here.hand.count(Family.TOMBSTONES) == 0
    assert plane.notes()
    assert not plane.not_ready()
    assert metric(plane, "leasehold_armed") == 0
    await here.hand.commit(tx.arm(here.keys, ArmedRecord("me", "test")))
    await eventually("it is condemned", lambda: state(plane, "x") in {State.CONDEMNED, State.IN_GRACE})
    await here.hand.commit(tx.trip(here.keys))
    await asyncio.sleep(2.5)
    assert await here.hand.count(Family.SWEEPS) == 0
    await here.hand.commit(tx.arm(here.keys, ArmedRecord("me", "test")))
    await eventually("it is gone", lambda: not here.owner.things)


async def test_a_reference_keeps_its_target_until_the_source_is_gone(here: World) -> None:
    plane = await here.leading(rules(here.owner))
    a, b = await here.hand.attach("a"), await here.hand.attach("b", says_ttl=0)
    for name in ("target", "source"):
        here.owner.add(name)
    await here.hand.register(a, "target")
    await here.hand.register(b, "source", references=(blob("target"),))
    await here.hand.vanish(a)
    await asyncio.sleep(0.3)
    assert state(plane, "target") is State.HELD
    await here.hand.vanish(b)
    await eventually("both are gone", lambda: not here.owner.things)
    assert here.owner.gone_at["source"] < here.owner.gone_at["target"]
    assert here.owner.gone_at["target"] - here.owner.gone_at["source"] >= GRACE
    await eventually("nothing is recorded", lambda: len(plane.index) == 0)
    assert await here.hand.count(Family.REFS) == 0


async def test_an_unreadable_record_blocks_only_what_depends_on_it(here: World) -> None:
    from leasehold.protocol.names import RuleName
    from leasehold.protocol.store import Put

    plane = await here.leading(rules(here.owner))
    a = await here.hand.attach("a")
    for name in ("good", "bad"):
        here.owner.add(name)
    await here.hand.register(a, "good", "bad")
    junk = (here.keys.record(blob("bad")), here.keys.rule(RuleName("junk")), here.keys.roster("other"),
            here.keys.epoch("1s", 1), here.keys.everything.start + b"nonsense")  # fmt: skip
    await here.hand.commit(Txn((), [Put(key, b"\xff{") for key in junk]))
    await here.hand.vanish(a)
    await eventually("the good one is gone", lambda: list(here.owner.things) == ["bad"])
    assert state(plane, "bad") is State.UNACCOUNTED
    assert metric(plane, "leasehold_unreadable_records") == len(junk)


async def test_abandoned_hundreds_are_swept_together(here: World) -> None:
    plane = await here.leading(rules(here.owner))
    a = await here.hand.attach("a")
    names = [f"r{n}" for n in range(300)]
    for name in names:
        here.owner.add(name)
    await here.hand.register(a, *names)
    await eventually("all are known", lambda: len(plane.index) == 300)
    died = time.monotonic()
    await here.hand.retire(a)
    await eventually("all are gone", lambda: not here.owner.things)
    print(f"300 resources gone after {time.monotonic() - died:.2f} s (grace {GRACE} s)")
    await eventually("nothing is recorded", lambda: len(plane.index) == 0)
    assert sorted(here.owner.deletes()) == sorted(names)
