"""What one unary call to etcd costs this process: grpclib beside our own connection, on one real etcd.

``python -m tests.bench.unary [--count N] [--rounds N]``. A call is a transaction of one put, awaited; so many callers
are under way at once. Both sides take turns, round by round, and the best round of each counts: on a busy machine the
others measure the neighbours. CPU is user and system time of this process alone, on uvloop, as in production.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop
from grpclib.client import Channel

from leasehold.protocol.etcd import rpc_pb2 as rpc
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.key_value import fill_txn
from leasehold.protocol.etcd.rpc_grpc import KVStub
from leasehold.protocol.store import Put, Txn
from tests.etcd_process import running_etcd

DEADLINE = 10.0
ONE_PUT = Txn((), (Put(b"/bench/unary", b"v" * 100),))

Act = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, order=True)
class Cost:
    """Microseconds per call."""

    cpu: float
    user: float
    system: float
    wall: float

    def __str__(self) -> str:
        return f"{self.cpu:6.1f} us CPU ({self.user:.0f} user, {self.system:.0f} system), {self.wall:6.1f} us wall"


async def measured(act: Act, count: int, parallel: int) -> Cost:
    async def caller() -> None:
        for _ in range(count // parallel):
            await act()

    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(parallel)))
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return Cost(*(seconds / count * 1e6 for seconds in (user + system, user, system, wall)))


async def compare(count: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="leasehold-bench-") as folder:
        async with running_etcd(Path(folder)) as [etcd]:
            host, _, port = etcd.endpoint.removeprefix("http://").rpartition(":")
            async with Channel(host, int(port)) as channel, EtcdClient(EtcdConfig([etcd.endpoint])) as client:
                stub = KVStub(channel)

                async def grpclib() -> None:
                    request = rpc.TxnRequest()
                    fill_txn(request, ONE_PUT)
                    await stub.Txn(request, timeout=DEADLINE, metadata={"hasleader": "true"})

                async def ours() -> None:
                    await client.commit(ONE_PUT, deadline=DEADLINE)

                for act in (grpclib, ours):
                    await measured(act, 200, 4)
                for parallel in (1, 3, 16):
                    turns = [(await measured(grpclib, count, parallel), await measured(ours, count, parallel))
                             for _ in range(rounds)]  # fmt: skip
                    theirs, mine = (min(costs) for costs in zip(*turns, strict=True))
                    print(f"{parallel:2} at once: grpclib {theirs}\n            ours    {mine}")
                    print(f"            ratio   {theirs.cpu / mine.cpu:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=960, help="calls per round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    uvloop.run(compare(options.count, options.rounds))


if __name__ == "__main__":
    main()
