"""An owner that can list what it has, page by page, with the label that tells whose it is.

Its listings may be believed only when they are whole. What lies here with our label, and came past every sidecar, is
a stray; what a user takes away behind our back is missing. Nothing of the product is imported here.
"""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from tests.chaos.history import STRAY, Call
from tests.chaos.owners import Mood, Owner

PAGE = 15
INTERVAL_SECONDS = 8.0
"""Between two listings, as its document says."""
USER = "user"
LABELS = {STRAY: "chaos", "program:p": "chaos", "program:o": "other"}
"""The tenant that stands on a thing, by how its maker's name begins."""


class Crates(Owner):
    """Things are labelled with their tenant's name; nobody wrote one on a stranger."""

    def routes(self, path: str) -> list[web.RouteDef]:
        return [web.get(path, self._list), *super().routes(path)]

    def add_stray(self, identity: str) -> None:
        self.add_stranger(identity, STRAY)

    def lose(self, identity: str) -> None:
        """A user takes it away, by a way that nobody sees."""
        thing, now = self.things.pop(identity), time.monotonic()
        number = self._number()
        self.ledger.append(Call(self.name, identity, "DELETE", USER, number, now, now, 204, thing.uid, "removed"))

    async def _list(self, request: web.Request) -> web.StreamResponse:
        arrival = self._arrival(request, "")
        arrival.method = "LIST"
        after = request.query.get("cursor", "")
        there = sorted(identity for identity in self.things if identity > after)
        page, more = there[:PAGE], len(there) > PAGE
        body: dict[str, Any] = {"items": [self._item(identity) for identity in page]}
        if more:
            body["next"] = page[-1]
        if self.mood is Mood.EVASIVE:
            return self._evade(request, arrival, body)
        self._note(arrival, 200, "" if more else "listed")
        return web.json_response(body)

    def _item(self, identity: str) -> dict[str, str]:
        thing = self.things[identity]
        label = next((label for whose, label in LABELS.items() if thing.who.startswith(whose)), "nobody")
        return {"id": identity, "uid": thing.uid, "by": label}

    def _evade(self, request: web.Request, arrival: Any, body: dict[str, Any]) -> web.StreamResponse:
        self.moody += 1
        how = self.random.choice(["fails", "resets", "half", "half", "no-list", "no-id"])
        if how == "fails":
            return self._answer(arrival, 500)
        if how == "resets":
            return self._cut(request, arrival, "")
        if how == "half":
            body["items"] = body["items"][::2]
        elif how == "no-list":
            body["items"] = None
        elif body["items"]:
            del body["items"][0]["id"]
        self._note(arrival, 200, "" if "next" in body else "listed", lied=True)
        return web.json_response(body)
