"""The owners as their documents describe them now: a client and a guard each, made anew when a document changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from leasehold.control_plane.core.policy import Policy
from leasehold.control_plane.owners.guard import OwnerGuard
from leasehold.control_plane.owners.outcome import Answer, Fetched
from leasehold.protocol.names import Instant, Resource
from leasehold.protocol.ports import Clock
from leasehold.protocol.rules import NoticeCall, Owner, Retries, VerifyCall


class Deleter(Protocol):
    """What an adapter offers for the types that it deletes."""

    async def sweep(self, resource: Resource, incarnation: str, *, first: bool) -> Answer:
        """Delete one incarnation of a resource at its owner, safely repeatable."""
        ...

    async def close(self) -> None: ...


class OwnerClient(Deleter, Protocol):
    """Everything that may be asked of one owner. Questions are asked by HTTP, however it deletes."""

    async def verify(self, resource: Resource, call: VerifyCall) -> Answer:
        """Whether a resource is in use after all."""
        ...

    async def tell(self, resource: Resource, call: NoticeCall, incarnation: str | None) -> Answer:
        """That a resource is condemned, or (without ``incarnation``) is not any more."""
        ...

    async def fetch(self, target: str, method: str = "GET") -> Fetched | Answer:
        """Ask for something that is no single resource; an ``Answer`` says why there was none."""
        ...


@dataclass(frozen=True, slots=True)
class Office:
    """How one owner is reached."""

    owner: Owner
    client: OwnerClient
    guard: OwnerGuard
    freed: Callable[[], None]
    """Called after each call: whoever waits for room, for whatever purpose, may look again."""

    def begin(self, now: Instant) -> None:
        """A call is about to be made; ``end`` follows, whatever happens."""
        self.guard.on_call(now)

    def end(self, now: Instant, answer: Answer | None, *, first: bool) -> None:
        """``answer`` None: it says nothing about the owner as a whole."""
        if answer is None:
            self.guard.on_end()
        else:
            self.guard.on_answer(now, answer.verdict, first=first, wait=answer.retry_after)
        self.freed()


class Owners:
    """All owners. ``connect`` makes the adapter for one."""

    def __init__(self, policy: Policy, clock: Clock, connect: Callable[[Owner], OwnerClient]) -> None:
        self._policy, self._clock, self._connect = policy, clock, connect
        self._offices: dict[str, Office] = {}
        self._leaving: list[OwnerClient] = []
        self._asked: set[str] = set()
        self.on_freed: Callable[[], None] = lambda: None

    def get(self, name: str) -> Office | None:
        """``None`` for an owner without a readable document."""
        owner, office = self._policy.owner(name), self._offices.get(name)
        if office is not None and office.owner != owner:
            # Calls under way keep their client; it is closed with everything else.
            self._leaving.append(self._offices.pop(name).client)
            office = None
        if owner is not None and office is None:
            office = self._offices[name] = Office(owner, self._connect(owner), OwnerGuard(owner.limits), self._freed)
        return office

    def room(self, name: str, in_hand: int) -> bool:
        """Whether another sweep of this owner may begin. One without a document has room: it is told so."""
        office = self.get(name)
        self._asked.add(name)
        return office is None or office.guard.may_call(Instant(self._clock.now()), in_hand)

    def room_to_verify(self, name: str, in_hand: int) -> bool:
        """Whether a sweep of this owner may be prepared: always, where the owner is not asked beforehand."""
        owner = self._policy.owner(name)
        if owner is None or not owner.is_asked:
            return True
        return self.room(name, in_hand)

    def reopens(self) -> Instant | None:
        """When the first of the owners asked about since the last call has room again by time alone."""
        now = Instant(self._clock.now())
        asked, self._asked = self._asked, set()
        offices = (self._offices[name] for name in asked if name in self._offices)
        instants = (office.guard.reopens_at(now) for office in offices)
        return min((instant for instant in instants if instant is not None), default=None)

    def retries(self, name: str) -> Retries:
        """How often, and how patiently, its deletes are tried again."""
        owner = self._policy.owner(name)
        return owner.retries if owner is not None else Retries()

    def is_suspect(self, name: str) -> bool:
        office = self._offices.get(name)
        return office is not None and office.guard.suspect

    def states(self) -> dict[str, str]:
        """By owner: ``calling``, ``suspect``, ``misconfigured`` or ``unreachable``."""
        return {name: office.guard.state for name, office in self._offices.items()}

    def _freed(self) -> None:
        self.on_freed()

    async def close(self) -> None:
        for client in (*self._leaving, *(office.client for office in self._offices.values())):
            await client.close()
        self._leaving.clear()
        self._offices.clear()
