"""Real clients against real owners: what each client is told is the same with the relay in between, and what it
created is registered."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import uvloop

from tests.integration.clients import owners
from tests.integration.clients.apps import HTTP1, HTTP2, UPGRADING, App
from tests.integration.clients.errands import (
    CREATED,
    CREATED_AT_ONCE,
    FILES,
    FILES_SEEN,
    WHOLE,
    WHOLE_SEEN,
    Answer,
    Errand,
)
from tests.integration.clients.relaying import program, relay_to
from tests.integration.sidecar_world import eventually

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy:DeprecationWarning")


@pytest.fixture
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy()


def by(apps: Mapping[str, App]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("app", apps.values(), ids=list(apps))


@by(HTTP1)
async def test_every_kind_of_answer_is_told_alike_and_what_was_created_is_registered(app: App) -> None:
    async with owners.everything() as (port, _):
        direct = await app(f"http://127.0.0.1:{port}", WHOLE)
    async with owners.everything() as (port, owner), relay_to(port) as relayed:
        assert await app(relayed.base, WHOLE) == direct
        assert relayed.seen == WHOLE_SEEN
        assert [rule for rule, _, _, _, _ in relayed.registrar.intents] == ["put"]
        assert owner.made == ["blob-1", "blob-2"]
    assert not [what for what in relayed.metrics.counts if what.startswith(("gave-up", "uninspected", "unusable"))]


@by(HTTP1)
async def test_nginx_is_told_alike(app: App, tmp_path: Path) -> None:
    async with owners.nginx(tmp_path) as port:
        await is_told_alike(app, port, [*FILES, CREATED], [*FILES_SEEN, ("post", "blob-1")])


@by(HTTP2)
async def test_nginx_over_http2_is_told_alike(app: App, tmp_path: Path) -> None:
    async with owners.nginx(tmp_path, http2=True) as port:
        await is_told_alike(app, port, [*FILES, CREATED_AT_ONCE], [*FILES_SEEN, ("post", "blob-1")])


@by(HTTP2)
async def test_nghttpd_is_told_alike(app: App, tmp_path: Path) -> None:
    async with owners.nghttpd(tmp_path) as port:
        await is_told_alike(app, port, FILES, FILES_SEEN)


@by(HTTP1 | HTTP2 | UPGRADING)
async def test_nghttpx_is_told_alike_however_http2_begins(app: App, tmp_path: Path) -> None:
    async with owners.nghttpx(tmp_path) as port:
        answers = await is_told_alike(app, port, [*FILES, CREATED], [*FILES_SEEN, ("post", "blob-1")])
    assert ("2" in {answer.version for answer in answers}) is (app not in HTTP1.values())


async def is_told_alike(app: App, port: int, errands: list[Errand], seen: list[tuple[str, str]]) -> list[Answer]:
    direct = await app(f"http://127.0.0.1:{port}", errands)
    async with relay_to(port) as relayed:
        answers = await app(relayed.base, errands)
        assert answers == direct
        assert relayed.seen == seen
    assert not [what for what in relayed.metrics.counts if what.startswith(("gave-up", "uninspected", "unusable"))]
    return answers


async def test_of_a_flood_of_creations_by_wrk_every_one_is_registered(tmp_path: Path) -> None:
    script = tmp_path / "post.lua"
    script.write_text('wrk.method = "POST"\nwrk.body = "{}"\nwrk.headers["Content-Type"] = "application/json"\n')
    async with owners.everything() as (port, owner), relay_to(port) as relayed:
        wrk = await asyncio.create_subprocess_exec(
            program("wrk", "wrk"), "-t1", "-c32", "-d1s", "-s", str(script), f"{relayed.base}/v1/blobs",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        report = (await wrk.communicate())[0].decode()
        assert re.search(r"(\d+) requests in", report), report
        assert "Socket errors" not in report
        assert "Non-2xx" not in report
        await eventually("all registered", lambda: len(relayed.seen) == len(owner.made))
        assert sorted(relayed.seen) == sorted(("post", name) for name in owner.made)
        assert len(owner.made) > 32
