"""What has to be written to etcd so that it says what the objects say, and what is told of each object. Pure.

Laws:

- What is in etcd afterwards makes sense together. An object that would spoil it is refused, and the version before it
  stays in force; so does an owner that rules still name, though its object be gone.
- The later change gives way: of a rule and its owner that do not fit, a rule that is about to change is refused, else
  the owner that is. What does not fit and was there before is left alone.
- Removed is only what stands in the ``managed`` record: owners and rules that were applied in other ways stay. A rule's
  removal touches no resource; without its rule nothing is deleted.
- What creates goes first: with its ``create`` rule gone a resource cannot be condemned, whatever its ``use`` rules say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from leasehold.control_plane.kubernetes.kinds import (
    OWNER,
    RULE,
    Condition,
    Declared,
    Ref,
    place,
    rule_problems,
    written,
)
from leasehold.protocol.rules import On, Owner, Rule, RuleSet, warnings

Model = Owner | Rule
OWNER_MISSING = "expected the name of an Owner object that is accepted, got {!r}"
KEPT, NOTHING_KEPT = "the version before it stays in force", "nothing of it is in force"


@dataclass(frozen=True, slots=True)
class Change:
    """One document to be written, or, without a model, to be removed."""

    ref: Ref
    model: Model | None


@dataclass(frozen=True, slots=True)
class Plan:
    """In the order in which it is to be carried out."""

    changes: tuple[Change, ...]
    verdicts: Mapping[Ref, Condition]
    managed: frozenset[Ref]
    """The documents that are ours once all of it is carried out."""
    stuck: Mapping[Ref, str] = field(default_factory=dict)
    """Objects are gone, and why their documents are not."""


def reconcile(stored: Mapping[Ref, Model | None], things: Sequence[Declared], managed: frozenset[Ref]) -> Plan:
    """``stored``: all documents in etcd, ``None`` for those that cannot be read. ``things``: all objects there are."""
    there = {thing.ref for thing in things}
    wanted: dict[Ref, Model | None] = {
        thing.ref: thing.model
        for thing in things
        if thing.model is not None and not thing.problems and stored.get(thing.ref) != thing.model
    }
    wanted |= {ref: None for ref in managed & stored.keys() if ref not in there}
    refused = _refused(stored, wanted)
    changes = [Change(ref, model) for ref, model in wanted.items() if ref not in refused]
    after = _merged(stored, {change.ref: change.model for change in changes})
    verdicts = {thing.ref: _verdict(thing, refused.get(thing.ref, ()), after, stored) for thing in things}
    accepted = {ref for ref, verdict in verdicts.items() if verdict.accepted}
    return Plan(
        tuple(sorted(changes, key=lambda change: _rank(change, stored))),
        verdicts,
        ((managed & stored.keys()) | accepted) - {change.ref for change in changes if change.model is None},
        {ref: written(refused[ref]) for ref in refused if ref not in there},
    )


def _rank(change: Change, stored: Mapping[Ref, Model | None]) -> int:
    """Owners before their rules; rules before the owners that go with them."""
    if change.model is not None:
        return 0 if change.ref.kind is OWNER else 1
    before = stored.get(change.ref)
    if isinstance(before, Rule):
        return 2 if before.on is On.CREATE else 3
    return 4 if change.ref.kind is OWNER else 2


def _merged(stored: Mapping[Ref, Model | None], changes: Mapping[Ref, Model | None]) -> dict[Ref, Model]:
    return {ref: model for ref, model in {**stored, **changes}.items() if model is not None}


def _refused(stored: Mapping[Ref, Model | None], wanted: Mapping[Ref, Model | None]) -> dict[Ref, tuple[str, ...]]:
    """Which changes may not be made, with the problems."""
    owners: dict[Ref, tuple[str, ...]] = {}
    while True:
        rules: dict[Ref, tuple[str, ...]] = {}
        while True:
            kept = {ref: model for ref, model in wanted.items() if ref not in owners and ref not in rules}
            merged = _merged(stored, kept)
            misfits = _misfits(merged)
            if not (more := {ref: problems for ref, problems in misfits.items() if ref in kept}):
                break
            rules |= more
        spoiling = _spoiling(misfits, merged, kept)
        if not spoiling:
            return owners | rules
        # Without these changes some rules fit again that did not beside them.
        owners |= spoiling


def _misfits(merged: Mapping[Ref, Model]) -> dict[Ref, tuple[str, ...]]:
    found = {}
    for ref, model in merged.items():
        if isinstance(model, Rule) and (problems := _problems(model, merged.get(Ref(OWNER, model.owner)))):
            found[ref] = problems
    return found


def _problems(rule: Rule, owner: Model | None) -> tuple[str, ...]:
    if not isinstance(owner, Owner):
        return (f"{place('owner')}: {OWNER_MISSING.format(rule.owner)}",)
    return tuple(f"{place(path)}: {problem}" for path, problem in rule_problems(rule, owner))


def _spoiling(
    misfits: Mapping[Ref, tuple[str, ...]], merged: Mapping[Ref, Model], kept: Mapping[Ref, Model | None]
) -> dict[Ref, tuple[str, ...]]:
    """Changes of owners beside which rules that stand do not fit."""
    found: dict[Ref, tuple[str, ...]] = {}
    for ref, problems in misfits.items():
        rule = merged[ref]
        owner = Ref(OWNER, rule.owner) if isinstance(rule, Rule) else ref
        if owner in kept:
            gone = kept[owner] is None
            why = "it still names this owner" if gone else written(problems)
            found[owner] = (*found.get(owner, ()), f"{ref}: {why}")
    return found


def _verdict(
    thing: Declared, misfit: Iterable[str], after: Mapping[Ref, Model], stored: Mapping[Ref, Model | None]
) -> Condition:
    problems = (*thing.problems, *misfit)
    if not problems and thing.ref.kind is RULE and thing.model is not None:
        problems = _standing(thing.model, after)
    if problems:
        missing = any("expected the name of an Owner object" in problem for problem in problems)
        kept = KEPT if stored.get(thing.ref) is not None else NOTHING_KEPT
        return Condition(False, "OwnerMissing" if missing else "Invalid", written((*problems, kept)), thing.generation)
    if warning := _warning(thing.ref, after):
        return Condition(True, "NothingIsDeleted", warning, thing.generation)
    return Condition(True, "Accepted", "in force", thing.generation)


def _standing(model: Model, after: Mapping[Ref, Model]) -> tuple[str, ...]:
    """What is wrong with a rule that is in etcd already, and stayed."""
    return _problems(model, after.get(Ref(OWNER, model.owner))) if isinstance(model, Rule) else ()


def _warning(ref: Ref, after: Mapping[Ref, Model]) -> str:
    rule = after.get(ref)
    owner = after.get(Ref(OWNER, rule.owner)) if isinstance(rule, Rule) else None
    if not isinstance(rule, Rule) or not isinstance(owner, Owner):
        return ""
    return written(warnings(RuleSet((owner,), (rule,))))
