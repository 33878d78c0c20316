"""A process (or the instances of a service), and its sidecar: what they do, in any order, in time or late."""

from __future__ import annotations

from dataclasses import dataclass

from leasehold.protocol import transactions as tx
from leasehold.protocol.names import Boot, CallId, Holder, LeaseId, Resource, Revision
from leasehold.protocol.records import (
    Ending,
    HolderKind,
    HoldRecord,
    IntentRecord,
    ResourceRecord,
    RosterRecord,
    decode,
)
from leasehold.protocol.store import Txn
from tests.machines.world import World

GRACE_CLASS = "1s"


@dataclass(frozen=True)
class Intended:
    """A call that was let go before its outcome was known."""

    call: CallId
    resource: Resource | None
    hold: HoldRecord


class Process:
    """One holder. What it believes may be wrong; etcd is asked in every transaction."""

    def __init__(self, world: World, name: str, kind: HolderKind = HolderKind.PROCESS) -> None:
        self.world, self.kind = world, kind
        self.holder = Holder(name)
        self.boots = self.calls = self.sequence = 0
        self.lease: LeaseId | None = None
        self.made: dict[Resource, str] = {}
        """Created at the owner and not yet registered."""
        self.holds: dict[Resource, HoldRecord] = {}
        self.intended: list[Intended] = []
        self.late: list[Txn] = []
        """Releases on their way; each may arrive later, or twice."""

    @property
    def boot(self) -> Boot:
        return Boot("shared" if self.kind is HolderKind.SERVICE else f"b{self.boots}")

    def _roster(self, ended: Ending | None = None) -> RosterRecord:
        return RosterRecord("s", self.holder, self.kind, self.boot, 15, ended=ended)

    # --- being alive ------------------------------------------------------------------------------------------------

    async def attach(self) -> None:
        world = self.world
        if self.lease not in world.leases:
            self.lease = await world.grant()
        assert self.lease is not None
        await world.commit("attach", tx.attach(world.keys, self.holder, self.boot, self.lease, self._roster()))

    async def lose_lease(self) -> None:
        """Whether it lives or not."""
        if self.lease is not None:
            await self.world.end_lease(self.lease)

    async def come_back(self) -> None:
        """Another boot, which knows nothing of what the last one held. Its lease may still be there."""
        self.boots += 1
        self.lease = None
        self.holds.clear()
        self.intended.clear()

    async def retire(self) -> None:
        world = self.world
        await world.commit("retire", tx.retire(world.keys, self.holder, self.boot, self._roster(Ending.EXITED)))

    # --- what it does with resources --------------------------------------------------------------------------------

    def create(self, resource: Resource) -> None:
        self.made[resource] = self.world.owner.create(resource)

    async def intend(self, resource: Resource | None) -> None:
        self.calls += 1
        call = CallId(f"{self.boot}-{self.calls}")
        hold = self._next_hold()
        named = tuple(resource) if resource is not None else None
        intent = IntentRecord("make", "PUT", "/", call, named)
        member = tx.intend(self.world.keys, self.holder, call, intent, resource, hold)
        if await self._batch("intend", member):
            self.intended.append(Intended(call, resource, hold))

    async def retract(self) -> None:
        if self.intended:
            one = self.intended.pop()
            member = tx.retract(self.world.keys, self.holder, one.call, one.resource, one.hold)
            await self._batch("retract", member)

    async def register(self, resource: Resource, references: tuple[Resource, ...], *, unseen: bool) -> None:
        """Record what was created. ``unseen``: it does not know what is recorded already."""
        if resource not in self.made:
            return
        world = self.world
        before = None if unseen else world.item(world.keys.record(resource))
        earlier = tx.references(decode(ResourceRecord, before.value)) if before else ()
        record = ResourceRecord(
            self.made[resource], "make", GRACE_CLASS, self.holder, tuple(tuple(one) for one in references)
        )
        hold = self._next_hold()
        intended = next((one for one in self.intended if one.resource in {None, resource}), None)
        member = tx.register(
            world.keys, resource, record, self.holder, hold,
            seen=before.mod_revision if before else Revision(0), call=intended.call if intended else None,
            dropped=[one for one in earlier if one not in references],
        )  # fmt: skip
        if await self._batch("register", member):
            del self.made[resource]
            self.holds[resource] = hold
            if intended:
                self.intended.remove(intended)

    async def acquire(self, resource: Resource) -> None:
        hold = self._next_hold()
        if await self._batch("acquire", tx.acquire(self.world.keys, resource, self.holder, hold)):
            self.holds[resource] = hold

    async def release(self, resource: Resource, *, late: bool) -> None:
        """``late``: it is on its way for a while."""
        hold = self.holds.pop(resource, None)
        if hold is not None:
            released = HoldRecord(hold.boot, hold.sequence, released=True)
            txn = tx.release(self.world.keys, resource, self.holder, hold, released)
            self.late.append(txn)
            if not late:
                await self.world.commit("release", txn)

    async def arrive_late(self) -> None:
        """A release that was on its way, perhaps for the second time."""
        if self.late:
            await self.world.commit("release", self.late[0])
            self.late = self.late[1:] + self.late[:1] if len(self.late) < 4 else self.late[1:]

    async def forget(self, resource: Resource) -> None:
        """The app deletes it itself, and its sidecar saw that."""
        world = self.world
        item = world.item(world.keys.record(resource))
        if item is not None:
            record = decode(ResourceRecord, item.value)
            if world.owner.has(resource, record.incarnation):
                del world.owner.things[resource]
            await world.commit("forget", tx.forget(world.keys, resource, record, item.mod_revision))

    async def _batch(self, name: str, member: Txn) -> bool:
        world = self.world
        result = await world.commit(
            name, tx.batch(world.keys, {self.holder: self.boot}, [world.mutate(f"{name} itself", member)])
        )
        return result is not None and tx.committed(result)

    def _next_hold(self) -> HoldRecord:
        self.sequence += 1
        return HoldRecord(self.boot, self.sequence)
