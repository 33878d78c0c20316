"""An owner that knows better: it can be asked whether something is in use, and wants to know what is condemned.

Some of what it has is in use by people of its own for a while, whoever created it. That ends once and for all, so
that nothing overtakes a question and the delete after it: whoever deletes what is in use did not ask, or not listen.
Nothing of the product is imported here.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiohttp import web

from tests.chaos.history import Usage
from tests.chaos.owners import TIMEOUT_SECONDS, Mood, Owner, Thing

IN_USE_PART = 0.4
LONGEST_USE_SECONDS = 25.0


class Deeds(Owner):
    """``usages``: until when what it has is in use."""

    usages: list[Usage]

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.usages = []
        self._until: dict[str, float] = {}

    def routes(self, path: str) -> list[web.RouteDef]:
        return [
            *super().routes(path), web.get(path + "/{id}/usage", self._usage),
            web.post(path + "/{id}/trash", self._trash), web.post(path + "/{id}/untrash", self._untrash),
        ]  # fmt: skip

    def on_made(self, identity: str, thing: Thing) -> None:
        used = self.random.random() < IN_USE_PART
        self._until[thing.uid] = time.monotonic() + (self.random.uniform(3.0, LONGEST_USE_SECONDS) if used else 0.0)
        self.usages.append(Usage(self.name, identity, thing.uid, self._until[thing.uid]))

    async def _usage(self, request: web.Request) -> web.StreamResponse:
        arrival = self._arrival(request, request.match_info["id"])
        arrival.method = "VERIFY"
        thing = self.things.get(arrival.id)
        arrival.uid = thing.uid if thing else ""
        if self.mood is Mood.EVASIVE:
            return await self._evade(request, arrival)
        if thing is None:
            return self._answer(arrival, 404)
        used = self._until.get(thing.uid, 0.0) > time.monotonic()
        self._note(arrival, 200, "in-use" if used else "not-in-use")
        return web.json_response({"users": int(used)})

    async def _trash(self, request: web.Request) -> web.StreamResponse:
        return await self._hear(request, "CONDEMN")

    async def _untrash(self, request: web.Request) -> web.StreamResponse:
        return await self._hear(request, "RESTORE")

    async def _hear(self, request: web.Request, what: str) -> web.StreamResponse:
        arrival = self._arrival(request, request.match_info["id"])
        arrival.method = what
        thing = self.things.get(arrival.id)
        arrival.uid = thing.uid if thing else ""
        if self.mood is Mood.EVASIVE:
            return await self._evade(request, arrival)
        return self._answer(arrival, 204 if thing else 404)

    async def _evade(self, request: web.Request, arrival: Any) -> web.StreamResponse:
        self.moody += 1
        how = self.random.choice(["fails", "nonsense", "hangs", "resets"])
        if how == "resets":
            return self._cut(request, arrival, "")
        if how == "hangs":
            await asyncio.sleep(TIMEOUT_SECONDS * 1.5)
        if how == "nonsense" and arrival.method == "VERIFY":
            self._note(arrival, 200, "nonsense")
            return web.json_response(self.random.choice([{"users": "none"}, {}, [], None]))
        return self._answer(arrival, self.random.choice([500, 503, 404 if arrival.method == "VERIFY" else 500]))
