"""Watchers are bounded: who does not keep up is told so, and holds up nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from leasehold import v1
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.operator import watching
from leasehold.control_plane.operator.lists import Lists
from leasehold.control_plane.operator.problem import Problem
from leasehold.control_plane.operator.watching import Watching
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Holder, LeaseId, OwnerName, Resource, ResourceId, Revision, Tenant, TypeName
from leasehold.protocol.records import HoldRecord, ResourceRecord, encode
from leasehold.protocol.store import Change, Event, KeyValue

KEYS = Keyspace(Tenant("t"))


class Plane:
    revision = 7
    current = True

    def suspects(self) -> int:
        return 0

    def brake(self) -> v1.BrakeStatusResponse:
        return v1.BrakeStatusResponse(armed=True)

    def calling(self) -> dict[str, str]:
        return {}


def appear(index: Index, *names: str, owner: str = "store", revision: int = 2) -> None:
    for name in names:
        resource = Resource(OwnerName(owner), TypeName("blob"), ResourceId(name))
        for key, value in (
            (KEYS.record(resource), encode(ResourceRecord("i", "make", "1s", "a"))),
            (KEYS.hold(resource, Holder("a")), encode(HoldRecord("b", 1))),
        ):
            index.apply(Event(Change.PUT, KeyValue(key, value, Revision(revision), Revision(revision), 1, LeaseId(0))))


async def begun(watches: Watching, asked: v1.WatchRequest) -> AsyncIterator[v1.WatchResponse]:
    stream = watches.watch(asked)
    assert (await anext(stream)).overview is not None
    return stream


async def test_a_watcher_that_does_not_keep_up_is_told_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MOST_PENDING", 3)
    index = Index(KEYS)
    watches = Watching(index, Lists(index, Plane()))
    async with aclosing(await begun(watches, v1.WatchRequest())) as stream:  # type: ignore[type-var]
        appear(index, *"abcd")
        watches.on_index()
        async with asyncio.timeout(10):
            assert (await anext(stream)).lagged is not None
            appear(index, "e")
            watches.on_index()
            changed = (await anext(stream)).changed
        assert changed is not None
        assert changed.name == v1.ResourceName(owner="store", type="blob", id="e")


async def test_changes_of_one_resource_are_told_once_as_it_is_now_and_only_what_fits() -> None:
    index = Index(KEYS)
    watches = Watching(index, Lists(index, Plane()))
    asked = v1.WatchRequest(filter=v1.ResourceFilter(owner="store"), overview_seconds=3600)
    async with aclosing(await begun(watches, asked)) as stream:  # type: ignore[type-var]
        for revision in (2, 3, 4):
            appear(index, "x", revision=revision)
            appear(index, "y", owner="other", revision=revision)
            watches.on_index()
        async with asyncio.timeout(10):
            changed = (await anext(stream)).changed
            assert changed is not None
            assert (changed.name, changed.revision) == (v1.ResourceName(owner="store", type="blob", id="x"), 4)
            appear(index, "z")
            watches.on_index()
            following = (await anext(stream)).changed
        assert following is not None
        assert following.name == v1.ResourceName(owner="store", type="blob", id="z"), "x once, y not at all"


async def test_when_nobody_watches_nothing_is_remembered_and_too_many_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "MOST_WATCHERS", 1)
    index = Index(KEYS)
    watches = Watching(index, Lists(index, Plane()))
    assert index.touched is None
    async with aclosing(await begun(watches, v1.WatchRequest())):  # type: ignore[type-var]
        assert index.touched is not None
        with pytest.raises(Problem, match="1 watches are open"):
            await anext(watches.watch(v1.WatchRequest()))
    assert index.touched is None
