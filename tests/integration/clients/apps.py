"""Unmodified clients: each runs errands in its own way, on connections that it keeps, and tells what it got."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import aiohttp
import httpx
import requests

from tests.fakes.relay import SOON
from tests.integration.clients.errands import Answer, Errand
from tests.integration.clients.relaying import program

App = Callable[[str, Sequence[Errand]], Awaitable[list[Answer]]]


def curl(*flags: str, apart: bool = False) -> App:
    """One process for all errands; ``apart``: one for each, because curl 7.88 fails when it uses a connection of
    prior-knowledge HTTP/2 for a second URL."""

    async def run(base: str, errands: Sequence[Errand]) -> list[Answer]:
        if apart:
            return [answer for errand in errands for answer in await _curl(flags, base, [errand])]
        return await _curl(flags, base, errands)

    return run


async def _curl(flags: Sequence[str], base: str, errands: Sequence[Errand]) -> list[Answer]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command: list[str] = []
        for n, errand in enumerate(errands):
            (folder / f"{n}.sent").write_bytes(errand.body)
            command += ["--next"] if n else []
            command += [*flags, "-sS", "--max-time", str(SOON), "-D", f"{n}.head", "-o", f"{n}.body"]
            command += ["--head"] if errand.method == "HEAD" else ["-X", errand.method]
            command += [part for name, value in errand.headers.items() for part in ("-H", f"{name}: {value}")]
            command += ["--data-binary", f"@{n}.sent"] if errand.body else []
            command += ["-w", "%{http_version}\n", base + errand.path]
        process = await asyncio.create_subprocess_exec(
            program("curl", "curl"),
            *command,
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, wrong = await process.communicate()
        assert process.returncode == 0, wrong.decode()
        versions = said.decode().split()
        return [_told(folder, n, versions[n], errands[n].method) for n in range(len(errands))]


def _told(folder: Path, n: int, version: str, method: str) -> Answer:
    heads = (folder / f"{n}.head").read_text("latin-1").strip().split("\r\n\r\n")
    line, *fields = heads[-1].split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (field.partition(":") for field in fields)]
    interim = [("interim", head.split("\r\n")[0].strip()) for head in heads[:-1]]
    body = folder / f"{n}.body"
    got = body.read_bytes() if method != "HEAD" and body.exists() else b""
    return Answer.of(version, int(line.split()[1]), headers + interim, got)


async def by_aiohttp(base: str, errands: Sequence[Errand]) -> list[Answer]:
    answers = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(SOON)) as session:
        for errand in errands:
            async with session.request(
                errand.method, base + errand.path, data=errand.body or None, headers=errand.headers,
                allow_redirects=False, expect100=len(errand.body) > 1000,
            ) as got:  # fmt: skip
                assert got.version is not None
                version = f"{got.version.major}.{got.version.minor}"
                answers.append(Answer.of(version, got.status, got.headers.items(), await got.read()))
    return answers


def by_httpx(*, http2: bool) -> App:
    async def run(base: str, errands: Sequence[Errand]) -> list[Answer]:
        answers = []
        async with httpx.AsyncClient(http1=not http2, http2=http2, timeout=SOON, trust_env=False) as client:
            for errand in errands:
                got = await client.request(
                    errand.method, base + errand.path, content=errand.body or None, headers=errand.headers
                )
                version = got.http_version.removeprefix("HTTP/")
                answers.append(Answer.of(version, got.status_code, got.headers.multi_items(), got.content))
        return answers

    return run


async def by_requests(base: str, errands: Sequence[Errand]) -> list[Answer]:
    def run() -> list[Answer]:
        answers = []
        with requests.Session() as session:
            session.trust_env = False
            for errand in errands:
                got = session.request(
                    errand.method, base + errand.path, data=errand.body or None, headers=errand.headers,
                    timeout=SOON, allow_redirects=False,
                )  # fmt: skip
                version = f"{got.raw.version // 10}.{got.raw.version % 10}"
                answers.append(Answer.of(version, got.status_code, got.raw.headers.items(), got.content))
        return answers

    return await asyncio.to_thread(run)


HTTP1: dict[str, App] = {
    "curl": curl("--http1.1"),
    "curl 1.0": curl("--http1.0"),
    "aiohttp": by_aiohttp,
    "httpx": by_httpx(http2=False),
    "requests": by_requests,
}
HTTP2: dict[str, App] = {
    "curl h2": curl("--http2-prior-knowledge", apart=True),
    "httpx h2": by_httpx(http2=True),
}
UPGRADING: dict[str, App] = {"curl upgrade": curl("--http2")}
