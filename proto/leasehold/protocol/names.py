"""Identifiers: what we call tenants, owners, resources and holders.

Names that people choose (tenant, owner, type, service, rule) are restricted to a safe alphabet, so that a mistake is
refused where it is typed. Ids that come from other people's traffic (resource ids) may be any text; they are
validated against the rule and percent-encoded by ``keyspace``.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple, NewType

Instant = NewType("Instant", float)
"""Seconds on the monotonic clock of the process that reads it; never compared between processes."""

Tenant = NewType("Tenant", str)
ServiceName = NewType("ServiceName", str)
OwnerName = NewType("OwnerName", str)
TypeName = NewType("TypeName", str)
ResourceId = NewType("ResourceId", str)
RuleName = NewType("RuleName", str)
Holder = NewType("Holder", str)
"""``service@instance`` (a process), ``service`` (a service as a whole) or ``service!window`` (a timer)."""
Boot = NewType("Boot", str)
"""What tells one attachment of a holder from another: a random nonce, or a constant shared by a service's instances."""
LeaseId = NewType("LeaseId", int)
"""etcd's lease id: a positive 63-bit integer; 0 asks etcd to choose."""
Revision = NewType("Revision", int)
CallId = NewType("CallId", str)
"""Names one observed call, unique for its holder; also the idempotency key we propose to owners."""
ClassName = NewType("ClassName", str)
"""Names a grace period that resources share, e.g. ``300s``: one sequence of epochs per class."""

NAME_PATTERN = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?"
NAME_EXPECTED = "1 to 128 letters, digits, '.', '_' or '-', beginning and ending with a letter or digit"
MAX_ID_BYTES = 1024
"""Longer resource ids are refused: etcd keys are best kept short, and a 4 KiB id is always a wrong extraction."""

_NAME = re.compile(NAME_PATTERN)
_INSTANCE = re.compile(r"[A-Za-z0-9._~:+-]{1,200}")


def is_name(text: str) -> bool:
    """Whether people may call a tenant, owner, type, service or rule so."""
    return _NAME.fullmatch(text) is not None


def is_instance(text: str) -> bool:
    """Whether this can name an instance of a service: no ``@``, ``!`` or ``/``, at most 200 characters."""
    return _INSTANCE.fullmatch(text) is not None


class Resource(NamedTuple):
    """What an owner stores and can delete: ``owner/type/id``. A tuple, because it is hashed all the time."""

    owner: OwnerName
    type: TypeName
    id: ResourceId

    def __str__(self) -> str:
        return f"{self.owner}/{self.type}/{self.id}"

    @classmethod
    def parse(cls, text: str) -> Resource:
        """``owner/type/id`` as people type it; the id may contain slashes. Raises ``ValueError``."""
        parts = text.split("/", 2)
        if len(parts) != 3 or not is_name(parts[0]) or not is_name(parts[1]) or not parts[2]:
            raise ValueError(f"{text!r} is not a resource: expected <owner>/<type>/<id>")
        return cls(OwnerName(parts[0]), TypeName(parts[1]), ResourceId(parts[2]))


def process_holder(service: ServiceName, instance: str, start: str) -> Holder:
    """One process. ``start`` tells this run of it from the last, so that a restart is a new holder."""
    return Holder(f"{service}@{instance}~{start}")


def service_holder(service: ServiceName) -> Holder:
    """A service as a whole: ends when *no* instance has renewed for its TTL."""
    return Holder(service)


def timer_holder(service: ServiceName, window: str) -> Holder:
    """A beacon that nobody renews. ``window`` must be unguessable, so that no two sidecars share one by accident."""
    return Holder(f"{service}!{window}")


def service_lease_id(tenant: Tenant, service: ServiceName) -> LeaseId:
    """The lease id every instance of a service derives alike, so that all of them renew one lease.

    63 bits of BLAKE2b, never 0 (which would ask etcd to choose).
    """
    digest = hashlib.blake2b(f"{tenant}\0{service}".encode(), digest_size=8, person=b"leasehold").digest()
    return LeaseId((int.from_bytes(digest, "big") & 0x7FFF_FFFF_FFFF_FFFF) or 1)
