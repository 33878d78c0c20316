"""Who holds and needs what, from the index: of what fits a filter, or of what one resource is connected with."""

from __future__ import annotations

import asyncio

from leasehold import v1
from leasehold.control_plane.core.facts import Entry
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.operator import views
from leasehold.control_plane.operator.lists import AT_A_TIME, Lists
from leasehold.control_plane.operator.problem import invalid
from leasehold.operating.deeds import Unknown
from leasehold.protocol.names import Resource
from leasehold.protocol.transactions import EVERY

DEFAULT_NODES = 1000
MOST_NODES = 5000


class Graph:
    """Draws."""

    def __init__(self, index: Index, lists: Lists) -> None:
        self._index, self._lists = index, lists

    async def draw(self, asked: v1.GraphRequest, revision: int) -> v1.GraphResponse:
        """Raises ``Problem``; ``Unknown`` if there is nothing to draw around."""
        if asked.max_nodes > MOST_NODES:
            raise invalid(f"max_nodes: expected at most {MOST_NODES}, got {asked.max_nodes}")
        most = asked.max_nodes or DEFAULT_NODES
        wanted = asked.filter or v1.ResourceFilter()
        if asked.around is not None:
            entries = [one for one in await self._connected(asked.around, most) if views.fits(self._index, one, wanted)]
        else:
            entries = []
            async for entry in self._lists.entries(wanted):
                entries.append(entry)
                if len(entries) > most:
                    break
        drawn = [self._node(entry) for entry in entries[:most]]
        return v1.GraphResponse(revision=revision, resources=drawn, truncated=len(entries) > most)

    async def _connected(self, around: v1.ResourceName, most: int) -> list[Entry]:
        start = views.named(around)
        if self._index.entry(start) is None:
            raise Unknown(f"{start}: there is no record of it")
        met: dict[Resource, Entry] = {}
        waiting = [start]
        for number in range(1, 100 * most):
            if not waiting or len(met) > most:
                break
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)
            resource = waiting.pop()
            entry = self._index.entry(resource)
            if entry is not None and resource not in met:
                met[resource] = entry
                waiting += (source.resource for source in entry.sources)
                waiting += (one for one in self._index.targets_of(resource) if one.id != EVERY)
        return list(met.values())

    def _node(self, entry: Entry) -> v1.GraphNode:
        resource = entry.resource
        return v1.GraphNode(
            resource=str(resource),
            state=views.shown_state(self._index, entry).value,
            held_by=list(views.in_short(self._index, entry).held_by),
            needed_by=[str(source.resource) for source in entry.sources if source.resource != resource],
            needs=[str(one) for one in self._index.targets_of(resource) if one != resource],
            cycle=[str(one) for one in self._index.cycle_of(resource)],
        )
