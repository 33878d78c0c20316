"""Which keys each part of a tenant may read and write: etcd's roles, as values. Pure.

A role holds what its part really does and nothing more: the lists below were found from ``transactions`` and from what
each part lists and watches, and ``tests/tenants`` runs a whole life under them. Families that a part only deletes from
or puts into are ``WRITE``: etcd asks for no right to read there.

etcd knows keys and ranges, so a role can end at a family, at an owner (whose name comes first in ``<res>``), and at a
service (whose name comes first in its holders). It cannot end at a *holder* below ``holds/<res>/``: there the resource
comes first, so that one range tells who holds it. Whoever may write an owner's holds may write those of others, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import Holder, OwnerName, ServiceName, Tenant
from leasehold.protocol.store import KeyRange, Where

CANARIES = (Holder("!canary-alive"), Holder("!canary-ended"))
"""Holders of the collector's self-test: the only beacons that a control plane may write."""


class Access(Enum):
    """What a grant allows. The numbers are etcd's."""

    READ = 0
    WRITE = 1
    READWRITE = 2


@dataclass(frozen=True, slots=True)
class Grant:
    """One permission on a key or a range."""

    access: Access
    where: Where

    @property
    def start(self) -> bytes:
        return self.where.start if isinstance(self.where, KeyRange) else self.where

    @property
    def end(self) -> bytes:
        """Empty for a single key."""
        return self.where.end if isinstance(self.where, KeyRange) else b""


@dataclass(frozen=True, slots=True)
class Role:
    """A name, whom it is for, and what it allows."""

    name: str
    purpose: str
    grants: tuple[Grant, ...]


_BY_HOLDER = {Family.BEACONS: Access.READWRITE, Family.ROSTER: Access.WRITE, Family.INTENTS: Access.WRITE}
_BY_OWNER = {
    Family.RESOURCES: Access.READWRITE,
    Family.HOLDS: Access.READWRITE,
    Family.REFS: Access.WRITE,
    Family.TOMBSTONES: Access.WRITE,
    Family.NOTICES: Access.WRITE,
}
_LISTED = (Family.OWNERS, Family.RULES, Family.SWEEPS, Family.GRAVES)
_COLLECTORS = (
    Family.RESOURCES, Family.HOLDS, Family.REFS, Family.INTENTS, Family.ROSTER, Family.TOMBSTONES, Family.EPOCHS,
    Family.EPOCH_LEASES, Family.NOTICES, Family.SWEEPS, Family.GRAVES, Family.SHARDS, Family.REPLICAS, Family.CONTROL,
    Family.SHADOWS,
)  # fmt: skip


def role_name(tenant: Tenant, part: str, service: ServiceName | None = None) -> str:
    """No name holds a slash, so that no tenant or service can name the role of another."""
    return "/".join(("leasehold", tenant, part, *(() if service is None else (service,))))


def roles(keys: Keyspace, services: Sequence[ServiceName] = (), owners: Sequence[OwnerName] = ()) -> tuple[Role, ...]:
    """All roles of a tenant: one for sidecars, or one for each of ``services``, for calls to ``owners`` (none: to all);
    for control planes, for whoever writes rules, and for operators who look and who act."""
    tenant = keys.tenant
    named = tuple(sidecar_role(keys, service, owners) for service in services)
    return (
        *(named or (sidecar_role(keys, None, owners),)),
        Role(role_name(tenant, "control-plane"), "control planes", tuple(_control_plane(keys))),
        Role(role_name(tenant, "rules"), "whoever writes owners and rules", tuple(_rules(keys))),
        Role(role_name(tenant, "reader"), "operators who only look", (_everything(keys),)),
        Role(role_name(tenant, "operator"), "operators who act", tuple(_operator(keys))),
    )


def sidecar_role(keys: Keyspace, service: ServiceName | None = None, owners: Sequence[OwnerName] = ()) -> Role:
    """For the sidecars of one service, or of any; for resources of ``owners``, or of any.

    A rule's ``references`` reach other owners' keys: their names belong into ``owners``, too.
    """
    grants = [
        *(Grant(how, one) for family, how in _BY_HOLDER.items() for one in _of_service(keys, family, service)),
        *(Grant(how, one) for family, how in _BY_OWNER.items() for one in _of_owners(keys, family, owners)),
        *(Grant(Access.READ, keys.family(family)) for family in _LISTED),
    ]
    whom = "sidecars" if service is None else f"sidecars of {service}"
    return Role(role_name(keys.tenant, "sidecar", service), whom, tuple(grants))


def _of_service(keys: Keyspace, family: Family, service: ServiceName | None) -> Iterable[Where]:
    return (keys.family(family),) if service is None else keys.of_service(family, service)


def _of_owners(keys: Keyspace, family: Family, owners: Sequence[OwnerName]) -> Iterable[Where]:
    return [keys.of_owner(family, owner) for owner in owners] or (keys.family(family),)


def _everything(keys: Keyspace) -> Grant:
    return Grant(Access.READ, keys.everything)


def _control_plane(keys: Keyspace) -> Iterator[Grant]:
    # Neither pins nor rules, and no beacon of anybody: a collector cannot forge that somebody is alive, or undo a pin.
    yield _everything(keys)
    yield from (Grant(Access.WRITE, keys.family(family)) for family in _COLLECTORS)
    yield from (Grant(Access.WRITE, keys.beacon(holder)) for holder in CANARIES)


def _rules(keys: Keyspace) -> Iterator[Grant]:
    yield from (Grant(Access.READWRITE, keys.family(family)) for family in (Family.OWNERS, Family.RULES))


def _operator(keys: Keyspace) -> Iterator[Grant]:
    yield _everything(keys)
    # Pins; the tombstones that go with them; holds, for ``release``.
    yield from (Grant(Access.WRITE, keys.family(family)) for family in (Family.PINS, Family.TOMBSTONES, Family.HOLDS))
    yield from (Grant(Access.WRITE, key) for key in (keys.armed, keys.tripped))
