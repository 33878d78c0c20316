"""What a control plane looks at now and then to have it measured: ages, etcd, its event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from leasehold.control_plane.core.lifecycle import State
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.telemetry.census import LOOK_SECONDS, REST, Census
from leasehold.control_plane.telemetry.declared.seeing import LOOP_LAG
from leasehold.control_plane.telemetry.etcd_health import EtcdHealth, defects
from leasehold.control_plane.telemetry.pulse import TICK_SECONDS, feel_pulse
from leasehold.protocol import transactions as tx
from leasehold.protocol.errors import Unavailable
from leasehold.protocol.names import Revision
from leasehold.protocol.records import ArmedRecord, TombstoneRecord, TrippedRecord, decode, encode
from leasehold.protocol.store import MemberStatus, Put, Txn
from leasehold.shell.exporting import export_histogram
from tests.telemetry.exported import value
from tests.unit.control_plane.stage import GRACE, Stage, abandoned, passing, rule_set
from tests.unit.control_plane.world import blob, eventually, metric, state

# --- ages ---------------------------------------------------------------------------------------------------------


async def test_what_is_stopped_on_its_way_grows_old_is_overdue_and_when_it_is_gone_is_neither(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    await abandoned(stage, "x", "y")
    await eventually("they are in their grace", lambda: state(plane, "y") is State.IN_GRACE)
    await stage.hand.commit(tx.trip(stage.keys, TrippedRecord("me", "no")))
    await eventually("it is braked", lambda: plane.brake.why_not)
    assert metric(plane, "leasehold_armed") == 0
    await passing(stage, "they are overdue", lambda: _overdue(plane.metrics) == 2)
    oldest = metric(plane, "leasehold_cleanup_oldest_age_seconds", stage="in-grace")
    assert oldest > 2 * GRACE
    assert metric(plane, "leasehold_cleanup_resources", stage="in-grace") == 2
    assert metric(plane, "leasehold_orphaned_resources", owner="store", type="blob") == 2
    assert metric(plane, "leasehold_cleanup_oldest_age_seconds", stage="sent") == 0
    # What waits for the brake is due, and tells how long it has been.
    assert metric(plane, "leasehold_backlog_items", step="prepare") == 2
    assert metric(plane, "leasehold_backlog_oldest_age_seconds", step="prepare") > GRACE
    await stage.clock.advance(30, step=0.5)
    assert metric(plane, "leasehold_cleanup_oldest_age_seconds", stage="in-grace") >= oldest + 30 - 2 * LOOK_SECONDS
    await stage.hand.commit(tx.arm(stage.keys, ArmedRecord("me", "again")))
    await passing(stage, "they are gone", lambda: not stage.owner.things)
    await passing(stage, "nothing is overdue", lambda: _overdue(plane.metrics) == 0)
    assert metric(plane, "leasehold_cleanup_oldest_age_seconds", stage="in-grace") == 0
    assert metric(plane, "leasehold_backlog_items", step="prepare") == 0


def _overdue(metrics: Metrics) -> float:
    return value(generate_latest(metrics.registry).decode(), "leasehold_overdue_age_seconds_count", owner="store")


async def test_after_a_restart_the_oldest_is_as_old_as_its_tombstone_says(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    await abandoned(stage, "x")
    await eventually("it is in its grace", lambda: state(plane, "x") is State.IN_GRACE)
    await stage.hand.commit(tx.trip(stage.keys, TrippedRecord("me", "no")))
    await plane.stop()
    item = await stage.hand.get(stage.keys.tombstone(blob("x")))
    assert item is not None
    hours_ago = (datetime.now(UTC) - timedelta(hours=5)).isoformat()
    record = msgspec.structs.replace(decode(TombstoneRecord, item.value), since=hours_ago)
    await stage.hand.commit(Txn((), (Put(stage.keys.tombstone(blob("x")), encode(record)),)))
    second = await stage.plane(rule_set(stage), name="two")
    await passing(
        stage, "it is told",
        lambda: metric(second, "leasehold_cleanup_oldest_age_seconds", stage="condemned") > 5 * 3600 - 60
        or metric(second, "leasehold_cleanup_oldest_age_seconds", stage="in-grace") > 5 * 3600 - 60,
    )  # fmt: skip


class _Slow:
    """A clock on which each look at it takes a while."""

    def __init__(self, per_look: float) -> None:
        self.time, self._per_look = 0.0, per_look
        self.slept: list[float] = []

    def now(self) -> float:
        self.time += self._per_look
        return self.time

    async def sleep_until(self, instant: float) -> None:
        self.slept.append(instant - self.time)
        self.time = max(self.time, instant)
        if len(self.slept) == 3:
            raise asyncio.CancelledError


async def test_the_census_rests_much_longer_than_it_works(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    await abandoned(stage, "x")
    await eventually(
        "it is condemned", lambda: plane.index.classes() and plane.index.condemned_in(plane.index.classes()[0])
    )
    clock = _Slow(1.0)
    census = Census(stage.client, stage.keys, plane.index, clock, deadline=1.0, seen=lambda: Revision(1))
    with pytest.raises(asyncio.CancelledError):
        await census.run()
    assert min(clock.slept) >= REST * 1.0 - 1.0


# --- etcd ---------------------------------------------------------------------------------------------------------


class _Cluster:
    """An etcd that says of itself what it is told to."""

    def __init__(self, *answers: object) -> None:
        self.answers: Sequence[object] = answers
        self.count: int | None = None

    async def status(self, *, deadline: float) -> Sequence[object]:
        return self.answers

    async def members(self, *, deadline: float) -> Sequence[object]:
        if self.count is None:
            raise Unavailable("no quorum")
        return [None] * self.count


def member(version: str, number: int = 1, size: int = 1000, alarms: Sequence[str] = ()) -> MemberStatus:
    return MemberStatus(f"http://{number}", version, 1, number, 1, 1, Revision(1), size, alarms)


async def test_how_etcd_is_is_told_and_what_was_heard_last_stays(stage: Stage) -> None:
    cluster = _Cluster(member("3.5.1", 1, 5000, ["NOSPACE"]), member("3.5.28", 2, 7000), "away")
    metrics, health = Metrics(), EtcdHealth(cluster, stage.clock, deadline=1.0)
    health.show(metrics)

    def told(name: str, **labels: str) -> float:
        return value(generate_latest(metrics.registry).decode(), name, **labels)

    assert told("leasehold_etcd_database_bytes") == told("leasehold_etcd_alarms") == 0
    await health.look()
    assert told("leasehold_etcd_database_bytes") == 7000
    assert told("leasehold_etcd_alarms") == 1
    assert told("leasehold_etcd_unreachable_endpoints") == 1
    assert told("leasehold_etcd_members", version="3.5.1") == told("leasehold_etcd_members", version="3.5.28") == 1
    assert told("leasehold_etcd_known_defects", severity="deadly") == 1
    cluster.answers = ["away", "away", "away"]
    await health.look()
    assert told("leasehold_etcd_unreachable_endpoints") == 3
    assert told("leasehold_etcd_known_defects", severity="deadly") == 1, "an outage is no upgrade"
    cluster.answers, cluster.count = [member("3.5.28", n) for n in (1, 2, 3)], 3
    await health.look()
    assert (
        told("leasehold_etcd_known_defects")
        == told("leasehold_etcd_alarms")
        == told("leasehold_etcd_unreachable_endpoints")
        == 0
    )


def test_the_worst_version_counts_and_one_that_is_not_supported_is_deadly() -> None:
    good = defects({"3.6.9"}, 3)
    assert good == {"deadly": 0, "risky": 0}
    assert defects({"3.6.9", "3.5.1"}, 3) == defects({"3.5.1"}, 3)
    assert defects({"3.3.0"}, 3)["deadly"] >= 1
    assert defects({"no version"}, 3) == good
    assert defects({"3.4.20"}, 1)["risky"] == defects({"3.4.20"}, 3)["risky"] + 1, "one of them needs a single member"


# --- the loop -----------------------------------------------------------------------------------------------------


class _Late:
    """A clock that wakes whoever sleeps too late by what it is told."""

    def __init__(self, *lates: float) -> None:
        self.time, self.lates = 0.0, list(lates)

    def now(self) -> float:
        return self.time

    async def sleep_until(self, instant: float) -> None:
        if not self.lates:
            raise asyncio.CancelledError
        self.time = instant + self.lates.pop(0)


async def test_a_late_loop_is_noticed_by_how_much_it_was_late() -> None:
    registry = CollectorRegistry()
    with pytest.raises(asyncio.CancelledError):
        await feel_pulse(_Late(0.0, 0.7, 0.001), export_histogram(registry, LOOP_LAG))
    text = generate_latest(registry).decode()
    assert value(text, "leasehold_event_loop_lag_seconds_count") == 3
    assert abs(value(text, "leasehold_event_loop_lag_seconds_sum") - 0.701) < 1e-6
    assert value(text, "leasehold_event_loop_lag_seconds_bucket", le="0.5") == 2
    assert TICK_SECONDS < 1
