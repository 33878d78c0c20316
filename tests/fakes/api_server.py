"""A Kubernetes API server in memory, for our two kinds: list in pages, watch, bookmarks, 410, patches of statuses.

What it does not do: validate, prune, authorise beyond one token. The real one is tried beside it where it is there.
"""

from __future__ import annotations

import asyncio
import copy
import json
import ssl
from collections.abc import Mapping
from typing import Any, Self
from uuid import uuid4

from aiohttp import web

from leasehold.control_plane.kubernetes.api_server import ApiServer
from leasehold.control_plane.kubernetes.kinds import API_VERSION, KINDS

TOKEN = "a-token"


class FakeApiServer:
    """Objects by plural and name. ``calls`` is what was asked; ``refuse`` answers the next calls with these codes."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.objects: dict[str, dict[str, dict[str, Any]]] = {kind.plural: {} for kind in KINDS}
        self.served = {kind.plural for kind in KINDS}
        self.log: list[tuple[int, str, str, dict[str, Any]]] = []
        self.compacted = 0
        self.version = 100
        self.calls: list[str] = []
        self.refuse: list[int] = []
        self.refuse_patches: list[int] = []
        self.mute = False
        """Watches stay open and tell nothing, as through a network that lost its way."""
        self.page_size: int | None = None
        self.token: str | None = None
        self.url = ""
        self._changed = asyncio.Condition()
        self._cut = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        base = f"/apis/{API_VERSION}/{{plural}}"
        app.add_routes(
            [web.get(base, self._get), web.patch(base + "/{name}/status", self._patch)],
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()
        assert self._runner is not None
        await self._runner.cleanup()

    # --- what a user does ---

    async def apply(
        self, plural: str, name: str, spec: Mapping[str, Any], labels: Mapping[str, str] | None = None
    ) -> None:
        """Create or replace the spec; the generation counts up if it differs."""
        there = self.objects[plural].get(name)
        thing = copy.deepcopy(there) if there else {"metadata": {"name": name, "uid": uuid4().hex, "generation": 0}}
        if thing.get("spec") != spec:
            thing["metadata"]["generation"] += 1
        thing["spec"] = dict(spec)
        thing["metadata"]["labels"] = dict(labels or {})
        await self._store("MODIFIED" if there else "ADDED", plural, thing)

    async def delete(self, plural: str, name: str) -> None:
        await self._store("DELETED", plural, self.objects[plural][name])

    async def compact(self) -> None:
        """Forget what happened, and end every watch: whoever comes back has to list."""
        self.compacted = self.version = self.version + 1
        await self.cut()

    async def cut(self) -> None:
        """End every watch."""
        async with self._changed:
            self._cut += 1
            self._changed.notify_all()

    def condition(self, plural: str, name: str) -> dict[str, Any]:
        """``Accepted`` of one object; empty if nothing was said yet."""
        conditions = self.objects[plural][name].get("status", {}).get("conditions", [])
        return conditions[0] if conditions else {}

    async def _store(self, what: str, plural: str, thing: dict[str, Any]) -> None:
        async with self._changed:
            self.version += 1
            stored = copy.deepcopy(thing)
            stored["metadata"]["resourceVersion"] = str(self.version)
            if what == "DELETED":
                del self.objects[plural][thing["metadata"]["name"]]
            else:
                self.objects[plural][thing["metadata"]["name"]] = stored
            self.log.append((self.version, plural, what, stored))
            self._changed.notify_all()

    # --- what is answered ---

    def _refused(self, request: web.Request) -> web.Response | None:
        self.calls.append(f"{request.method} {request.path}{' watch' if 'watch' in request.query else ''}")
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return _status(401, "Unauthorized")
        if request.match_info["plural"] not in self.served:
            return _status(404, "the server could not find the requested resource")
        return _status(self.refuse.pop(0), "as told") if self.refuse else None

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._refused(request)) is not None:
            return refused
        plural, selector = request.match_info["plural"], request.query.get("labelSelector", "")
        if "watch" in request.query:
            return await self._watch(request, plural, selector)
        things = [thing for _, thing in sorted(self.objects[plural].items()) if _matches(thing, selector)]
        start = int(request.query.get("continue", "0"))
        end = start + min(int(request.query["limit"]), self.page_size or 10**9)
        metadata = {"resourceVersion": str(self.version)} | ({"continue": str(end)} if end < len(things) else {})
        return web.json_response({"metadata": metadata, "items": things[start:end]})

    async def _watch(self, request: web.Request, plural: str, selector: str) -> web.StreamResponse:
        seen, cut = int(request.query["resourceVersion"]), self._cut
        response = web.StreamResponse()
        await response.prepare(request)
        if seen < self.compacted:
            await response.write(_line("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"}))
            return response
        while cut == self._cut:
            if self.mute:
                async with self._changed:
                    await self._changed.wait_for(lambda: cut != self._cut)
                break
            for version, where, what, thing in list(self.log):
                if version > seen and where == plural and _matches(thing, selector):
                    await response.write(_line(what, thing))
            seen = self.version
            await response.write(_line("BOOKMARK", {"metadata": {"resourceVersion": str(seen)}}))
            async with self._changed:
                await self._changed.wait_for(lambda seen=seen: self.version > seen or cut != self._cut)
        return response

    async def _patch(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        if self.refuse_patches:
            return _status(self.refuse_patches.pop(0), "as told")
        plural, name = request.match_info["plural"], request.match_info["name"]
        thing = self.objects[plural].get(name)
        if thing is None:
            return _status(404, f"{name} not found")
        patch = await request.json()
        if request.content_type != "application/merge-patch+json":
            return _status(415, request.content_type)
        if patch["metadata"]["uid"] != thing["metadata"]["uid"]:
            return _status(409, "the uid is another")
        await self._store("MODIFIED", plural, {**thing, "status": patch["status"]})
        return web.json_response(self.objects[plural][name])


def _matches(thing: Mapping[str, Any], selector: str) -> bool:
    wanted = dict(part.split("=", 1) for part in selector.split(",") if part)
    return wanted.items() <= thing["metadata"].get("labels", {}).items()


def _line(kind: str, thing: Mapping[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": thing}).encode() + b"\n"


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


async def listed(api: ApiServer, plural: str) -> set[str]:
    things, _ = await api.list(f"/apis/{API_VERSION}/{plural}", "")
    return {thing["metadata"]["name"] for thing in things}
