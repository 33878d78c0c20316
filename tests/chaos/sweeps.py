"""The irreversible part as the witness saw it: one ``Sweep`` from its ``prepared`` to the end of its key."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.chaos.history import Call, Event, History
from tests.chaos.state import Item, Parts, State, Step


@dataclass(frozen=True, slots=True)
class Send:
    """``sent(n)`` as written. ``fences`` are those of all shards at that revision."""

    attempt: int
    fence: int
    event: Event
    fences: frozenset[int]


@dataclass(slots=True)
class Sweep:
    """``holds`` are those on the resource when it was prepared, by holder."""

    resource: Parts
    incarnation: str
    prepared: Event
    tombstone: Item | None
    holds: dict[str, Item]
    sends: list[Send] = field(default_factory=list)
    fences: list[int] = field(default_factory=list)
    ended: Event | None = None

    @property
    def uid(self) -> str:
        """Of the incarnation it is about; empty if it is known by something else."""
        kind, _, uid = self.incarnation.partition(":")
        return uid if kind == "uid" else ""


def sweeps_of(history: History) -> dict[Parts, list[Sweep]]:
    """By resource, in their order."""
    found: dict[Parts, list[Sweep]] = {}
    state = State(history.terms.tenant)
    for steps in state.steps(history.events):
        for step in steps:
            if step.family == "sweeps":
                _take(found.setdefault(step.resource, []), step, state)
    return found


def by_name(sweeps: dict[Parts, list[Sweep]]) -> dict[tuple[str, str], list[Sweep]]:
    """The same by owner and id, as ledgers know them."""
    return {(resource[0], resource[2]): found for resource, found in sweeps.items()}


def fences(state: State) -> frozenset[int]:
    """Of whoever may act at this revision, shard by shard."""
    return frozenset(shard.created for shard in state.all("shards").values())


def sweep_behind(sweeps: list[Sweep], call: Call) -> Sweep | None:
    """The one that a collector's call belongs to: the last whose first send may have come before it arrived."""
    before = [one for one in sweeps if one.sends and one.sends[0].event.earliest <= call.arrived]
    return before[-1] if before else None


def _take(sweeps: list[Sweep], step: Step, state: State) -> None:
    if step.after is None:
        if sweeps:
            sweeps[-1].ended = step.event
        return
    if step.before is None:
        holds = {parts[3]: hold for parts, hold in state.about("holds", step.resource).items()}
        tombstone = state.get("tombstones", *step.resource)
        sweeps.append(Sweep(step.resource, str(step.after["incarnation"]), step.event, tombstone, holds))
    fence, attempt = int(step.after["fence"] or 0), int(step.after["attempt"] or 0)
    if step.before is not None or not step.after["cycle"]:  # a ring is prepared by whoever has its first member's shard
        sweeps[-1].fences.append(fence)
    if step.after["state"] == "sent" and attempt > (int(step.before["attempt"] or 0) if step.before else 0):
        sweeps[-1].sends.append(Send(attempt, fence, step.event, fences(state)))
