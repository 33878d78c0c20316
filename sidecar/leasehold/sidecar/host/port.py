"""What the tenure needs to know of the host."""

from __future__ import annotations

from typing import Protocol

from leasehold.protocol.records import Ending

UNTOLD = ""
"""The host lives, but nothing tells this run of it from others."""


class Host(Protocol):
    """Runs of one host, one after the other."""

    async def started(self) -> str | None:
        """Wait for the next run. What tells it from others, or ``UNTOLD``; ``None``: there is no (further) run."""
        ...

    async def ended(self, *, resumed: bool) -> Ending:
        """Return when this run has ended, and how. ``resumed``: an earlier sidecar saw it alive already."""
        ...
