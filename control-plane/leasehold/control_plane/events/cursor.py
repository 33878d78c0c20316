"""How far everything was delivered: one key in etcd for each sink, moved by whoever holds the tenant's shard.

The cursor is moved after the delivery it tells of, and only from where it was read: so a crash repeats, never skips.
"""

from __future__ import annotations

from dataclasses import dataclass

from leasehold.control_plane.writing import Written, put_guarded
from leasehold.protocol import transactions_events as tx
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Revision
from leasehold.protocol.ports import Store
from leasehold.protocol.records import CursorRecord, Unreadable, decode
from leasehold.protocol.transactions import Authority


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything up to and including ``revision`` was delivered. ``seen``: the key's own; 0: it is not there."""

    revision: Revision
    seen: Revision


@dataclass(frozen=True, slots=True)
class Standing:
    """Where to go on from. ``lost_until``: nobody can tell what was after the cursor and before this; 0: nothing."""

    cursor: Cursor
    lost_until: Revision = Revision(0)
    why: str = ""


class Cursors:
    """One sink's."""

    def __init__(self, store: Store, keys: Keyspace, sink: str, *, deadline: float) -> None:
        self._store, self._keys, self._sink, self._deadline = store, keys, sink, deadline

    async def find(self) -> Standing:
        """Raises ``StoreError``. Without a cursor it begins now: what was before is no news."""
        snapshot = await self._store.read(self._keys.events(self._sink), deadline=self._deadline)
        now = snapshot.revision
        if not snapshot.items:
            return Standing(Cursor(now, Revision(0)))
        item = snapshot.items[0]
        try:
            at = Revision(decode(CursorRecord, item.value).revision)
        except Unreadable:
            return Standing(Cursor(Revision(0), item.mod_revision), now, "the cursor could not be read")
        if at > now:
            return Standing(Cursor(at, item.mod_revision), now, "etcd went back behind the cursor")
        return Standing(Cursor(at, item.mod_revision))

    async def move(self, by: Authority, cursor: Cursor, revision: Revision, since: str) -> Cursor | None:
        """``None``: somebody else moved it, or the shard is not ours any more. Raises ``StoreError``."""
        txn = tx.move_cursor(self._keys, by, self._sink, cursor.seen, CursorRecord(revision, since))
        written = await put_guarded(self._store, txn, deadline=self._deadline)
        return Cursor(revision, written.revision) if isinstance(written, Written) else None
