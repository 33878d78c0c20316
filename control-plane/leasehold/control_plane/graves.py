"""Where finished sweeps are remembered: a lease for graves, shared by all of about ten minutes.

A grave outlives every delete that may still be under way somewhere; one lease for many keeps etcd's lessor small.
"""

from __future__ import annotations

from leasehold.control_plane.shared_lease import SharedLease
from leasehold.protocol.ports import Clock, Leases

GRAVE_SECONDS = 3600
SHARED_SECONDS = 600.0


class Graves(SharedLease):
    """Hands out the lease to put a grave under."""

    def __init__(self, leases: Leases, clock: Clock, *, deadline: float) -> None:
        super().__init__(
            leases, clock, seconds=GRAVE_SECONDS, shared_seconds=SHARED_SECONDS, deadline=deadline
        )  # fmt: skip
