"""etcd's own tools, as an operator uses them, and the members of a cluster as the scenarios hurt them."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from leasehold.protocol.etcd.binary import find_etcd
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.store import MemberStatus

PATIENCE_SECONDS = 30.0


def tool(name: str) -> str:
    """``etcdctl`` or ``etcdutl``: beside the etcd in use, or on the path."""
    beside = Path(find_etcd().path).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


async def run(name: str, *arguments: str) -> str:
    """Its output. A tool that fails, or does not end, fails the test."""
    process = await asyncio.create_subprocess_exec(
        tool(name), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, output.decode()
    return output.decode()


async def restore(server: EtcdProcess, snapshot: Path, folder: Path) -> None:
    """Stop the member, put the snapshot in the place of its data, start it again."""
    options = server.options
    await server.stop()
    shutil.rmtree(folder / options.name)
    peer = f"http://127.0.0.1:{options.peer_port}"
    await run(
        "etcdutl", "snapshot", "restore", str(snapshot), "--data-dir", str(folder / options.name),
        "--name", options.name, "--initial-cluster", f"{options.name}={peer}", "--initial-advertise-peer-urls", peer,
    )  # fmt: skip
    await server.start()
    await server.wait_until_serving(deadline=PATIENCE_SECONDS)


async def leader_of(etcd: EtcdClient, members: list[EtcdProcess]) -> EtcdProcess:
    statuses = [status for status in await etcd.status() if isinstance(status, MemberStatus)]
    [endpoint] = [status.endpoint for status in statuses if status.member_id == status.leader_id]
    return next(member for member in members if member.endpoint == endpoint)
