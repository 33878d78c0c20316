"""How many may be looked at in order to be prepared, while a cap is nearly reached."""

from __future__ import annotations

from leasehold.control_plane.core.caps import Caps
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.rations import Rations
from tests.fakes.etcd import FakeEtcd
from tests.unit.control_plane.standing_clock import StandingClock


async def test_no_more_are_taken_in_hand_than_may_be_prepared() -> None:
    clock = StandingClock(FakeEtcd())
    rations = Rations(Caps(per_owner=60, overall=600, seconds=60.0), clock, Metrics())
    rations.share(1.0)
    rations.know("store")
    await clock.advance(2.5)
    assert rations.room("store", 0)
    assert rations.room("store", 1)
    assert rations.reopens() is None, "nobody was turned away"
    assert not rations.room("store", 2)
    assert rations.reopens() == clock.now() + 0.5
    assert rations.reopens() is None
    assert rations.take({"store": 1}) is None
    assert rations.room("store", 0)
    assert not rations.room("store", 1)
