"""An owner for the tests: stores what it is told, remembers every request. Imports nothing of the product."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from uuid import uuid4

from aiohttp import web


@dataclass
class Owner:
    """``POST /v1/blobs`` creates (or answers the next of ``next_ids``); ``GET`` and ``DELETE /v1/blobs/{id}``.

    ``GET /v1/blobs`` lists, or with ``idempotency_key`` finds what that key created. With ``answering`` set, a creation
    takes effect at once, and is answered when that is set.
    """

    blobs: dict[str, dict[str, str]] = field(default_factory=dict)
    ledger: list[tuple[str, str]] = field(default_factory=list)
    traces: dict[str, str] = field(default_factory=dict)
    """The ``traceparent`` that the last delete of each path carried."""
    gone_at: dict[str, float] = field(default_factory=dict)
    port: int = 0
    next_ids: list[object] = field(default_factory=list)
    delete_status: int = 204
    answering: asyncio.Event | None = None
    telling: asyncio.Event | None = None
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Owner:
        app = web.Application(middlewares=[self._write_down])
        app.add_routes(
            [
                web.post("/v1/blobs", self._create),
                web.get("/v1/blobs", self._list),
                web.put("/v1/blobs/{id:.+}", self._put),
                web.get("/v1/blobs/{id:.+}", self._read),
                web.delete("/v1/blobs/{id:.+}", self._delete),
                web.route("*", "/{rest:.*}", self._other),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def deletes(self) -> list[str]:
        return [path for method, path in self.ledger if method == "DELETE"]

    @web.middleware
    async def _write_down(self, request: web.Request, handler: web.Handler) -> web.StreamResponse:  # type: ignore[name-defined]
        self.ledger.append((request.method, request.path))
        return await handler(request)

    async def _create(self, request: web.Request) -> web.Response:
        content = await request.text()
        if self.next_ids:
            body = self.next_ids.pop(0)
            if isinstance(body, bytes):
                return web.Response(status=201, body=body, content_type="application/json")
            return web.json_response(body, status=201)
        blob = uuid4().hex
        self.blobs[blob] = {"id": blob, "content": content}
        if key := request.headers.get("Idempotency-Key"):
            self.blobs[blob]["key"] = key
        if self.answering is not None:
            await self.answering.wait()
        return web.json_response({"id": blob}, status=201, headers={"Location": f"/v1/blobs/{blob}"})

    async def _list(self, request: web.Request) -> web.Response:
        key = request.query.get("idempotency_key")
        if key is not None and self.telling is not None:
            await self.telling.wait()
        items = [blob for blob in self.blobs.values() if key is None or blob.get("key") == key]
        return web.json_response({"items": items})

    async def _put(self, request: web.Request) -> web.Response:
        blob = request.match_info["id"]
        self.blobs[blob] = {"id": blob, "content": await request.text()}
        return web.json_response({"id": blob}, status=201)

    async def _read(self, request: web.Request) -> web.Response:
        blob = self.blobs.get(request.match_info["id"])
        return web.json_response(blob) if blob else web.json_response({"error": "no such blob"}, status=404)

    async def _delete(self, request: web.Request) -> web.Response:
        self.traces[request.path] = request.headers.get("traceparent", "")
        blob = self.blobs.pop(request.match_info["id"], None)
        if blob is None:
            return web.json_response({"error": "no such blob"}, status=404)
        self.gone_at[request.match_info["id"]] = asyncio.get_running_loop().time()
        return web.Response(status=self.delete_status)

    async def _other(self, request: web.Request) -> web.Response:
        return web.json_response({"path": request.path}, status=404)


def rules(owner: Owner, *, extra_create: str = "", held_by: str = "process", grace: str = "2s",
          extra_owner: str = "") -> str:  # fmt: skip
    """A rule file for this owner; ``extra_create`` are more fields of the creating rules, ``extra_owner`` of the
    owner."""
    return f"""
owners:
  - name: blob-store
    hosts: ["{owner.address}"]
    endpoint: http://{owner.address}
    delete: {{method: DELETE, path: "/v1/blobs/{{id}}", precondition: never-reused}}
    read: {{path: "/v1/blobs/{{id}}"}}
    {extra_owner}
rules:
  - name: create-blob
    owner: blob-store
    type: blob
    on: create
    match: {{method: POST, path: "/v1/blobs", status: [201]}}
    id: {{json: "id"}}
    held_by: {held_by}
    mode: sweep
    grace: {grace}
    {extra_create}
  - name: put-blob
    owner: blob-store
    type: blob
    on: create
    match: {{method: PUT, path: "/v1/blobs/{{id}}", status: [201]}}
    id: {{path: id}}
    held_by: {held_by}
    mode: sweep
    grace: {grace}
    {extra_create}
  - name: use-blob
    owner: blob-store
    type: blob
    on: use
    match: {{method: GET, path: "/v1/blobs/{{id}}", status: [200]}}
    id: {{path: id}}
    held_by: process
    idle_release: 10m
  - name: delete-blob
    owner: blob-store
    type: blob
    on: delete
    match: {{method: DELETE, path: "/v1/blobs/{{id}}", status: [200, 202, 204, 404]}}
    id: {{path: id}}
"""
