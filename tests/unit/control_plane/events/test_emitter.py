"""Events of a control plane on a fake etcd, told to a real HTTP receiver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.config_events import EventsConfig, WebhookSinkConfig
from leasehold.protocol.records import CursorRecord, decode, encode
from leasehold.protocol.store import Put, Txn
from tests.fakes.receiver import Receiver
from tests.unit.control_plane.stage import Stage, abandoned, passing, rule_set
from tests.unit.control_plane.world import blob, eventually, metric

LIFE = ["leasehold.registered", "leasehold.condemned", "leasehold.swept"]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as it:
        yield it


async def telling(stage: Stage, receiver: Receiver, headers: Path | None = None, **more: object) -> ControlPlane:
    """A plane whose cursor is there."""
    config = EventsConfig(WebhookSinkConfig(receiver.url, headers, timeout_seconds=5.0))
    plane = await stage.plane(rule_set(stage), events=config, **more)
    await passing(stage, "it tells", lambda: plane.events[0].telling and not plane.brake.why_not)
    return plane


async def test_a_life_from_registration_to_sweep_is_told_in_order(stage: Stage, receiver: Receiver) -> None:
    plane = await telling(stage, receiver)
    await abandoned(stage, "x")
    await passing(stage, "all of it was told", lambda: receiver.told("x") == LIFE)
    assert [one["data"]["incarnation"] for one in receiver.confirmed] == ["call:1"] * 3
    assert {one["data"]["rule"] for one in receiver.confirmed} == {"make"}
    await passing(stage, "it is counted", lambda: metric(
        plane, "leasehold_events_delivered_total", sink="webhook", type="leasehold.swept") == 1)  # fmt: skip


async def test_what_is_held_again_is_told_as_revived(stage: Stage, receiver: Receiver) -> None:
    await telling(stage, receiver)
    await abandoned(stage, "x")
    await passing(stage, "it is condemned", lambda: "leasehold.condemned" in receiver.told("x"))
    b = await stage.hand.attach("b", ttl=10**6)
    assert await stage.hand.acquire(b, "x")
    await passing(stage, "its revival was told", lambda: receiver.told("x")[-1] == "leasehold.revived")
    assert receiver.confirmed[-1]["data"]["incarnation"] == "call:1"


async def test_what_its_owner_will_not_delete_is_told_as_quarantined(stage: Stage, receiver: Receiver) -> None:
    await telling(stage, receiver)
    stage.owner.answers += [web.Response(status=403)]
    await abandoned(stage, "x")
    await passing(stage, "its quarantine was told", lambda: "leasehold.quarantined" in receiver.told("x"))
    told = next(one for one in receiver.confirmed if one["type"] == "leasehold.quarantined")
    assert told["data"]["detail"].startswith("misconfigured")
    assert told["data"]["rule"] == "make"


async def test_while_the_receiver_is_down_collecting_goes_on_and_afterwards_everything_arrives(
    stage: Stage, receiver: Receiver
) -> None:
    plane = await telling(stage, receiver)
    receiver.down = True
    names = [f"x{n}" for n in range(20)]
    await abandoned(stage, *names)
    await passing(stage, "all are swept", lambda: not stage.owner.things)
    assert receiver.confirmed == []
    assert metric(plane, "leasehold_events_failed_total", sink="webhook", reason="status-503") > 0
    assert metric(plane, "leasehold_events_lag_seconds", sink="webhook") > 0
    assert metric(plane, "leasehold_events_behind_revisions", sink="webhook") > 0
    receiver.down = False
    await passing(stage, "all was told", lambda: all(receiver.told(name) == LIFE for name in names))


async def test_a_replica_that_is_killed_is_followed_by_one_that_misses_nothing(
    stage: Stage, receiver: Receiver
) -> None:
    plane = await telling(stage, receiver)
    receiver.down = True
    await abandoned(stage, "x")
    await passing(stage, "something was tried", lambda: receiver.asked > 0)
    await plane.crash()
    receiver.down = False
    await telling(stage, receiver, name="two")
    await passing(stage, "all was told", lambda: receiver.told("x") == LIFE)


async def test_what_compaction_took_is_told_as_a_gap(stage: Stage, receiver: Receiver) -> None:
    plane = await telling(stage, receiver)
    await plane.crash()
    a = await stage.hand.attach("a", ttl=10**6)
    await stage.hand.register(a, "lost")
    await stage.hand.register(a, "kept")
    stage.fake.compact(stage.fake.store.revision)
    two = await telling(stage, receiver, name="two")
    await passing(stage, "the gap was told", lambda: any(one["type"] == "leasehold.gap" for one in receiver.confirmed))
    lost = next(one for one in receiver.confirmed if one["type"] == "leasehold.gap")["data"]
    assert metric(two, "leasehold_event_gaps_total", sink="webhook") == 1
    assert lost["after"] < lost["until"]
    await stage.hand.register(a, "later")
    await passing(stage, "it goes on behind it", lambda: receiver.told("later") == LIFE[:1])
    assert (receiver.told("lost"), receiver.told("kept")) == ([], LIFE[:1])


async def test_an_event_that_is_refused_is_counted_and_holds_up_nobody(stage: Stage, receiver: Receiver) -> None:
    plane = await telling(stage, receiver)
    receiver.refuses = {"leasehold.condemned"}
    await abandoned(stage, "x")
    await passing(stage, "the others arrive", lambda: receiver.told("x") == [LIFE[0], LIFE[2]])
    assert metric(plane, "leasehold_events_failed_total", sink="webhook", reason="refused") == 1


@pytest.mark.parametrize("status", [302, 401, 404, 410, 429, 500, 503])
async def test_an_answer_that_says_nothing_about_the_event_has_it_sent_again(
    stage: Stage, receiver: Receiver, status: int
) -> None:
    await telling(stage, receiver)
    receiver.answers = [status, status]
    a = await stage.hand.attach("a", ttl=10**6)
    await stage.hand.register(a, "x")
    await passing(stage, "it arrives", lambda: receiver.told("x") == LIFE[:1])
    assert receiver.asked == 3


async def test_the_cursor_moves_only_behind_what_was_confirmed(stage: Stage, receiver: Receiver) -> None:
    await telling(stage, receiver)
    receiver.down = True
    a = await stage.hand.attach("a", ttl=10**6)
    await stage.hand.register(a, "x")
    record = await stage.hand.get(stage.keys.record(blob("x")))
    assert record is not None

    async def cursor() -> int:
        item = await stage.hand.get(stage.keys.events("webhook"))
        assert item is not None
        return decode(CursorRecord, item.value).revision

    await passing(stage, "it was tried again and again", lambda: receiver.asked > 3)
    assert await cursor() < record.mod_revision
    receiver.down = False
    await passing(stage, "it arrives", lambda: bool(receiver.told("x")))
    await stage.clock.advance(3)
    await eventually("the cursor is behind it", lambda: _reached(cursor, record.mod_revision))


async def _reached(cursor, revision: int) -> bool:  # type: ignore[no-untyped-def]
    return bool(await cursor() >= revision)


async def test_what_proves_who_we_are_is_read_from_its_file_and_again_when_that_changes(
    stage: Stage, receiver: Receiver, tmp_path: Path
) -> None:
    file = tmp_path / "headers"
    file.write_text("Authorization: Bearer one\n\nX-Team: storage\n")
    await telling(stage, receiver, file)
    a = await stage.hand.attach("a", ttl=10**6)
    await stage.hand.register(a, "x")
    await passing(stage, "it arrives", lambda: bool(receiver.told("x")))
    assert receiver.headers[-1]["Authorization"] == "Bearer one"
    assert receiver.headers[-1]["X-Team"] == "storage"
    assert receiver.headers[-1]["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    file.write_text("Authorization: Bearer another\n")
    await stage.hand.register(a, "y")
    await passing(stage, "it arrives", lambda: bool(receiver.told("y")))
    assert receiver.headers[-1]["Authorization"] == "Bearer another"


async def test_a_cursor_ahead_of_etcd_is_a_gap_and_no_endless_silence(stage: Stage, receiver: Receiver) -> None:
    plane = await telling(stage, receiver)
    await plane.crash()
    key = stage.keys.events("webhook")
    await stage.hand.commit(Txn((), (Put(key, encode(CursorRecord(10**9))),)))
    await telling(stage, receiver, name="two")
    a = await stage.hand.attach("a", ttl=10**6)
    await stage.hand.register(a, "x")
    await passing(stage, "it goes on", lambda: receiver.told("x") == LIFE[:1])
    assert receiver.confirmed[0]["type"] == "leasehold.gap"
