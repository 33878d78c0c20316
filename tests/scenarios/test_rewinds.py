"""An operator who arms again after etcd's past was rewritten is obeyed, however quick."""

from __future__ import annotations

from leasehold.control_plane.brake import Brake
from leasehold.control_plane.core.brake_window import Thresholds
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.vigil import Vigil
from leasehold.protocol import transactions as tx
from leasehold.protocol.names import Revision
from leasehold.protocol.records import ArmedRecord, ClusterRecord
from leasehold.protocol.store import Change, Event
from tests.fakes.etcd import CLUSTER_ID
from tests.unit.control_plane.stage import Stage
from tests.unit.control_plane.world import DEADLINE


async def test_arming_is_heard_although_the_trip_before_it_was_never_seen_by_itself(stage: Stage) -> None:
    """Both came in one batch of the watch: the index goes from armed to armed."""
    index = Index(stage.keys)
    metrics = Metrics()
    vigil = Vigil(
        stage.client, stage.keys, index, stage.clock, lambda: None, metrics, replica="one", thresholds=Thresholds(),
        deadline=DEADLINE, seen=lambda: Revision(0), on_change=lambda: None,
    )  # fmt: skip
    brake = Brake(
        stage.client, stage.client, stage.keys, index, stage.clock, vigil, metrics, replica="one", deadline=DEADLINE
    )
    cluster = ClusterRecord(f"{CLUSTER_ID:x}", shards=1)
    await stage.hand.commit(tx.found_tenant(stage.keys, cluster, ArmedRecord("one", "founded")))
    await hear(stage, index, Revision(1))
    brake.on_rewind("etcd went back")
    await brake.check(founding=False)
    tripped_at = (await stage.client.read(stage.keys.armed, deadline=DEADLINE)).revision
    await stage.hand.commit(tx.arm(stage.keys, ArmedRecord("me", "everybody is back")))
    brake.seen()
    assert brake.distrust == "etcd went back", "nothing was heard yet"
    await hear(stage, index, tripped_at)
    brake.seen()
    assert brake.distrust == ""


async def hear(stage: Stage, index: Index, since: Revision) -> None:
    """What is there now, and was written since."""
    for item in (await stage.client.read(stage.keys.everything, deadline=DEADLINE)).items:
        if item.mod_revision >= since:
            index.apply(Event(Change.PUT, item))
