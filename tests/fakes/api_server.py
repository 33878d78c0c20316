"""A Kubernetes API server in memory: single objects, lists in pages, watches, bookmarks, 410, patches of both kinds.

Resource versions guard every write, as in the real one. What it does not do: validate, prune, authorise beyond one
token, know any kind but ours from a misspelt one. The real one is tried beside it where it is there.
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
from jsonpatch import JsonPatch, JsonPatchException

from leasehold.control_plane.kubernetes.api_server import JSON_PATCH, MERGE_PATCH, ApiServer
from leasehold.control_plane.kubernetes.kinds import API_VERSION, KINDS

TOKEN = "a-token"
OURS = f"/apis/{API_VERSION}"


class FakeApiServer:
    """Objects by path. ``calls`` is what was asked; ``refuse`` answers the next calls with these codes, ``closed``
    those whose path begins so with that one."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.objects: dict[str, dict[str, Any]] = {}
        self.served = {kind.plural for kind in KINDS}
        self.log: list[tuple[int, str, str, dict[str, Any]]] = []
        self.compacted = 0
        self.version = 100
        self.calls: list[str] = []
        self.refuse: list[int] = []
        self.refuse_patches: list[int] = []
        self.closed: dict[str, int] = {}
        self.mute = False
        """Watches stay open and tell nothing, as through a network that lost its way."""
        self.page_size: int | None = None
        self.token: str | None = None
        self.url = ""
        self._news = asyncio.Event()
        self._cut = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
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

    def put(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Whatever is there is replaced."""
        what = "MODIFIED" if path in self.objects else "ADDED"
        stored = copy.deepcopy(dict(document))
        stored["metadata"] = {"uid": uuid4().hex, **stored.get("metadata", {}), "resourceVersion": self._next_version()}
        self.objects[path] = stored
        self._tell(path, what, stored)
        return stored

    async def apply(
        self, plural: str, name: str, spec: Mapping[str, Any], labels: Mapping[str, str] | None = None
    ) -> None:
        """Create or replace the spec of an object of ours; the generation counts up if it differs."""
        path = f"{OURS}/{plural}/{name}"
        thing = copy.deepcopy(self.objects.get(path) or {"metadata": {"name": name, "generation": 0}})
        if thing.get("spec") != spec:
            thing["metadata"]["generation"] += 1
        thing["spec"] = dict(spec)
        thing["metadata"]["labels"] = dict(labels or {})
        self.put(path, thing)

    async def delete(self, plural: str, name: str) -> None:
        path = f"{OURS}/{plural}/{name}"
        gone = self.objects.pop(path)
        gone["metadata"]["resourceVersion"] = self._next_version()
        self._tell(path, "DELETED", gone)

    async def compact(self) -> None:
        """Forget what happened, and end every watch: whoever comes back has to list."""
        self.compacted = self.version = self.version + 1
        await self.cut()

    async def cut(self) -> None:
        """End every watch."""
        self._cut += 1
        self._wake()

    def thing(self, plural: str, name: str) -> dict[str, Any]:
        return self.objects[f"{OURS}/{plural}/{name}"]

    def condition(self, plural: str, name: str) -> dict[str, Any]:
        """``Accepted`` of one object of ours; empty if nothing was said yet."""
        conditions: list[dict[str, Any]] = self.thing(plural, name).get("status", {}).get("conditions", [])
        return conditions[0] if conditions else {}

    def _next_version(self) -> str:
        self.version += 1
        return str(self.version)

    def _tell(self, path: str, what: str, thing: dict[str, Any]) -> None:
        self.log.append((self.version, path, what, thing))
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    # --- what is answered ---

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(f"{request.method} {request.path}{' watch' if 'watch' in request.query else ''}")
        if (refused := self._refused(request)) is not None:
            return refused
        if request.method == "POST":
            return self._create(request.path, await request.json())
        path = request.path.removesuffix("/status")
        if request.method == "GET" and _is_collection(path):
            return await self._watch(request) if "watch" in request.query else self._list(request)
        there = self.objects.get(path)
        if there is None:
            return _status(404, f"{path.rpartition('/')[2]} not found")
        if request.method == "GET":
            return web.json_response(there)
        document = await request.json()
        return (self._replace if request.method == "PUT" else self._patch)(path, there, document, request.content_type)

    def _refused(self, request: web.Request) -> web.Response | None:
        for beginning, status in self.closed.items():
            if request.path.startswith(beginning):
                return _status(status, "refused by the test")
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return _status(401, "Unauthorized")
        if request.path.startswith(OURS) and request.path.split("/")[4] not in self.served:
            return _status(404, "the server could not find the requested resource")
        if request.method == "PATCH" and self.refuse_patches:
            return _status(self.refuse_patches.pop(0), "as told")
        return _status(self.refuse.pop(0), "as told") if self.refuse else None

    def _list(self, request: web.Request) -> web.Response:
        selector = request.query.get("labelSelector", "")
        things = [
            thing
            for path, thing in sorted(self.objects.items())
            if path.rpartition("/")[0] == request.path and _matches(thing, selector)
        ]
        start = int(request.query.get("continue", "0"))
        end = start + min(int(request.query["limit"]), self.page_size or 10**9)
        metadata = {"resourceVersion": str(self.version)} | ({"continue": str(end)} if end < len(things) else {})
        return web.json_response({"metadata": metadata, "items": things[start:end]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        seen, cut = int(request.query["resourceVersion"]), self._cut
        selector = request.query.get("labelSelector", "")
        response = web.StreamResponse()
        await response.prepare(request)
        if seen < self.compacted:
            await response.write(_line("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"}))
            return response
        while cut == self._cut:
            news, upto = self._news, self.version
            if not self.mute:
                for version, path, what, thing in list(self.log):
                    if version > seen and path.rpartition("/")[0] == request.path and _matches(thing, selector):
                        await response.write(_line(what, thing))
                seen = upto
                await response.write(_line("BOOKMARK", {"metadata": {"resourceVersion": str(seen)}}))
            await news.wait()
        return response

    def _create(self, collection: str, document: dict[str, Any]) -> web.Response:
        path = f"{collection}/{document['metadata']['name']}"
        if path in self.objects:
            return _status(409, f"{path} already exists")
        return web.json_response(self.put(path, document), status=201)

    def _replace(self, path: str, there: dict[str, Any], document: dict[str, Any], _kind: str) -> web.Response:
        version = document["metadata"].get("resourceVersion")
        if version is not None and version != there["metadata"]["resourceVersion"]:
            return _status(409, "the object has been modified; please apply your changes to the latest version")
        return web.json_response(self.put(path, document))

    def _patch(self, path: str, there: dict[str, Any], patch: Any, kind: str) -> web.Response:
        if kind == JSON_PATCH:
            try:
                return web.json_response(self.put(path, JsonPatch(patch).apply(there)))
            except JsonPatchException as error:
                return _status(422, f"the server rejected our request due to an error in our request: {error}")
        if kind != MERGE_PATCH:
            return _status(415, kind)
        if patch["metadata"]["uid"] != there["metadata"]["uid"]:
            return _status(409, "the uid is another")
        return web.json_response(self.put(path, {**there, "status": patch["status"]}))


def _is_collection(path: str) -> bool:
    """``.../v1/namespaces/shop`` is an object, ``.../v1/namespaces/shop/secrets`` are many."""
    _, kind, *rest = path.split("/")
    below = rest[1:] if kind == "api" else rest[2:]
    return len(below) % 2 == 1


def _matches(thing: Mapping[str, Any], selector: str) -> bool:
    wanted = dict(part.split("=", 1) for part in selector.split(",") if part)
    return wanted.items() <= thing["metadata"].get("labels", {}).items()


def _line(kind: str, thing: Mapping[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": thing}).encode() + b"\n"


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


async def listed(api: ApiServer, plural: str) -> set[str]:
    things, _ = await api.list(f"{OURS}/{plural}", "")
    return {thing["metadata"]["name"] for thing in things}
