"""etcd's vocabulary as plain values: what we read, compare and write. No I/O here.

Range ends are never passed around on their own. A compare whose range end was forgotten is *true* over a full range,
so whoever wants a range has to build a ``KeyRange``, and only ``KeyRange.under`` knows how its end is computed.

They are made by the million, so they are structs: made in 0.1 µs where a frozen dataclass takes 1 µs. Those that hold
nothing but text and numbers can be in no cycle, and do not concern the garbage collector (``gc=False``).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import msgspec

from leasehold.protocol.names import LeaseId, Revision

MAX_OPERATIONS = 128
"""etcd's default ``--max-txn-ops``: compares, and operations of one branch, at the outermost level of a transaction.

A nested transaction has what its enclosing levels left over: beside 100 members each may have 28 (measured on 3.5.1).
"""


class KeyRange(msgspec.Struct, frozen=True, gc=False):
    """All keys ``start <= key < end``."""

    start: bytes
    end: bytes

    @classmethod
    def under(cls, prefix: bytes) -> KeyRange:
        """Every key below ``prefix``, which must end in ``/`` so that no sibling (``a/b`` and ``a/bc``) is caught.

        Raises ``ValueError`` for anything else: the empty prefix would be the whole store.
        """
        if not prefix.endswith(b"/") or len(prefix) < 2:
            raise ValueError(f"{prefix!r} is not a prefix: expected at least two bytes, the last one a slash")
        return cls(prefix, prefix[:-1] + b"0")  # '0' is the byte after '/'

    def __contains__(self, key: bytes) -> bool:
        return self.start <= key < self.end

    def resuming_after(self, key: bytes) -> KeyRange:
        """What is left of this range once ``key`` has been read."""
        return KeyRange(key + b"\0", self.end)


Where = bytes | KeyRange
"""One key, or a range of keys."""


class KeyValue(msgspec.Struct, frozen=True, gc=False):
    """A key as etcd stores it. Revisions are of the whole store; ``lease`` is 0 when none is attached."""

    key: bytes
    value: bytes
    create_revision: Revision
    mod_revision: Revision
    version: int
    lease: LeaseId


class Target(Enum):
    """What of a key is compared."""

    VERSION = 0
    CREATE = 1
    MOD = 2
    VALUE = 3
    LEASE = 4


class Relation(Enum):
    """How it is compared. The numbers are etcd's."""

    EQUAL = 0
    GREATER = 1
    LESS = 2
    NOT_EQUAL = 3


class Compare(msgspec.Struct, frozen=True, gc=False):
    """One condition. Over a range it must hold for *every* key; over an empty range it sees revision 0."""

    where: Where
    target: Target
    relation: Relation
    operand: int | bytes


class Get(msgspec.Struct, frozen=True, gc=False):
    """Read a key or range inside a transaction. ``limit`` 0 means all."""

    where: Where
    limit: int = 0
    keys_only: bool = False


class Put(msgspec.Struct, frozen=True, gc=False):
    """Write a key. ``lease`` 0 attaches none."""

    key: bytes
    value: bytes
    lease: LeaseId = LeaseId(0)


class Delete(msgspec.Struct, frozen=True, gc=False):
    """Delete a key or range. Deleting what is not there is no error."""

    where: Where


class Txn(msgspec.Struct, frozen=True):
    """IF all of ``compares`` THEN ``success`` ELSE ``failure``, atomically.

    etcd evaluates every compare, nested ones included, against the state *before* the transaction, and refuses two
    writes to one key. So the members of one batch must touch distinct keys and cannot see each other.
    """

    compares: Sequence[Compare] = ()
    success: Sequence[Operation] = ()
    failure: Sequence[Operation] = ()


Operation = Get | Put | Delete | Txn


class GetResult(msgspec.Struct, frozen=True):
    """What a ``Get`` found. ``count`` is how many keys the range holds, however many were returned."""

    items: Sequence[KeyValue] = ()
    count: int = 0


class PutResult(msgspec.Struct, frozen=True, gc=False):
    """A ``Put`` took place."""


class DeleteResult(msgspec.Struct, frozen=True, gc=False):
    """How many keys a ``Delete`` removed."""

    deleted: int = 0


class TxnResult(msgspec.Struct, frozen=True):
    """Which branch ran and what each of its operations returned, in order.

    ``revision`` is the store's revision after the transaction; for a transaction that wrote, the mod_revision of
    everything it put.
    """

    succeeded: bool
    revision: Revision
    results: Sequence[OperationResult] = ()


OperationResult = GetResult | PutResult | DeleteResult | TxnResult


class Snapshot(msgspec.Struct, frozen=True):
    """A consistent read: ``items`` in key order, all as of ``revision``."""

    revision: Revision
    items: Sequence[KeyValue] = ()


class Grant(msgspec.Struct, frozen=True):
    """A lease as granted. ``ttl_seconds`` may exceed what was asked for: etcd has a minimum (TTL 1 becomes 2)."""

    lease: LeaseId
    ttl_seconds: int


class LeaseStatus(msgspec.Struct, frozen=True):
    """A lease as etcd sees it; ``remaining_seconds`` is -1 once it is gone."""

    lease: LeaseId
    remaining_seconds: int
    granted_seconds: int
    keys: Sequence[bytes] = ()


class Change(Enum):
    """What happened to a key."""

    PUT = "put"
    DELETE = "delete"


class Event(msgspec.Struct, frozen=True):
    """One change. For a delete, ``item`` carries only key and ``mod_revision`` (the revision of the delete)."""

    change: Change
    item: KeyValue


class WatchBatch(msgspec.Struct, frozen=True):
    """Changes in revision order; a revision is never split over two batches.

    An empty batch is progress: nothing happened up to and including ``revision``.
    """

    revision: Revision
    events: Sequence[Event] = ()


class MemberStatus(msgspec.Struct, frozen=True):
    """One etcd member as it describes itself."""

    endpoint: str
    version: str
    cluster_id: int
    member_id: int
    leader_id: int
    raft_term: int
    revision: Revision
    db_size_bytes: int
    alarms: Sequence[str] = ()
    errors: Sequence[str] = ()


# --- the compares the protocol is made of, named for what they mean -------------------------------------------


def absent(where: Where) -> Compare:
    """No such key (or no key in the whole range)."""
    return Compare(where, Target.CREATE, Relation.EQUAL, 0)


def present(key: bytes) -> Compare:
    """The key exists."""
    return Compare(key, Target.CREATE, Relation.GREATER, 0)


def unchanged(key: bytes, mod_revision: Revision) -> Compare:
    """The key is as it was when read at ``mod_revision``; 0 means it was absent and still is."""
    return Compare(key, Target.MOD, Relation.EQUAL, mod_revision)


def holds_value(key: bytes, value: bytes) -> Compare:
    """The key exists with exactly this value (etcd: a value compare on an absent key is false)."""
    return Compare(key, Target.VALUE, Relation.EQUAL, value)


def created_at(key: bytes, create_revision: Revision) -> Compare:
    """The key exists and is that very creation of it: a fence."""
    return Compare(key, Target.CREATE, Relation.EQUAL, create_revision)


def nothing_newer_than(where: Where, revision: Revision) -> Compare:
    """Nothing here was written after ``revision``. Deletions are not seen, nor do they need to be."""
    return Compare(where, Target.MOD, Relation.LESS, revision + 1)
