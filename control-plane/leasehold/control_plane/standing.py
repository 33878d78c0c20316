"""Where the brake, the caps, the versions and the canary stand, as ``/v1/status`` and the metrics tell it.

``attention`` lists what somebody should look at; empty means that nothing keeps this tenant from being collected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leasehold.control_plane.brake import Brake
from leasehold.control_plane.canary import Canary
from leasehold.control_plane.core.backlog import Backlog
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.lifecycle import State
from leasehold.control_plane.core.versions import common
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.rations import Rations
from leasehold.control_plane.telemetry.declared import brake as told
from leasehold.control_plane.vigil import Vigil
from leasehold.protocol.names import Resource
from leasehold.protocol.records import OLDEST_PROTOCOL, PROTOCOL


class Standing:
    """One replica's view. Reads; changes nothing."""

    def __init__(
        self, index: Index, brake: Brake, rations: Rations, canary: Canary, to_prepare: Backlog[Resource]
    ) -> None:
        self._index, self._brake, self._rations, self._canary = index, brake, rations, canary
        self._to_prepare = to_prepare

    def told(self) -> dict[str, object]:
        """For ``/v1/status``."""
        caps = self._rations.caps
        pinned = self._index.cluster[1]
        return {
            "brake": self._told_of_brake(),
            "window": told_of_window(self._brake.vigil),
            "caps": {
                "per_owner": caps.per_owner, "overall": caps.overall, "seconds": caps.seconds,
                "waiting": self._rations.waiting(self._to_prepare),
            },
            "versions": {
                "tenant": pinned.protocol if pinned else None, "understood": [OLDEST_PROTOCOL, PROTOCOL],
                "common": self.common_version(), "gate": self._index.foreign or None,
            },
            "cluster": {
                "pinned": pinned.cluster_id if pinned else None, "serving": self._brake.serving or None,
                "distrust": self._brake.distrust or None,
            },
            "canary": self._canary.told(),
            "attention": list(self.attention()),
        }  # fmt: skip

    def common_version(self) -> int:
        """The newest protocol that every holder alive and every control plane understands."""
        alive = (found.protocol for _, found in self._index.holders() if found.beacon and found.roster)
        return min(common(alive), common(self._index.understood.values()))

    def attention(self) -> Iterator[str]:
        if self._brake.why_not:
            yield f"braked: {self._brake.why_not}"
        if failed := self._canary.failed:
            yield f"canary: {failed}"
        count = self._index.shard_count
        if count and (free := count - sum(n < count for n in self._index.shards)):
            yield f"shards: nobody acts for {free} of {count}"
        if self._index.unreadable:
            yield f"unreadable: {len(self._index.unreadable)} keys"
        if stuck := sum(n for (_, _, _, state), n in self._index.counts.items() if state is State.QUARANTINED):
            yield f"quarantined: {stuck} sweeps"

    def show(self, metrics: Metrics) -> None:
        """Everything of it that is a number."""
        window, rations = self._brake.vigil.window, self._rations
        for declared, read in (
            (told.WINDOW_HOLDERS, lambda: window.holders),
            (told.WINDOW_CARRIED, lambda: window.carried),
            (told.WINDOW_LIVE, lambda: noted.live if (noted := self._index.window) is not None else 0),
            (told.WINDOW_LOST, lambda: window.losses),
            (told.VERSION_GATE, lambda: bool(self._index.foreign)),
            (told.CLUSTER_DISTRUSTED, lambda: bool(self._brake.distrust)),
            (told.CANARY_FAILED, lambda: bool(self._canary.failed)),
        ):
            metrics.one(declared, read)
        metrics.view(
            told.CAP_WAITING, lambda: [((owner,), n) for owner, n in rations.waiting(self._to_prepare).items()]
        )

    def _told_of_brake(self) -> dict[str, object]:
        tripped, armed = self._index.tripped[1], self._index.armed_by
        by: Mapping[str, object] = {}
        if not self._index.armed and tripped is not None:
            by = {"who": tripped.who, "why": tripped.why, "cause": tripped.cause, "since": tripped.since}
        elif self._index.armed and armed is not None:
            by = {"who": armed.who, "why": armed.why, "since": armed.since}
        return {"armed": bool(self._index.armed), "why_not": self._brake.why_not or None, **by}


def told_of_window(vigil: Vigil) -> dict[str, object]:
    """What counts now, beside what would be too much."""
    window, limits, live = vigil.window, vigil.thresholds, vigil.live()
    return {
        "holders": window.holders, "carried": window.carried, "live": live, "lost": window.losses,
        "fraction": round(window.carried / live, 4) if live else 0.0,
        "thresholds": {
            "fraction": float(limits.fraction), "count": limits.count, "seconds": limits.seconds,
            "losses": limits.losses,
        },
    }  # fmt: skip
