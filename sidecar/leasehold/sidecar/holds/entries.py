"""The entries of the journal, and the state they add up to. Pure.

One law carries restart safety: the running sidecar changes its state *only* by applying the entries it writes, so what
a restart replays is what there was. Entries of operations carry a number ``n`` that only grows; it is also the hold's
sequence, which makes every writing of a hold unique.

An operation is pending from its own entry until the ``Done`` that names it. Done well, a register or acquire becomes a
hold; a forget or release ends holds; an intent stays known until its call is registered or retracted.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from leasehold.protocol.names import Boot, CallId, Holder, LeaseId, Resource
from leasehold.protocol.records import Ending, HolderKind

VERSION = 1


class _Entry(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="entry", tag=str.lower):
    pass


class Head(_Entry, frozen=True):
    """First line of every file. ``next`` is the first number not given out before it was written; ``whose`` says for
    which tenant and service."""

    version: int
    next: int
    whose: str = ""


class Life(_Entry, frozen=True):
    """A holder we speak for. Written again when its lease changes (0: none yet)."""

    holder: Holder
    kind: HolderKind
    boot: Boot
    ttl_seconds: int
    since: str
    lease: LeaseId = LeaseId(0)


class Over(_Entry, frozen=True):
    """A holder that ended and whose end is told (or of no more use to anybody)."""

    holder: Holder


class Ended(_Entry, frozen=True):
    """The host ended; what is pending for this holder is still to be registered, then the end is to be told."""

    holder: Holder
    ending: Ending


class Register(_Entry, frozen=True):
    """A creation to register. ``idle``: released after so many seconds without a use (0: never)."""

    n: int
    resource: Resource
    holder: Holder
    rule: str
    incarnation: str
    grace_class: str
    since: str
    trace: str = ""
    idle: float = 0.0
    call: CallId | None = None
    intender: Holder | None = None
    references: tuple[Resource, ...] = ()


class Acquire(_Entry, frozen=True):
    """A use to hold by. ``replacing`` is the earlier timer whose hold moves."""

    n: int
    resource: Resource
    holder: Holder
    rule: str
    since: str
    idle: float = 0.0
    replacing: Holder | None = None


class Forget(_Entry, frozen=True):
    """A resource the app deleted itself. ``incarnation``: which, if we know."""

    n: int
    resource: Resource
    incarnation: str = ""


class Release(_Entry, frozen=True):
    """A hold to let go; ``hold``, ``rule`` and ``since`` are of the operation that put it."""

    n: int
    resource: Resource
    holder: Holder
    hold: int
    rule: str
    since: str


class Intend(_Entry, frozen=True):
    """A call that may create something, let through before its outcome is known. ``key``: what the owner was told to
    know it by, as the header ``sent_as``; both empty: nothing."""

    n: int
    call: CallId
    holder: Holder
    rule: str
    method: str
    target: str
    since: str
    resource: Resource | None = None
    key: str = ""
    sent_as: str = ""


class Retract(_Entry, frozen=True):
    """The intended call created nothing; ``hold``, ``rule`` and ``since`` are of the intent."""

    n: int
    call: CallId
    holder: Holder
    hold: int
    rule: str
    since: str
    resource: Resource | None = None


class Done(_Entry, frozen=True):
    """Operations that ended: ``ok`` took effect, ``dropped`` did not and never will."""

    ok: tuple[int, ...] = ()
    dropped: tuple[int, ...] = ()


class Held(_Entry, frozen=True):
    """A hold that is in etcd; written when the journal is compacted."""

    by: Register | Acquire


class Lost(_Entry, frozen=True):
    """A hold that is no more, for a reason that was none of our operations."""

    resource: Resource
    holder: Holder


class Intended(_Entry, frozen=True):
    """An intent that is in etcd; written when the journal is compacted."""

    by: Intend


Holding = Register | Acquire
Operation = Register | Acquire | Forget | Release | Intend | Retract
Entry = Head | Life | Over | Ended | Operation | Done | Held | Lost | Intended
HOLDING = (Register, Acquire)
"""The same for ``isinstance`` on the hot path: a union would be made anew for each question."""
_GUARDED = (Register, Acquire, Intend)
_OPERATIONS = (Register, Acquire, Forget, Release, Intend, Retract)


class State:
    """What the journal says. Changed by ``apply`` alone."""

    __slots__ = ("endings", "held", "held_count", "intents", "lives", "next", "pending", "whose")

    def __init__(self) -> None:
        self.next = 1
        self.whose = ""
        self.lives: dict[Holder, Life] = {}
        self.endings: dict[Holder, Ending] = {}
        self.pending: dict[int, Operation] = {}
        self.held: dict[Resource, tuple[Holding, ...]] = {}
        self.held_count = 0
        self.intents: dict[CallId, Intend] = {}

    def apply(self, entry: Entry) -> None:
        if isinstance(entry, _OPERATIONS):
            self.pending[entry.n] = entry
            if entry.n >= self.next:
                self.next = entry.n + 1
            if type(entry) is Intend:
                self.intents[entry.call] = entry  # at once: the creation may be seen before the intent is durable
        elif isinstance(entry, Done):
            for n in entry.ok:
                self._took_effect(self.pending.pop(n, None))
            for n in entry.dropped:
                self._dropped(self.pending.pop(n, None))
        else:
            self._apply_rare(entry)

    def holding(self, resource: Resource, holder: Holder) -> Holding | None:
        """What put this holder's hold, if it holds."""
        return next((held for held in self.held.get(resource, ()) if held.holder == holder), None)

    def pending_of(self, holder: Holder) -> int:
        """How many operations still have to be done in this holder's name."""
        return sum(speaker_of(operation) == holder for operation in self.pending.values())

    def snapshot(self) -> list[Entry]:
        """Entries that add up to this state."""
        entries: list[Entry] = [Head(VERSION, self.next, self.whose), *self.lives.values()]
        entries += (Ended(holder, ending) for holder, ending in self.endings.items())
        entries += (Intended(intent) for intent in self.intents.values() if intent.n not in self.pending)
        entries += (Held(holding) for holdings in self.held.values() for holding in holdings)
        entries += self.pending.values()
        return entries

    def live_entries(self) -> int:
        """How many entries ``snapshot`` would have, about."""
        return 1 + len(self.lives) + len(self.endings) + len(self.intents) + self.held_count + len(self.pending)

    def holdings(self) -> Iterator[Holding]:
        for holdings in self.held.values():
            yield from holdings

    # --- parts --------------------------------------------------------------------------------------------------

    def _apply_rare(self, entry: Head | Life | Over | Ended | Held | Lost | Intended) -> None:
        match entry:
            case Head():
                self.next = max(self.next, entry.next)
                self.whose = entry.whose
            case Life():
                self.lives[entry.holder] = entry
            case Ended():
                self.endings[entry.holder] = entry.ending
            case Over():
                self._over(entry.holder)
            case Held():
                self.next = max(self.next, entry.by.n + 1)
                self._hold(entry.by)
            case Lost():
                self._lose(entry.resource, entry.holder)
            case Intended():
                self.next = max(self.next, entry.by.n + 1)
                self.intents[entry.by.call] = entry.by

    def _took_effect(self, operation: Operation | None) -> None:
        if isinstance(operation, Register):
            self._hold(operation)
            if operation.call is not None:
                self.intents.pop(operation.call, None)
        elif isinstance(operation, Acquire):
            self._hold(operation)
            if operation.replacing is not None:
                self._lose(operation.resource, operation.replacing)
        elif isinstance(operation, Forget):
            self.held_count -= len(self.held.pop(operation.resource, ()))
        elif isinstance(operation, Release):
            self._lose(operation.resource, operation.holder)
        elif isinstance(operation, Retract):
            self.intents.pop(operation.call, None)
        elif isinstance(operation, Intend):
            self._written_anew(operation)

    def _dropped(self, operation: Operation | None) -> None:
        if isinstance(operation, Acquire | Release):
            self._lose(operation.resource, operation.holder)
        elif isinstance(operation, Retract | Intend):
            self.intents.pop(operation.call, None)

    def _hold(self, by: Holding) -> None:
        others = self.held.get(by.resource)
        if others is None:
            self.held[by.resource] = (by,)
            self.held_count += 1
            return
        idle = longer(by.idle, self.holding(by.resource, by.holder))
        if idle != by.idle:
            by = msgspec.structs.replace(by, idle=idle)
        kept = tuple(held for held in others if held.holder != by.holder)
        self.held_count += 1 + len(kept) - len(others)
        self.held[by.resource] = (*kept, by)

    def _written_anew(self, intent: Intend) -> None:
        """Its early hold took the place of ours: whoever lets go of it must know how it reads now."""
        held = None if intent.resource is None else self.holding(intent.resource, intent.holder)
        if held is not None:
            self._hold(msgspec.structs.replace(held, n=intent.n, rule=intent.rule, since=intent.since))

    def _lose(self, resource: Resource, holder: Holder) -> None:
        others = self.held.get(resource)
        if others is None:
            return
        kept = tuple(held for held in others if held.holder != holder)
        self.held_count += len(kept) - len(others)
        if kept:
            self.held[resource] = kept
        else:
            del self.held[resource]

    def _over(self, holder: Holder) -> None:
        self.lives.pop(holder, None)
        self.endings.pop(holder, None)
        for resource in [held.resource for held in self.holdings() if held.holder == holder]:
            self._lose(resource, holder)
        for intent in [intent for intent in self.intents.values() if intent.holder == holder]:
            del self.intents[intent.call]


def covers(held: Holding, idle: float) -> bool:
    """Whether a hold lasts at least as long as one with this idle time (0: as long as its holder)."""
    return held.idle == 0 or 0 < idle <= held.idle


def longer(idle: float, held: Holding | None) -> float:
    """The idle time of a hold that is also to last as long as ``held``."""
    if held is None or not covers(held, idle):
        return idle
    return held.idle


def guard_of(operation: Operation) -> Holder | None:
    """Whose beacon must be there for it; ``None`` for what needs nobody alive."""
    return operation.holder if isinstance(operation, _GUARDED) else None


def speaker_of(operation: Operation) -> Holder | None:
    """In whose name it is done; ``None`` for what anybody may do."""
    return None if isinstance(operation, Forget) else operation.holder
