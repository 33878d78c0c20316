"""Every metric of the sidecar, declared: one file for each thing that one would look at together."""

from leasehold.shell.declaring import PROCESS, Declared, declared_in
from leasehold.sidecar.telemetry import being, holding, traffic

EVERY: tuple[Declared, ...] = (*declared_in(traffic, holding, being), *PROCESS)
"""All of them, in the order in which they are to be read."""
