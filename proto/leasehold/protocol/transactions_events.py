"""The one transaction of telling others: how far they were told, as a pure function."""

from __future__ import annotations

from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Revision
from leasehold.protocol.records import CursorRecord, encode
from leasehold.protocol.store import Put, Txn, unchanged
from leasehold.protocol.transactions import Authority, _fence


def move_cursor(keys: Keyspace, by: Authority, sink: str, seen: Revision, record: CursorRecord) -> Txn:
    """IF fence; the cursor unchanged since ``seen`` (0: absent) THEN put it. After ``Uncertain`` read it back."""
    key = keys.events(sink)
    return Txn((_fence(keys, by), unchanged(key, seen)), (Put(key, encode(record)),))
