"""Streams of what changes: each watcher has a bounded set of what it was not told yet, collapsed by resource.

One that does not keep up is told so and begins anew; it never holds up the collector or the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from grpclib.const import Status

from leasehold import v1
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.operator import views
from leasehold.control_plane.operator.lists import STATES, Lists, expect_states
from leasehold.control_plane.operator.problem import Problem
from leasehold.protocol.names import Resource

MOST_WATCHERS = 64
MOST_PENDING = 10_000
OVERVIEW_SECONDS = 2
ALIVE_SECONDS = 15.0


class _Watcher:
    def __init__(self) -> None:
        self.pending: dict[Resource, None] = {}
        self.lagged = False
        self.bell = asyncio.Event()

    def tell(self, touched: set[Resource]) -> None:
        self.pending.update(dict.fromkeys(touched))
        if len(self.pending) > MOST_PENDING:
            self.pending.clear()
            self.lagged = True
        self.bell.set()

    def take(self) -> tuple[list[Resource], bool]:
        taken, lagged = list(self.pending), self.lagged
        self.pending.clear()
        self.lagged = False
        self.bell.clear()
        return taken, lagged


class Watching:
    """All watchers of one replica."""

    def __init__(self, index: Index, lists: Lists) -> None:
        self._index, self._lists = index, lists
        self._watchers: set[_Watcher] = set()

    def on_index(self) -> None:
        """The index changed."""
        touched = self._index.touched
        if touched:
            self._index.touched = set()
            for watcher in self._watchers:
                watcher.tell(touched)

    async def watch(self, asked: v1.WatchRequest) -> AsyncIterator[v1.WatchResponse]:
        """Until closed. Raises ``Problem``."""
        wanted = asked.filter or v1.ResourceFilter()
        expect_states(wanted.states, STATES)
        if len(self._watchers) >= MOST_WATCHERS:
            raise Problem(Status.RESOURCE_EXHAUSTED, f"{MOST_WATCHERS} watches are open here already")
        watcher = _Watcher()
        self._watchers.add(watcher)
        self._index.touched = self._index.touched or set()
        try:
            async for one in self._told(watcher, asked, wanted):
                yield one
        finally:
            self._watchers.discard(watcher)
            if not self._watchers:
                self._index.touched = None

    async def _told(
        self, watcher: _Watcher, asked: v1.WatchRequest, wanted: v1.ResourceFilter
    ) -> AsyncIterator[v1.WatchResponse]:
        every = max(asked.overview_seconds or OVERVIEW_SECONDS, 1)
        now = asyncio.get_running_loop().time
        before = self._lists.overview()
        yield v1.WatchResponse(overview=before)
        due, spoke = now() + every, now()
        while True:
            try:
                async with asyncio.timeout_at(due):
                    await watcher.bell.wait()
            except TimeoutError:
                pass
            touched, lagged = watcher.take()
            if not asked.overview_only:
                if lagged:
                    spoke = now()
                    yield v1.WatchResponse(lagged=v1.Lagged())
                for one in self._changes(touched, wanted):
                    spoke = now()
                    yield one
            if now() >= due:
                due, overview = now() + every, self._lists.overview()
                if _figures(overview) != _figures(before):
                    before, spoke = overview, now()
                    yield v1.WatchResponse(overview=overview)
                elif now() - spoke >= ALIVE_SECONDS:
                    spoke = now()
                    yield v1.WatchResponse(alive=v1.Alive())
            elif asked.overview_only:
                # Nothing of what rang is of interest: wait for the next overview's time.
                await asyncio.sleep(max(due - now(), 0))

    def _changes(self, touched: list[Resource], wanted: v1.ResourceFilter) -> Iterator[v1.WatchResponse]:
        for resource in touched:
            entry = self._index.entry(resource)
            if entry is not None and views.fits(self._index, entry, wanted):
                yield v1.WatchResponse(changed=views.in_short(self._index, entry))
            elif wanted.owner in {"", resource.owner} and wanted.type in {"", resource.type}:
                yield v1.WatchResponse(gone=views.name_of(resource))


def _figures(overview: v1.Overview) -> tuple[object, ...]:
    """All that is worth telling anew: not the time alone."""
    one = overview
    return (
        one.total, one.types, one.holders_alive, one.holders_vanished, one.armed, one.braked, one.synced,
        one.unreadable, one.suspects,
    )  # fmt: skip
