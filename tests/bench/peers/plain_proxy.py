"""The reverse proxy one would write with aiohttp in an afternoon: the baseline in our own language."""

from __future__ import annotations

import sys

import aiohttp
import uvloop
from aiohttp import web


def main(port: int, to: str) -> None:
    uvloop.install()

    async def forward(request: web.Request) -> web.StreamResponse:
        url = f"http://{to}{request.raw_path}"
        data = await request.read() if request.can_read_body else None
        async with request.app["client"].request(request.method, url, headers=request.headers, data=data) as answer:
            body = await answer.read()
            return web.Response(status=answer.status, body=body, content_type=answer.content_type)

    async def client(app: web.Application):  # type: ignore[no-untyped-def]
        app["client"] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=512), auto_decompress=False)
        yield
        await app["client"].close()

    app = web.Application(client_max_size=1 << 30)
    app.cleanup_ctx.append(client)
    app.router.add_route("*", "/{rest:.*}", forward)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


main(int(sys.argv[1]), sys.argv[2])
