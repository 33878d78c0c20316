"""What a resource's record said before something became of it: read from etcd's history, beside the collecting.

A tombstone, a sweep and a grave do not repeat what is in the record, and what was deleted tells nothing. Once the
history is compacted nobody knows any more, and the event says less.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from leasehold.control_plane.events.transitions import Transition
from leasehold.protocol.errors import Compacted
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Revision
from leasehold.protocol.ports import Store
from leasehold.protocol.records import ResourceRecord, Unreadable, decode

READS_AT_ONCE = 16


class Histories:
    """Looks up what changes do not tell."""

    def __init__(self, store: Store, keys: Keyspace, *, deadline: float) -> None:
        self._store, self._keys, self._deadline = store, keys, deadline
        self._room = asyncio.Semaphore(READS_AT_ONCE)

    async def records(self, transitions: Sequence[Transition]) -> list[ResourceRecord | None]:
        """One for each, in their order. Raises ``StoreError``."""
        return await asyncio.gather(*(self._record(one) for one in transitions))

    async def _record(self, transition: Transition) -> ResourceRecord | None:
        if transition.record is not None:
            return transition.record
        before = Revision(transition.revision - 1)
        try:
            async with self._room:
                found = await self._store.read(
                    self._keys.record(transition.resource), deadline=self._deadline, revision=before
                )  # fmt: skip
            return decode(ResourceRecord, found.items[0].value) if found.items else None
        except (Compacted, Unreadable):
            return None
