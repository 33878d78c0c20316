"""The lease cache: what we hold, and so what an observation asks for. Pure; instants come in.

- A use of what is held, or about to be held, by the same holder asks for nothing: that is the point of a cache.
- A timer's hold counts only while its window is the current one; else the use moves it, once per window.
- A creation is always registered: the owner may have made a new incarnation under an id we know.
- A use of what nobody has recorded is remembered for ``STRANGE_SECONDS``: its creator's sidecar may only be late.
- At most ``MAX_HELD`` holds are remembered. The oldest without an idle time is forgotten first: it stays held in etcd,
  and its next use acquires it once more than needed.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

from leasehold.protocol.names import Holder, Resource
from leasehold.sidecar.holds.entries import (
    HOLDING,
    Acquire,
    Forget,
    Holding,
    Lost,
    Operation,
    Register,
    Release,
    State,
    covers,
    longer,
)
from leasehold.sidecar.observe.events import Creation, Deletion, Observation, Use

MAX_HELD = 200_000
"""About 100 MB."""
STRANGE_SECONDS = 120.0
MAX_STRANGERS = 10_000
"""Beyond that the oldest is forgotten; most of them were never to be recorded at all."""


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
    _strangers: dict[tuple[Resource, Holder], tuple[Acquire, float]] = field(default_factory=dict)
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
            self._strangers.pop((operation.resource, operation.holder), None)

    def on_stranger(self, use: Acquire, now: float) -> None:
        """A use found nothing recorded."""
        self._strangers[use.resource, use.holder] = use, now
        if len(self._strangers) > MAX_STRANGERS:
            del self._strangers[next(iter(self._strangers))]

    def idle(self, now: float, limit: int) -> list[Release]:
        """Holds that nobody used for longer than their rule says, at most ``limit``. A call that may yet turn out to
        have made the resource anew is a use."""
        found: list[Release] = []
        under_way = {intent.resource for intent in self.state.intents.values()}
        # Uses are kept in their order, so nothing after the first recent one can be due.
        due = itertools.takewhile(lambda one: now - one[1] >= self._shortest_idle, self._used.items())
        for (resource, holder), used in list(due):
            held = self.state.holding(resource, holder)
            if held is None or not held.idle:
                del self._used[resource, holder]
            elif now - used >= held.idle and resource not in self._latest and resource not in under_way:
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

    def is_settled(self, resource: Resource, holder: Holder, held: Holding | None) -> bool:
        """Whether exactly this is held now (``None``: nothing), and nothing is on its way for the resource."""
        return self.state.holding(resource, holder) is held and resource not in self._latest

    def strangers(self, now: float) -> list[Acquire]:
        """Uses that found nothing recorded, not long ago."""
        while self._strangers:
            first, (_, since) = next(iter(self._strangers.items()))
            if now - since < STRANGE_SECONDS:
                break
            del self._strangers[first]
        return [use for use, _ in self._strangers.values()]

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
            trace=creation.trace or creation.call,
            idle=longer(float(rule.idle_release or 0), self.state.holding(creation.resource, holder)),
            call=creation.call if intent is not None else None,
            intender=intent.holder if intent is not None else None,
            references=creation.references,
        )

    def _use(self, use: Use, holder: Holder, since: str, now: float) -> Acquire | AlreadyHeld | Joined:
        idle = float(use.rule.idle_release or 0)  # a plain number: Seconds is not for the journal
        coming = self.state.pending.get(self._latest.get(use.resource, 0))
        if isinstance(coming, HOLDING) and coming.holder == holder and covers(coming, idle):
            return Joined(coming.n)
        held = self.state.holding(use.resource, holder)
        if coming is None and held is not None and covers(held, idle):
            self._touch(held, now)
            return AlreadyHeld()
        replacing = self._earlier_timer(use.resource, holder) if is_timer(holder) else None
        idle = longer(idle, held)
        return Acquire(self.state.next, use.resource, holder, use.rule.name, since, idle, replacing)

    def _earlier_timer(self, resource: Resource, holder: Holder) -> Holder | None:
        """One whose hold may move to this timer. What ends later than this one would keeps its promise."""
        timers = (one.holder for one in self.state.held.get(resource, ()) if is_timer(one.holder))
        return next((one for one in timers if one != holder and not self._outlasts(one, holder)), None)

    def _outlasts(self, earlier: Holder, later: Holder) -> bool:
        lives = self.state.lives
        return earlier in lives and later in lives and lives[earlier].ttl_seconds > lives[later].ttl_seconds

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
