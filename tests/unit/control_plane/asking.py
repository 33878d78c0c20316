"""An owner that can be asked what it knows, and intents written as a sidecar writes them."""

from __future__ import annotations

import msgspec
from aiohttp import web

from leasehold.protocol import transactions as tx
from leasehold.protocol.names import CallId, Holder, Resource
from leasehold.protocol.records import IntentRecord, decode
from leasehold.protocol.rules import RuleSet, load_rules
from tests.unit.control_plane.world import Hand, Owner

BY_KEY = 'lookup: {path: "/calls?key={key}", id: {json: "items[0].id"}, missing: "length(items) == `0`", after: 4s}'


class Knowing:
    """What an owner answers to ``GET /calls?key=`` and ``GET /list``; every question is written down."""

    def __init__(self, owner: Owner) -> None:
        self.made: dict[str, str] = {}
        self.listed: list[dict[str, object]] = []
        self.page_size = 2
        self.status = 200
        self.asked: list[str] = []
        owner.more_routes += [web.get("/calls", self._calls), web.get("/list", self._list)]

    async def _calls(self, request: web.Request) -> web.Response:
        key = request.query["key"]
        self.asked.append(key)
        if self.status != 200:
            return web.Response(status=self.status)
        items = [{"id": self.made[key]}] if key in self.made else []
        return web.json_response({"items": items})

    async def _list(self, request: web.Request) -> web.Response:
        begin = int(request.query.get("cursor", "0"))
        self.asked.append(f"list {begin}")
        if self.status != 200:
            return web.Response(status=self.status)
        end = begin + self.page_size
        more = str(end) if end < len(self.listed) else None
        return web.json_response({"items": self.listed[begin:end], "next": more})


def asking_rules(owner: Owner, more: str = BY_KEY, *, held_by: str = "process", mode: str = "sweep",
                 rule_more: str = "") -> RuleSet:  # fmt: skip
    """One rule that intends, and an owner with ``more`` in its document."""
    return load_rules(
        f"""
owners:
  - name: store
    hosts: ["store:80"]
    endpoint: {owner.address}
    delete: {{path: "/v1/{{+id}}", precondition: never-reused}}
    read: {{path: "/v1/{{+id}}", incarnation: {{json: uid}}}}
    {more}
rules:
  - name: make
    owner: store
    type: blob
    on: create
    match: {{method: POST, path: "/v1", status: [201]}}
    id: {{json: id}}
    held_by: {held_by}
    mode: {mode}
    grace: 8s
    commit: before-request
    idempotency_key: {{header: Idempotency-Key}}
    id_pattern: "[a-z0-9-]+"
    {rule_more}
""",
        "rules.yaml",
        {},
    )


async def intend(hand: Hand, holder: Holder, call: str, *, key: str | None = None, sent_as: str = "Idempotency-Key",
                 resource: Resource | None = None, rule: str = "make") -> None:  # fmt: skip
    """As a sidecar does before it lets the request go."""
    intent = IntentRecord(rule, "POST", "/v1", key or call, tuple(resource) if resource else None, "", sent_as)  # type: ignore[arg-type]
    hold = hand._hold(resource, holder) if resource else msgspec.UNSET
    member = tx.intend(hand.keys, holder, CallId(call), intent, resource, hold)  # type: ignore[arg-type]
    assert tx.committed(await hand.commit(tx.batch(hand.keys, {holder: hand._boots[holder]}, [member])))


async def intent_of(hand: Hand, holder: Holder, call: str) -> IntentRecord | None:
    """As etcd has it."""
    found = await hand.get(hand.keys.intent(holder, CallId(call)))
    return decode(IntentRecord, found.value) if found else None
