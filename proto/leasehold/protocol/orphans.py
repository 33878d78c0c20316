"""The rules under which the inventory records what it finds: one per owner and type, out of the owner's document. Pure.

Nobody writes them, and their names cannot be those of written rules (a slash is in no name).
"""

from __future__ import annotations

from collections.abc import Callable

from leasehold.protocol.lookups import Inventory
from leasehold.protocol.names import RuleName
from leasehold.protocol.records import HolderKind
from leasehold.protocol.rules import Match, Mode, On, Owner, Rule, RuleSet, Source

_PREFIX = "inventory/"


def orphan_rule_name(owner: str, kind: str) -> RuleName:
    """What the records of orphans name as their rule."""
    return RuleName(f"{_PREFIX}{owner}/{kind}")


def is_orphan_rule(name: str) -> bool:
    return name.startswith(_PREFIX)


def inventory_of(owner: Owner, kind: str) -> Inventory | None:
    """How all of one type are listed."""
    special = owner.types.get(kind)
    return special.inventory if special else None


def orphan_rule(name: str, owner_named: Callable[[str], Owner | None]) -> Rule | None:
    """The rule of that name; ``None`` when it is none of these, or its owner offers no such inventory (any more)."""
    parts = name.split("/")
    if len(parts) != 3 or not is_orphan_rule(name):
        return None
    owner = owner_named(parts[1])
    inventory = inventory_of(owner, parts[2]) if owner is not None else None
    if owner is None or inventory is None:
        return None
    return Rule(
        name=name, owner=owner.name, type=parts[2], on=On.CREATE, match=Match(), id=Source(json=inventory.id),
        held_by=HolderKind.PROCESS, mode=Mode(inventory.mode), grace=inventory.grace,
    )  # fmt: skip


def rule_in(rules: RuleSet, name: str) -> Rule | None:
    """A written rule, or one of these."""
    return rules.rule(name) or orphan_rule(name, rules.owner)
