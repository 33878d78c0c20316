"""Builds what etcd could hold, key by key, so that tests can say what is there and ask what the CLI makes of it."""

from __future__ import annotations

import msgspec

from leasehold.operating.survey import Survey, survey
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import ClassName, Holder, LeaseId, OwnerName, Resource, Revision, RuleName, Tenant
from leasehold.protocol.records import (
    ArmedRecord,
    Ending,
    EpochRecord,
    HolderKind,
    HoldRecord,
    PinRecord,
    ResourceRecord,
    RosterRecord,
    ShardRecord,
    SweepRecord,
    SweepState,
    TombstoneRecord,
    encode,
)
from leasehold.protocol.store import KeyValue

KEYS = Keyspace(Tenant("default"))
BLOB = Resource.parse("store/blob/a/b c")
OTHER = Resource.parse("store/blob/other")
MAKER = Holder("maker@one~1")
USER = Holder("user@two~2")

OWNER = {
    "name": "store",
    "hosts": ["store:80"],
    "endpoint": "http://store:80",
    "delete": {"path": "/v1/blobs/{+id}", "precondition": "never-reused"},
}
RULE = {
    "name": "create-blob",
    "owner": "store",
    "type": "blob",
    "on": "create",
    "match": {"method": "POST", "path": "/v1/blobs", "status": [201]},
    "id": {"json": "id"},
    "held_by": "process",
    "mode": "sweep",
    "grace": "5s",
}


class Picture:
    """Keys in the order they are written; each write is a revision."""

    def __init__(self) -> None:
        self.items: dict[bytes, KeyValue] = {}
        self.revision = 1

    def put(self, key: bytes, value: bytes, lease: int = 0) -> Picture:
        self.revision += 1
        before = self.items.get(key)
        created = before.create_revision if before else Revision(self.revision)
        version = before.version + 1 if before else 1
        self.items[key] = KeyValue(key, value, created, Revision(self.revision), version, LeaseId(lease))
        return self

    def rules(self, **changes: object) -> Picture:
        self.put(KEYS.owner(OwnerName("store")), msgspec.json.encode(OWNER))
        return self.put(KEYS.rule(RuleName("create-blob")), msgspec.json.encode(RULE | changes))

    def resource(self, resource: Resource = BLOB, references: tuple[Resource, ...] = ()) -> Picture:
        targets = tuple((target.owner, target.type, target.id) for target in references)
        record = ResourceRecord("uid-1", "create-blob", "5s", MAKER, targets)
        self.put(KEYS.record(resource), encode(record))
        for target in references:
            self.put(KEYS.ref(target, resource), b"{}")
        return self

    def hold(self, holder: Holder = MAKER, resource: Resource = BLOB, *, released: bool = False) -> Picture:
        return self.put(KEYS.hold(resource, holder), encode(HoldRecord("boot", 1, released=released)))

    def roster(
        self, holder: Holder = MAKER, ended: Ending | None = None, kind: HolderKind = HolderKind.PROCESS
    ) -> Picture:
        record = RosterRecord(holder.split("@")[0], "one", kind, "boot", 15, ended=ended)
        return self.put(KEYS.roster(holder), encode(record))

    def beacon(self, holder: Holder = MAKER, lease: int = 7) -> Picture:
        return self.put(KEYS.beacon(holder), b"boot", lease)

    def alive(self, holder: Holder = MAKER, kind: HolderKind = HolderKind.PROCESS) -> Picture:
        return self.roster(holder, kind=kind).beacon(holder)

    def tombstone(self, resource: Resource = BLOB) -> Picture:
        return self.put(KEYS.tombstone(resource), encode(TombstoneRecord("uid-1", "unheld", self.revision)))

    def epoch(self, number: int, *, done: bool = False, lease: int = 99) -> Picture:
        key = KEYS.epoch(ClassName("5s"), number)
        return self.put(key, encode(EpochRecord(5.0, lease, done)))

    def sweep(self, state: SweepState, attempt: int = 0, outcome: str = "") -> Picture:
        record = SweepRecord(state, "uid-1", 3, 4, 5, "5s/1", (MAKER,), attempt, outcome)
        return self.put(KEYS.sweep(BLOB), encode(record))

    def pin(self, resource: Resource = BLOB) -> Picture:
        return self.put(KEYS.pin(resource), encode(PinRecord("ann", "evidence")))

    def armed(self) -> Picture:
        return self.put(KEYS.armed, encode(ArmedRecord("first", "found")))

    def led(self) -> Picture:
        return self.put(KEYS.shard(0), encode(ShardRecord("cp-1")), 3)

    def taken(self) -> Survey:
        return survey(KEYS, self.items.values(), Revision(self.revision))


def abandoned() -> Picture:
    """A blob whose only holder has crashed, with all there that collecting needs."""
    return Picture().rules().armed().led().resource().hold().roster(ended=Ending.CRASHED)
