"""One suite, two stores: every test here runs against the fake and against a real etcd."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.process import EtcdProcess
from tests.fakes.etcd import FakeEtcd


@pytest.fixture(params=["fake", pytest.param("etcd", marks=pytest.mark.etcd)])
async def endpoint(request: pytest.FixtureRequest, real_etcd: EtcdProcess | None) -> AsyncIterator[str]:
    if request.param == "fake":
        async with FakeEtcd() as fake:
            yield fake.endpoint
    elif real_etcd is None:
        pytest.skip("no etcd here")
    else:
        yield real_etcd.endpoint


@pytest.fixture
async def etcd(endpoint: str) -> AsyncIterator[EtcdClient]:
    async with EtcdClient(EtcdConfig(endpoints=[endpoint])) as client:
        yield client


@pytest.fixture
async def fake() -> AsyncIterator[FakeEtcd]:
    async with FakeEtcd() as fake:
        yield fake


@pytest.fixture
async def faked(fake: FakeEtcd) -> AsyncIterator[EtcdClient]:
    """A client of ``fake``."""
    async with EtcdClient(fake.config) as client:
        yield client


@pytest.fixture
def prefix() -> bytes:
    """A prefix nobody else writes below."""
    return f"/contract/{uuid.uuid4().hex}/".encode()
