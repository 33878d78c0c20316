"""What a control plane tells of the present, from an index that is fed by hand, and what it counts on refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from prometheus_client import generate_latest

from leasehold.control_plane import reaper
from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.config import Config, HttpSection
from leasehold.control_plane.core.warmup import Attendance
from leasehold.control_plane.writing import Refused, put_guarded
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.names import Instant, LeaseId, Revision
from leasehold.protocol.records import PROTOCOL, ClusterRecord, HolderKind, ShardRecord, encode
from leasehold.protocol.store import Change, Event, KeyValue
from tests.telemetry.exported import value
from tests.unit.control_plane.stage import Stage, abandoned, passing, rule_set
from tests.unit.control_plane.world import blob, eventually, metric, state


@pytest.fixture
async def resting() -> AsyncIterator[ControlPlane]:
    """A control plane that does not run: nothing changes but by our hand."""
    config = Config("t", EtcdConfig(["http://127.0.0.1:1"]), HttpSection(), "r", 5, 300.0)
    async with EtcdClient(config.etcd) as client:
        plane = ControlPlane(config, client)
        yield plane
        await plane.stop()


def hear(plane: ControlPlane, key: bytes, record: bytes, revision: int) -> None:
    at = Revision(revision)
    plane.index.apply(Event(Change.PUT, KeyValue(key, record, at, at, 1, LeaseId(0))))


async def test_shards_are_free_until_somebody_acts_for_them(resting: ControlPlane) -> None:
    hear(resting, resting.keys.cluster, encode(ClusterRecord("1", "", 4, PROTOCOL)), 2)
    assert metric(resting, "leasehold_shards") == 4
    assert metric(resting, "leasehold_shards_free") == 4
    for n in (0, 3):
        hear(resting, resting.keys.shard(n), encode(ShardRecord("other", "b")), 3 + n)
    assert metric(resting, "leasehold_shards_free") == 2
    assert metric(resting, "leasehold_shards_held") == 0


async def test_a_warm_up_tells_how_long_it_will_last(resting: ControlPlane) -> None:
    assert metric(resting, "leasehold_warm_up_left_seconds") == float("inf")
    now = Instant(resting.clock.now())
    resting.brake.warm_up.begin(now, [Attendance(HolderKind.PROCESS, 60, None)], "a gap")
    assert 80 < metric(resting, "leasehold_warm_up_left_seconds") <= 90
    resting.brake.warm_up.begin(Instant(now - 1000), [], "another")
    assert 80 < metric(resting, "leasehold_warm_up_left_seconds") <= 90, "it is never shortened"


async def test_keys_that_went_by_themselves_are_told(resting: ControlPlane) -> None:
    assert metric(resting, "leasehold_window_lost_resources") == 0
    resting.brake.vigil.window.lost(Instant(resting.clock.now()), [blob("a"), blob("b")])
    assert metric(resting, "leasehold_window_lost_resources") == 2


async def test_what_cannot_be_read_and_calls_without_an_outcome_are_told(resting: ControlPlane) -> None:
    hear(resting, resting.keys.record(blob("x")), b"{", 5)
    assert metric(resting, "leasehold_unreadable_records") == 1
    assert metric(resting, "leasehold_unaccounted_resources") == 1
    assert metric(resting, "leasehold_orphaned_resources", owner="store", type="blob") == 0, "nothing proves it unheld"


async def test_a_refusal_is_counted_and_what_was_refused_is_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = 2

    async def refuse(*told: object, **more: object) -> object:
        nonlocal refusals
        refusals -= 1
        return Refused() if refusals >= 0 else await put_guarded(*told, **more)  # type: ignore[arg-type]

    plane = await stage.leading(rule_set(stage))
    monkeypatch.setattr(reaper, "put_guarded", refuse)
    await abandoned(stage, "x")
    await passing(stage, "it was refused twice", lambda: metric(
        plane, "leasehold_refused_transactions_total", step="condemn"
    ) == 2)  # fmt: skip
    await passing(stage, "it is condemned after all", lambda: metric(plane, "leasehold_condemned_total") == 1)


async def test_a_scrape_costs_the_same_however_much_is_recorded(stage: Stage) -> None:
    """By what it does, not by the clock: it asks nobody for an entry."""
    plane = await stage.leading(rule_set(stage))
    await abandoned(stage, *(f"x{n}" for n in range(20)))
    await eventually("all are on their way", lambda: state(plane, "x19") is not None)
    entries, asked = plane.index._entries, 0

    class Watched(dict):  # type: ignore[type-arg]
        def _count(self, *_: object) -> None:
            nonlocal asked
            asked += 1

        def __getitem__(self, key: object) -> object:
            self._count()
            return super().__getitem__(key)

        def __iter__(self) -> object:  # type: ignore[override]
            self._count()
            return super().__iter__()

        def get(self, key: object, default: object = None) -> object:  # type: ignore[override]
            self._count()
            return super().get(key, default)

        def values(self) -> object:  # type: ignore[override]
            self._count()
            return super().values()

        def items(self) -> object:  # type: ignore[override]
            self._count()
            return super().items()

    plane.index._entries = Watched(entries)
    text = generate_latest(plane.metrics.registry).decode()
    plane.index._entries, seen = entries, asked
    assert value(text, "leasehold_resources", owner="store") == 20
    assert seen == 0
