"""Who else is in our network namespace, by the sockets the kernel lists: in a pod, the app and whatever is beside it.

For a host without any address of its own this is the only thing that can be seen of it. A socket that listens or is
connected belongs to somebody who lives; a user of ours alone (the sidecar has one) tells it from our own. That there is
none proves less, but then we were also told that the host has ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from leasehold.sidecar.host.ends_first import Silent

TABLES = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
_STATE, _UID = 3, 7
"""Columns: both tables have the same."""
_ALIVE = frozenset(("01", "0A"))
"""Established, listening. Those that are closing outlive their processes."""


def others(table: Iterable[str], own_uid: int) -> int:
    """How many sockets of a table are somebody else's, and alive."""
    rows = (line.split() for line in table)
    owners = [row[_UID] for row in rows if len(row) > _UID and row[_STATE] in _ALIVE]
    return sum(uid.isdecimal() and int(uid) != own_uid for uid in owners)


def nobody_else_connected(tables: Iterable[Path] = TABLES) -> Silent:
    """No socket of anybody else. What cannot be read proves nothing; a kernel may lack one family, not all."""

    async def silent() -> bool:
        read = 0
        for path in tables:
            try:
                text = path.read_text(encoding="ascii", errors="replace")
            except FileNotFoundError:
                continue
            except OSError:
                return False
            read += 1
            if others(text.splitlines(), os.getuid()):
                return False
        return read > 0

    return silent
