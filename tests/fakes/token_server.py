"""An OAuth2 token server, and an owner that believes only its newest token."""

from __future__ import annotations

import asyncio
import base64
import itertools
from typing import Self
from urllib.parse import unquote_plus

from aiohttp import web


class TokenServer:
    """``POST /token`` gives ``token-1``, ``token-2`` ...; ``answers`` are given first. ``/v1/<id>`` is the owner."""

    def __init__(self, secret: str = "s3cret/+") -> None:
        self.secret = secret
        self.asked: list[dict[str, str]] = []
        self.answers: list[web.Response] = []
        self.lifetime: object = 3600
        self.valid = ""
        self.seen: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._count = itertools.count(1)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.post("/token", self._token), web.route("*", "/v1/{id}", self._owner)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.gate.set()
        await self._runner.cleanup()

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        kind, _, pair = request.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            form["client_id"], form["client_secret"] = map(unquote_plus, base64.b64decode(pair).decode().split(":"))
        self.asked.append(form)
        await self.gate.wait()
        if self.answers:
            return self.answers.pop(0)
        if form.get("client_secret") != self.secret:
            return web.json_response({"error": "invalid_client", "error_description": self.secret}, status=401)
        self.valid = f"token-{next(self._count)}"
        answer = {"access_token": self.valid, "token_type": "Bearer", "expires_in": self.lifetime}
        return web.json_response({name: value for name, value in answer.items() if value is not None})

    async def _owner(self, request: web.Request) -> web.Response:
        self.seen.append((request.method, request.headers.get("Authorization", "")))
        if not self.valid or request.headers.get("Authorization") != f"Bearer {self.valid}":
            return web.Response(status=401)
        return web.Response(status=204)
