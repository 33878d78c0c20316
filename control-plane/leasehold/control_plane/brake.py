"""Whether collecting is allowed at all: the armed key, the pinned cluster, and the warm-up.

A tenant's first control plane founds it: pins the cluster it found and arms. An armed key that is missing later is not
put back by anybody but an operator. Being served by another cluster than the pinned one (a restore, a wrong endpoint)
stops everything, sweeps that were begun included; a past that was rewritten under us (a restored snapshot) disarms.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

import structlog

from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.warmup import ShardWarmUps, WarmUp
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.ticking import written_now
from leasehold.control_plane.vigil import Vigil
from leasehold.protocol.errors import StoreError, Unavailable
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Instant, Revision
from leasehold.protocol.ports import Clock, Store
from leasehold.protocol.records import (
    FOUNDED_SHARDS,
    PROTOCOL,
    ArmedRecord,
    Cause,
    ClusterRecord,
    TrippedRecord,
)
from leasehold.protocol.store import MemberStatus
from leasehold.protocol.transactions import found_tenant, founded, trip

log = structlog.get_logger()


class Cluster(Protocol):
    """Who serves us. The etcd client offers it."""

    async def status(self, *, deadline: float) -> Sequence[object]:
        """``MemberStatus`` of each endpoint that answers."""
        ...


class Brake:
    """One tenant's. ``check`` is called on beginning to act, ``seen`` whenever the index changed."""

    def __init__(
        self, store: Store, cluster: Cluster, keys: Keyspace, index: Index, clock: Clock, vigil: Vigil,
        metrics: Metrics, *, replica: str, deadline: float,
    ) -> None:  # fmt: skip
        self._store, self._cluster, self._keys, self._index, self._clock = store, cluster, keys, index, clock
        self.vigil, self._metrics = vigil, metrics
        self._replica, self._deadline = replica, deadline
        self._warming = False
        self.serving = ""
        self._said: str | None = None
        self._rewound = ""
        self._tripped_at = Revision(0)
        self.warm_up = WarmUp()
        self.shard_warm_ups = ShardWarmUps()

    @property
    def why_not(self) -> str:
        """What forbids condemning and preparing; empty when nothing does."""
        if not self._index.armed:
            tripped = self._index.tripped[1]
            if tripped is not None:
                return f"control/armed is missing: tripped by {tripped.who} ({tripped.cause}): {tripped.why}"
            return "control/armed is missing: nothing is condemned or prepared until an operator arms again"
        return self.distrust or self.vigil.why_not

    @property
    def distrust(self) -> str:
        """Why nothing that stands in this etcd may be acted on, not even a sweep that was begun."""
        revision, pinned = self._index.cluster
        if self._rewound:
            return self._rewound
        if self._index.foreign:
            return self._index.foreign
        if pinned is None:
            what = "cannot be read" if revision else "is missing"
            return f"control/cluster {what}: nobody knows which cluster this should be, nor into how many shards"
        if self.serving and pinned.cluster_id != self.serving:
            return f"etcd is another cluster ({self.serving}) than the one pinned ({pinned.cluster_id})"
        return ""

    def on_blind(self, reason: str) -> None:
        """A gap began: nothing is prepared until it is over, and for the warm-up after it."""
        self.warm_up.forget(reason)

    def on_rewind(self, reason: str) -> None:
        """etcd's past is another than it was. Holds written since are lost, and their holders do not know: nothing
        goes on until an operator arms again (``check`` takes the armed key away, so that every replica obeys)."""
        self._rewound, self._tripped_at = reason, Revision(0)
        self._metrics.rewinds.inc()
        self.vigil.on_rewind()

    def may_sweep(self) -> Instant | None:
        """Going on with sweeps needs no armed key, but the right cluster."""
        return None if self.distrust else Instant(float("-inf"))

    def may_condemn(self) -> Instant | None:
        """From when on; ``None``: not until something changes."""
        return None if self.why_not else Instant(float("-inf"))

    def may_prepare(self) -> Instant | None:
        """The same, but only after the warm-up. Each shard has one besides: ``opens``."""
        return None if self.why_not else self.warm_up.until

    def opens(self, shard: int) -> Instant:
        """When a shard's own warm-up is over."""
        return self.shard_warm_ups.until(shard)

    def on_shards(self, gained: Iterable[int], acting: Collection[int]) -> None:
        """Shards were gained (their warm-up begins) or lost."""
        self.shard_warm_ups.keep(acting)
        if gained := list(gained):
            now = Instant(self._clock.now())
            seconds = self.shard_warm_ups.begin(now, self._index.attendance(), gained, "the shard was gained")
            self._metrics.warm_ups.labels("shards").inc()
            log.info("warm_up", seconds=seconds, reason="shards were gained", shards=len(gained))

    def on_gap(self, reason: str) -> None:
        """Something may have been missed; what is known now counts from here."""
        seconds = self.warm_up.begin(Instant(self._clock.now()), self._index.attendance(), reason)
        self._warming = True
        self._metrics.warm_ups.labels("gap").inc()
        log.info("warm_up", seconds=seconds, reason=reason)

    def seen(self) -> None:
        """Say once when the brake changes. Before ``check`` there is nothing to say: the tenant may be new."""
        armed = self._index.armed
        if not armed or 0 < self._tripped_at < armed:
            # Taken away, or never there: the missing key is the brake from here on. Or armed again since we took it
            # away: whoever is quick does so before anybody saw it missing.
            self._rewound = ""
        if self._warming and self.warm_up.over(Instant(self._clock.now())):
            self._warming = False
            log.info("warm_up_over", reason=self.warm_up.reason)
        if not self.serving:
            return
        why = self.why_not
        if why != self._said:
            if why:
                log.error("braked", reason=why, alert=True)
            elif self._said is not None:
                by = self._index.armed_by
                log.info("armed", revision=self._index.armed, who=by.who if by else "", why=by.why if by else "")
            self._said = why

    async def check(self, *, founding: bool) -> None:
        """Learn who serves us; ``founding``: found the tenant if we are its first control plane, which is for one
        replica to do. After a rewind it also disarms, whoever we are: to stop is always allowed, and the others may
        not have noticed. Raises ``StoreError``.
        """
        members = await self._cluster.status(deadline=self._deadline)
        serving = {f"{member.cluster_id:x}" for member in members if isinstance(member, MemberStatus)}
        if len(serving) != 1:
            raise Unavailable(f"expected one cluster to answer, got {sorted(serving) or 'none'}")
        self.serving = serving.pop()
        if self._rewound and self._index.armed:
            why = TrippedRecord(self._replica, self._rewound, Cause.REWOUND, written_now())
            tripped = await self._store.commit(trip(self._keys, why), deadline=self._deadline)
            self._tripped_at = tripped.revision
            self._metrics.brake_trips.labels(Cause.REWOUND).inc()
            log.error("tripped", reason=self._rewound, alert=True)
        if self._index.cluster[0] or not founding:
            return
        since = written_now()
        txn = found_tenant(
            self._keys,
            ClusterRecord(self.serving, since, FOUNDED_SHARDS, PROTOCOL),
            ArmedRecord(self._replica, "the first control plane of this tenant", since),
        )
        if founded(await self._store.commit(txn, deadline=self._deadline)):
            log.info("tenant_founded", cluster=self.serving, shards=FOUNDED_SHARDS)

    async def keep_checking(self, *, founding: bool) -> bool:
        """``check``; whether it succeeded."""
        try:
            await self.check(founding=founding)
        except StoreError as error:
            log.warning("cluster_check_failed", error=str(error))
            return False
        return True
