"""What all ways in may use together: connections, and bytes that are kept back. Plain counters, no I/O.

Without bounds, a burst of connections would end in "too many open files", where nobody is accepted any more and nobody
is told; and an etcd that is slow would turn every held response into memory. So beyond ``connections`` a new connection
is reset at once, and beyond ``held_bytes`` a connection that has more to keep lets go of what it held.
"""

from __future__ import annotations

from typing import Final

CONNECTIONS: Final = 8_192
HELD_BYTES: Final = 64 * 1024 * 1024


class Budget:
    """Shared by every listener and every gate of the process."""

    __slots__ = ("_max_connections", "_max_held", "connections", "held")

    def __init__(self, connections: int = CONNECTIONS, held_bytes: int = HELD_BYTES) -> None:
        self._max_connections = connections
        self._max_held = held_bytes
        self.connections = 0
        self.held = 0
        """Bytes in all gates: behind barriers, or waiting for an owner to be reached."""

    @property
    def full(self) -> bool:
        return self.connections >= self._max_connections

    @property
    def exceeded(self) -> bool:
        return self.held > self._max_held
