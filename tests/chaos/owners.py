"""Owners with a ledger, and moods: slow, lying, failing, forgetful, or repeating a delete long after.

``blobs`` gives ids that are never used again: ``POST /v1/blobs``. ``files`` are named by their creators, and names come
again: ``PUT /v1/files/<name>`` (409 if it is there), and a delete with ``If-Match`` hits that incarnation only. Moods
change what the *collector* meets; programs are served well, except that creations may be cut off. Every request is
written down with what it did. Owners that can be asked more are in ``deeds``, ``crates``, ``albums`` and ``rolls``.
Nothing of the product is imported here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from random import Random
from uuid import uuid4

from aiohttp import web

from tests.chaos.history import COLLECTOR, OTHER_COLLECTOR, STRANGER, Call, Leftover

HOST = "127.0.0.1"
COLLECTORS = {"yes": COLLECTOR, "other": OTHER_COLLECTOR}
"""By the credentials they show."""
TIMEOUT_SECONDS = 2.0
"""How long the collector waits for an owner, as its document says."""


class Mood(StrEnum):
    """How an owner treats the collector's deletes (and, where it says so, others)."""

    FINE = "fine"
    SLOW = "slow"
    LATE = "late"
    """Carried out after the collector gave up waiting."""
    REPEATS = "repeats"
    """Carried out at once, and once more long after."""
    LIES_DELETED = "lies-deleted"
    LIES_ABSENT = "lies-absent"
    """404 for what is there, to reads as well."""
    FAILS = "fails"
    """500, 503 or 429 with ``Retry-After``, nothing done."""
    RESETS = "resets"
    """The connection is reset, before or after it was carried out."""
    CUTS_CREATIONS = "cuts-creations"
    """Programs' creations are carried out and never answered."""
    EVASIVE = "evasive"
    """Questions, notices and listings are answered with errors, nonsense, half of the truth, or not at all."""


@dataclass(slots=True)
class Thing:
    uid: str
    who: str
    key: str = ""
    """The idempotency key of the call that made it."""


@dataclass(slots=True)
class _Arrival:
    """What there is to say of a request before it was carried out."""

    id: str
    method: str
    who: str
    request: str
    arrived: float
    revision: int = 0
    uid: str = ""
    caller: str = ""


@dataclass
class Owner:
    """One owner. ``look`` tells etcd's newest revision, or 0; ``callers`` whose connection a port is."""

    name: str
    named: bool
    look: Callable[[], Awaitable[int]]
    random: Random
    things: dict[str, Thing] = field(default_factory=dict)
    ledger: list[Call] = field(default_factory=list)
    mood: Mood = Mood.FINE
    moody: int = 0
    """How many requests met this mood."""
    port: int = 0
    callers: Mapping[int, str] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=count)
    _later: set[asyncio.Task[None]] = field(default_factory=set)
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.add_routes(self.routes(f"/v1/{self.name}"))
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port).start()
        self.port = self._runner.addresses[0][1]

    def routes(self, path: str) -> list[web.RouteDef]:
        return [
            web.post(path, self._create), web.put(path + "/{id}", self._create),
            web.get(path + "/{id}", self._read), web.delete(path + "/{id}", self._delete),
        ]  # fmt: skip

    async def stop(self) -> None:
        for task in self._later:
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    def feel(self, mood: Mood) -> None:
        self.mood, self.moody = mood, 0

    def add_stranger(self, identity: str, who: str = STRANGER) -> None:
        """Made past every sidecar."""
        if identity in self.things:
            return
        now, uid = time.monotonic(), uuid4().hex
        self.things[identity] = Thing(uid, who)
        self.ledger.append(Call(self.name, identity, "PUT", who, self._number(), now, now, 201, uid, "created"))

    def contents(self) -> list[Leftover]:
        return [Leftover(self.name, identity, thing.uid, thing.who) for identity, thing in self.things.items()]

    # --- programs -------------------------------------------------------------------------------------------------

    async def _create(self, request: web.Request) -> web.StreamResponse:
        identity = request.match_info.get("id") or uuid4().hex
        arrival = self._arrival(request, identity)
        if identity in self.things:
            return self._answer(arrival, 409)
        thing = self.things[identity] = Thing(uuid4().hex, arrival.who, request.headers.get("Idempotency-Key", ""))
        arrival.uid = thing.uid
        self.on_made(arrival.id, thing)
        if self.mood is Mood.CUTS_CREATIONS and self.random.random() < 0.5:
            self.moody += 1
            return self._cut(request, arrival, "created")
        return self._answer(arrival, 201, "created")

    def on_made(self, identity: str, thing: Thing) -> None:
        """Something came to be."""

    def shown(self, identity: str) -> dict[str, object]:
        """What an answer tells of it besides."""
        return {}

    async def _read(self, request: web.Request) -> web.StreamResponse:
        arrival = self._arrival(request, request.match_info["id"])
        thing = self.things.get(arrival.id)
        arrival.uid = thing.uid if thing else ""
        if thing and arrival.who == COLLECTOR and self.mood is Mood.LIES_ABSENT:
            self.moody += 1
            return self._answer(arrival, 404, lied=True)
        return self._answer(arrival, 200 if thing else 404)

    # --- deletes --------------------------------------------------------------------------------------------------

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        arrival = self._arrival(request, request.match_info["id"])
        match = request.headers.get("If-Match")
        arrival.uid = self._target(arrival.id, match)
        if arrival.who != COLLECTOR:
            return self._answer(arrival, *self._remove(arrival.id, match))
        arrival.revision = await self.look()
        if self.mood in {Mood.FINE, Mood.EVASIVE}:
            return self._answer(arrival, *self._remove(arrival.id, match))
        self.moody += 1
        return await self._in_mood(request, arrival, match)

    async def _in_mood(self, request: web.Request, arrival: _Arrival, match: str | None) -> web.StreamResponse:
        mood = self.mood
        if mood is Mood.LIES_DELETED:
            return self._answer(arrival, 204, lied=bool(arrival.uid))
        if mood is Mood.LIES_ABSENT:
            return self._answer(arrival, 404, lied=bool(arrival.uid))
        if mood is Mood.FAILS:
            return self._answer(arrival, self.random.choice([500, 503, 429]))
        if mood is Mood.RESETS:
            _, effect = self._remove(arrival.id, match) if self.random.random() < 0.5 else (0, "")
            return self._cut(request, arrival, effect)
        if mood is Mood.LATE:
            self._spawn(self._carry_out_late(arrival, match))
            await asyncio.sleep(TIMEOUT_SECONDS * 3)  # by then nobody listens
            return web.Response(status=204)
        if mood is Mood.SLOW:
            await asyncio.sleep(self.random.uniform(0.2, TIMEOUT_SECONDS * 0.8))
        if mood is Mood.REPEATS:
            self._spawn(self._repeat(arrival, match))
        return self._answer(arrival, *self._remove(arrival.id, match))

    async def _carry_out_late(self, arrival: _Arrival, match: str | None) -> None:
        await asyncio.sleep(TIMEOUT_SECONDS + self.random.uniform(0.2, 2.0))
        _, effect = self._remove(arrival.id, match)
        self._note(arrival, 0, effect)

    async def _repeat(self, arrival: _Arrival, match: str | None) -> None:
        await asyncio.sleep(self.random.uniform(1.0, 8.0))
        now = time.monotonic()
        again = _Arrival(arrival.id, "DELETE", COLLECTOR, self._number(), now, 0, self._target(arrival.id, match))
        status, effect = self._remove(arrival.id, match)
        self._note(again, status, effect, copy_of=arrival.request)

    def _remove(self, identity: str, match: str | None) -> tuple[int, str]:
        if identity not in self.things:
            return 404, ""
        if not self._target(identity, match):
            return 412, ""
        del self.things[identity]
        return 204, "removed"

    def _target(self, identity: str, match: str | None) -> str:
        """The incarnation that a delete would hit now."""
        thing = self.things.get(identity)
        hit = thing is not None and (not self.named or match is None or match == f'"{thing.uid}"')
        return thing.uid if thing and hit else ""

    # --- the ledger -----------------------------------------------------------------------------------------------

    def _arrival(self, request: web.Request, identity: str) -> _Arrival:
        who = who_asks(request.headers.get("X-Collector"), request.headers.get("X-Program", "?"))
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        caller = self.callers.get(peer[1], "") if peer else ""
        return self._first(identity, request.method, who, time.monotonic(), caller)

    def _first(self, identity: str, method: str, who: str, at: float, caller: str) -> _Arrival:
        return _Arrival(identity, method, who, self._number(), at, caller=caller)

    def _note(self, arrival: _Arrival, status: int, effect: str, *, lied: bool = False, copy_of: str = "") -> None:
        self.ledger.append(
            Call(
                self.name, arrival.id, arrival.method, arrival.who, arrival.request, arrival.arrived, time.monotonic(),
                status, arrival.uid, effect, copy_of, arrival.revision, lied, arrival.caller,
            )
        )  # fmt: skip

    def _answer(self, arrival: _Arrival, status: int, effect: str = "", *, lied: bool = False) -> web.Response:
        self._note(arrival, status, effect, lied=lied)
        headers = {"Retry-After": "1"} if status in {429, 503} else {}
        if status == 204:
            return web.Response(status=204)
        if status in {200, 201}:
            headers["ETag"] = f'"{arrival.uid}"'
        thing = self.things.get(arrival.id)
        shown: dict[str, object] = {"id": arrival.id, "uid": arrival.uid, "key": thing.key if thing else ""}
        shown.update(self.shown(arrival.id))
        return web.json_response(shown, status=status, headers=headers)

    def _cut(self, request: web.Request, arrival: _Arrival, effect: str) -> web.StreamResponse:
        self._note(arrival, 0, effect)
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    def _number(self) -> str:
        return f"{self.name}-{next(self._numbers)}"

    def _spawn(self, doing: Awaitable[None]) -> None:
        task = asyncio.ensure_future(doing)
        self._later.add(task)
        task.add_done_callback(self._later.discard)


def who_asks(collector: str | None, program: str) -> str:
    """By the credentials that a collector shows, or the name that a program says."""
    return f"program:{program}" if collector is None else COLLECTORS.get(collector, "collector:?")
