"""What the running parts know, told in the API's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from leasehold import v1
from leasehold.control_plane.brake import Brake
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.intents import reasons
from leasehold.control_plane.observe import Observer
from leasehold.control_plane.owners.register import Owners
from leasehold.protocol.names import Instant
from leasehold.protocol.ports import Clock

NOBODY_KNOWS = -1.0


class Plane:
    """One replica. Reads; changes nothing."""

    def __init__(
        self, index: Index, brake: Brake, owners: Owners, clock: Clock, observer: Callable[[], Observer]
    ) -> None:
        self._index, self._brake, self._owners, self._clock, self._observer = index, brake, owners, clock, observer

    @property
    def revision(self) -> int:
        return self._observer().sight.revision

    @property
    def current(self) -> bool:
        sight = self._observer().sight
        return sight.synced and not sight.trouble

    def suspects(self) -> int:
        return sum(reasons(self._index).values())

    def calling(self) -> Mapping[str, str]:
        return self._owners.states()

    def brake(self) -> v1.BrakeStatusResponse:
        vigil, armed, tripped = self._brake.vigil, self._index.armed_by, self._index.tripped[1]
        window = vigil.window
        by = armed if self._index.armed else tripped
        left = self._brake.warm_up.left(Instant(self._clock.now()))
        return v1.BrakeStatusResponse(
            armed=bool(self._index.armed),
            braked=self._brake.why_not,
            who=by.who if by else "",
            why=by.why if by else "",
            since=by.since if by else "",
            cause=tripped.cause.value if tripped is not None and not self._index.armed else "",
            vanished_holders=window.holders,
            vanished_resources=window.carried,
            live_resources=vigil.live(),
            lost_resources=window.losses,
            warm_up_seconds_left=left if left < float("inf") else NOBODY_KNOWS,
            warm_up_reason=self._brake.warm_up.reason,
        )
