"""Who and what there is in the model's worlds, and how it looks when it is written down."""

from __future__ import annotations

from functools import lru_cache

from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import (
    Boot,
    CallId,
    ClassName,
    Holder,
    OwnerName,
    Resource,
    ResourceId,
    Tenant,
    TypeName,
)
from leasehold.protocol.records import ArmedRecord, HolderKind, HoldRecord, ResourceRecord, RosterRecord, encode


class Remembering(Keyspace):
    """The product's keyspace; the few keys of a model are asked for by the million."""

    __slots__ = ()
    beacon, roster, record = lru_cache(Keyspace.beacon), lru_cache(Keyspace.roster), lru_cache(Keyspace.record)
    hold, ref, tombstone, sweep = (
        lru_cache(Keyspace.hold), lru_cache(Keyspace.ref), lru_cache(Keyspace.tombstone), lru_cache(Keyspace.sweep),
    )  # fmt: skip
    notice, pin, family, parse = (
        lru_cache(Keyspace.notice), lru_cache(Keyspace.pin), lru_cache(Keyspace.family), lru_cache(Keyspace.parse),
    )  # fmt: skip
    holds_of, refs_to = lru_cache(Keyspace.holds_of), lru_cache(Keyspace.refs_to)


KEYS = Remembering(Tenant("m"))
X, Y, Z = (Resource(OwnerName("o"), TypeName("t"), ResourceId(name)) for name in "xyz")
A, B = Holder("a@1~1"), Holder("b@1~1")
BOOT, GRACE, CALL = Boot("b"), ClassName("1s"), CallId("c")
EPOCH, EPOCH_LEASE = KEYS.epoch(GRACE, 1), KEYS.epoch_lease(GRACE, 1)
ARMED, SHARD, CLUSTER = KEYS.armed, KEYS.shard(0), KEYS.cluster
ROSTER = RosterRecord("s", "1", HolderKind.PROCESS, BOOT, 1)
ARMED_VALUE = encode(ArmedRecord("o", "w"))


def record(incarnation: int, *refers: Resource, creator: Holder = A) -> ResourceRecord:
    return ResourceRecord(
        f"uid:{incarnation}", "rule", GRACE, creator, references=tuple((one.owner, one.type, one.id) for one in refers)
    )


def hold(sequence: int, boot: Boot = BOOT, *, released: bool = False) -> HoldRecord:
    return HoldRecord(boot, sequence, released=released)


def short(holder: str) -> str:
    return holder.split("@", maxsplit=1)[0]
