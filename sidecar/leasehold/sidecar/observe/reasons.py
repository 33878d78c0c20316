"""Why a connection is not followed any further: bounded labels, for metrics. Pure."""

from __future__ import annotations

from typing import Final

UNINSPECTED: Final = frozenset({"tls", "http2", "not-http", "server-first", "upgrade", "connect"})
"""Reasons to relay blind that are nobody's fault."""
GAVE_UP: Final = frozenset(
    {
        "bad-request",
        "bad-response",
        "framing",
        "head-too-large",
        "pipeline-too-deep",
        "unsolicited-response",
        "early-upgrade-data",
        "header-compression",
        "too-many-streams",
    }
)
"""Reasons to stop following what had looked like HTTP."""


class Unfollowable(Exception):
    """From here on we do not know what the bytes mean. ``reason`` is in ``UNINSPECTED`` or ``GAVE_UP``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
