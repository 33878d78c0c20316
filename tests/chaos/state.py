"""etcd's keys as they stood at any revision, replayed from what the witness saw. An independent reading of the layout:
``/leasehold/1/<tenant>/<family>/<percent-encoded components>``. Nothing of the product is imported here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from urllib.parse import unquote

from tests.chaos.history import Event

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """A key as it stands. ``value`` is its JSON, or ``None`` where it is none."""

    value: Any
    created: int
    modified: int
    lease: int

    def __getitem__(self, name: str) -> Any:
        return self.value.get(name) if isinstance(self.value, dict) else None


@dataclass(frozen=True, slots=True)
class Step:
    """A change of a key of ours, with what stood there before."""

    event: Event
    family: str
    parts: Parts
    before: Item | None
    after: Item | None

    @property
    def resource(self) -> Parts:
        """Owner, type and id: of the families that are about one."""
        return self.parts[:3]


@dataclass(slots=True)
class State:
    """Everything of one tenant at one revision."""

    tenant: str
    revision: int = 0
    families: dict[str, dict[Parts, Item]] = field(default_factory=dict)
    _of_resource: dict[tuple[str, Parts], dict[Parts, Item]] = field(default_factory=dict)

    def get(self, family: str, *parts: str) -> Item | None:
        return self.families.get(family, {}).get(parts)

    def all(self, family: str) -> dict[Parts, Item]:
        return self.families.get(family, {})

    def about(self, family: str, resource: Parts) -> dict[Parts, Item]:
        """Holds on a resource, or references to it."""
        return self._of_resource.get((family, resource), {})

    def alive(self, holder: str) -> bool:
        return self.get("beacons", holder) is not None

    def steps(self, events: Iterable[Event]) -> Iterator[list[Step]]:
        """Revision by revision: what it changes, *before* it is applied. Judges look at ``self`` meanwhile."""
        for revision, together in groupby(events, key=lambda event: event.revision):
            steps = [step for event in together if (step := self._step(event)) is not None]
            yield steps
            for step in steps:
                self._apply(step)
            self.revision = revision

    def _step(self, event: Event) -> Step | None:
        found = parse(event.key, self.tenant)
        if found is None:
            return None
        family, parts = found
        before = self.get(family, *parts)
        after = None
        if not event.deleted:
            created = before.created if before else event.revision
            after = Item(_json(event.value), created, event.revision, event.lease)
        return Step(event, family, parts, before, after)

    def _apply(self, step: Step) -> None:
        _put(self.families.setdefault(step.family, {}), step)
        if step.family in {"holds", "refs"}:
            _put(self._of_resource.setdefault((step.family, step.resource), {}), step)


def parse(key: str, tenant: str) -> tuple[str, Parts] | None:
    """Family and decoded components; ``None`` for what is not this tenant's."""
    prefix = f"/leasehold/1/{tenant}/"
    if not key.startswith(prefix):
        return None
    family, *parts = key.removeprefix(prefix).split("/")
    return family, tuple(map(unquote, parts))


def instance_of(holder: str) -> str:
    """A process holder is ``service@instance~start``: the instance; empty for the other kinds."""
    return holder.partition("@")[2].partition("~")[0]


def _put(items: dict[Parts, Item], step: Step) -> None:
    if step.after is None:
        items.pop(step.parts, None)
    else:
        items[step.parts] = step.after


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
