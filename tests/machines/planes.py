"""A control plane: judges by the product's own core what it saw, perhaps long ago, and writes under its fence."""

from __future__ import annotations

from dataclasses import dataclass, field

from leasehold.control_plane.core.epochs import Close, Drop, Epochs, Open, Seen
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.verdict import Condemnable, Evidence, Ripe, read_evidence, ripe, unheld
from leasehold.control_plane.witness import Witness
from leasehold.protocol import transactions as tx
from leasehold.protocol import transactions_intents as intents
from leasehold.protocol.keyspace import Family, shard_of, shard_of_class
from leasehold.protocol.names import ClassName, Holder, Instant, LeaseId, Resource, Revision
from leasehold.protocol.records import (
    EpochRecord,
    GraveRecord,
    HolderKind,
    HoldRecord,
    IntentRecord,
    ResourceRecord,
    RosterRecord,
    ShardRecord,
    SweepRecord,
    SweepState,
    TombstoneRecord,
    decode,
)
from leasehold.protocol.store import Change, Event, GetResult, KeyValue, Txn, TxnResult
from tests.machines.holders import GRACE_CLASS
from tests.machines.oracle import GRACE, Claim
from tests.machines.world import SHARDS, World

CLASS = ClassName(GRACE_CLASS)


@dataclass
class Tenure:
    """A shard as this control plane believes to have it. It may be another's by now."""

    shard: int
    fence: Revision


@dataclass
class Memory:
    """What it saw of one resource."""

    evidence: Evidence | None = None
    sweep: KeyValue | None = None


@dataclass
class Plane:
    """One replica."""

    world: World
    name: str
    lease: LeaseId | None = None
    tenures: dict[int, Tenure] = field(default_factory=dict)
    memory: dict[Resource, Memory] = field(default_factory=dict)
    epochs: Epochs = field(default_factory=lambda: Epochs(CLASS, int(GRACE)))
    seen_epochs: list[Seen] = field(default_factory=list)
    intent: intents.IntentFound | None = None
    roster: dict[Holder, Revision] = field(default_factory=dict)

    # --- its shards -------------------------------------------------------------------------------------------------

    async def claim(self, shard: int) -> None:
        world = self.world
        if self.lease not in world.leases:
            self.lease = await world.grant()
        assert self.lease is not None
        result = await world.commit("claim", tx.claim_shard(world.keys, shard, ShardRecord(self.name), self.lease))
        if result is not None and result.succeeded:
            [_, got] = result.results
            assert isinstance(got, GetResult)
            self.tenures[shard] = Tenure(shard, got.items[0].create_revision)
            if shard == shard_of_class(CLASS, SHARDS):
                self.epochs = Epochs(CLASS, int(GRACE))  # what another measured does not count

    async def lose_lease(self) -> None:
        """Nobody tells it: it goes on as before."""
        if self.lease is not None:
            await self.world.end_lease(self.lease)

    async def give_up(self, shard: int) -> None:
        tenure = self.tenures.pop(shard, None)
        if tenure is not None:
            txn = tx.yield_shard(self.world.keys, tx.Authority(shard, tenure.fence, Revision(0)))
            await self.world.commit("yield", txn)

    def _authority(self, shard: int, armed: int = 1) -> tx.Authority | None:
        tenure = self.tenures.get(shard)
        return tx.Authority(shard, tenure.fence, Revision(armed)) if tenure else None

    def _over(self, resource: Resource, armed: int = 1) -> tx.Authority | None:
        return self._authority(shard_of(resource, SHARDS), armed)

    async def _commit(self, name: str, txn: Txn, by: tx.Authority) -> TxnResult | None:
        return await self.world.commit(name, txn, Claim(self.name, by.shard, by.fence))

    # --- looking ----------------------------------------------------------------------------------------------------

    async def look(self, resource: Resource) -> None:
        """What it will act on, until it looks again: by the product's own reading."""
        world = self.world
        index = Index(world.keys)
        for item in world.items.values():
            index.apply(Event(Change.PUT, item))
        witness = Witness(world.store, world.keys, index, deadline=10)  # type: ignore[arg-type]
        evidence = await witness.look(resource)
        self._remember(resource, evidence)

    def glance(self, resource: Resource) -> None:
        """The same of what the machine has read just now."""
        world = self.world
        revision = Revision(max((item.mod_revision for item in world.items.values()), default=1))
        found = read_evidence(world.keys, resource, revision, world.items, world.item(world.keys.armed))
        self._remember(resource, found)

    def _remember(self, resource: Resource, evidence: Evidence) -> None:
        world = self.world
        self.memory[resource] = Memory(evidence, world.item(world.keys.sweep(resource)))
        self._look_at_epochs()
        rosters = [item for key, item in world.items.items() if key in world.keys.family(Family.ROSTER)]
        self.roster = {world.keys.parse(item.key).holder: item.mod_revision for item in rosters}  # type: ignore[union-attr]

    def _look_at_epochs(self) -> None:
        keys, items = self.world.keys, self.world.items
        self.seen_epochs = []
        for key, item in items.items():
            if key in keys.epochs_of(CLASS):
                parsed = keys.parse(key)
                assert parsed is not None
                number, record = int(parsed.parts[1]), decode(EpochRecord, item.value)
                found = tx.EpochFound(CLASS, number, key, item.create_revision, item.mod_revision, record)
                self.seen_epochs.append(Seen(found, keys.epoch_lease(CLASS, number) in items))

    # --- condemning -------------------------------------------------------------------------------------------------

    async def condemn(self, resource: Resource) -> None:
        evidence = self._evidence(resource)
        found = unheld(evidence) if evidence else None
        by = self._over(resource, found.armed) if isinstance(found, Condemnable) else None
        if by and isinstance(found, Condemnable):
            tombstone = TombstoneRecord(found.record.incarnation, "unheld", found.facts.revision)
            await self._commit("condemn", tx.condemn(self.world.keys, by, found.facts, tombstone), by)

    async def revive(self, resource: Resource) -> None:
        evidence, by = self._evidence(resource), self._over(resource)
        if by and evidence and evidence.tombstone:
            txn = tx.revive(self.world.keys, by, resource, evidence.tombstone.mod_revision)
            await self._commit("revive", txn, by)

    async def measure(self) -> None:
        """Open, close or drop epochs, as the product's clockwork has it, by what it last saw of them."""
        by = self._authority(shard_of_class(CLASS, SHARDS))
        if by is None:
            return
        world = self.world
        newest = max((item.modified for item in world.picture.of("tombstones").values()), default=0)
        now = Instant(world.now)
        for command in self.epochs.decide(now, self.seen_epochs, Revision(newest)):
            if isinstance(command, Open):
                lease = await world.grant()
                epoch = EpochRecord(command.seconds, lease)
                txn = tx.open_epoch(world.keys, by, CLASS, command.number, epoch)
                await self._commit("open epoch", txn, by)
            elif isinstance(command, Close):
                done = EpochRecord(command.epoch.record.seconds, command.epoch.record.lease, done=True)
                await self._commit("close epoch", tx.close_epoch(world.keys, by, command.epoch, done), by)
            elif isinstance(command, Drop):
                await self._commit("drop epoch", tx.drop_epoch(world.keys, by, command.old, command.newer), by)
        self._look_at_epochs()
        self.epochs.decide(now, self.seen_epochs, Revision(0))  # a running one is timed from when it was found

    # --- sweeping ---------------------------------------------------------------------------------------------------

    async def prepare(self, resource: Resource) -> None:
        evidence = self._evidence(resource)
        found = ripe(evidence, lambda _: self.seen_epochs) if evidence else None
        by = self._over(resource, found.armed) if isinstance(found, Ripe) else None
        if by and isinstance(found, Ripe):
            sweep = SweepRecord(
                SweepState.PREPARED, found.record.incarnation, by.fence, found.facts.revision, found.tombstone,
                f"{CLASS}/{found.epoch.number}", found.facts.holders,
            )  # fmt: skip
            txn = tx.prepare(self.world.keys, by, found.facts, found.tombstone, found.epoch, sweep)
            await self._commit("prepare", txn, by)

    async def send(self, resource: Resource) -> None:
        evidence, item = self._evidence(resource), self._sweep(resource)
        by = self._over(resource, evidence.armed.mod_revision if evidence and evidence.armed else 1)
        if by is None or item is None:
            return
        sweep = decode(SweepRecord, item.value)
        sent = SweepRecord(
            SweepState.SENT, sweep.incarnation, by.fence, sweep.revision, sweep.tombstone_revision, sweep.epoch,
            sweep.holders, sweep.attempt + 1,
        )  # fmt: skip
        result = await self._commit("send", tx.send(self.world.keys, by, resource, item.mod_revision, sent), by)
        if result is not None and result.succeeded:
            self.world.owner.ask_to_delete(resource, sweep.incarnation)

    async def quarantine(self, resource: Resource) -> None:
        await self.note(resource, quarantined=True)

    async def note(self, resource: Resource, *, quarantined: bool = False) -> None:
        item, by = self._sweep(resource), self._over(resource)
        if by and item:
            sweep = decode(SweepRecord, item.value)
            state = SweepState.QUARANTINED if quarantined else sweep.state
            noted = SweepRecord(
                state, sweep.incarnation, sweep.fence, sweep.revision, sweep.tombstone_revision, sweep.epoch,
                sweep.holders, sweep.attempt, "noted",
            )  # fmt: skip
            await self._commit("note", tx.note(self.world.keys, by, resource, item.mod_revision, noted), by)

    async def conclude(self, resource: Resource) -> None:
        """Finish once the owner does not have it; abort what was not sent, or refused at its first attempt."""
        item, by, world = self._sweep(resource), self._over(resource), self.world
        record = world.item(world.keys.record(resource))
        if by is None or item is None or record is None:
            return
        sweep = decode(SweepRecord, item.value)
        if sweep.attempt == 0 or (sweep.attempt == 1 and world.owner.has_refused(resource, sweep.incarnation)):
            await self._commit("abort", tx.abort(world.keys, by, resource, item.mod_revision), by)
        elif not world.owner.has(resource, sweep.incarnation):
            lease = await world.grant()
            known = decode(ResourceRecord, record.value)
            grave = GraveRecord(sweep.incarnation, "gone")
            txn = tx.finish(world.keys, by, resource, item.mod_revision, known, grave, lease)
            await self._commit("finish", txn, by)

    async def go_on(self, resource: Resource) -> None:
        """The next step there is, on what it sees now; a shard that nobody has is claimed."""
        shard = shard_of(resource, SHARDS)
        for free in {shard, shard_of_class(CLASS, SHARDS)}:
            if self.world.item(self.world.keys.shard(free)) is None:
                await self.claim(free)
        self.glance(resource)
        await self.act(resource)

    async def act(self, resource: Resource) -> None:
        """The next step there is, on what it saw last."""
        memory = self.memory.get(resource, Memory())
        if memory.sweep is not None:
            if decode(SweepRecord, memory.sweep.value).attempt == 0:
                await self.send(resource)
            else:
                await self.conclude(resource)
        elif memory.evidence is not None and memory.evidence.tombstone is not None:
            await self.measure()
            await self.prepare(resource)
        else:
            await self.condemn(resource)

    def due(self, resource: Resource) -> str | None:
        """What it would do next about what it saw last."""
        memory = self.memory.get(resource, Memory())
        if memory.sweep is not None:
            return "conclude" if decode(SweepRecord, memory.sweep.value).attempt else "send"
        if memory.evidence is None:
            return None
        if memory.evidence.tombstone is not None:
            return "prepare" if isinstance(ripe(memory.evidence, lambda _: self.seen_epochs), Ripe) else None
        return "condemn" if isinstance(unheld(memory.evidence), Condemnable) else None

    def _evidence(self, resource: Resource) -> Evidence | None:
        return self.memory.get(resource, Memory()).evidence

    def _sweep(self, resource: Resource) -> KeyValue | None:
        return self.memory.get(resource, Memory()).sweep

    # --- the roster, intents, the inventory -------------------------------------------------------------------------

    async def strike(self, holder: Holder) -> None:
        """Of whom it knows no hold, and last saw the roster entry a while ago."""
        by, held = self._authority(0), self.world.picture.of("holds")
        if by and holder in self.roster and not any(parts[3] == holder for parts in held):
            await self._commit("strike", tx.strike(self.world.keys, by, holder, self.roster[holder]), by)

    def look_at_intents(self, number: int) -> None:
        world = self.world
        found = sorted(key for key in world.items if key in world.keys.family(Family.INTENTS))
        self.intent = None
        if found:
            item = world.items[found[number % len(found)]]
            parsed = world.keys.parse(item.key)
            assert parsed is not None
            roster = world.item(world.keys.roster(parsed.holder))
            if roster is not None:
                outlived = decode(RosterRecord, roster.value).kind is HolderKind.SERVICE
                self.intent = intents.IntentFound(
                    parsed.holder, parsed.parts[1], item.mod_revision, roster.mod_revision, roster.value, outlived  # type: ignore[arg-type]
                )  # fmt: skip

    async def settle_intent(self, how: str, resource: Resource) -> None:
        """What the owner said of it."""
        world, intent = self.world, self.intent
        by = self._over(resource) if intent else None
        if by is None or intent is None:
            return
        there = world.owner.things.get(resource)
        hold = world.item(world.keys.hold(resource, intent.holder))
        held = hold.mod_revision if hold else Revision(0)
        known = world.item(world.keys.record(resource))
        if how == "resolve" and there is not None:
            record = ResourceRecord(there[0], "make", GRACE_CLASS, intent.holder)
            found = HoldRecord("resolved", 0)
            txn = intents.resolve(world.keys, by, intent, resource, record, found, held)
        elif how == "recorded":
            seen = known.mod_revision if known else Revision(1)
            txn = intents.recorded(world.keys, by, intent, resource, seen)
        elif how == "dismiss":
            txn = intents.dismiss(world.keys, by, intent, resource, held)
        else:
            txn = intents.suspect(world.keys, by, intent, IntentRecord("make", "PUT", "/", "k", suspect="who knows"))
        await self._commit(how, txn, by)

    async def adopt(self, resource: Resource) -> None:
        by, world = self._over(resource), self.world
        if by and resource in world.owner.things:
            record = ResourceRecord(world.owner.things[resource][0], "listed", GRACE_CLASS, "!inventory")
            hold = HoldRecord("listed", 0, released=True)
            await self._commit("adopt", intents.adopt(world.keys, by, resource, record, hold), by)

    async def close(self, resource: Resource) -> None:
        evidence, by = self._evidence(resource), self._over(resource)
        if by and evidence and evidence.record and resource not in self.world.owner.things:
            record = decode(ResourceRecord, evidence.record.value)
            txn = intents.close(self.world.keys, by, resource, record, evidence.record.mod_revision)
            await self._commit("close", txn, by)
