"""An owner of things that need others: an album names blobs and albums, and may be told later that it needs more.

``PUT /v1/albums/<id>`` makes one (201) or adds to what it needs (200, the same incarnation). Nothing of the product is
imported here.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.chaos.owners import Owner

NAMED = ("blobs", "albums")


class Albums(Owner):
    """What each needs is part of every answer about it."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._needs: dict[str, dict[str, list[str]]] = {}

    async def _create(self, request: web.Request) -> web.StreamResponse:
        identity, asked = request.match_info["id"], await request.json()
        known = self._needs.setdefault(identity, {name: [] for name in NAMED})
        for name in NAMED:
            known[name] += [one for one in asked[name] if one not in known[name]]
        thing = self.things.get(identity)
        if thing is None:
            return await super()._create(request)
        arrival = self._arrival(request, identity)
        arrival.uid = thing.uid
        return self._answer(arrival, 200)

    def shown(self, identity: str) -> dict[str, object]:
        return dict(self._needs.get(identity, {}))
