"""Whether a holder that was found dead came back before its resource's first send, be it for a moment."""

from __future__ import annotations

from leasehold.control_plane.core.index import Index
from leasehold.protocol import transactions
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Holder, Revision
from leasehold.protocol.ports import Store
from leasehold.protocol.records import SweepRecord


class Returns:
    """Looks at the holders that a sweep lists."""

    def __init__(self, store: Store, keys: Keyspace, index: Index, *, deadline: float) -> None:
        self._store, self._keys, self._index, self._deadline = store, keys, index, deadline

    async def look(self, sweep: SweepRecord) -> tuple[str, Revision]:
        """Which of them came back, if any; and, with too many for ``send`` to compare, at which revision we looked."""
        keys, looked = self._keys, Revision(0)
        if transactions.needs_a_look(sweep):
            looked = (await self._store.read(keys.armed, deadline=self._deadline)).revision
        for name in sweep.holders:
            holder = Holder(name)
            known = self._index.holder(holder)
            beacon, roster = (known.beacon, known.roster) if known is not None else (Revision(0), Revision(0))
            # The index suffices to abort; not to go on. For that, ``send`` compares, or we look at all of them.
            if looked and not beacon:
                beacon = await self._revision(keys.beacon(holder), looked)
                roster = await self._revision(keys.roster(holder), looked)
            if beacon:
                return f"{holder} came back", looked
            if not 0 < roster < sweep.tombstone_revision:
                return f"{holder} came back for a moment, or ended, after the tombstone", looked
        return "", looked

    async def _revision(self, key: bytes, at: Revision) -> Revision:
        found = (await self._store.read(key, deadline=self._deadline, revision=at)).items
        return found[0].mod_revision if found else Revision(0)
