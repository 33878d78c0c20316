"""What happened in a tenant, as etcd tells it, and whether it was allowed: an independent check of fences.

It knows nothing of how replicas decide. It replays the shards' keys and looks at every step of a sweep: whose fence
stands in it, and did that fence stand at that moment?
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.keyspace import Family, Keyspace, shard_of
from leasehold.protocol.names import Revision
from leasehold.protocol.records import FOUNDED_SHARDS, ShardRecord, SweepRecord, SweepState, decode
from leasehold.protocol.store import Change, Event


@dataclass
class Verdict:
    """What replaying found."""

    mistakes: list[str] = field(default_factory=list)
    sends: int = 0
    moves: int = 0
    ended: dict[int, Revision] = field(default_factory=dict)
    """When each tenure of a shard ended, by its fence (those that are over)."""
    last_use: dict[int, Revision] = field(default_factory=dict)
    """When a sweep was last written under a fence."""


class History:
    """Records every change of a tenant from the beginning."""

    def __init__(self, client: EtcdClient, keys: Keyspace) -> None:
        self._client, self._keys = client, keys
        self.events: list[Event] = []
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> History:
        start = (await self._client.read(self._keys.everything, deadline=5)).revision + 1
        self._running = asyncio.create_task(self._follow(Revision(start)))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._running is not None
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running

    async def _follow(self, start: Revision) -> None:
        async for batch in self._client.watch(self._keys.everything, start=start):
            self.events += batch.events

    async def caught_up(self) -> None:
        """Until all that stands in etcd now was recorded: a busy machine's watch comes later than what it tells."""
        last = max(
            (item.mod_revision for item in (await self._client.read(self._keys.everything, deadline=5)).items),
            default=Revision(0),
        )
        async with asyncio.timeout(30):
            while not self.events or self.events[-1].item.mod_revision < last:
                await asyncio.sleep(0.02)

    def hands(self) -> dict[int, str]:
        """Who acts for which shard now, as far as it was recorded."""
        found: dict[int, str] = {}
        for event in self.events:
            key = self._keys.parse(event.item.key)
            if key is not None and key.family is Family.SHARDS:
                found.pop(int(key.parts[0]), None)
                if event.change is Change.PUT:
                    found[int(key.parts[0])] = decode(ShardRecord, event.item.value).replica
        return found

    def judge(self) -> Verdict:
        """Replay it."""
        verdict, fences, attempts = Verdict(), dict[int, Revision](), dict[bytes, int]()
        for event in self.events:
            key, item = self._keys.parse(event.item.key), event.item
            if key is not None and key.family is Family.SHARDS:
                shard = int(key.parts[0])
                if event.change is Change.PUT:
                    verdict.moves += 1
                    if shard in fences:
                        verdict.mistakes.append(f"revision {item.mod_revision}: shard {shard} was taken twice")
                    fences[shard] = item.create_revision
                else:
                    verdict.ended[fences.pop(shard)] = item.mod_revision
            elif key is not None and key.family is Family.SWEEPS and event.change is Change.PUT:
                sweep = decode(SweepRecord, item.value)
                shard = shard_of(key.resource, FOUNDED_SHARDS)
                if sweep.state is SweepState.PREPARED or sweep.attempt > attempts.get(item.key, 0):
                    # A new step, and not a note about the last one, which names the fence of its send.
                    if sweep.fence != fences.get(shard):
                        verdict.mistakes.append(
                            f"revision {item.mod_revision}: {key.resource} ({sweep.state} {sweep.attempt}) under fence "
                            f"{sweep.fence}, while shard {shard} had {fences.get(shard)}"
                        )
                    verdict.last_use[sweep.fence] = item.mod_revision
                if sweep.attempt not in {attempts.get(item.key, 0), attempts.get(item.key, 0) + 1}:
                    verdict.mistakes.append(f"revision {item.mod_revision}: attempt {sweep.attempt} out of order")
                verdict.sends += sweep.attempt > attempts.get(item.key, 0)
                attempts[item.key] = sweep.attempt
            elif key is not None and key.family is Family.SWEEPS:
                attempts.pop(item.key, None)
        return verdict
