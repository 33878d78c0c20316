"""What every world has in common: states, transactions on their way, and revisions that are renumbered by rank.

A step is a name and the state after it. Whatever writes to etcd is a ``Flight``: a transaction of the product built
from facts that were read at some moment, which may arrive at once, much later, twice or never. Only the order of
revisions matters to the protocol, so after every step they are 1, 2, 3... again, and those that nothing can compare any
more are forgotten; which those are is read off the transactions on their way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

import msgspec

from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Resource
from leasehold.protocol.records import NoticeRecord, SweepRecord, decode, encode
from leasehold.protocol.store import Put, Txn
from tests.model.etcd import NEW, Keys, Layout, Program, Tried, run
from tests.model.names import KEYS


class Violation(Exception):
    """A law was broken. Begins with the law's name."""


class Flight(NamedTuple):
    """A transaction (or a call to the owner) on its way. Revisions stand apart, so that they can be renumbered."""

    name: str
    about: Resource | None
    revs: tuple[int, ...]
    rest: tuple[Any, ...] = ()
    author: str = ""
    doubted: bool = False
    """Something happened since it was decided that makes it void (the brake was tripped; a first copy of it was
    answered). Only laws look at it."""


class State(NamedTuple):
    keys: Keys
    flying: tuple[Flight, ...]
    revs: tuple[int, ...]
    """Revisions that somebody outside etcd remembers; which, is the world's affair."""
    scene: Any
    """Everything else: holders, owners, budgets of the adversary, and ghosts that only laws look at."""


Steps = Iterator[tuple[str, State]]
Builder = Callable[[Flight], Txn]


class World:
    """A world of the model. ``steps`` raises ``Violation``; so does ``check``, of every state."""

    title: ClassVar[str]
    ordered: ClassVar[tuple[Family, ...]] = (Family.ROSTER, Family.TOMBSTONES, Family.SWEEPS)
    """Families whose mod revisions are compared with others' even when no transaction is on its way."""
    created: ClassVar[tuple[Family, ...]] = (Family.SHARDS, Family.EPOCHS)
    """Families whose create revisions are."""

    def __init__(self, layout: Layout, builders: dict[str, Builder]) -> None:
        self.layout, self._builders = layout, builders
        self.without: frozenset[str] = frozenset()
        self.tried: Tried | None = None
        self.labels: set[str] = set()
        """Every guard that was met."""
        self._programs: dict[Flight, Program] = {}
        self._settled: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._mods = frozenset(self._below(self.ordered))
        self._creates = frozenset(self._below(self.created))
        # A call to an owner remembers the revision of its sweep (or notice).
        self._mods_of_call = frozenset(self._below((Family.SWEEPS, Family.NOTICES)))

    # --- for the search -----------------------------------------------------------------------------------------

    def start(self) -> State:
        raise NotImplementedError

    def steps(self, state: State) -> Steps:
        raise NotImplementedError

    def check(self, state: State) -> None:
        """Laws about a single state."""

    def over(self, state: State) -> bool:
        """What must stay reachable from everywhere: the unheld is gone. Worlds about something else say what."""
        raise NotImplementedError

    def outdated(self, flight: Flight, keys: Keys) -> Flight:
        """The same, with 1 for every revision only compared for equality that has passed: it never comes back."""
        return flight

    # --- for worlds ---------------------------------------------------------------------------------------------

    def commit(self, keys: Keys, flight: Flight) -> Keys | None:
        """The keys after a transaction; ``None``: it was refused."""
        after, done = run(self.program(flight), keys, self.without, self.tried)
        return after if done else None

    def program(self, flight: Flight) -> Program:
        program = self._programs.get(flight)
        if program is None:
            txn = self._builders[flight.name](flight)
            program = self.layout.compile(flight.name, txn, flight.about, _remembered)
            self._programs[flight] = program
            self.labels |= program.labels
        return program

    def at(self, state: State, key: bytes) -> tuple[bytes, int, int, int] | None:
        return state.keys[self.layout.slot[key]]

    def has(self, state: State, key: bytes) -> bool:
        slot = self.layout.slot.get(key)
        return slot is not None and state.keys[slot] is not None

    def put(self, keys: Keys, key: bytes, value: bytes | None) -> Keys:
        """What happens without a transaction: an expired lease, a lost key."""
        slot, after = self.layout.slot[key], list(keys)
        before = after[slot]
        after[slot] = None if value is None else (value, before[1] if before else NEW, NEW, 0)
        return tuple(after)

    def begin(self, keys: Iterable[tuple[bytes, bytes]], scene: Any, revs: tuple[int, ...] = ()) -> State:
        slots: list[Any] = [None] * len(self.layout.keys)
        for n, (key, value) in enumerate(keys, 1):
            slots[self.layout.slot[key]] = (value, n, n, 0)
        return self.settled(State(tuple(slots), (), revs, scene))

    def newest(self, state: State) -> int:
        """The revision of a read made now."""
        seen = [max(item[1:]) for item in state.keys if item is not None]
        return max(*seen, *state.revs, *(rev for one in state.flying for rev in one.revs), 1)

    def settled(self, state: State) -> State:
        """The same state with its revisions renumbered."""
        raw = state[:3]
        known = self._settled.get(raw)
        if known is None:
            known = self._settled[raw] = self._renumbered(*raw)
        return State(*known, state.scene)

    def _renumbered(self, keys: Keys, flying: tuple[Flight, ...], revs: tuple[int, ...]) -> tuple[Any, ...]:
        mods, creates = self._mods, self._creates
        flying = tuple([self.outdated(one, keys) for one in flying])
        numbers = {0, 1, *revs}
        for one in flying:
            mods |= self.program(one).mods if one.name in self._builders else self._mods_of_call
            numbers.update(one.revs)
        known = [
            item and (item[0], item[1] if n in creates else 1, item[2] if n in mods else 1, item[3])
            for n, item in enumerate(keys)
        ]
        for item in known:
            if item is not None:
                numbers.update(item[1:])
        rank = {number: n for n, number in enumerate(sorted(numbers))}
        return (
            tuple([item and (item[0], rank[item[1]], rank[item[2]], rank[item[3]]) for item in known]),
            tuple(sorted([one._replace(revs=tuple([rank[rev] for rev in one.revs])) for one in flying])),
            tuple([rank[rev] for rev in revs]),
        )

    def _below(self, families: Iterable[Family]) -> set[int]:
        return {slot for family in families for slot in self.layout.slots(KEYS.family(family))}


def _remembered(put: Put) -> tuple[bytes, int]:
    """A value without the revision it remembers, and that revision."""
    if put.key in KEYS.family(Family.SWEEPS):
        sweep = decode(SweepRecord, put.value)
        return encode(msgspec.structs.replace(sweep, tombstone_revision=0)), sweep.tombstone_revision
    if put.key in KEYS.family(Family.NOTICES):
        notice = decode(NoticeRecord, put.value)
        return encode(msgspec.structs.replace(notice, tombstone_revision=0)), notice.tombstone_revision
    return put.value, 0
