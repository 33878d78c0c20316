"""A small world around a control plane: an owner over HTTP, and a sidecar's hand in etcd. Everything ends with it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import uuid4

import msgspec
from aiohttp import web

from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.config import Config, HttpSection
from leasehold.control_plane.core.lifecycle import State, Step
from leasehold.protocol import transactions as tx
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import Boot, Holder, LeaseId, OwnerName, Resource, ResourceId, Tenant, TypeName
from leasehold.protocol.records import (
    Ending,
    HolderKind,
    HoldRecord,
    PinRecord,
    ResourceRecord,
    RosterRecord,
    SweepRecord,
    decode,
)
from leasehold.protocol.rules import RuleSet, load_rules
from leasehold.protocol.store import KeyValue, Txn, TxnResult

DEADLINE = 5.0


def blob(name: str, kind: str = "blob", owner: str = "store") -> Resource:
    return Resource(OwnerName(owner), TypeName(kind), ResourceId(name))


@dataclass
class Thing:
    uid: str
    version: int = 1

    @property
    def etag(self) -> str:
        return f'"{self.uid}-{self.version}"'


@dataclass
class Owner:
    """``GET`` and ``DELETE /v1/<id>`` with uids, ETags and ``If-Match``; ``answers`` are given to deletes first.

    ``POST /condemn/<id>`` and ``/restore/<id>`` are heard, unless ``notice_answers`` has something else to say.
    ``GET /in-use/<id>`` says ``used[id]``: ``{"used": true}`` and so on, or whatever response stands there.
    """

    things: dict[str, Thing] = field(default_factory=dict)
    ledger: list[tuple[str, str, float]] = field(default_factory=list)
    gone_at: dict[str, float] = field(default_factory=dict)
    answers: list[web.Response | Callable[[], Awaitable[web.Response]]] = field(default_factory=list)
    read_answers: list[web.Response] = field(default_factory=list)
    used: dict[str, object] = field(default_factory=dict)
    condemned: set[str] = field(default_factory=set)
    notice_answers: dict[str, list[int]] = field(default_factory=dict)
    on_notice: Callable[[str, str], Awaitable[None]] | None = None
    before_delete: Callable[[str], None] | None = None
    lie: int | None = None
    hang: bool = False
    seen_headers: list[dict[str, str]] = field(default_factory=list)
    address: str = ""
    more_routes: list[web.RouteDef] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes(self.more_routes)
        app.add_routes([web.get("/v1/{id:.+}", self._get), web.delete("/v1/{id:.+}", self._delete)])
        app.add_routes([web.get("/in-use/{id:.+}", self._in_use)])
        app.add_routes([web.post("/{call:condemn|restore}/{id:.+}", self._notice)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def add(self, name: str, uid: str | None = None) -> Thing:
        self.things[name] = thing = Thing(uid or uuid4().hex)
        return thing

    def deletes(self, name: str | None = None) -> list[str]:
        return [what for method, what, _ in self.ledger if method == "DELETE" and name in {None, what}]

    async def _get(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        self.ledger.append(("GET", name, time.monotonic()))
        self.seen_headers.append(dict(request.headers))
        if self.read_answers:
            return self.read_answers.pop(0)
        thing = self.things.get(name)
        if thing is None:
            return web.Response(status=404)
        return web.json_response({"uid": thing.uid}, headers={"ETag": thing.etag})

    async def _in_use(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        self.ledger.append(("ASK", name, time.monotonic()))
        said = self.used.get(name, False)
        said = said() if callable(said) else said
        if said == "hang":
            await asyncio.sleep(60)
        return web.Response(status=said) if type(said) is int else web.json_response({"used": said})

    async def _notice(self, request: web.Request) -> web.Response:
        call, name = request.match_info["call"], request.match_info["id"]
        self.ledger.append((call, name, time.monotonic()))
        self.seen_headers.append(dict(request.headers))
        if self.on_notice is not None:
            await self.on_notice(call, name)
        if answers := self.notice_answers.get(call):
            return web.Response(status=answers[0] if len(answers) == 1 else answers.pop(0))
        if call == "condemn":
            self.condemned.add(name)
        else:
            self.condemned.discard(name)
        return web.Response(status=204)

    async def _delete(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        self.ledger.append(("DELETE", name, time.monotonic()))
        self.seen_headers.append(dict(request.headers))
        if self.before_delete is not None:
            self.before_delete(name)
        if self.hang:
            await asyncio.sleep(60)
        if self.lie is not None:
            return web.Response(status=self.lie)
        if self.answers:
            answer = self.answers.pop(0)
            return answer if isinstance(answer, web.Response) else await answer()
        thing = self.things.get(name)
        if thing is None:
            return web.Response(status=404)
        if request.headers.get("If-Match", thing.etag) != thing.etag:
            return web.Response(status=412)
        del self.things[name]
        self.gone_at[name] = time.monotonic()
        return web.Response(status=204)


def rules(owner: Owner, *, precondition: str = "never-reused", mode: str = "sweep", grace: str = "1s",
          limits: str = "", more: str = "") -> RuleSet:  # fmt: skip
    return load_rules(
        f"""
owners:
  - name: store
    hosts: ["store:80"]
    endpoint: {owner.address}
    delete: {{path: "/v1/{{+id}}", precondition: {precondition}}}
    read: {{path: "/v1/{{+id}}", incarnation: {{json: uid}}}}
    {limits}
{more}
rules:
  - name: make
    owner: store
    type: blob
    on: create
    match: {{method: POST, path: "/v1", status: [201]}}
    id: {{json: id}}
    held_by: process
    mode: {mode}
    grace: {grace}
""",
        "rules.yaml",
        {},
    )


class Hand:
    """What a sidecar writes, by hand."""

    def __init__(self, client: EtcdClient, keys: Keyspace) -> None:
        self.client, self.keys = client, keys
        self._boots: dict[Holder, Boot] = {}
        self._rosters: dict[Holder, RosterRecord] = {}
        self._leases: dict[Holder, LeaseId] = {}
        self._holds: dict[tuple[Resource, Holder], HoldRecord] = {}
        self._count = itertools.count(1)

    async def commit(self, txn: Txn) -> TxnResult:
        return await self.client.commit(txn, deadline=DEADLINE)

    async def attach(self, name: str, *, ttl: int = 60, says_ttl: int | None = None,
                     kind: HolderKind = HolderKind.PROCESS) -> Holder:  # fmt: skip
        holder = Holder(f"svc@{name}~1")
        lease = (await self.client.grant(ttl, deadline=DEADLINE)).lease
        boot = Boot(uuid4().hex)
        roster = RosterRecord("svc", name, kind, boot, says_ttl or ttl)
        assert tx.attached(await self.commit(tx.attach(self.keys, holder, boot, lease, roster)))
        self._boots[holder], self._rosters[holder], self._leases[holder] = boot, roster, lease
        return holder

    async def vanish(self, holder: Holder) -> None:
        """Its lease ends; nobody says why."""
        await self.client.revoke(self._leases[holder], deadline=DEADLINE)

    async def retire(self, holder: Holder) -> None:
        """Its sidecar saw it end."""
        ended = msgspec.structs.replace(self._rosters[holder], ended=Ending.CRASHED)
        await self.commit(tx.retire(self.keys, holder, self._boots[holder], ended))

    async def register(self, holder: Holder, *names: str | Resource, incarnation: str = "call:1", rule: str = "make",
                       grace_class: str = "1s", references: tuple[Resource, ...] = ()) -> None:  # fmt: skip
        for n in range(0, len(names), 100):
            members = []
            for name in names[n : n + 100]:
                resource = blob(name) if isinstance(name, str) else name
                record = ResourceRecord(
                    incarnation, rule, grace_class, holder, tuple((r.owner, r.type, r.id) for r in references)
                )
                members.append(tx.register(self.keys, resource, record, holder, self._hold(resource, holder)))
            result = await self.commit(tx.batch(self.keys, {holder: self._boots[holder]}, members))
            assert tx.committed(result), result

    async def acquire(self, holder: Holder, name: str) -> bool:
        resource = blob(name)
        member = tx.acquire(self.keys, resource, holder, self._hold(resource, holder))
        return tx.committed(await self.commit(tx.batch(self.keys, {holder: self._boots[holder]}, [member])))

    async def release(self, holder: Holder, name: str) -> None:
        resource = blob(name)
        hold = self._holds[resource, holder]
        released = msgspec.structs.replace(hold, released=True)
        assert (await self.commit(tx.release(self.keys, resource, holder, hold, released))).succeeded

    async def pin(self, name: str) -> None:
        assert (await self.commit(tx.pin(self.keys, blob(name), PinRecord("me", "test")))).succeeded

    async def unpin(self, name: str) -> None:
        assert (await self.commit(tx.unpin(self.keys, blob(name)))).succeeded

    def _hold(self, resource: Resource, holder: Holder) -> HoldRecord:
        hold = HoldRecord(self._boots[holder], next(self._count))
        self._holds[resource, holder] = hold
        return hold

    # --- looking ---

    async def get(self, key: bytes) -> KeyValue | None:
        return await self.client.get(key, deadline=DEADLINE)

    async def count(self, family: Family) -> int:
        return len((await self.client.read(self.keys.family(family), deadline=DEADLINE, keys_only=True)).items)

    async def there(self, *keys: bytes) -> bool:
        return all([await self.get(key) is not None for key in keys])

    async def sweep_of(self, name: str) -> SweepRecord | None:
        item = await self.get(self.keys.sweep(blob(name)))
        return decode(SweepRecord, item.value) if item else None


class World:
    """One tenant."""

    def __init__(self, endpoint: str, stack: AsyncExitStack, client: EtcdClient, owner: Owner) -> None:
        self.endpoint, self.owner = endpoint, owner
        self.tenant = f"t-{uuid4().hex[:8]}"
        self.keys = Keyspace(Tenant(self.tenant))
        self.client = client
        self.hand = Hand(client, self.keys)
        self.stack = stack

    def config(
        self, rule_set: RuleSet | None, *, name: str = "one", ttl: int = 2, scan: float = 300.0, **more: Any
    ) -> Config:
        """``more``: thresholds, caps, and how often the canary is tried (never, unless said)."""
        etcd = EtcdConfig(endpoints=[self.endpoint])
        more = {"canary_seconds": 0.0, **more}
        return Config(self.tenant, etcd, HttpSection("127.0.0.1:0"), name, ttl, scan, rule_set, **more)

    async def plane(self, rule_set: RuleSet | None, *, client: EtcdClient | None = None, **more: Any) -> ControlPlane:
        """A replica, running."""
        if client is None:
            client = await self.stack.enter_async_context(EtcdClient(EtcdConfig(endpoints=[self.endpoint])))
        return await self.stack.enter_async_context(ControlPlane(self.config(rule_set, **more), client))

    async def leading(self, rule_set: RuleSet | None, **more: Any) -> ControlPlane:
        """A replica that acts for all shards, being alone."""
        plane = await self.plane(rule_set, **more)
        await eventually("it has all shards and is armed", lambda: has_all(plane) and not plane.brake.why_not)
        return plane


def has_all(plane: ControlPlane) -> bool:
    return len(plane.leadership.acting()) == plane.index.shard_count


def state(plane: ControlPlane, name: str) -> State | None:
    from leasehold.control_plane.api import shown_state

    entry = plane.index.entry(blob(name))
    return shown_state(plane.index, entry) if entry is not None else None


async def eventually(what: str, look: Callable[[], Any], within: float = 20.0) -> Any:
    """Look until something true is seen. The deadline only bounds a failure."""
    deadline = time.monotonic() + within
    while True:
        seen = look()
        found = await seen if isinstance(seen, Awaitable) else seen
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        await asyncio.sleep(0.02)


def calling(plane: ControlPlane) -> bool:
    """Whether anybody is at work on a sweep, be it who prepared it."""
    return any(list(plane.collector.crews[step].in_hand()) for step in (Step.PREPARE, Step.SWEEP))


def metric(plane: ControlPlane, name: str, **labels: str) -> float:
    return plane.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def world(endpoint: str) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(Owner())
        client = await stack.enter_async_context(EtcdClient(EtcdConfig(endpoints=[endpoint])))
        yield World(endpoint, stack, client, owner)
