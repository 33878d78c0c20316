"""``get`` and ``shadow`` by the operator API: page after page, as rows of the same columns."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import betterproto2

from leasehold import v1
from leasehold.cli.render import Row

PAGE = 1000
Asking = Callable[[v1.OperatorStub, "Wanted"], AsyncIterator[Any]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; empty: all."""

    owner: str = ""
    kind: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """One thing that can be listed."""

    ask: Asking
    row: Callable[[Any], Row]


def plain(message: betterproto2.Message) -> dict[str, Any]:
    """For scripts: every field, under its name in the .proto."""
    return message.to_dict(casing=betterproto2.Casing.SNAKE, include_default_values=True)


async def _paged(call: Callable[[str], Awaitable[Any]], field: str) -> AsyncIterator[Any]:
    token = ""
    while True:
        answer = await call(token)
        for one in getattr(answer, field):
            yield one
        token = answer.next_page_token
        if not token:
            return


def _resources(api: v1.OperatorStub, wanted: Wanted) -> AsyncIterator[Any]:
    fitting = v1.ResourceFilter(owner=wanted.owner, type=wanted.kind, states=[wanted.state] if wanted.state else [])
    return _paged(
        lambda token: api.list_resources(v1.ListResourcesRequest(filter=fitting, page_size=PAGE, page_token=token)),
        "resources",
    )


def _holders(api: v1.OperatorStub, wanted: Wanted) -> AsyncIterator[Any]:
    return _paged(
        lambda token: api.list_holders(v1.ListHoldersRequest(status=wanted.state, page_size=PAGE, page_token=token)),
        "holders",
    )


def _tombstones(api: v1.OperatorStub, wanted: Wanted) -> AsyncIterator[Any]:
    return _with_state(
        wanted,
        _paged(
            lambda token: api.list_tombstones(
                v1.ListTombstonesRequest(owner=wanted.owner, type=wanted.kind, page_size=PAGE, page_token=token)
            ),
            "tombstones",
        ),
    )


def _sweeps(api: v1.OperatorStub, wanted: Wanted) -> AsyncIterator[Any]:
    return _with_state(
        wanted,
        _paged(
            lambda token: api.list_sweeps(
                v1.ListSweepsRequest(owner=wanted.owner, type=wanted.kind, page_size=PAGE, page_token=token)
            ),
            "sweeps",
        ),
    )


async def _with_state(wanted: Wanted, found: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for one in found:
        if wanted.state in {"", one.resource.state}:
            yield one


async def _owners(api: v1.OperatorStub, wanted: Wanted) -> AsyncIterator[Any]:
    for one in (await api.get_rules(v1.GetRulesRequest())).owners:
        if wanted.owner in {"", one.name}:
            yield one


async def _rules(api: v1.OperatorStub, wanted: Wanted) -> AsyncIterator[Any]:
    for one in (await api.get_rules(v1.GetRulesRequest())).rules:
        written = document(one)
        fits = (("owner", wanted.owner), ("type", wanted.kind))
        if all(not want or written.get(field) == want for field, want in fits) and wanted.state in {"", one.mode}:
            yield one


def document(one: v1.Document) -> dict[str, Any]:
    """As it was written; empty if that is no object."""
    found = json.loads(one.json)
    return found if isinstance(found, dict) else {}


def _name(found: v1.Resource) -> str:
    name = found.name or v1.ResourceName()
    return f"{name.owner}/{name.type}/{name.id}"


def _resource_row(one: v1.Resource) -> Row:
    state = f"{one.state} (pinned)" if one.pinned else one.state
    return _name(one), state, ", ".join(one.held_by) or "-", one.rule, one.grace_class


def _holder_row(one: v1.HolderInfo) -> Row:
    status = f"{one.status} ({one.ended})" if one.ended else one.status
    return one.holder, status, one.kind, str(one.resources), f"{one.ttl_seconds}s", ""


def _tombstone_row(one: v1.TombstoneInfo) -> Row:
    found, tombstone = one.resource or v1.Resource(), one.tombstone or v1.Tombstone()
    epoch = {"condemned": "not yet open"}.get(found.state, "open")
    return _name(found), found.state, found.grace_class, epoch, str(tombstone.revision), tombstone.reason


def _sweep_row(one: v1.SweepInfo) -> Row:
    found, sweep = one.resource or v1.Resource(), one.sweep or v1.Sweep()
    return _name(found), found.state, str(sweep.attempt), sweep.outcome or "-", sweep.since


LISTINGS: Mapping[str, Listing] = {
    "resources": Listing(_resources, _resource_row),
    "holders": Listing(_holders, _holder_row),
    "tombstones": Listing(_tombstones, _tombstone_row),
    "sweeps": Listing(_sweeps, _sweep_row),
}
DOCUMENTS: Mapping[str, Asking] = {"owners": _owners, "rules": _rules}
"""These come as they are stored, and are shown as if they had been read from etcd."""


async def collect(api: v1.OperatorStub, asking: Asking, wanted: Wanted) -> list[Any]:
    """All pages of it."""
    return [one async for one in asking(api, wanted)]
