"""What etcd is filled with: a tenant of holders and what they hold, as sidecars would have written it. Pure.

Every key and value comes from the product's own functions, so that the collector reads what it would read in
production. Names follow from a number alone: whoever knows the number knows the holder, its boot and its resources.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import (
    Boot,
    Holder,
    OwnerName,
    Resource,
    ResourceId,
    ServiceName,
    Tenant,
    TypeName,
    process_holder,
)
from leasehold.protocol.records import Ending, HolderKind, HoldRecord, ResourceRecord, RosterRecord, encode
from leasehold.protocol.store import MAX_OPERATIONS, Put

OWNER = OwnerName("store")
TYPES = (TypeName("blob"), TypeName("thumbnail"), TypeName("lease"))
SINCE = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Population:
    """``resources`` in all, dealt out evenly to ``holders``."""

    tenant: str
    resources: int
    holders: int
    grace: str
    ttl_seconds: int

    @property
    def keys(self) -> Keyspace:
        return Keyspace(Tenant(self.tenant))

    def holder(self, number: int) -> Holder:
        return process_holder(ServiceName("maker"), f"host-{number % 97:02d}.zone-b:{number}", f"{number:x}")

    def boot(self, number: int) -> Boot:
        return Boot(_hex(f"boot {number}", 16))

    def roster(self, number: int, ended: Ending | None = None) -> RosterRecord:
        instance = self.holder(number).partition("@")[2]
        return RosterRecord("maker", instance, HolderKind.PROCESS, self.boot(number), self.ttl_seconds, SINCE, ended)

    def held_by(self, number: int) -> int:
        """How many resources a holder holds."""
        return len(range(number, self.resources, self.holders))

    def transactions(self) -> Iterator[list[Put]]:
        """Everything that is held, in transactions of as many operations as etcd takes."""
        keys, puts = self.keys, list[Put]()
        for number in range(self.resources):
            puts += self._registration(keys, number)
            if len(puts) > MAX_OPERATIONS - 2:
                yield puts
                puts = []
        if puts:
            yield puts

    def _registration(self, keys: Keyspace, number: int) -> tuple[Put, Put]:
        who = number % self.holders
        holder, kind = self.holder(who), TYPES[number % len(TYPES)]
        resource = Resource(OWNER, kind, ResourceId(_uuid(number)))
        record = ResourceRecord(
            f"uid:{_hex(f'uid {number}', 12)}", f"make-{kind}", self.grace, holder,
            trace=f"00-{_hex(f'trace {number}', 16)}-{_hex(f'span {number}', 8)}-01", since=SINCE,
        )  # fmt: skip
        hold = HoldRecord(self.boot(who), number // self.holders + 1, record.rule, SINCE)
        return Put(keys.record(resource), encode(record)), Put(keys.hold(resource, holder), encode(hold))

    def rules(self, owner: str, concurrency: int) -> str:
        """The rule file: one owner without bounds of its own, whose ids are never used twice."""
        made = "\n".join(
            f"""  - name: make-{kind}
    owner: {OWNER}
    type: {kind}
    on: create
    match: {{method: POST, path: "/v1/{kind}s", status: [201]}}
    id: {{json: id}}
    held_by: process
    mode: sweep
    grace: {self.grace}"""
            for kind in TYPES
        )
        return f"""
owners:
  - name: {OWNER}
    hosts: ["store:80"]
    endpoint: {owner}
    delete: {{path: "/v1/things/{{id}}", precondition: never-reused}}
    limits: {{concurrency: {concurrency}, per_second: 100000}}
rules:
{made}
"""


def _hex(of: str, size: int) -> str:
    return blake2b(of.encode(), digest_size=size).hexdigest()


def _uuid(number: int) -> str:
    text = _hex(f"resource {number}", 16)
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
