"""The faults: each is done to a world and comes back with evidence of whether it took effect. None waits for ever."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from tests.chaos.faults import masses, outages, partitions, parts, store, trouble
from tests.chaos.faults.trouble import Done
from tests.chaos.owners import Mood


class Lane(StrEnum):
    """Faults of one lane never overlap each other; those of two lanes do."""

    STORE = "store"
    PARTS = "parts"


class Kind(NamedTuple):
    """One kind of fault."""

    lane: Lane
    do: Done


KINDS: Mapping[str, Kind] = {
    "kill-sidecar": Kind(Lane.PARTS, parts.kill_sidecar),
    "kill-sidecar-for-long": Kind(Lane.PARTS, parts.kill_sidecar_for_long),
    "freeze-sidecar": Kind(Lane.PARTS, parts.freeze_sidecar),
    "crash-program": Kind(Lane.PARTS, parts.crash_program),
    "exit-program": Kind(Lane.PARTS, parts.exit_program),
    "lose-machine": Kind(Lane.PARTS, parts.lose_machine),
    "kill-plane": Kind(Lane.PARTS, parts.kill_plane),
    "freeze-plane": Kind(Lane.PARTS, parts.freeze_plane),
    "add-plane": Kind(Lane.PARTS, parts.add_plane),
    "cut-sidecar-from-etcd": Kind(Lane.PARTS, partitions.cut_sidecar_from_etcd),
    "cut-plane-from-etcd": Kind(Lane.PARTS, partitions.cut_plane_from_etcd),
    "lose-watch-events": Kind(Lane.PARTS, partitions.lose_watch_events),
    "cut-plane-from-owner": Kind(Lane.PARTS, partitions.cut_plane_from_owner),
    "cut-sidecar-from-owner": Kind(Lane.PARTS, partitions.cut_sidecar_from_owner),
    "shift-wall-clock": Kind(Lane.PARTS, trouble.shift_wall_clock),
    "trip-brake": Kind(Lane.PARTS, trouble.trip_brake),
    "lose-zone": Kind(Lane.PARTS, masses.lose_zone),
    "leave-strays": Kind(Lane.PARTS, masses.leave_strays),
    **{f"owner-{mood}": Kind(Lane.PARTS, trouble.in_mood(mood)) for mood in Mood if mood is not Mood.FINE},
    "kill-etcd-leader": Kind(Lane.STORE, store.kill_leader),
    "freeze-etcd-leader": Kind(Lane.STORE, store.freeze_leader),
    "mute-etcd-leader": Kind(Lane.STORE, store.mute_leader),
    "isolate-etcd-leader": Kind(Lane.STORE, store.isolate_leader),
    "lose-quorum": Kind(Lane.STORE, outages.lose_quorum),
    "compact-behind-a-watch": Kind(Lane.STORE, outages.compact_behind_a_watch),
    "run-out-of-space": Kind(Lane.STORE, outages.run_out_of_space),
}
"""By name, as reports and the command line spell them."""
