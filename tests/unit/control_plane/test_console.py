"""The console's files are served as they are, and nothing else is; what may load and run is said with each."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from zipfile import ZipFile

import pytest
from aiohttp import ClientSession, web
from hatchling.builders.wheel import WheelBuilder

from leasehold.control_plane.console.serving import HEADERS, POLICY, console_routes, static_files

ROOT = Path(__file__).parents[3]
STATIC = ROOT / "control-plane/leasehold/control_plane/console/static"


@pytest.fixture
async def base() -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes(console_routes(static_files()))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_each_file_has_its_type_and_every_answer_the_policy(base: str) -> None:
    types = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    async with ClientSession() as http:
        for path in static_files():
            async with http.get(f"{base}/console/{path}") as answer:
                assert answer.status == 200
                assert answer.content_type == types[Path(path).suffix], path
                assert await answer.read() == (STATIC / path).read_bytes()
                assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        async with http.get(f"{base}/console/nothing.js") as answer:
            assert answer.status == 404
            assert answer.headers["Content-Security-Policy"] == POLICY


async def test_what_did_not_change_is_not_sent_again(base: str) -> None:
    async with ClientSession() as http:
        async with http.get(f"{base}/console/app.js") as answer:
            etag = answer.headers["ETag"]
        async with http.get(f"{base}/console/app.js", headers={"If-None-Match": etag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
        async with http.get(f"{base}/console/app.js", headers={"If-None-Match": '"older"'}) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("path", ["..%2Fserving.py", "../serving.py", "%2e%2e/serving.py", "views", "views/", ".."])
async def test_nothing_beside_the_files_is_served(base: str, path: str) -> None:
    async with ClientSession() as http, http.get(f"{base}/console/{path}", allow_redirects=False) as answer:
        assert answer.status in {307, 404}
        assert b"import" not in await answer.read()


async def test_the_root_points_to_the_console_wherever_it_is_mounted(base: str) -> None:
    async with ClientSession() as http:
        for path in ("/", "/console"):
            async with http.get(f"{base}{path}", allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (307, "console/")


async def test_nothing_is_written_to(base: str) -> None:
    async with ClientSession() as http, http.post(f"{base}/console/app.js") as answer:
        assert answer.status == 405


def test_the_page_loads_nothing_from_elsewhere_and_has_nothing_inline() -> None:
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page)
    for file in STATIC.rglob("*.*"):
        for address in re.findall(r"https?://[^\s\"'`)]+", file.read_text()):
            assert address == "http://www.w3.org/2000/svg", f"{file.name}: {address}"


def test_no_script_makes_markup_of_text_or_code_of_it() -> None:
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|DOMParser|\.style\b"
    )
    for script in STATIC.rglob("*.js"):
        assert not forbidden.search(script.read_text()), script.name


def test_the_wheel_has_every_file_of_the_console(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    packed = {name for name in ZipFile(wheel).namelist() if "/console/static/" in name}
    prefix = "leasehold/control_plane/console/static/"
    assert packed == {f"{prefix}{path}" for path in static_files()}
