"""How many connections the process's file descriptors are good for. A relayed connection takes two."""

from __future__ import annotations

import resource
from typing import Final

import structlog

OTHERS: Final = 128
"""For etcd, the journal, the admin port, and what is being refused just now."""

log = structlog.get_logger()


def fitting_connections(wanted: int) -> int:
    """Raise the soft limit as far as it takes; fewer connections than wanted if the hard one is in the way.

    Running out of descriptors would be worse than a cap: nobody could be accepted any more, not even to be refused.
    """
    needed = 2 * wanted + OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    fitting = max((soft - OTHERS) // 2, 1)
    log.info("connections_capped_by_descriptors", wanted=wanted, connections=fitting, descriptors=soft)
    return fitting
