"""``depot``: a playground owner. ``python -m leasehold.cli.demo.depot --listen 127.0.0.1:0``

Stores things of any kind under ``/v1/<kind>``, like many internal services do: JSON ids, a ``uid`` per incarnation,
soft deletes (``deleted_at``, then 410), ETags and ``If-Match``. Every request is written down in a ledger. Faults can
be switched on, to see what a collector makes of an owner that is slow, failing, lying or overloaded::

    POST   /v1/crates            {"content": ...}  -> 201 {"id", "uid", ...}, ETag, Location
    GET    /v1/crates            -> {"items": [...]}, living ones
    GET    /v1/crates/<id>       -> 200, 404, or 410 once deleted
    PUT    /v1/crates/<id>       {"content": ...}  -> 200, a new ETag (412 when If-Match does not match)
    DELETE /v1/crates/<id>       -> 204 (412 when If-Match does not match, 404, 410)
    POST   /faults               [{"kind": "error", "status": 500, "methods": ["DELETE"], "times": 2}]
    GET    /faults, /ledger

``Depot`` is the owner without HTTP; the rest is its face. Imports nothing of Leasehold but its name.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from aiohttp import web

FAULTS = ("latency", "error", "timeout", "lie", "not-found", "too-many")
TIMEOUT_SECONDS = 120.0


@dataclass(slots=True)
class Thing:
    """Something stored. ``version`` counts its changes; its ETag is made of ``uid`` and ``version``."""

    id: str
    kind: str
    uid: str
    content: Any
    created_at: str
    deleted_at: str | None = None
    version: int = 1

    @property
    def etag(self) -> str:
        return f'"{self.uid}-{self.version}"'


@dataclass(slots=True)
class Fault:
    """Something to go wrong: for requests of these methods (none: all), so many times (-1: until switched off)."""

    kind: str
    status: int = 500
    seconds: float = 0.5
    methods: tuple[str, ...] = ()
    times: int = -1

    def strikes(self, method: str) -> bool:
        """Whether it hits this request; counts down if it does."""
        if self.times == 0 or (self.methods and method not in self.methods):
            return False
        self.times -= self.times > 0
        return True


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered with."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Depot:
    """The owner itself: no I/O."""

    things: dict[tuple[str, str], Thing] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    ledger: list[dict[str, Any]] = field(default_factory=list)

    def create(self, kind: str, content: Any) -> Answer:
        thing = Thing(f"{kind[:2]}-{uuid4().hex[:12]}", kind, uuid4().hex, content, _now())
        self.things[kind, thing.id] = thing
        return Answer(201, _shown(thing), {"ETag": thing.etag, "Location": f"/v1/{kind}/{thing.id}"})

    def listing(self, kind: str) -> Answer:
        living = [_shown(thing) for thing in self.things.values() if thing.kind == kind and not thing.deleted_at]
        return Answer(200, {"items": living})

    def read(self, kind: str, name: str) -> Answer:
        thing = self.things.get((kind, name))
        if thing is None:
            return Answer(404, {"error": f"no {kind} {name}"})
        if thing.deleted_at:
            return Answer(410, _shown(thing))
        return Answer(200, _shown(thing), {"ETag": thing.etag})

    def replace(self, kind: str, name: str, content: Any, if_match: str | None) -> Answer:
        refused = self._refusal(kind, name, if_match)
        if refused is not None:
            return refused
        thing = self.things[kind, name]
        thing.content, thing.version = content, thing.version + 1
        return self.read(kind, name)

    def delete(self, kind: str, name: str, if_match: str | None) -> Answer:
        refused = self._refusal(kind, name, if_match)
        if refused is not None:
            return refused
        self.things[kind, name].deleted_at = _now()
        return Answer(204)

    def struck(self, method: str) -> list[Fault]:
        """The faults that hit a request of this method."""
        return [fault for fault in self.faults if fault.strikes(method)]

    def _refusal(self, kind: str, name: str, if_match: str | None) -> Answer | None:
        found = self.read(kind, name)
        if found.status != 200:
            return found
        etag = self.things[kind, name].etag
        if if_match is not None and if_match not in {"*", etag}:
            return Answer(412, {"error": f"expected If-Match: {etag}, got {if_match}"}, {"ETag": etag})
        return None


def parse_faults(document: Any) -> list[Fault]:
    """Raises ``ValueError`` saying what was expected."""
    if not isinstance(document, list):
        raise ValueError("expected a list of faults")
    faults = []
    for entry in document:
        if not isinstance(entry, dict) or entry.get("kind") not in FAULTS:
            raise ValueError(f"expected a kind, one of: {', '.join(FAULTS)}; got {entry!r}")
        try:
            faults.append(Fault(**{**entry, "methods": tuple(entry.get("methods", ()))}))
        except TypeError as error:
            raise ValueError(f"expected kind, status, seconds, methods, times; got {entry!r}") from error
    return faults


def _shown(thing: Thing) -> dict[str, Any]:
    shown = asdict(thing)
    del shown["version"]
    return shown


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


# --- its face -------------------------------------------------------------------------------------------------


class Face:
    """The depot over HTTP: faults, then the request, then a line in the ledger."""

    def __init__(self, depot: Depot) -> None:
        self._depot = depot

    def application(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/ledger", self._ledger),
                web.get("/faults", self._faults),
                web.post("/faults", self._set_faults),
                web.route("*", "/v1/{kind}", self._things),
                web.route("*", "/v1/{kind}/{name}", self._things),
            ]
        )
        return app

    async def _ledger(self, _: web.Request) -> web.Response:
        return web.json_response(self._depot.ledger)

    async def _faults(self, _: web.Request) -> web.Response:
        return web.json_response([asdict(fault) for fault in self._depot.faults])

    async def _set_faults(self, request: web.Request) -> web.Response:
        try:
            self._depot.faults = parse_faults(await request.json())
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        return await self._faults(request)

    async def _things(self, request: web.Request) -> web.Response:
        struck = self._depot.struck(request.method)
        for fault in struck:
            if fault.kind in {"latency", "timeout"}:
                await asyncio.sleep(fault.seconds if fault.kind == "latency" else TIMEOUT_SECONDS)
        answer = next((found for fault in struck if (found := _spoilt(fault, request.method))), None)
        if answer is None:
            answer = self._answer(request, await _content(request))
        self._depot.ledger.append(
            {
                "at": round(time.time(), 3),
                "method": request.method,
                "path": request.path,
                "status": answer.status,
                "faults": [fault.kind for fault in struck],
                "agent": request.headers.get("User-Agent", ""),
            }
        )
        text = None if answer.body is None else json.dumps(answer.body)
        return web.Response(
            status=answer.status, text=text, headers=answer.headers, content_type="application/json" if text else None
        )

    def _answer(self, request: web.Request, content: Any) -> Answer:
        kind, name = request.match_info["kind"], request.match_info.get("name")
        if_match = request.headers.get("If-Match")
        if name is None:
            match request.method:
                case "POST":
                    return self._depot.create(kind, content)
                case "GET":
                    return self._depot.listing(kind)
        else:
            match request.method:
                case "GET" | "HEAD":
                    return self._depot.read(kind, name)
                case "PUT":
                    return self._depot.replace(kind, name, content, if_match)
                case "DELETE":
                    return self._depot.delete(kind, name, if_match)
        return Answer(405, {"error": f"{request.method} is not possible here"})


def _spoilt(fault: Fault, method: str) -> Answer | None:
    match fault.kind:
        case "error":
            return Answer(fault.status, {"error": "switched on at /faults"})
        case "not-found":
            return Answer(404, {"error": "switched on at /faults"})
        case "too-many":
            return Answer(429, {"error": "switched on at /faults"}, {"Retry-After": f"{max(1, round(fault.seconds))}"})
        case "lie" if method == "DELETE":
            return Answer(204)  # and keeps it
        case _:
            return None


async def _content(request: web.Request) -> Any:
    text = await request.text()
    try:
        document = json.loads(text) if text else None
    except json.JSONDecodeError:
        return text
    return document.get("content", document) if isinstance(document, dict) else document


async def serve(host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; says ready on stdout."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    runner = web.AppRunner(Face(Depot()).application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        address = runner.addresses[0]
        print(json.dumps({"event": "ready", "http": f"{address[0]}:{address[1]}"}), flush=True)
        await stopping.wait()
    finally:
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(prog="depot", description="A playground owner: soft delete, ETags, faults.")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    host, _, port = parser.parse_args().listen.rpartition(":")
    asyncio.run(serve(host, int(port)))


if __name__ == "__main__":
    main()
