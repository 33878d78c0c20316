"""Every metric of the control plane, declared: one file for each thing that one would look at together."""

from leasehold.control_plane.telemetry.declared import (
    brake,
    events,
    finding,
    kubernetes,
    owners,
    seeing,
    shadow,
    sweeping,
)
from leasehold.shell.declaring import PROCESS, Declared, declared_in

EVERY: tuple[Declared, ...] = (
    *declared_in(sweeping, brake, owners, finding, shadow, seeing, kubernetes, events),
    *PROCESS,
)
"""All of them, in the order in which they are to be read."""
