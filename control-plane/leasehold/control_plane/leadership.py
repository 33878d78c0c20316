"""Who may act: which shards this replica acts for, each under a fence.

A shard's key hangs on this replica's lease (``membership``); its create_revision is the fence which every write on the
destructive path compares (S3). ``core.placement`` says which shards should be ours. Laws:

- Claimed is only what nobody has, under the number of shards that stands in etcd at that moment. All that is free is
  claimed in one transaction, so a dead replica's shards move in one round trip.
- What should be another's is *left*: nothing new is begun for it (``acting`` has it no more), what is under way may
  end under the old fence, calls that take longer are cut off, and only then is the key deleted. So two never act at
  once, and what one began the other finds written down.
- A shard that is being left is left to the end, also if it should be ours again meanwhile: then it is claimed anew.
- A key that vanished under us is lost at once; one that turns up on our lease is ours, or is left like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.placement import plan
from leasehold.control_plane.membership import Membership
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.ticking import Bell, written_now
from leasehold.protocol.errors import StoreError, Uncertain
from leasehold.protocol.keyspace import Family, Keyspace, shard_of, shard_of_class
from leasehold.protocol.names import ClassName, Instant, LeaseId, Resource, Revision
from leasehold.protocol.ports import Clock, Store
from leasehold.protocol.records import ShardRecord, encode
from leasehold.protocol.store import GetResult, KeyValue, TxnResult
from leasehold.protocol.transactions import MAX_BATCH, Authority, claim_shards, yield_shards

TENANTS_SHARD = 0
"""Whose holder does what is done once per tenant. It is there whatever the number of shards."""
LEAVING_SECONDS = 5.0
"""How long what is under way may take to end when its shard is left; then calls are cut off."""
LOOK_SECONDS = 10.0
"""How often everything is looked at again without any news."""
CUT_OFF_SECONDS = 1.0
"""How long whoever was cut off may take to write that down, before the shard is given up all the same."""
AuthorityFor = Callable[[Resource, Revision], Authority | None]
"""In whose name to write about a resource, the brake being armed as of a revision; ``None``: it is not ours."""
TenantsAuthority = Callable[[], Authority | None]
"""In whose name to do what is done once per tenant; ``None``: that is not ours."""
log = structlog.get_logger()


@dataclass(slots=True)
class _Tenure:
    fence: Revision
    left_at: Instant | None = None
    """When we began to leave it; ``None``: it is ours to act for."""


class Leadership:
    """One replica's shards. ``on_change`` is called whenever they, or the belief in them, change or are renewed.

    ``seen`` is up to which revision the index knows etcd, 0: not at all. ``busy(shard)`` says whether work for it is
    under way.
    """

    def __init__(
        self,
        store: Store,
        keys: Keyspace,
        index: Index,
        clock: Clock,
        membership: Membership,
        metrics: Metrics,
        *,
        seen: Callable[[], Revision],
        busy: Callable[[int], bool],
        on_change: Callable[[], None],
    ) -> None:
        self._store, self._keys, self._index, self._clock = store, keys, index, clock
        self._membership, self._metrics = membership, metrics
        self._seen, self._busy, self._on_change = seen, busy, on_change
        self._record = ShardRecord(replica=membership.replica, since=written_now())
        self._bell = Bell(clock)
        self._lease = LeaseId(0)
        self._held: dict[int, _Tenure] = {}
        self._yielded: dict[int, Revision] = {}
        """The fence of ours under which a shard was last given up: the index may show it for a moment longer."""

    # --- what may be believed -----------------------------------------------------------------------------------

    @property
    def believed(self) -> bool:
        return self._membership.believed

    @property
    def leading(self) -> bool:
        """Whether we do what is done once per tenant."""
        return TENANTS_SHARD in self.acting()

    def fence(self, shard: int = TENANTS_SHARD) -> Revision:
        """Ours as far as we may believe, also while the shard is being left; 0 otherwise."""
        tenure = self._held.get(shard)
        return tenure.fence if tenure is not None and self.believed else Revision(0)

    def acting(self) -> dict[int, Revision]:
        """The shards for which work may begin, each with its fence."""
        return {n: tenure.fence for n, tenure in self._held.items() if tenure.left_at is None} if self.believed else {}

    def leaving(self) -> int:
        """How many shards are being left."""
        return sum(tenure.left_at is not None for tenure in self._held.values())

    def shard_of(self, resource: Resource) -> int | None:
        """``None``: nobody knows, because the number of shards cannot be read."""
        count = self._index.shard_count
        return shard_of(resource, count) if count else None

    def authority(self, resource: Resource, armed: Revision) -> Authority | None:
        """In whose name to write about a resource; ``None`` while that is not ours to do."""
        shard = self.shard_of(resource)
        fence = self.fence(shard) if shard is not None else Revision(0)
        return Authority(shard, fence, armed) if shard is not None and fence else None

    def authority_of_class(self, name: ClassName) -> Authority | None:
        """In whose name to measure the epochs of a class."""
        count = self._index.shard_count
        return self._acting_for(shard_of_class(name, count)) if count else None

    def authority_of_tenant(self) -> Authority | None:
        """In whose name to do what is done once per tenant."""
        return self._acting_for(TENANTS_SHARD)

    def cut_off(self, resource: Resource) -> Instant:
        """Until when a call about a resource may last."""
        shard = self.shard_of(resource)
        tenure = self._held.get(shard) if shard is not None else None
        if tenure is None or not self.believed:
            return Instant(0.0)
        until = self._membership.believed_until
        return until if tenure.left_at is None else min(until, Instant(tenure.left_at + LEAVING_SECONDS))

    # --- events -------------------------------------------------------------------------------------------------

    def on_membership(self) -> None:
        """The lease was renewed, lost or found anew."""
        if self._membership.lease != self._lease:
            self._lease = self._membership.lease
            self._lose(list(self._held))
        self._bell.ring()
        self._on_change()

    def on_index(self) -> None:
        """Shards, replicas or the number of shards may have changed."""
        self._notice()
        self._bell.ring()

    def on_ended(self) -> None:
        """Some work ended; perhaps it was the last of a shard that is being left."""
        if self.leaving():
            self._bell.ring()

    async def run(self) -> None:
        """Claim and leave, until cancelled."""
        while True:
            due = Instant(self._now() + LOOK_SECONDS)
            self._notice()
            if self.believed and self._seen():
                try:
                    due = min(due, await self._place() or due)
                except StoreError as error:
                    log.warning("placing_failed", error=str(error))
                    due = Instant(self._now() + self._membership.deadline)
            await self._bell.wait(due)

    async def resign(self) -> None:
        """Stopping: let the others begin at once. Whatever was under way must have ended. Best effort."""
        self._held.clear()
        await self._membership.resign()

    # --- parts --------------------------------------------------------------------------------------------------

    def _notice(self) -> None:
        """See what of ours is not there any more."""
        self._membership.on_foreign(self._index.foreign)
        self._membership.on_keys(self._membership.replica in self._index.replicas, self._seen())
        lost = [n for n, tenure in self._held.items() if self._is_lost(n, tenure.fence)]
        if lost:
            self._lose(lost)
            self._on_change()

    async def _place(self) -> Instant | None:
        """One round. Returns when the next is due at the latest."""
        cluster, count = self._index.cluster[0], self._index.shard_count
        if cluster and not count:
            return None  # it cannot be read: stay where we are, and act for nothing
        on_lease = {n: seen.fence for n, seen in self._index.shards.items() if seen.lease == self._lease}
        strays = {n: f for n, f in on_lease.items() if n not in self._held and self._yielded.get(n) != f}
        wanted = plan(
            self._membership.replica,
            count or 1,  # a tenant yet to be founded has one shard in any case
            self._index.replicas,
            taken=self._index.shards.keys() - on_lease.keys(),
            mine=self._held.keys() | strays.keys(),
        )
        self._leave(wanted.leave, strays)
        due = await self._give_up()
        free = (*wanted.claim, *(n for n in strays if n not in wanted.leave))
        if free:
            for first in range(0, len(free), MAX_BATCH):
                await self._claim(free[first : first + MAX_BATCH], cluster)
            again = Instant(self._now() + self._membership.deadline)
            due = min(due, again) if due is not None else again
        return due

    async def _claim(self, shards: tuple[int, ...], cluster: Revision) -> None:
        lease, deadline = self._lease, self._membership.deadline
        txn = claim_shards(self._keys, shards, self._record, self._membership.record, lease, cluster)
        try:
            found = _found(await self._store.commit(txn, deadline=deadline))
        except Uncertain:
            found = list((await self._store.read(self._keys.family(Family.SHARDS), deadline=deadline)).items)
        if lease != self._lease:
            return  # lost meanwhile, and everything with it
        gained = {}
        for item in found:
            key = self._keys.parse(item.key)
            if key is not None and item.lease == lease and item.value == encode(self._record):
                number = int(key.parts[0])
                if number in shards and number not in self._held:
                    gained[number] = item.create_revision
        if gained:
            self._held.update((n, _Tenure(fence)) for n, fence in gained.items())
            self._metrics.shard_moves.labels("gained").inc(len(gained))
            log.info("shards_gained", shards=sorted(gained), fences=sorted(set(gained.values())))
            self._on_change()

    def _leave(self, shards: tuple[int, ...], strays: Mapping[int, Revision]) -> None:
        leaving = []
        for n in shards:
            tenure = self._held.setdefault(n, _Tenure(strays.get(n, Revision(0))))
            if tenure.left_at is None:
                tenure.left_at = Instant(self._now())
                leaving.append(n)
        if leaving:
            log.info("shards_being_left", shards=leaving)
            self._on_change()

    async def _give_up(self) -> Instant | None:
        """Delete the keys of shards that are left and idle. Returns when those that are not will be due."""
        now, last = self._now(), LEAVING_SECONDS + CUT_OFF_SECONDS
        left = {n: tenure.left_at for n, tenure in self._held.items() if tenure.left_at is not None}
        ready = [n for n, since in left.items() if now >= since + last or not self._busy(n)][:MAX_BATCH]
        if ready:
            fences = {n: self._held[n].fence for n in ready}
            # Should this fail, or its outcome be unknown, it is repeated: until then they are neither ours nor free.
            await self._store.commit(yield_shards(self._keys, fences), deadline=self._membership.deadline)
            self._yielded.update(fences)
            for n in ready:
                self._held.pop(n, None)
            self._metrics.shard_moves.labels("left").inc(len(ready))
            log.info("shards_left", shards=sorted(ready))
            self._on_change()
            self._bell.ring()
        return min((Instant(since + last) for n, since in left.items() if n not in ready), default=None)

    def _is_lost(self, shard: int, fence: Revision) -> bool:
        seen = self._index.shards.get(shard)
        return self._seen() >= fence if seen is None else seen.fence > fence

    def _lose(self, shards: list[int]) -> None:
        for n in shards:
            del self._held[n]
        if shards:
            self._metrics.shard_moves.labels("lost").inc(len(shards))
            log.warning("shards_lost", shards=sorted(shards))

    def _acting_for(self, shard: int) -> Authority | None:
        fence = self.acting().get(shard)
        return Authority(shard, fence, Revision(0)) if fence else None

    def _now(self) -> Instant:
        return Instant(self._clock.now())


def _found(result: TxnResult) -> list[KeyValue]:
    """Every key that a claim's members returned."""
    members = [one for one in result.results if isinstance(one, TxnResult)]
    return [item for one in members for got in one.results if isinstance(got, GetResult) for item in got.items]
