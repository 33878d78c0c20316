"""What several files here need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leasehold.protocol.etcd.process import EtcdProcess
from tests.fakes.etcd import FakeEtcd
from tests.integration.sidecar_world import World


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.etcd)])
async def tenant(request: pytest.FixtureRequest, real_etcd: EtcdProcess | None, tmp_path: Path) -> AsyncIterator[World]:
    """A tenant of its own, in the fake etcd and in the real one."""
    if request.param == "fake":
        async with FakeEtcd() as fake:
            it = World(fake.endpoint, tmp_path)
            yield it
            await it.client.close()
        return
    if real_etcd is None:
        pytest.skip("no etcd here")
    it = World(real_etcd.endpoint, tmp_path)
    yield it
    await it.client.close()
