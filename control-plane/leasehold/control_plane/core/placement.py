"""Which replica should act for which shard: highest random weight over the replicas that are alive. Pure.

Every replica works it out for itself from the same facts. It needs no agreement: a claim takes only what nobody has,
and what another should have is given up by who has it. While two see different replicas, a shard stays where it is, or
stays free for a moment; it is never in two hands.

When a replica ends only its shards move, evenly over the others; when one joins only those move that become its own.
"""

from __future__ import annotations

from collections.abc import Collection, Container
from dataclasses import dataclass
from hashlib import blake2b


def rightful(shard: int, replicas: Collection[str]) -> str | None:
    """Who should act for a shard; ``None`` when nobody is alive."""
    return max(replicas, key=lambda replica: (_weight(shard, replica), replica), default=None)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one replica should do about shards: claim those that are free, leave those that are another's."""

    claim: tuple[int, ...]
    leave: tuple[int, ...]


def plan(me: str, shards: int, alive: Collection[str], taken: Container[int], mine: Collection[int]) -> Plan:
    """``taken``: shards that somebody acts for, as far as is known. ``mine``: those I act for.

    A shard beyond ``shards`` is left whoever is alive: there is no such shard.
    """
    replicas = {*alive, me}  # I may not have seen my own key yet
    should = {shard for shard in range(shards) if rightful(shard, replicas) == me}
    return Plan(
        claim=tuple(sorted(shard for shard in should if shard not in taken and shard not in mine)),
        leave=tuple(sorted(shard for shard in mine if shard not in should)),
    )


def _weight(shard: int, replica: str) -> bytes:
    return blake2b(f"{shard}\0{replica}".encode(), digest_size=8, person=b"leasehold-shard").digest()
