"""The lease cache: what we hold, and so what an observation asks for. Pure; instants come in.

- A use of what is held, or about to be held, by the same holder asks for nothing: that is the point of a cache.
- A timer's hold counts only while its window is the current one; else the use moves it, once per window.
- A creation is always registered: the owner may have made a new incarnation under an id we know.
- At most ``MAX_HELD`` holds are remembered. The oldest without an idle time is forgotten first: it stays held in etcd,
  and its next use acquires it once more than needed.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

from leasehold.protocol.names import Holder, Resource
from leasehold.sidecar.holds.entries import HOLDING, Acquire, Forget, Holding, Lost, Operation, Register, Release, State
from leasehold.sidecar.observe.events import Creation, Deletion, Observation, Use

MAX_HELD = 200_000
"""About 100 MB."""


@dataclass(frozen=True, slots=True)
class AlreadyHeld:
    """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Joined:
    """On its way already, as this operation."""

    n: int


@dataclass(slots=True)
class Cache:
    """Over the journal's state: what was used when, and what is on its way."""

    state: State
    _used: dict[tuple[Resource, Holder], float] = field(default_factory=dict)
    _latest: dict[Resource, int] = field(default_factory=dict)
    _shortest_idle: float = math.inf

    def resume(self, now: float) -> None:
        """After a replay: idle times begin again, pending operations are on their way."""
        for held in self.state.holdings():
            self._touch(held, now)
        for n in sorted(self.state.pending):
            self.on_pending(self.state.pending[n])

    def decide(
        self, observation: Observation, holder: Holder | None, since: str, now: float
    ) -> Operation | AlreadyHeld | Joined:
        """What this observation asks for; ``holder`` is the rule's, ``None`` for deletions only."""
        if isinstance(observation, Deletion):
            return self._forget(observation.resource)
        if holder is None:
            raise ValueError(f"rule {observation.rule.name} says {observation.rule.on}, but not held by whom")
        if isinstance(observation, Creation):
            return self._register(observation, holder, since)
        return self._use(observation, holder, since, now)

    def on_pending(self, operation: Operation) -> None:
        """An operation was journalled."""
        if operation.resource is not None:
            self._latest[operation.resource] = operation.n

    def on_done(self, operation: Operation, now: float) -> None:
        """An operation ended, whichever way."""
        resource = operation.resource
        if resource is None:
            return
        if self._latest.get(resource) == operation.n:
            del self._latest[resource]
        if isinstance(operation, HOLDING):
            self._touch(operation, now)

    def idle(self, now: float, limit: int) -> list[Release]:
        """Holds that nobody used for longer than their rule says, at most ``limit``."""
        found: list[Release] = []
        # Uses are kept in their order, so nothing after the first recent one can be due.
        due = itertools.takewhile(lambda one: now - one[1] >= self._shortest_idle, self._used.items())
        for (resource, holder), used in list(due):
            held = self.state.holding(resource, holder)
            if held is None or not held.idle:
                del self._used[resource, holder]
            elif now - used >= held.idle and resource not in self._latest:
                del self._used[resource, holder]
                found.append(Release(self.state.next + len(found), resource, holder, held.n, held.rule, held.since))
                if len(found) == limit:
                    break
        return found

    def excess(self, limit: int = MAX_HELD) -> list[Lost]:
        """Holds to forget because there are too many to remember; some more than needed, so that it is rare."""
        if self.state.held_count <= limit:
            return []
        surplus = self.state.held_count - limit + limit // 50
        found: list[Lost] = []
        for held in self.state.holdings():
            if not held.idle:
                found.append(Lost(held.resource, held.holder))
                if len(found) == surplus:
                    break
        return found

    # --- parts --------------------------------------------------------------------------------------------------

    def _register(self, creation: Creation, holder: Holder, since: str) -> Register:
        rule = creation.rule
        intent = self.state.intents.get(creation.call)
        return Register(
            n=self.state.next,
            resource=creation.resource,
            holder=holder,
            rule=rule.name,
            incarnation=creation.incarnation,
            grace_class=rule.grace_class,
            since=since,
            trace=creation.trace,
            idle=_longer(float(rule.idle_release or 0), self.state.holding(creation.resource, holder)),
            call=creation.call if intent is not None else None,
            intender=intent.holder if intent is not None else None,
        )

    def _use(self, use: Use, holder: Holder, since: str, now: float) -> Acquire | AlreadyHeld | Joined:
        idle = float(use.rule.idle_release or 0)  # a plain number: Seconds is not for the journal
        coming = self.state.pending.get(self._latest.get(use.resource, 0))
        if isinstance(coming, HOLDING) and coming.holder == holder and _covers(coming, idle):
            return Joined(coming.n)
        held = self.state.holding(use.resource, holder)
        if coming is None and held is not None and _covers(held, idle):
            self._touch(held, now)
            return AlreadyHeld()
        replacing = self._earlier_timer(use.resource, holder) if is_timer(holder) else None
        idle = _longer(idle, held)
        return Acquire(self.state.next, use.resource, holder, use.rule.name, since, idle, replacing)

    def _earlier_timer(self, resource: Resource, holder: Holder) -> Holder | None:
        held = self.state.held.get(resource, ())
        return next((one.holder for one in held if is_timer(one.holder) and one.holder != holder), None)

    def _touch(self, held: Holding, now: float) -> None:
        if held.idle:
            key = held.resource, held.holder
            self._used.pop(key, None)
            self._used[key] = now
            self._shortest_idle = min(self._shortest_idle, held.idle)

    def _forget(self, resource: Resource) -> Forget:
        known = {held.incarnation for held in self.state.held.get(resource, ()) if isinstance(held, Register)}
        return Forget(self.state.next, resource, known.pop() if len(known) == 1 else "")


def is_timer(holder: Holder) -> bool:
    """Whether a holder is a timer, by its name."""
    return "!" in holder


def _covers(held: Holding, idle: float) -> bool:
    """Whether a hold lasts at least as long as one with this idle time (0: as long as its holder)."""
    return held.idle == 0 or 0 < idle <= held.idle


def _longer(idle: float, held: Holding | None) -> float:
    if held is None or not _covers(held, idle):
        return idle
    return held.idle
