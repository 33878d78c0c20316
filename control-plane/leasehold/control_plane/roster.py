"""Strikes long-gone holders off the roster: a slow round, now and then.

Every process leaves a roster entry behind. As long as it holds anything the entry is evidence; afterwards it is one key
per process for ever, and one that vanished without a word makes every warm-up wait for it. Laws:

- Struck is only who has no beacon, no intents and, as far as the index knows, no hold at all, not even a released one:
  a hold without a roster entry would be kept for ever.
- This leader has seen it so, and the entry unchanged, for ``GONE_SECONDS`` on its own clock. By then a hold that the
  watch had missed would have been found; and a new one needs a new attach, which rewrites the entry.
- Only while preparing is allowed, too: not during a warm-up or a gap, when holders may look gone who are not.
- One replica does it for the whole tenant, under the fence of the tenant's shard.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from leasehold.control_plane.core.facts import HolderEntry
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.leadership import TenantsAuthority
from leasehold.control_plane.metrics import Metrics
from leasehold.protocol import transactions
from leasehold.protocol.errors import StoreError
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Holder, Instant, Revision
from leasehold.protocol.ports import Clock, Store
from leasehold.protocol.transactions import Authority, committed

GONE_SECONDS = 600.0
ROUND_SECONDS = 60.0
STRUCK_A_ROUND = 200
log = structlog.get_logger()


class Roster:
    """The roster's keeper. ``opens`` says from when on preparing is allowed; ``None``: it is not."""

    def __init__(
        self,
        store: Store,
        keys: Keyspace,
        index: Index,
        clock: Clock,
        authority: TenantsAuthority,
        metrics: Metrics,
        *,
        deadline: float,
        opens: Callable[[], Instant | None],
    ) -> None:
        self._store, self._keys, self._index, self._clock = store, keys, index, clock
        self._authority, self._metrics, self._deadline, self._opens = authority, metrics, deadline, opens
        self._fence = Revision(0)
        self._gone: dict[Holder, tuple[Revision, Instant]] = {}
        """The roster revision of each holder that is gone, and since when this leader sees it so."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep_until(self._clock.now() + ROUND_SECONDS)
            opens, by = self._opens(), self._authority()
            if by is None or opens is None or opens > self._now():
                self._gone = {}  # what was seen before counts no more
                continue
            try:
                await self._round(by)
            except StoreError as error:
                log.warning("strike_failed", error=str(error))

    async def _round(self, by: Authority) -> None:
        self._look(by.fence)
        due = [holder for holder, (_, since) in self._gone.items() if self._now() - since >= GONE_SECONDS]
        for holder in due[:STRUCK_A_ROUND]:
            seen, _ = self._gone.pop(holder)  # refused (it has intents, or is back): its time begins anew
            found = self._index.holder(holder)
            if found is None or not _is_gone(found) or found.roster != seen:
                continue
            txn = transactions.strike(self._keys, by, holder, seen)
            if committed(await self._store.commit(txn, deadline=self._deadline)):
                self._metrics.struck.inc()
                log.info("struck", holder=holder, roster=seen, ended=found.ended, fence=by.fence)

    def _look(self, fence: Revision) -> None:
        """Note who is gone, and since when; what an earlier leadership saw does not count."""
        known = self._gone if fence == self._fence else {}
        self._fence, now = fence, self._now()
        gone = ((holder, found.roster) for holder, found in self._index.holders() if _is_gone(found))
        self._gone = {
            holder: known[holder] if holder in known and known[holder][0] == roster else (roster, now)
            for holder, roster in gone
        }

    def _now(self) -> Instant:
        return Instant(self._clock.now())


def _is_gone(found: HolderEntry) -> bool:
    # An entry that cannot be read is kept: nobody knows whose it is.
    return bool(found.roster) and found.readable and not found.beacon and not found.resources
