"""What the scenarios share: a stage (a fake etcd, a clock that stands still), and a house in a real etcd."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leasehold.protocol.etcd.process import EtcdProcess
from tests.scenarios.house import House, house_at
from tests.unit.control_plane.conftest import stage

__all__ = ["stage"]


@pytest.fixture
async def house(real_etcd: EtcdProcess | None, tmp_path: Path) -> AsyncIterator[House]:
    """An owner, a control plane's and sidecars' places, in the real etcd of the session."""
    if real_etcd is None:
        pytest.skip("no etcd here")
    async with house_at([real_etcd.endpoint], tmp_path) as it:
        yield it
