"""What the symptoms are brought about with: an owner that refuses and hides, and a program that makes blob 4711."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.e2e.harness import Process, Program, World
from tests.e2e.owner import Owner, rules
from tests.e2e.test_collecting import pair

BLOB = "4711"
HOLDER = "media@host-1~8812"
"""As the page calls it."""


@dataclass
class Depot(Owner):
    """An owner that keeps what it refuses to delete (``delete_status``), and that can hide a blob and show it again."""

    trashed: set[str] = field(default_factory=set)

    async def _delete(self, request: web.Request) -> web.Response:
        if self.delete_status >= 400:
            return web.Response(status=self.delete_status)
        return await super()._delete(request)

    async def _read(self, request: web.Request) -> web.Response:
        blob = self.blobs.get(request.match_info["id"])
        if blob is None:
            return web.json_response({"error": "no such blob"}, status=404)
        return web.json_response({**blob, "trashed": blob["id"] in self.trashed})

    async def _other(self, request: web.Request) -> web.Response:
        *_, blob, deed = request.path.split("/")
        if deed == "trash":
            self.trashed.add(blob)
        elif deed == "untrash":
            self.trashed.discard(blob)
        else:
            return await super()._other(request)
        return web.Response(status=204)


SOFT = """condemn: {method: POST, path: "/v1/blobs/{id}/trash"}
    restore: {method: POST, path: "/v1/blobs/{id}/untrash"}"""


@dataclass
class Scene:
    """A tenant with an owner, a control plane, and one program with its sidecar that made blob 4711."""

    here: World
    owner: Depot
    program: Program
    sidecar: Process
    plane: Process
    holder: str

    def names(self) -> dict[str, str]:
        """What the page's examples are called here."""
        return {HOLDER: self.holder, "http://127.0.0.1:9000": f"http://{self.owner.address}", "create-blob": "put-blob"}

    async def put(self, blob: str = BLOB) -> None:
        await put(self.program, blob)


async def put(program: Program, blob: str) -> None:
    answer = await program.call("PUT", f"/v1/blobs/{blob}", body={"content": "x"})
    assert answer["status"] == 201, answer


async def holders(here: World) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(await here.leasehold("get", "holders", "-o", "json"))
    return listed


async def holders_of(here: World, service: str) -> list[str]:
    """Who holds in this service's name."""
    return [one["holder"] for one in await holders(here) if one["service"] == service]


async def scene(
    here: World, owner: Depot, *, grace: str = "3s", extra_owner: str = "", more: str = "",
    blobs: tuple[str, ...] = (BLOB,), text: str = "",
) -> Scene:  # fmt: skip
    """Set it up; ``rules.yaml`` in the world's folder is what the control plane has loaded."""
    text = text or rules(owner, grace=grace, extra_owner=extra_owner)
    plane = await here.control_plane(here.write("rules.yaml", text), more=more)
    program, sidecar = await pair(here, owner, text, service="media", ttl="2s")
    for blob in blobs:
        await put(program, blob)
    return Scene(here, owner, program, sidecar, plane, (await holders_of(here, "media"))[0])


async def state(here: World, blob: str = BLOB) -> str | None:
    return (await here.resources()).get(blob)
