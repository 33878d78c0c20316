"""A tenant's keys as plain Python, read without a line of the product's: what the oracle judges by."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from leasehold.protocol.store import KeyValue

Thing = tuple[str, str, str]


@dataclass(frozen=True)
class Item:
    value: Any
    created: int
    modified: int


@dataclass(frozen=True)
class Picture:
    """Items by family and by the rest of the key. References to a whole type have the id ``*``."""

    families: dict[str, dict[tuple[str, ...], Item]] = field(default_factory=dict)

    def of(self, family: str) -> dict[tuple[str, ...], Item]:
        return self.families.get(family, {})

    def at(self, family: str, *parts: str) -> Item | None:
        return self.of(family).get(parts)

    @property
    def things(self) -> set[Thing]:
        """Everything that any key is about."""
        about = ("resources", "holds", "refs", "tombstones", "sweeps", "pins", "graves")
        return {parts[:3] for family in about for parts in self.of(family) if parts[2] != "*"}  # type: ignore[misc]

    @property
    def armed(self) -> Item | None:
        return self.at("control", "armed")

    def holds(self, thing: Thing) -> dict[str, Item]:
        return {parts[3]: item for parts, item in self.of("holds").items() if parts[:3] == thing}

    def living(self, thing: Thing) -> set[str]:
        """Who holds it and has a beacon."""
        return {
            holder
            for holder, hold in self.holds(thing).items()
            if not hold.value.get("released") and self.at("beacons", holder)
        }

    def sources(self, thing: Thing) -> set[Thing]:
        """What is recorded and refers to it, or to everything of its type."""
        owner, kind, _ = thing
        meant = (thing, (owner, kind, "*"))
        found = {parts[3:6] for parts in self.of("refs") if parts[:3] in meant}
        return {one for one in found if one != thing and one in self.of("resources")}  # type: ignore[misc]

    def needed(self, thing: Thing) -> bool:
        """Whether there is a record of it and somebody who lives, or something recorded, needs it."""
        return thing in self.of("resources") and bool(self.living(thing) or self.sources(thing))


def picture(items: Iterable[KeyValue]) -> Picture:
    families: dict[str, dict[tuple[str, ...], Item]] = {}
    for item in items:
        family, key = _parts(item.key)
        families.setdefault(family, {})[key] = Item(_value(item.value), item.create_revision, item.mod_revision)
    return Picture(families)


@lru_cache(maxsize=4096)
def _parts(key: bytes) -> tuple[str, tuple[str, ...]]:
    _, _, _, _, family, *parts = key.decode().split("/")
    return family, tuple(unquote(part) for part in parts)


@lru_cache(maxsize=4096)
def _value(value: bytes) -> Any:
    return json.loads(value) if value[:1] == b"{" else value.decode()
