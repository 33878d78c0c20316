"""How far the rules in force permit to go, resource by resource. Pure.

Owners and rules arrive as single documents, in any order, and may contradict each other for a while. Each is read by
itself and judged together with its partner only, so one bad document blocks only what depends on it. What is missing
or cannot be read permits nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from leasehold.protocol.configuration import BadConfiguration, convert
from leasehold.protocol.names import Resource, Revision
from leasehold.protocol.orphans import is_orphan_rule, orphan_rule
from leasehold.protocol.rules import Mode, Owner, Rule, RuleSet, checked, permitted_mode
from leasehold.protocol.transactions import EVERY

Names = tuple[tuple[str, str, str], ...]


def unread(rules: Iterable[Rule]) -> Names:
    """What a creation by one of these rules refers to, if nobody has read its request and its answer: nobody can say,
    so it is everything that it might be."""
    named = ((one.owner, one.type, EVERY) for rule in rules for one in rule.references)
    return tuple(dict.fromkeys(named))


@dataclass(frozen=True, slots=True)
class Standing:
    """What may be done to a resource. ``mode`` None: nothing, and ``why`` says what is wrong."""

    mode: Mode | None
    rule: Rule | None = None
    owner: Owner | None = None
    why: str = ""

    @property
    def may_condemn(self) -> bool:
        return self.mode in {Mode.CONDEMN, Mode.SWEEP}

    @property
    def may_sweep(self) -> bool:
        return self.mode is Mode.SWEEP


@dataclass(frozen=True, slots=True)
class _Document:
    revision: Revision
    model: Owner | Rule | None
    why: str = ""


class Policy:
    """The owners and rules of a tenant. Single writer: the index."""

    def __init__(self) -> None:
        self._owners: dict[str, _Document] = {}
        self._rules: dict[str, _Document] = {}
        self._standings: dict[str, Standing] = {}

    def revision_of(self, kind: type[Owner] | type[Rule], name: str) -> Revision:
        """When this document was last written; 0 if it is not there."""
        found = self._documents(kind).get(name)
        return found.revision if found else Revision(0)

    def put(self, kind: type[Owner] | type[Rule], name: str, revision: Revision, value: bytes) -> str:
        """Take a document in. Returns what is wrong with it, or nothing."""
        document = _read(kind, name, revision, value)
        self._documents(kind)[name] = document
        self._standings.clear()
        return document.why

    def drop(self, kind: type[Owner] | type[Rule], name: str) -> None:
        self._documents(kind).pop(name, None)
        self._standings.clear()

    def owner(self, name: str) -> Owner | None:
        found = self._owners.get(name)
        return found.model if found and isinstance(found.model, Owner) else None

    def rule(self, name: str) -> Rule | None:
        found = self._rules.get(name)
        return found.model if found and isinstance(found.model, Rule) else None

    def problem(self, kind: type[Owner] | type[Rule], name: str) -> str:
        """What is wrong with a document by itself; empty: nothing, or there is none."""
        found = self._documents(kind).get(name)
        return found.why if found else ""

    def documents(self, kind: type[Owner] | type[Rule]) -> dict[str, Revision]:
        """Names and revisions of what is there, readable or not."""
        return {name: document.revision for name, document in self._documents(kind).items()}

    def of_rule(self, name: str) -> Standing:
        """How far a rule and its owner permit to go."""
        standing = self._standings.get(name)
        if standing is None:
            standing = self._standings[name] = self._judge(name)
        return standing

    def of(self, resource: Resource, rule: str) -> Standing:
        """The same for one resource that was registered by ``rule``: it has to be one the rule speaks of."""
        standing = self.of_rule(rule)
        if standing.rule is None:
            return standing
        if (standing.rule.owner, standing.rule.type) != (resource.owner, resource.type):
            return Standing(None, why=f"rule {rule} is about {standing.rule.owner}/{standing.rule.type}")
        pattern = standing.rule.id_pattern
        if pattern is not None and re.fullmatch(pattern, resource.id) is None:
            return Standing(None, why=f"the id does not fit the id_pattern of rule {rule}")
        return standing

    def unread_of(self, owner: str, kind: str) -> Names:
        """What something of that type refers to, if nobody saw it being created. See ``unread``."""
        models = (document.model for document in self._rules.values())
        return unread(
            model for model in models if isinstance(model, Rule) and (model.owner, model.type) == (owner, kind)
        )

    def _judge(self, name: str) -> Standing:
        if is_orphan_rule(name):
            return self._judge_orphan(name)
        found = self._rules.get(name)
        if found is None or not isinstance(found.model, Rule):
            return Standing(None, why=found.why if found else f"there is no rule {name!r}")
        rule = found.model
        theirs = self._owners.get(rule.owner)
        if theirs is None or not isinstance(theirs.model, Owner):
            return Standing(None, why=theirs.why if theirs else f"there is no owner {rule.owner!r}")
        owner = theirs.model
        try:
            checked(RuleSet((owner,), (rule,)), "etcd")
        except BadConfiguration as error:
            return Standing(None, why=str(error))
        return Standing(permitted_mode(rule, owner), rule, owner)

    def _judge_orphan(self, name: str) -> Standing:
        rule = orphan_rule(name, self.owner)
        owner = self.owner(rule.owner) if rule else None
        if rule is None or owner is None:
            return Standing(None, why=f"no owner offers what {name!r} was found by")
        try:
            checked(RuleSet((owner,), ()), "etcd")
        except BadConfiguration as error:
            return Standing(None, why=str(error))
        return Standing(permitted_mode(rule, owner), rule, owner)

    def _documents(self, kind: type[Owner] | type[Rule]) -> dict[str, _Document]:
        return self._owners if kind is Owner else self._rules


def _read(kind: type[Owner] | type[Rule], name: str, revision: Revision, value: bytes) -> _Document:
    source = f"{kind.__name__.lower()} {name} in etcd"
    try:
        model: Owner | Rule = convert(kind, msgspec.json.decode(value), source)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _Document(revision, None, f"{source}: {error}")
    except BadConfiguration as error:
        return _Document(revision, None, str(error))
    if model.name != name:
        return _Document(revision, None, f"{source}: calls itself {model.name!r}")
    return _Document(revision, model)
