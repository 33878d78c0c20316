"""A whole rule file: owners and rules together, read and checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from leasehold.protocol.configuration import BadConfiguration, Mistake, convert, read
from leasehold.protocol.rules.interception import Mode, On, Rule
from leasehold.protocol.rules.owner_nonsense import owner_nonsense
from leasehold.protocol.rules.owners import Owner, Precondition
from leasehold.protocol.rules.rule_nonsense import rule_nonsense
from leasehold.protocol.rules.sources import Model


class RuleSet(Model, frozen=True):
    """A whole rule file. Checked: every rule's owner is among the owners."""

    owners: tuple[Owner, ...] = ()
    rules: tuple[Rule, ...] = ()

    def owner(self, name: str) -> Owner | None:
        return next((owner for owner in self.owners if owner.name == name), None)

    def rule(self, name: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.name == name), None)


def permitted_mode(rule: Rule, owner: Owner) -> Mode:
    """How far the collector may really go: without a safe delete at the owner a rule can only report."""
    delete = owner.delete_of(rule.type)
    unsafe = delete is None or (delete.precondition is Precondition.NONE and not delete.unsafe)
    return Mode.OBSERVE if unsafe else rule.mode


def load_rules(text: str, source: str, environment: Mapping[str, str]) -> RuleSet:
    """A rule file's text, checked as a whole. Raises ``BadConfiguration`` with every mistake."""
    reading = read(RuleSet, text, source, environment, _NEUTRAL)
    if reading.model is None:
        raise BadConfiguration(reading.mistakes)
    mistakes = reading.with_meaning(source, _nonsense(reading.model))
    if mistakes:
        raise BadConfiguration(mistakes)
    return reading.model


_NEUTRAL: Mapping[str, object] = {
    "owners": {"name": "unreadable", "hosts": ["unreadable"], "endpoint": "http://unreadable"},
    "rules": {
        "name": "unreadable", "owner": "unreadable", "type": "unreadable", "on": "delete", "id": {"json": "id"},
        "match": {"method": "GET", "path": "/", "status": [200]},
    },
    "hosts": "unreadable", "status": 200, "method": "GET",
}  # fmt: skip
"""What stands for an item that could not be read while the others are checked."""


def rules_from_documents(owners: Iterable[object], rules: Iterable[object], source: str) -> RuleSet:
    """The same from single documents, as they are stored in etcd."""
    return checked(convert(RuleSet, {"owners": list(owners), "rules": list(rules)}, source), source)


def checked(rules: RuleSet, source: str) -> RuleSet:
    """The rules, if they make sense together. Raises ``BadConfiguration``."""
    mistakes = [Mistake(source, path, problem) for path, problem in _nonsense(rules)]
    if mistakes:
        raise BadConfiguration(mistakes)
    return rules


def warnings(rules: RuleSet, of: Rule | None = None) -> list[str]:
    """What is allowed but probably not meant, in all rules or in one of them."""
    found = []
    for rule in rules.rules if of is None else (of,):
        owner = rules.owner(rule.owner)
        if owner is not None and rule.on is On.CREATE and permitted_mode(rule, owner) is not rule.mode:
            found.append(
                f"rule {rule.name}: mode {rule.mode} has no effect, nothing will be deleted: owner {owner.name} "
                "declares no delete with precondition if-match or never-reused (or unsafe: true)"
            )
        found += (f"rule {rule.name}: {problem}" for problem in _dangling(rules, rule))
    return found


def _dangling(rules: RuleSet, rule: Rule) -> Iterator[str]:
    """References to what nobody records: they would keep nothing, and nothing would be missed."""
    for n, one in enumerate(rule.references):
        owner = rules.owner(one.owner)
        made = {each.type for each in rules.rules if each.owner == one.owner and each.on is On.CREATE}
        if owner is None:
            known = ", ".join(each.name for each in rules.owners)
            yield f"references[{n}].owner: it refers to an owner that is not here, {one.owner} (here: {known})"
        elif one.type not in made | set(owner.types):
            yield (
                f"references[{n}].type: nothing of {one.owner}/{one.type} is ever recorded, so it keeps nothing; "
                f"rules create {', '.join(sorted(made)) or 'nothing'} there"
            )


def _nonsense(rules: RuleSet) -> Iterator[tuple[str, str]]:
    for n, owner in enumerate(rules.owners):
        for where, problem in owner_nonsense(owner):
            yield f"owners[{n}].{where}", problem
    yield from _repeated("owners", [owner.name for owner in rules.owners])
    owners = {owner.name: owner for owner in reversed(rules.owners)}
    for n, rule in enumerate(rules.rules):
        for where, problem in rule_nonsense(rule, owners.get(rule.owner)):
            yield f"rules[{n}].{where}", problem
    yield from _repeated("rules", [rule.name for rule in rules.rules])


def _repeated(what: str, names: list[str]) -> Iterator[tuple[str, str]]:
    seen = set()
    for n, name in enumerate(names):
        if name in seen:
            yield f"{what}[{n}].name", f"expected each name once, found {name!r} again"
        seen.add(name)
