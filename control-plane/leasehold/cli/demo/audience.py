"""Follows every resource through its states, from etcd, as an onlooker: it decides nothing and touches nothing.

Looks a few times a second at everything the tenant has, at one revision. A state that lasts shorter than that may be
missed; what counts is compared with the owners' own contents at the end (``verdict``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leasehold.cli.demo.show import Show
from leasehold.operating.states import ResourceView, resource_views
from leasehold.operating.survey import Survey, take
from leasehold.protocol.errors import StoreError
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Resource
from leasehold.protocol.ports import Store

EVERY_SECONDS = 0.2
SWEPT, FORGOTTEN = "swept", "deleted by its program"


@dataclass(frozen=True, slots=True)
class Change:
    """A resource went from one state to another (``None``: it was not there before), or its living holders changed."""

    resource: Resource
    before: str | None
    after: str
    holders: tuple[str, ...]


class Audience:
    """``states`` and living ``holders`` of each resource, as they were last seen together."""

    def __init__(self, store: Store, keys: Keyspace, show: Show, deadline: float) -> None:
        self.states: dict[Resource, str] = {}
        self.holders: dict[Resource, tuple[str, ...]] = {}
        self._store = store
        self._keys = keys
        self._show = show
        self._deadline = deadline

    async def watch(self) -> None:
        """Look, tell, wait, until cancelled. etcd being away for a moment is no reason to stop."""
        while True:
            try:
                await self.look()
            except StoreError:
                self._show.say("(etcd does not answer at the moment)")
            await asyncio.sleep(EVERY_SECONDS)

    async def look(self) -> dict[Resource, str]:
        """Look once. Returns what is recorded: each resource and its state."""
        picture = await take(self._store, self._keys, deadline=self._deadline)
        views = resource_views(picture)
        changes = compare(self.states, self.holders, views, picture)
        for change in changes:
            self.states[change.resource] = change.after
            self.holders[change.resource] = change.holders
        self._show.changed(changes)
        return {_name(view): view.state.value for view in views}


def compare(
    before: Mapping[Resource, str],
    held_by: Mapping[Resource, tuple[str, ...]],
    views: Sequence[ResourceView],
    picture: Survey,
) -> list[Change]:
    """What is different now. A record that is gone was swept if there is a grave, else forgotten by its program."""
    changes = []
    for view in views:
        resource, state = _name(view), view.state.value
        holders = tuple(hold.holder for hold in view.alive)
        if (before.get(resource), held_by.get(resource, ())) != (state, holders):
            changes.append(Change(resource, before.get(resource), state, holders))
    recorded = {_name(view) for view in views}
    for resource, state in before.items():
        if resource not in recorded and state not in {SWEPT, FORGOTTEN}:
            after = SWEPT if resource in picture.graves else FORGOTTEN
            changes.append(Change(resource, state, after, ()))
    return changes


def _name(view: ResourceView) -> Resource:
    return Resource(view.owner, view.type, view.id)  # type: ignore[arg-type]
