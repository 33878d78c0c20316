"""Real etcd for tests: one shared member per test session, and clusters of one's own for tests that hurt them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from leasehold.protocol.etcd import rpc_pb2 as rpc
from leasehold.protocol.etcd.binary import EtcdNotFound, find_etcd
from leasehold.protocol.etcd.config import TlsConfig
from leasehold.protocol.etcd.process import EtcdOptions, EtcdProcess, free_ports
from leasehold.protocol.etcd.rpc_grpc import AuthStub

START_SECONDS = 20.0


@asynccontextmanager
async def running_etcd(
    folder: Path,
    *,
    members: int = 1,
    server_tls: TlsConfig | None = None,
    client_tls: TlsConfig | None = None,
    extra: Sequence[str] = (),
) -> AsyncIterator[list[EtcdProcess]]:
    """A cluster that serves; whatever the test does to it, nothing of it is left afterwards."""
    binary = find_etcd()
    ports = free_ports(2 * members)
    names = {f"m{number}": ports[members + number] for number in range(members)}
    processes = [
        EtcdProcess(binary, folder, EtcdOptions(ports[number], peer, name, names, server_tls, extra))
        for number, (name, peer) in enumerate(names.items())
    ]
    try:
        await asyncio.gather(*(process.start() for process in processes))
        waits = (process.wait_until_serving(deadline=START_SECONDS, client_tls=client_tls) for process in processes)
        await asyncio.gather(*waits)
        yield processes
    finally:
        await asyncio.gather(*(process.stop() for process in processes))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def real_etcd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EtcdProcess | None]:
    """One member for the whole session, ``None`` where there is no etcd. Write below a prefix of your own."""
    try:
        find_etcd()
    except EtcdNotFound:
        yield None
        return
    async with running_etcd(tmp_path_factory.mktemp("etcd")) as [process]:
        yield process


async def freeze(process: EtcdProcess) -> None:
    """Stop it as a debugger would, and return when every thread of it stands still."""
    process.signal(signal.SIGSTOP)
    threads = Path(f"/proc/{process.pid}/task")
    while any(thread.read_text().rpartition(") ")[2][0] != "T" for thread in threads.glob("*/stat")):
        await asyncio.sleep(0.01)


async def enable_authentication(stub: AuthStub, *, user: str, password: str, prefix: bytes) -> None:
    """A root user with ``password``, and ``user`` with the same, who may read and write below ``prefix`` only."""
    await stub.UserAdd(rpc.AuthUserAddRequest(name="root", password=password))
    await stub.UserGrantRole(rpc.AuthUserGrantRoleRequest(user="root", role="root"))
    await stub.UserAdd(rpc.AuthUserAddRequest(name=user, password=password))
    await stub.RoleAdd(rpc.AuthRoleAddRequest(name="below"))
    permission = rpc.Permission(permType=rpc.Permission.READWRITE, key=prefix, range_end=prefix[:-1] + b"0")
    await stub.RoleGrantPermission(rpc.AuthRoleGrantPermissionRequest(name="below", perm=permission))
    await stub.UserGrantRole(rpc.AuthUserGrantRoleRequest(user=user, role="below"))
    await stub.AuthEnable(rpc.AuthEnableRequest())
