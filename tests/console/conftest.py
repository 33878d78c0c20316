"""A control plane with the operator API before a real etcd, and a browser before it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from leasehold.protocol.etcd.process import EtcdProcess
from tests.console.browser import Screen, browsing, screen
from tests.integration.operator_world import Face, facing
from tests.unit.control_plane.world import World, rules, world


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with browsing() as it:
        yield it


@pytest.fixture
async def here(real_etcd: EtcdProcess | None) -> AsyncIterator[World]:
    if real_etcd is None:
        pytest.skip("no etcd here")
    async with world(real_etcd.endpoint) as it:
        yield it


@pytest.fixture
async def face(here: World, tmp_path: Path) -> AsyncIterator[Face]:
    """Everybody needs a token; grace is an hour."""
    async with facing(here, rules(here.owner, grace="3600s"), tmp_path) as it:
        yield it


@pytest.fixture
async def ada(browser: Browser, face: Face) -> AsyncIterator[Screen]:
    """An admin's tab."""
    async with screen(browser, base(face), token="ada-token") as it:
        yield it


def base(face: Face) -> str:
    return face.url.removesuffix("/v1/operator")
