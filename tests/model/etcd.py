"""etcd as a value, made for searching all states: the product's own ``Txn`` compiled once, and run as a pure function.

Keys of a world have fixed slots. A transaction becomes a ``Program`` over slots, in which every compare, and every
write that takes a tombstone, sweep or notice away or renews a roster entry, has a label: what can be left out to see
whether it is needed. Labels are read off the transaction itself, so a guard that is added tomorrow has one too.

As in etcd, all compares see the state before the transaction, nested ones included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import eq, gt, lt
from typing import NamedTuple
from urllib.parse import quote

from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import Resource
from leasehold.protocol.store import Compare, Delete, KeyRange, Put, Relation, Target, Txn, Where
from leasehold.protocol.transactions import EVERY

Item = tuple[bytes, int, int, int]
"""value, create and mod revision, and the revision that the value remembers (0: none)"""
Keys = tuple[Item | None, ...]
NEW = 1_000_000
"""The revision of what is written now: later than any other, until ranks are given out again."""
BATCH = "batch of "
EVERYTHING = quote(EVERY, safe="")
RESETS = (Family.TOMBSTONES, Family.SWEEPS, Family.NOTICES)
_FIELD = {Target.VALUE: 0, Target.CREATE: 1, Target.MOD: 2}
Tried = Callable[[frozenset[str]], None]


class Check(NamedTuple):
    label: str
    holds: Callable[[Keys], bool]


class Write(NamedTuple):
    label: str
    """Empty for what is no guard but the very purpose of the transaction."""
    slots: tuple[int, ...]
    value: bytes | None
    remembers: int = 0


class Program(NamedTuple):
    checks: tuple[Check, ...]
    success: tuple[Write | Program, ...]
    failure: tuple[Program, ...]
    mods: frozenset[int]
    """Slots whose mod revision is compared."""
    labels: frozenset[str]
    batch: bool = False
    """Whether what is nested are members, which all have to take place; elsewhere it is what depends on something."""


class Layout:
    """Which keys a world has. What is written elsewhere must be in a family that the world says it does not look at."""

    def __init__(self, keyspace: Keyspace, keys: Iterable[bytes], unseen: Iterable[Family] = ()) -> None:
        self.keyspace = keyspace
        self.keys = tuple(keys)
        self.slot = {key: n for n, key in enumerate(self.keys)}
        self._unseen = [keyspace.family(family) for family in unseen]
        # Why the brake is on: told to people; whatever destroys compares whether it is.
        self._told = {keyspace.tripped}
        self._families = [(family, keyspace.family(family)) for family in Family]

    def slots(self, where: Where) -> tuple[int, ...]:
        if isinstance(where, KeyRange):
            return tuple(n for n, key in enumerate(self.keys) if key in where)
        return (self.slot[where],) if where in self.slot else ()

    def compile(
        self, name: str, txn: Txn, subject: Resource | None, remembered: Callable[[Put], tuple[bytes, int]]
    ) -> Program:
        """``subject``: the resource the transaction is about, so that labels can say "its" and "another's"."""
        # A cycle's compares are those of its members' own transactions, and so are those of several shards; a
        # registration is one, whatever it records.
        name = name.removesuffix(" cycle").removesuffix(" shards").removesuffix(" as it stands")
        inner, name = name.removeprefix(BATCH), "batch" if name.startswith(BATCH) else name
        checks = tuple(self._check(name, compare, subject) for compare in txn.compares)
        success = tuple(
            self.compile(inner, one, subject, remembered) if isinstance(one, Txn) else write
            for one in txn.success
            if isinstance(one, Txn) or (write := self._write(name, one, subject, remembered)) is not None
        )
        again = f"{name} otherwise"
        failure = tuple(self.compile(again, one, subject, remembered) for one in txn.failure if isinstance(one, Txn))
        nested = [one for one in (*success, *failure) if isinstance(one, Program)]
        mods = {slot for one in txn.compares if one.target is Target.MOD for slot in self.slots(one.where)}
        labels = {check.label for check in checks} | {one.label for one in success if isinstance(one, Write)}
        return Program(
            checks, success, failure,
            frozenset(mods).union(*(one.mods for one in nested)),
            frozenset(labels - {""}).union(*(one.labels for one in nested)), name == "batch",
        )  # fmt: skip

    def _check(self, name: str, compare: Compare, subject: Resource | None) -> Check:
        label = f"{name}: {self._called(compare.where, subject)} {_said(compare)}"
        return Check(label, _judge(self.slots(compare.where), compare))

    def _write(
        self, name: str, operation: object, subject: Resource | None, remembered: Callable[[Put], tuple[bytes, int]]
    ) -> Write | None:
        if isinstance(operation, Put):
            slots = self._written(operation.key)
            renews = operation.key in self.keyspace.family(Family.ROSTER) and name.startswith(("attach", "resolve"))
            label = f"{name}: renews {self._called(operation.key, subject)}" if renews else ""
            return Write(label, slots, *remembered(operation)) if slots else None
        if isinstance(operation, Delete):
            slots = self.slots(operation.where)  # what nobody put in this world is not there to be deleted
            start = operation.where.start if isinstance(operation.where, KeyRange) else operation.where
            resets = any(start in self.keyspace.family(family) for family in RESETS)
            label = f"{name}: takes away {self._called(operation.where, subject)}" if resets else ""
            return Write(label, slots, None) if slots else None
        return None

    def _written(self, key: bytes) -> tuple[int, ...]:
        slots = self.slots(key)
        if not slots and key not in self._told and not any(key in unseen for unseen in self._unseen):
            raise KeyError(f"{key!r} is written, and this world has no such key")
        return slots

    def _called(self, where: Where, subject: Resource | None) -> str:
        start = where.start if isinstance(where, KeyRange) else where
        family, reach = next((family, reach) for family, reach in self._families if start in reach)
        parts = start[len(reach.start) :].decode().split("/")
        plural = "records" if family is Family.RESOURCES else family.value
        word = plural if isinstance(where, KeyRange) else plural.removesuffix("s")
        if family is Family.CONTROL:
            return parts[0]
        if family is Family.EPOCHS and parts[-1]:
            return f"epoch {int(parts[-1])}"
        if len(parts) < 3:
            return f"all {plural}" if not parts[0] else word
        if parts[2] == EVERYTHING:
            return f"everything's {word}"
        return f"its {word}" if subject is None or tuple(parts[:3]) == tuple(subject) else f"another's {word}"


def run(program: Program, keys: Keys, without: frozenset[str], tried: Tried | None) -> tuple[Keys, bool]:
    """The keys after it, and whether all of it took place. ``without``: labels that are left out.

    ``tried`` is told what was in the way (all of it had to be left out for another outcome), and which labelled writes
    had an effect.
    """
    after = list(keys)
    done = _run(program, keys, after, without, tried)
    return (tuple(after), done)


def _run(program: Program, keys: Keys, after: list[Item | None], without: frozenset[str], tried: Tried | None) -> bool:
    failing = [label for label, holds in program.checks if not holds(keys)]
    if without:
        failing = [label for label in failing if label not in without]
    if failing:
        if tried is not None:
            tried(frozenset(failing))
        outcomes = [_run(one, keys, after, without, tried) for one in program.failure]  # all of them run
        return bool(outcomes) and all(outcomes)
    done = True
    for one in program.success:
        if isinstance(one, Program):
            done = (_run(one, keys, after, without, tried) or not program.batch) and done
        elif not one.label or one.label not in without:
            changed = _write(one, keys, after)
            if changed and one.label and tried is not None:
                tried(frozenset((one.label,)))
    return done


def _write(write: Write, keys: Keys, after: list[Item | None]) -> bool:
    changed = False
    for slot in write.slots:
        before = keys[slot]
        if write.value is not None:
            after[slot] = (write.value, before[1] if before else NEW, NEW, write.remembers)
            changed = True
        elif before is not None:
            after[slot] = None
            changed = True
    return changed


def _judge(slots: tuple[int, ...], compare: Compare) -> Callable[[Keys], bool]:
    """A compare as a function. Over a range it is true of every key; with no key there, of revision 0."""
    field, operand = _FIELD[compare.target], compare.operand
    nothing = None if compare.target is Target.VALUE else 0
    test = {Relation.EQUAL: eq, Relation.GREATER: gt, Relation.LESS: lt}[compare.relation]
    if not slots:
        fixed = nothing is not None and test(nothing, operand)
        return lambda _: fixed
    if len(slots) == 1 and compare.relation is Relation.EQUAL:
        (slot,) = slots
        return lambda keys: (nothing if (item := keys[slot]) is None else item[field]) == operand

    def holds(keys: Keys) -> bool:
        found = [item[field] for slot in slots if (item := keys[slot]) is not None] or [nothing]
        return all(value is not None and test(value, operand) for value in found)

    return holds


def _said(compare: Compare) -> str:
    target, relation = compare.target, compare.relation
    if target is Target.VALUE:
        return "as written"
    if target is Target.CREATE and relation is Relation.EQUAL:
        return "that very one" if compare.operand else "absent"
    if target is Target.CREATE:
        return "opened after" if compare.operand else "there"
    return {Relation.EQUAL: "unchanged", Relation.LESS: "not newer", Relation.GREATER: "newer"}[relation]
