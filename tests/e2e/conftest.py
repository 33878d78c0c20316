"""One real etcd per worker for the end-to-end tests; each test gets a tenant, an owner and a world of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from leasehold.protocol.etcd.binary import find_etcd
from leasehold.protocol.etcd.process import EtcdOptions, EtcdProcess, free_ports
from tests.e2e.harness import World, world
from tests.e2e.owner import Owner


def new_etcd(folder: Path) -> EtcdProcess:
    client, peer = free_ports(2)
    return EtcdProcess(find_etcd({**os.environ, "PATH": ""}), folder, EtcdOptions(client, peer))


@pytest.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[EtcdProcess]:
    """An etcd of this test's own, free to be frozen or killed."""
    process = new_etcd(tmp_path)
    await process.start()
    await process.wait_until_serving(deadline=20)
    yield process
    await process.stop()


@pytest.fixture
async def owner() -> AsyncIterator[Owner]:
    async with Owner() as it:
        yield it


@pytest.fixture
async def here(tmp_path: Path, etcd: EtcdProcess) -> AsyncIterator[World]:
    async with world(tmp_path, etcd.endpoint, f"t-{uuid4().hex[:8]}") as it:
        yield it


def free_port() -> int:
    return free_ports(1)[0]
