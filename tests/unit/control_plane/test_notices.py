"""Owners that want to know what is condemned, and have to know when it is not any more."""

from __future__ import annotations

import pytest

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.core.lifecycle import State
from leasehold.protocol import transactions as tx
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Resource
from leasehold.protocol.records import NoticeRecord, decode
from leasehold.protocol.rules import RuleSet
from leasehold.protocol.store import Delete, Put, Txn
from tests.unit.control_plane.stage import GRACE, Stage, abandoned
from tests.unit.control_plane.world import blob, eventually, metric, rules, state

NOTICES = 'condemn: {path: "/condemn/{+id}"}\n    restore: {path: "/restore/{+id}"}'


def informed(stage: Stage, **more: str) -> RuleSet:
    return rules(stage.owner, grace="8s", limits=NOTICES, **more)


def calls(stage: Stage, what: str) -> int:
    return sum(call == what for call, _, _ in stage.owner.ledger)


async def notice(stage: Stage, name: str = "x") -> NoticeRecord | None:
    item = await stage.hand.get(stage.keys.notice(blob(name)))
    return decode(NoticeRecord, item.value) if item is not None else None


async def told(stage: Stage, plane: ControlPlane, name: str = "x") -> None:
    await abandoned(stage, name)
    await eventually("it is in its grace", lambda: state(plane, name) is State.IN_GRACE)

    async def known() -> bool:
        found = await notice(stage, name)
        return found is not None and found.told

    await eventually("the owner was told", known)


async def gone(stage: Stage, name: str = "x") -> bool:
    return await notice(stage, name) is None


async def test_an_owner_is_told_when_the_tombstone_is_there_and_nothing_is_left_after_the_sweep(stage: Stage) -> None:
    plane = await stage.leading(informed(stage))
    await told(stage, plane)
    assert stage.owner.condemned == {"x"}
    assert stage.owner.deletes() == []
    await stage.clock.advance(GRACE - 1)
    assert stage.owner.deletes() == [], "told or not: a whole grace"
    await stage.clock.advance(1.5)
    await eventually("it is gone", lambda: not stage.owner.things)
    await eventually("nothing is left", lambda: gone(stage))
    assert calls(stage, "condemn") == 1
    assert calls(stage, "restore") == 0


async def test_whoever_holds_it_again_gets_it_restored(stage: Stage) -> None:
    plane = await stage.leading(informed(stage))
    await told(stage, plane)
    assert await stage.hand.acquire(await stage.hand.attach("b"), "x")
    await eventually("it is restored", lambda: not stage.owner.condemned)
    await eventually("nothing is owed any more", lambda: gone(stage))
    assert metric(plane, "leasehold_owner_notices_total", owner="store", call="restore", verdict="told") == 1
    assert plane.index.notices.due() == {}


async def test_an_operator_who_takes_the_tombstone_away_gets_it_restored_pinned_or_not(stage: Stage) -> None:
    plane = await stage.leading(informed(stage))
    await told(stage, plane)
    await stage.hand.pin("x")
    await stage.hand.commit(tx.restore(stage.keys, blob("x")))
    await eventually("it is restored", lambda: not stage.owner.condemned)
    await eventually("nothing is owed any more", lambda: gone(stage))


async def test_the_notice_is_in_etcd_before_the_owner_hears_anything(stage: Stage) -> None:
    seen = []

    async def look(call: str, name: str) -> None:
        seen.append((call, await notice(stage, name)))

    stage.owner.on_notice = look
    plane = await stage.leading(informed(stage))
    await told(stage, plane)
    [(call, found)] = seen
    assert call == "condemn"
    assert found is not None
    assert (found.told, found.attempt, found.incarnation) == (False, 1, "call:1")


async def test_an_owner_that_cannot_be_told_gets_its_deletes_all_the_same_and_it_shows(stage: Stage) -> None:
    stage.owner.notice_answers["condemn"] = [409]
    plane = await stage.leading(informed(stage))
    await abandoned(stage, "x")

    async def shown() -> bool:
        found = await notice(stage)
        return found is not None and found.outcome == "condemn: refused: POST 409"

    await eventually("it shows", shown)
    assert metric(plane, "leasehold_notices_owed", owner="store", call="condemn") == 1
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    await stage.clock.advance(GRACE + 0.5)
    await eventually("it is gone", lambda: not stage.owner.things)
    await eventually("nothing is left", lambda: gone(stage))


async def test_a_condemnation_is_told_again_until_it_is_heard(stage: Stage) -> None:
    stage.owner.notice_answers["condemn"] = [500, 502, 204]
    plane = await stage.leading(informed(stage))
    await abandoned(stage, "x")
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    await stage.clock.advance(5)
    await eventually("told in the end", lambda: calls(stage, "condemn") == 3)


async def test_a_restore_is_pursued_across_a_restart_of_the_control_plane(stage: Stage) -> None:
    stage.owner.notice_answers["restore"] = [500]
    plane = await stage.leading(informed(stage))
    await told(stage, plane)
    holder = await stage.hand.attach("b", ttl=10**6)
    assert await stage.hand.acquire(holder, "x")
    await eventually("it was tried", lambda: calls(stage, "restore"))
    await plane.crash()
    await plane.owners.close()
    assert not await gone(stage), "etcd remembers"
    stage.owner.notice_answers.clear()
    after = await stage.plane(informed(stage), name="two")
    for _ in range(40):
        await stage.clock.advance(0.5)
        if not stage.owner.condemned:
            break
    await eventually("it is restored", lambda: not stage.owner.condemned)
    await eventually("nothing is owed any more", lambda: gone(stage))
    assert after.index.notices.due() == {}


async def test_a_restore_is_tried_at_least_once_a_minute(stage: Stage) -> None:
    stage.owner.notice_answers["restore"] = [409]
    plane = await stage.leading(informed(stage))
    await told(stage, plane)
    assert await stage.hand.acquire(await stage.hand.attach("b", ttl=10**6), "x")
    await eventually("it was tried", lambda: calls(stage, "restore"))
    for _ in range(12):
        before = calls(stage, "restore")
        await stage.clock.advance(61, step=0.6)
        assert calls(stage, "restore") > before


async def test_a_delete_that_the_owner_refused_gets_it_restored_and_told_anew(stage: Stage) -> None:
    from aiohttp import web

    plane = await stage.leading(informed(stage))
    await told(stage, plane)
    stage.owner.answers.append(web.Response(status=409))
    await stage.clock.advance(GRACE + 0.5)
    await eventually("it was refused", lambda: metric(
        plane, "leasehold_aborted_total", owner="store", reason="refused"))  # fmt: skip
    await eventually("it was told of either the end or the next beginning", lambda: (
        calls(stage, "restore") or calls(stage, "condemn") > 1))  # fmt: skip


async def test_a_namesake_of_what_was_condemned_is_left_alone(stage: Stage) -> None:
    plane = await stage.leading(informed(stage))
    await told(stage, plane)
    key = stage.keys.record(blob("x"))
    item = await stage.hand.get(key)
    assert item is not None
    again = item.value.replace(b"call:1", b"call:2")
    await stage.hand.commit(Txn((), (Put(key, again), Delete(stage.keys.tombstone(blob("x"))))))

    async def about_the_new_one() -> bool:
        found = await notice(stage)
        return found is not None and found.incarnation == "call:2" and found.told

    # Nobody holds the new one either: it is condemned so soon that the gap between the two notices may not be seen.
    await eventually("the notice is about the new one", about_the_new_one)
    assert calls(stage, "condemn") == 2
    assert calls(stage, "restore") == 0


async def test_where_deletes_are_conditional_only_what_is_recognised_is_condemned(stage: Stage) -> None:
    plane = await stage.leading(informed(stage, precondition="if-match"))
    a = await stage.hand.attach("a", ttl=10**6, says_ttl=1)
    mine = stage.owner.add("mine", uid="u1")
    stage.owner.add("other", uid="u2")
    await stage.hand.register(a, "mine", "other", incarnation="uid:u1", grace_class="8s")
    await stage.hand.vanish(a)
    await eventually("the known one was told about", lambda: stage.owner.condemned == {"mine"})

    async def shown() -> bool:
        found = await notice(stage, "other")
        return found is not None and found.outcome.startswith("condemn: replaced: ")

    await eventually("the other was left alone", shown)
    assert calls(stage, "condemn") == 1
    assert any(headers.get("If-Match") == mine.etag for headers in stage.owner.seen_headers)
    assert plane.owners.states() == {"store": "calling"}


async def test_an_owner_that_wants_no_notice_costs_none(stage: Stage) -> None:
    plane = await stage.leading(rules(stage.owner, grace="8s"))
    await abandoned(stage, "x")
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    assert await stage.hand.count(Family.NOTICES) == 0
    assert plane.index.notices.due() == {}


async def test_an_owner_that_begins_to_want_notices_is_told_what_is_condemned_already(stage: Stage) -> None:
    plane = await stage.leading(rules(stage.owner, grace="8s"))
    await abandoned(stage, "x")
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    await stage.plane(informed(stage), name="two")
    await eventually("it was told", lambda: stage.owner.condemned == {"x"})


@pytest.mark.parametrize("meddled", ["", "tombstone", "sweep", "notice"])
async def test_nothing_is_told_on_the_strength_of_what_changed_meanwhile(stage: Stage, meddled: str) -> None:
    plane = await stage.leading(informed(stage))
    await told(stage, plane)
    resource: Resource = blob("x")
    by = plane.leadership.authority(resource, plane.index.armed)
    assert by is not None
    seen, stone = (
        await stage.hand.get(stage.keys.notice(resource)),
        await stage.hand.get(stage.keys.tombstone(resource)),
    )
    assert seen is not None
    assert stone is not None
    txn = tx.notify(stage.keys, by, resource, stone.mod_revision, seen.mod_revision, NoticeRecord("call:1", 1))
    await plane.crash()
    of = {"tombstone": stage.keys.tombstone, "sweep": stage.keys.sweep, "notice": stage.keys.notice}
    if meddled:
        await stage.hand.commit(Txn((), (Put(of[meddled](resource), b"{}"),)))
    assert tx.committed(await stage.hand.commit(txn)) is not bool(meddled)
