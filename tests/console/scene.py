"""What stands in etcd and at the owner when a test of the console begins."""

from __future__ import annotations

from leasehold.control_plane.core.lifecycle import State
from tests.integration.operator_world import Face
from tests.unit.control_plane.world import World, eventually, state

LONG = "3600s"


async def abandoned(here: World, face: Face, *names: str, holder: str = "gone") -> None:
    """Of a holder that crashed; their grace is running."""
    it = await here.hand.attach(holder)
    for one in names:
        here.owner.add(one)
    await here.hand.register(it, *names, grace_class=LONG)
    await here.hand.retire(it)
    await eventually("in grace", lambda: all(state(face.plane, one) is State.IN_GRACE for one in names))
