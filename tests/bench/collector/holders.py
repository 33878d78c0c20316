"""The holders, all in one process of their own: ``python -m tests.bench.collector.holders '<population as JSON>' URL``.

Each has a lease, a beacon and a roster entry, attached by the product's own transaction, and renews at a third of its
TTL; the renewals are spread evenly. Commands are lines on stdin, answers lines of JSON on stdout: ``retire N`` reports
the end of the next N holders (those that were attached last); ``told`` hands out every renewal since the last time, as
when it was sent (monotonic seconds) and how long it took (-1: the lease is gone).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import msgspec
import uvloop

from leasehold.protocol import transactions as tx
from leasehold.protocol.errors import LeaseNotFound, StoreError
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.names import LeaseId
from leasehold.protocol.records import Ending
from tests.bench.collector.population import Population

AT_ONCE = 200
DEADLINE = 30.0
LOST = -1.0


class Holders:
    """All of them, and their renewals."""

    def __init__(self, client: EtcdClient, population: Population) -> None:
        self._client, self._population, self._keys = client, population, population.keys
        self._leases: dict[int, LeaseId] = {}
        self._told: list[tuple[float, float]] = []

    async def attach(self) -> None:
        room = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._attach(number, room) for number in range(self._population.holders)))

    async def _attach(self, number: int, room: asyncio.Semaphore) -> None:
        people, client = self._population, self._client
        async with room:
            lease = (await client.grant(people.ttl_seconds, deadline=DEADLINE)).lease
            txn = tx.attach(self._keys, people.holder(number), people.boot(number), lease, people.roster(number))
            assert tx.attached(await client.commit(txn, deadline=DEADLINE))
            self._leases[number] = lease

    async def retire(self, count: int) -> int:
        """How many resources have lost their holder by it."""
        leaving = sorted(self._leases, reverse=True)[:count]
        room = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._retire(number, room) for number in leaving))
        return sum(map(self._population.held_by, leaving))

    async def _retire(self, number: int, room: asyncio.Semaphore) -> None:
        people = self._population
        self._leases.pop(number)
        async with room:
            ended = people.roster(number, Ending.EXITED)
            txn = tx.retire(self._keys, people.holder(number), people.boot(number), ended)
            await self._client.commit(txn, deadline=DEADLINE)

    def take_told(self) -> list[tuple[float, float]]:
        told, self._told = self._told, []
        return told

    async def keep_alive(self) -> None:
        """For ever: every holder once per third of its TTL, one after the other."""
        async with asyncio.TaskGroup() as renewals:
            began, count = time.monotonic(), 0
            while True:
                each = self._population.ttl_seconds / 3 / self._population.holders
                due = int((time.monotonic() - began) / each)
                for number in range(count, due):
                    lease = self._leases.get(number % self._population.holders)
                    if lease is not None:
                        renewals.create_task(self._renew(lease))
                count = max(count, due)
                await asyncio.sleep(0.005)

    async def _renew(self, lease: LeaseId) -> None:
        sent = time.monotonic()
        try:
            await self._client.keep_alive(lease, deadline=self._population.ttl_seconds / 3)
            self._told.append((sent, time.monotonic() - sent))
        except LeaseNotFound:
            if lease in self._leases.values():  # else it ended as it was told to
                self._told.append((sent, LOST))
        except StoreError:
            self._told.append((sent, time.monotonic() - sent))  # missed its deadline: as late as that


async def live(population: Population, endpoint: str) -> None:
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    async with EtcdClient(EtcdConfig([endpoint], deadline_seconds=DEADLINE)) as client:
        holders = Holders(client, population)
        await holders.attach()
        renewing = asyncio.create_task(holders.keep_alive())
        say(population.holders)
        while command := (await commands.readline()).decode().split():
            say(await holders.retire(int(command[1])) if command[0] == "retire" else holders.take_told())
        renewing.cancel()
        await asyncio.wait([renewing])


def say(answer: object) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(live(msgspec.json.decode(sys.argv[1], type=Population), sys.argv[2]))
