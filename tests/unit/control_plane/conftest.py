"""What the tests of the control plane share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from leasehold.control_plane import observe
from leasehold.protocol.etcd.client import EtcdClient
from tests.fakes.etcd import FakeEtcd
from tests.unit.control_plane.stage import Stage
from tests.unit.control_plane.world import Owner


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    # The watch reports its progress in real time, which the standing clock outruns.
    monkeypatch.setattr(observe, "SILENCE_SECONDS", float("inf"))
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(FakeEtcd())
        owner = await stack.enter_async_context(Owner())
        client = await stack.enter_async_context(EtcdClient(fake.config))
        yield Stage(fake, stack, client, owner)
