"""What the actors share: the store, the oracle that looks on, the time, leases, and an owner that forgets nothing."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from leasehold.protocol.errors import LeaseNotFound
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import LeaseId, OwnerName, Resource, ResourceId, Tenant, TypeName
from leasehold.protocol.store import Delete, KeyValue, Txn, TxnResult
from tests.machines.oracle import Claim, Oracle
from tests.machines.picture import Picture, picture
from tests.machines.stores import OneStore

Mutation = Callable[[str, Txn], Txn]
"""Takes a guard out of the named transaction; the identity leaves the protocol as it is."""

RESOURCES = tuple(Resource(OwnerName("o"), TypeName("t"), ResourceId(name)) for name in ("x", "y"))
STRANGER = Resource(OwnerName("o"), TypeName("t"), ResourceId("stranger"))
SHARDS = 2

_tenants = itertools.count(1)
_leases = itertools.count(0x10000)


@dataclass
class Delivery:
    """A DELETE on its way: what it names, and the version it is conditional on."""

    resource: Resource
    incarnation: str
    version: int


@dataclass
class Owner:
    """Resources by id, each with its incarnation and a version that its users change. Deletes are conditional."""

    conditional: bool = True
    things: dict[Resource, tuple[str, int]] = field(default_factory=dict)
    on_the_way: list[Delivery] = field(default_factory=list)
    refused: set[tuple[Resource, str, int]] = field(default_factory=set)
    """What deletes that were refused had named and seen."""
    asked: dict[tuple[Resource, str], int] = field(default_factory=dict)
    """The version that the last delete sent is conditional on: only an answer to that one is an answer."""
    _made: int = 0

    def create(self, resource: Resource) -> str:
        """A new incarnation, in the place of an earlier one if there is one."""
        self._made += 1
        incarnation = f"uid:{self._made}"
        self.things[resource] = (incarnation, 1)
        return incarnation

    def has(self, resource: Resource, incarnation: str) -> bool:
        return resource in self.things and self.things[resource][0] == incarnation

    def change(self, resource: Resource) -> None:
        if resource in self.things:
            incarnation, version = self.things[resource]
            self.things[resource] = (incarnation, version + 1)

    def ask_to_delete(self, resource: Resource, incarnation: str) -> None:
        """What a visit does: look, compare, and send a delete that is conditional on what was seen."""
        if self.has(resource, incarnation):
            version = self.asked[resource, incarnation] = self.things[resource][1]
            self.on_the_way.append(Delivery(resource, incarnation, version))

    def has_refused(self, resource: Resource, incarnation: str) -> bool:
        """Whether the answer to the last delete sent is that it was refused."""
        version = self.asked.get((resource, incarnation), 0)
        return (resource, incarnation, version) in self.refused

    def deliver(self, number: int, *, again: bool) -> tuple[Resource, str, str] | None:
        """One of the deletes arrives; ``again``: it stays on its way. What it named and what is gone, if anything."""
        delivery = self.on_the_way[number] if again else self.on_the_way.pop(number)
        there = self.things.get(delivery.resource)
        if there is None:
            return None
        if self.conditional and there != (delivery.incarnation, delivery.version):
            self.refused.add((delivery.resource, delivery.incarnation, delivery.version))
            return None
        del self.things[delivery.resource]
        return delivery.resource, delivery.incarnation, there[0]


class World:
    """One tenant, from its first key on."""

    def __init__(self, store: OneStore, mutate: Mutation, owner: Owner) -> None:
        self.store, self.mutate, self.owner = store, mutate, owner
        self.keys = Keyspace(Tenant(f"m{next(_tenants)}"))
        self.oracle = Oracle()
        self.now = 0.0
        self.picture = Picture()
        self.items: dict[bytes, KeyValue] = {}
        self.leases: set[LeaseId] = set()
        self.took_effect: Counter[str] = Counter()
        """Which transactions changed something, how often."""

    async def commit(self, name: str, txn: Txn, by: Claim | None = None) -> TxnResult | None:
        """Run it, and have the step judged. ``None``: a lease that it hangs on is gone, and nothing happened."""
        try:
            result = await self.store.commit(self.mutate(name, txn))
        except LeaseNotFound:
            result = None
        before = self.picture
        await self.look(by)
        self.took_effect[name] += self.picture != before
        return result

    async def look(self, by: Claim | None = None) -> None:
        """See what is there now, and judge what changed."""
        found = await self.store.read(self.keys.everything)
        after = picture(found.items)
        before, self.picture = self.picture, after
        self.items = {item.key: item for item in found.items}
        self.oracle.judge(before, after, self.now, by)

    def item(self, key: bytes) -> KeyValue | None:
        return self.items.get(key)

    async def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.oracle.judge(self.picture, self.picture, self.now, None)

    async def grant(self) -> LeaseId:
        lease = LeaseId(next(_leases))
        await self.store.grant(lease)
        self.leases.add(lease)
        return lease

    async def end_lease(self, lease: LeaseId) -> None:
        if lease in self.leases:
            self.leases.discard(lease)
            await self.store.revoke(lease)
            await self.look()

    def deliver(self, number: int, *, again: bool) -> None:
        """A DELETE arrives at the owner."""
        gone = self.owner.deliver(number, again=again)
        if gone is not None:
            self.took_effect["delete"] += 1
            resource, named, incarnation = gone
            self.oracle.on_deleted(tuple(resource), named, incarnation, self.picture)

    async def end(self) -> None:
        """Leave nothing behind."""
        for lease in list(self.leases):
            self.leases.discard(lease)
            await self.store.revoke(lease)
        await self.store.commit(Txn((), (Delete(self.keys.everything),)))
