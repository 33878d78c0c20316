"""An etcd, an owner and a world of each symptom's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.e2e.conftest import etcd, here
from tests.runbook.stage import Depot

__all__ = ["etcd", "here"]


@pytest.fixture
async def depot() -> AsyncIterator[Depot]:
    async with Depot() as it:
        yield it
