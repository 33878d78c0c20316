"""Whether we understand a tenant, and what everybody in it understands. Pure.

A tenant's keys are written in one version of the protocol, pinned in ``control/cluster``. Whoever does not understand
it acts for nothing. Each part says the newest version it understands, so that a feature which needs all of them to
understand it can wait for the last.
"""

from __future__ import annotations

from collections.abc import Iterable

from leasehold.protocol.records import OLDEST_PROTOCOL, PROTOCOL


def why_foreign(protocol: int) -> str:
    """Why we must not act in a tenant of this version; empty when we may."""
    if OLDEST_PROTOCOL <= protocol <= PROTOCOL:
        return ""
    understood = f"{OLDEST_PROTOCOL} to {PROTOCOL}" if OLDEST_PROTOCOL < PROTOCOL else f"{PROTOCOL}"
    return f"this tenant's protocol is version {protocol}; this control plane understands {understood}"


def common(understood: Iterable[int]) -> int:
    """The newest version that everybody understands; our own if there is nobody else."""
    return min(understood, default=PROTOCOL)
