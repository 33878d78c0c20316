"""What the relay stands between and calls, under the hand of a test: a registrar that answers when told, metrics that
can be read, an app and an owner that are scripted byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from leasehold.protocol.names import CallId, Resource
from leasehold.protocol.rules import Rule, RuleSet, load_rules
from leasehold.sidecar.capture.budget import Budget
from leasehold.sidecar.capture.listener import Address, Listener, RelaySettings
from leasehold.sidecar.capture.metrics_port import Direction
from leasehold.sidecar.observe.events import Observation
from leasehold.sidecar.observe.matching import Matcher
from leasehold.sidecar.ports import Outcome

SOON = 10.0
"""Seconds in which what must happen happens; only a failing test waits so long."""

RULES = """
owners:
  - name: blobs
    hosts: ["blobs.test", "other.test:8080"]
    endpoint: http://blobs.test
    delete: {method: DELETE, path: "/v1/blobs/{id}", precondition: never-reused}
  - name: s3
    hosts: ["s3.test"]
    endpoint: http://s3.test
    delete: {method: DELETE, path: "/bucket/{+id}", precondition: never-reused}
rules:
  - name: create-blob
    owner: blobs
    type: blob
    on: create
    match: {method: POST, path: "/v1/blobs", status: [201]}
    id: {json: id}
    held_by: process
    body_limit: 4096
  - name: make-blob
    owner: blobs
    type: blob
    on: create
    match: {method: POST, path: "/v1/blobs", status: [202]}
    id: {header: Location, pattern: "/v1/blobs/{id}"}
    held_by: process
  - name: put-blob
    owner: blobs
    type: blob
    on: create
    match: {method: PUT, path: "/v1/blobs/{id}", status: [200, 201]}
    id: {path: id}
    held_by: process
    commit: before-request
    on_unavailable: reject
  - name: put-note
    owner: blobs
    type: note
    on: create
    match: {method: PUT, path: "/v1/notes/{id}", status: [200]}
    id: {path: id}
    held_by: process
    commit: before-request
  - name: log-blob
    owner: blobs
    type: blob
    on: create
    match: {method: POST, path: "/v1/logs", status: [201]}
    id: {json: id}
    held_by: process
    commit: background
  - name: use-blob
    owner: blobs
    type: blob
    on: use
    match: {method: GET, path: "/v1/blobs/{id}", status: [200]}
    id: {path: id}
    held_by: process
  - name: delete-blob
    owner: blobs
    type: blob
    on: delete
    match: {method: DELETE, path: "/v1/blobs/{id}", status: [204, 404]}
    id: {path: id}
  - name: put-object
    owner: s3
    type: object
    on: create
    match: {method: PUT, path: "/bucket/{+key}", status: [200]}
    id: {path: key}
    held_by: process
"""


def rules(text: str = RULES) -> RuleSet:
    return load_rules(text, "rules.yaml", {})


@dataclass
class Rules:
    """A ``RulesView``."""

    matcher: Matcher


class ManualRegistrar:
    """Notes what it is asked, and answers when the test says so; or at once, if ``answers`` is set."""

    def __init__(self, answers: Outcome | None = None) -> None:
        self.answers = answers
        self.asked: asyncio.Queue[None] = asyncio.Queue()
        self.intents: list[tuple[str, CallId, str, str, Resource | None]] = []
        self.keys: list[str] = []
        """The idempotency keys of the intents."""
        self.observations: list[Observation] = []
        self.retracted: list[CallId] = []
        self.futures: list[asyncio.Future[Outcome]] = []

    def intend(
        self, rule: Rule, call: CallId, method: str, target: str, resource: Resource | None, key: str = ""
    ) -> asyncio.Future[Outcome]:
        self.keys.append(key)
        self.intents.append((rule.name, call, method, target, resource))
        return self._future()

    def retract(self, call: CallId) -> None:
        self.retracted.append(call)
        self.asked.put_nowait(None)

    def observed(self, observation: Observation) -> asyncio.Future[Outcome]:
        self.observations.append(observation)
        return self._future()

    @property
    def ids(self) -> list[str]:
        return [observation.resource.id for observation in self.observations]

    async def was_asked(self, times: int = 1) -> None:
        async with asyncio.timeout(SOON):
            for _ in range(times):
                await self.asked.get()

    def say(self, outcome: Outcome = Outcome.REGISTERED, at: int = -1) -> None:
        self.futures[at].set_result(outcome)

    def _future(self) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        if self.answers is not None:
            future.set_result(self.answers)
        self.futures.append(future)
        self.asked.put_nowait(None)
        return future


class CountingMetrics:
    """A ``RelayMetrics``: ``counts`` by event and label, ``waits`` by direction."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.waits: list[tuple[Direction, float]] = []
        self.changed = asyncio.Event()

    def _count(self, *what: str) -> None:
        self.counts[" ".join(what)] += 1
        self.changed.set()

    def connection_opened(self) -> None:
        self._count("opened")

    def connection_closed(self) -> None:
        self._count("closed")

    def connection_refused(self, reason: str) -> None:
        self._count("connection-refused", reason)

    def connect_failed(self, reason: str) -> None:
        self._count("connect-failed", reason)

    def gave_up(self, reason: str) -> None:
        self._count("gave-up", reason)

    def uninspected(self, reason: str) -> None:
        self._count("uninspected", reason)

    def matched(self, rule: str) -> None:
        self._count("matched", rule)

    def unusable(self, rule: str, reason: str) -> None:
        self._count("unusable", rule, reason)

    def held(self, direction: Direction, seconds: float) -> None:
        self.waits.append((direction, seconds))
        self._count("held", direction)

    def deadline_passed(self, rule: str) -> None:
        self._count("deadline", rule)

    def released_early(self, direction: Direction) -> None:
        self._count("released-early", direction)

    def rejected(self, rule: str) -> None:
        self._count("rejected", rule)

    def idempotency_key(self, rule: str, outcome: str) -> None:
        self._count("key", rule, outcome)

    async def until(self, what: str, count: int = 1) -> None:
        async with asyncio.timeout(SOON):
            while self.counts[what] < count:
                self.changed.clear()
                await self.changed.wait()


class Stream:
    """One end of a connection, scripted. Every wait ends ``SOON``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def end(self) -> None:
        self.writer.write_eof()

    def reset(self) -> None:
        option = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
        self.writer.transport.abort()

    async def expect(self, data: bytes) -> None:
        async with asyncio.timeout(SOON):
            got = await self.reader.readexactly(len(data))
        assert got == data

    async def read(self, size: int = 65536) -> bytes:
        async with asyncio.timeout(SOON):
            return await self.reader.read(size)

    async def head(self) -> bytes:
        async with asyncio.timeout(SOON):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        async with asyncio.timeout(SOON):
            return await self.reader.read(-1)

    async def expect_nothing_yet(self) -> None:
        """Nothing has come; for use after something that came later by another way."""
        task = asyncio.ensure_future(self.reader.read(1))
        done, _ = await asyncio.wait([task], timeout=0.05)
        if done:
            raise AssertionError(f"expected nothing, got {task.result() + await self.read()!r}")
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class ScriptedOwner:
    """Accepts connections and hands them to the test."""

    def __init__(self) -> None:
        self._accepted: asyncio.Queue[Stream] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self.streams: list[Stream] = []
        self.address = Address("127.0.0.1", 0)

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 22, ssl=tls)
        self.address = Address("127.0.0.1", self._server.sockets[0].getsockname()[1])

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = Stream(reader, writer)
        self.streams.append(stream)
        self._accepted.put_nowait(stream)

    async def accepted(self) -> Stream:
        async with asyncio.timeout(SOON):
            return await self._accepted.get()

    @property
    def waiting(self) -> int:
        return self._accepted.qsize()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for stream in self.streams:
            stream.writer.close()


@dataclass
class World:
    """A relay in front of an owner."""

    registrar: ManualRegistrar
    metrics: CountingMetrics
    rules: Rules
    owner: ScriptedOwner
    relay: RelaySettings
    listener: Listener | None = None
    port: int = 0
    apps: list[Stream] = field(default_factory=list)

    async def listen(self, listener: Listener) -> None:
        self.listener = listener
        _, self.port = await listener.start()

    async def app(self) -> Stream:
        stream = Stream(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22))
        self.apps.append(stream)
        return stream

    async def pair(self) -> tuple[Stream, Stream]:
        return await self.app(), await self.owner.accepted()


@contextlib.asynccontextmanager
async def world(
    text: str = RULES,
    *,
    connect_deadline: float = 5.0,
    drain_deadline: float = 0.05,
    tls: ssl.SSLContext | None = None,
    budget: Budget | None = None,
) -> AsyncIterator[World]:
    """Without a listener yet."""
    registrar, metrics, view, owner = (
        ManualRegistrar(),
        CountingMetrics(),
        Rules(Matcher.compile(rules(text))),
        ScriptedOwner(),
    )
    await owner.start(tls)
    relay = RelaySettings(registrar, view, metrics, connect_deadline, drain_deadline, budget=budget or Budget())
    made = World(registrar, metrics, view, owner, relay)
    try:
        yield made
    finally:
        for stream in made.apps:
            stream.writer.close()
        await owner.close()
        if made.listener is not None:
            await made.listener.close()
            assert (relay.budget.connections, relay.budget.held) == (0, 0), "whatever was taken is given back"
