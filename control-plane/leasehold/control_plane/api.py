"""What a control plane tells about itself and what it keeps: health, metrics, and a JSON view of its index.

Everything served here is an opinion as of one revision, good for reading. Nothing is deleted on its strength.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

from leasehold.control_plane.core.facts import Entry, HolderEntry
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.lifecycle import Holding, State
from leasehold.control_plane.operator.views import is_shown, shown_state
from leasehold.protocol.names import Holder, OwnerName, Resource, ResourceId, TypeName

LARGEST_PAGE = 1000
Status = Callable[[], Mapping[str, object]]


def api_routes(index: Index, status: Status) -> list[web.RouteDef]:
    """Routes for an aiohttp application."""

    async def resources(request: web.Request) -> web.Response:
        return web.json_response(_page(index, request))

    async def resource(request: web.Request) -> web.Response:
        name = request.match_info
        found = index.entry(Resource(OwnerName(name["owner"]), TypeName(name["type"]), ResourceId(name["id"])))
        if found is None or not is_shown(found):
            raise web.HTTPNotFound(text='{"error": "no such resource is recorded"}', content_type="application/json")
        return web.json_response(_in_full(index, found))

    async def holders(_: web.Request) -> web.Response:
        shown = [_holder_view(holder, found) for holder, found in sorted(index.holders())]
        return web.json_response({"revision_is_of": "the index", "holders": shown})

    async def about(_: web.Request) -> web.Response:
        return web.json_response(status())

    return [
        web.get("/v1/resources", resources),
        web.get("/v1/resources/{owner}/{type}/{id:.+}", resource),
        web.get("/v1/holders", holders),
        web.get("/v1/status", about),
    ]


def _page(index: Index, request: web.Request) -> dict[str, object]:
    query = request.query
    try:
        limit = min(max(int(query.get("limit", "100")), 1), LARGEST_PAGE)
        after = Resource.parse(query["after"]) if "after" in query else None
        wanted = State(query["state"]) if "state" in query else None
    except ValueError as error:
        text = msgspec.json.encode({"error": f"bad query: {error}"}).decode()
        raise web.HTTPBadRequest(text=text, content_type="application/json") from error
    fitting = (
        entry
        for entry in index.entries()
        if is_shown(entry)
        and (after is None or entry.resource > after)
        and _fits(index, entry, query.get("owner"), query.get("type"), wanted)
    )
    # The first of a page, not all of them sorted: there may be a million, and this loop serves the lease, too.
    found = heapq.nsmallest(limit + 1, fitting, key=lambda entry: entry.resource)
    more, found = len(found) > limit, found[:limit]
    return {
        "resources": [_in_short(index, entry) for entry in found],
        "next": str(found[-1].resource) if more else None,
    }


def _fits(index: Index, entry: Entry, owner: str | None, kind: str | None, state: State | None) -> bool:
    resource = entry.resource
    if (owner is not None and resource.owner != owner) or (kind is not None and resource.type != kind):
        return False
    return state is None or shown_state(index, entry) is state


def _in_short(index: Index, entry: Entry) -> dict[str, object]:
    resource = entry.resource
    return {
        "owner": resource.owner, "type": resource.type, "id": resource.id, "state": shown_state(index, entry),
        "rule": entry.rule, "grace_class": entry.grace_class, "incarnation": entry.incarnation,
        "creator": entry.creator, "holds": len(entry.holds), "pinned": bool(entry.pin), "revision": entry.record,
    }  # fmt: skip


def _in_full(index: Index, entry: Entry) -> dict[str, object]:
    standing = index.policy.of(entry.resource, entry.rule)
    holds = []
    for hold in entry.holds:
        found = index.holder(hold.holder)
        status = "released" if hold.released else found.status if found else "unknown"
        holds.append({"holder": hold.holder, "revision": hold.revision, "status": status})
    return {
        **_in_short(index, entry),
        "holds": holds,
        "referenced_by": [str(source.resource) for source in entry.sources],
        "mode": standing.mode or "unknown",
        "why": standing.why,
        "restless": entry.facts.holding is Holding.RESTLESS,
        "next_step": entry.step,
        "tombstone": entry.tombstone or None,
        "grace": entry.facts.grace.value,
        "sweep": {"state": entry.sweep_state.value, "revision": entry.sweep} if entry.sweep else None,
    }


def _holder_view(holder: Holder, found: HolderEntry) -> dict[str, object]:
    return {
        "holder": holder, "service": found.service, "instance": found.instance, "kind": found.kind,
        "status": found.status, "ended": found.ended, "ttl_seconds": found.ttl_seconds,
        "resources": len(found.resources), "beacon": found.beacon or None, "roster": found.roster or None,
    }  # fmt: skip
