"""Owners of other people's making, and one on aiohttp that does everything HTTP/1.1 can do. All on 127.0.0.1."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from leasehold.protocol.etcd.process import free_ports
from tests.fakes.relay import SOON
from tests.integration.clients.errands import LARGE
from tests.integration.clients.relaying import program

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; user root;
events {{ worker_connections 512; }}
http {{
  access_log off; default_type text/plain; gzip on; gzip_min_length 1; client_max_body_size 10m;
  client_body_temp_path {folder}/tmp; proxy_temp_path {folder}/tmp; fastcgi_temp_path {folder}/tmp;
  uwsgi_temp_path {folder}/tmp; scgi_temp_path {folder}/tmp;
  server {{
    listen 127.0.0.1:{port}{protocol}; root {folder}/files;
    location = /v1/blobs {{ default_type application/json; return 201 '{{"id": "blob-1"}}'; }}
  }}
}}
"""


def files(folder: Path) -> Path:
    """What an owner of files has."""
    root = folder / "files"
    (root / "v1" / "blobs").mkdir(parents=True)
    (root / "small").write_bytes(b"small " * 20)
    (root / "large").write_bytes(bytes(range(250)) * (LARGE // 250))
    (root / "v1" / "blobs" / "b-1").write_bytes(b"blob")
    return root


@contextlib.asynccontextmanager
async def serving(port: int, *command: str) -> AsyncIterator[int]:
    """A program that listens on ``port``; killed afterwards."""
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet, stdin=quiet)
    try:
        async with asyncio.timeout(SOON):
            while True:
                assert process.returncode is None, f"{command[0]} has ended with {process.returncode}"
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.01)
                else:
                    writer.close()
                    break
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def nginx(folder: Path, *, http2: bool = False) -> AsyncIterator[int]:
    binary = program("nginx", "nginx-light")
    [port] = free_ports(1)
    files(folder)
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, protocol=" http2" if http2 else ""))
    async with serving(port, binary, "-c", str(config), "-p", str(folder), "-e", str(folder / "error.log")) as port:
        yield port


@contextlib.asynccontextmanager
async def nghttpd(folder: Path) -> AsyncIterator[int]:
    binary = program("nghttpd", "nghttp2-server")
    [port] = free_ports(1)
    root = str(files(folder))
    async with serving(port, binary, "--no-tls", "-a", "127.0.0.1", "-d", root, str(port)) as port:
        yield port


@contextlib.asynccontextmanager
async def nghttpx(folder: Path) -> AsyncIterator[int]:
    """In front of nginx: the one that takes ``Upgrade: h2c``."""
    binary = program("nghttpx", "nghttp2-proxy")
    async with nginx(folder) as behind:
        [port] = free_ports(1)
        ways = (f"--frontend=127.0.0.1,{port};no-tls", f"--backend=127.0.0.1,{behind}")
        config = folder / "nghttpx.conf"
        config.write_text("")
        async with serving(port, binary, f"--conf={config}", "--workers=1", "--single-process", *ways) as port:
            yield port


class Everything:
    """An aiohttp application. ``made`` are the ids it gave out."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.made: list[str] = []
        self.blobs: dict[str, bytes] = {}

    async def small(self, _: web.Request) -> web.Response:
        return web.Response(text="small " * 20)

    async def large(self, _: web.Request) -> web.Response:
        return web.Response(body=bytes(range(250)) * (LARGE // 250))

    async def packed(self, _: web.Request) -> web.Response:
        answer = web.json_response({"id": "packed" * 100})
        answer.enable_compression(web.ContentCoding.gzip)
        return answer

    async def chunks(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        if request.version >= (1, 1):
            answer.enable_chunked_encoding()
        await answer.prepare(request)
        for n in range(12):
            await answer.write(b"%d\r\n\r\n" % n * (n + 1))
        await answer.write_eof()
        return answer

    async def moved(self, _: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/small"})

    async def unmodified(self, _: web.Request) -> web.Response:
        return web.Response(status=304, headers={"ETag": '"1"'})

    async def hinted(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        if request.version >= (1, 1):
            request.transport.write(b"HTTP/1.1 103 Early Hints\r\nLink: </small>; rel=preload\r\n\r\n")
        return web.Response(text="hinted")

    async def echo(self, request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def until_close(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\n" + b"until the close " * 20)
        request.transport.close()
        return web.Response()

    async def make(self, request: web.Request) -> web.Response:
        await request.read()
        self.made.append(f"blob-{next(self.numbers)}")
        return web.json_response({"id": self.made[-1]}, status=201)

    async def put(self, request: web.Request) -> web.Response:
        self.blobs[request.match_info["id"]] = await request.read()
        return web.Response(status=201)

    async def get(self, request: web.Request) -> web.Response:
        return web.Response(body=self.blobs[request.match_info["id"]])

    async def delete(self, request: web.Request) -> web.Response:
        del self.blobs[request.match_info["id"]]
        return web.Response(status=204)


@contextlib.asynccontextmanager
async def everything() -> AsyncIterator[tuple[int, Everything]]:
    owner = Everything()
    app = web.Application(client_max_size=10 * LARGE)
    for path in ("small", "large", "packed", "chunks", "moved", "unmodified", "hinted", "until_close"):
        app.router.add_get("/" + path.replace("_", "-"), getattr(owner, path))
    app.router.add_post("/echo", owner.echo)
    app.router.add_post("/v1/blobs", owner.make)
    app.router.add_put("/v1/blobs/{id}", owner.put)
    app.router.add_get("/v1/blobs/{id}", owner.get)
    app.router.add_delete("/v1/blobs/{id}", owner.delete)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1], owner
    finally:
        await runner.cleanup()
