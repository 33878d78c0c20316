"""A receiver of CloudEvents by HTTP: keeps what it confirmed, in its order. Imports nothing of the product."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web


@dataclass
class Receiver:
    """``answers`` are given first, to whatever comes; ``refuses``: 422 for these types; ``down``: 503."""

    confirmed: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    asked: int = 0
    answers: list[int] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)
    down: bool = False
    url: str = ""
    port: int = 0
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.post("/events", self._take)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}/events"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def told(self, resource: str) -> list[str]:
        """The types that were confirmed of one resource (its id), each once, in the order of their first coming."""
        return list(dict.fromkeys(one["type"] for one in self.confirmed if one["data"].get("id") == resource))

    async def _take(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.headers.append(dict(request.headers))
        event = json.loads(await request.read())
        if self.down or self.answers:
            return web.Response(status=503 if self.down else self.answers.pop(0))
        if event["type"] in self.refuses:
            return web.Response(status=422)
        self.confirmed.append(event)
        return web.Response(status=204)
