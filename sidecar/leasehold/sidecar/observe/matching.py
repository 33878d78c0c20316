"""Which rules a call may match: owner by authority or address, then method and path, then status. Pure.

Matching has two steps. At the request head: the *candidates*, rules whose owner, method and path fit; for most calls
there are none, and nothing more is done for them. A thousand rules cost such a call no more than ten (``path_tree``).
At the response head: of the candidates, for each kind of call the first one whose status fits, in the order of the
rule file.

The authority a request names (``Host``, or an absolute target) says who the owner is; where it names nobody we know,
the address that the connection goes to does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol, Self

import msgspec

from leasehold.protocol.protobuf import BadSchema, Schema
from leasehold.protocol.rules import Commit, GrpcMatch, On, Owner, Rule, RuleSet
from leasehold.protocol.templates import PathTemplate, UnsafeId
from leasehold.sidecar.observe.extraction import Extractor
from leasehold.sidecar.observe.familiar import Familiar
from leasehold.sidecar.observe.path_tree import PathTree
from leasehold.sidecar.observe.references import IdPatterns, id_patterns


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with everything prepared that a call needs. ``streaming``: the first message of the answer decides."""

    rule: Rule
    path: PathTemplate
    extractor: Extractor
    streaming: bool = False

    @classmethod
    def compile(cls, rule: Rule, owner: Owner, patterns: IdPatterns) -> CompiledRule:
        extractor = Extractor.compile(rule, owner, patterns=patterns)
        return cls(rule, PathTemplate.compile(rule.match.path), extractor)

    @classmethod
    def compile_grpc(cls, rule: Rule, match: GrpcMatch, path: str, owner: Owner, schema: Schema | None) -> CompiledRule:
        """For one method of the rule. Raises ``BadSchema``."""
        method = None if schema is None else schema.method(match.service, path.rpartition("/")[2])
        streaming = match.streaming or (method is not None and method.server_streaming)
        return cls(rule, PathTemplate.compile(path), Extractor.compile(rule, owner, method), streaming)


class Candidate(msgspec.Struct, frozen=True):
    """A rule whose method and path fit. ``variables`` is ``None`` when a value in the path cannot be part of an id."""

    compiled: CompiledRule
    variables: Mapping[str, str] | None

    @property
    def rule(self) -> Rule:
        return self.compiled.rule


NO_CANDIDATES: Final[tuple[Candidate, ...]] = ()


class OwnerRules:
    """The rules of one owner: by method and path; those for gRPC by path."""

    __slots__ = ("_by_method", "_grpc", "intends", "methods", "owner")

    def __init__(self, owner: str, rules: Iterable[CompiledRule], grpc: Iterable[CompiledRule] = ()) -> None:
        self.owner = owner
        by_method: dict[str, list[CompiledRule]] = {}
        for compiled in rules:
            for method in compiled.rule.match.methods:
                by_method.setdefault(method, []).append(compiled)
        self._by_method = {
            method: PathTree((compiled.path, compiled) for compiled in some) for method, some in by_method.items()
        }
        self.methods = frozenset(method.encode() for method in by_method)
        """As they stand in a request line: with another one there is no need to ask for candidates."""
        by_path: dict[str, list[Candidate]] = {}
        for compiled in grpc:
            by_path.setdefault(compiled.path.text, []).append(Candidate(compiled, {}))
        self._grpc = {path: tuple(some) for path, some in by_path.items()}
        self.intends = any(intends(compiled.rule) for some in by_method.values() for compiled in some)
        """Whether an HTTP/1 request may have to wait here."""

    def candidates(self, method: str, target: str) -> tuple[Candidate, ...]:
        """``target`` is the raw request target, in origin or absolute form."""
        tree = self._by_method.get(method)
        if tree is None:
            return NO_CANDIDATES
        path = path_of(target)
        nominees = tree.nominees(path)
        return _fitting(nominees, path) if nominees else NO_CANDIDATES

    def grpc_candidates(self, path: str) -> tuple[Candidate, ...]:
        """``path`` is ``/service/method``."""
        return self._grpc.get(path, NO_CANDIDATES)


class Matcher:
    """A compiled rule set. Immutable: a new rule set is a new matcher. ``familiar`` is its memory, and says nothing
    that reading again would not."""

    __slots__ = ("_by_host", "empty", "familiar", "intends", "troubles")

    def __init__(self, by_host: Mapping[str, OwnerRules], troubles: Iterable[str] = ()) -> None:
        self.troubles = tuple(troubles)
        """What rules name and no descriptor set has; their calls are counted as unusable."""
        self._by_host = by_host
        self.empty = not by_host
        self.intends = any(rules.intends for rules in by_host.values())
        self.familiar = Familiar()

    @classmethod
    def compile(cls, rules: RuleSet, schemas: Mapping[str, Schema] = MappingProxyType({})) -> Self:
        """``rules`` must have been checked; ``schemas`` are by owner. Of two owners with the same host, the first one
        is meant."""
        by_owner: dict[str, list[Rule]] = {}
        for rule in rules.rules:
            by_owner.setdefault(rule.owner, []).append(rule)
        by_host: dict[str, OwnerRules] = {}
        troubles: list[str] = []
        patterns = id_patterns(rules.rules)
        for owner in rules.owners:
            own = by_owner.get(owner.name)
            if own:
                http = [CompiledRule.compile(rule, owner, patterns) for rule in own if rule.match.grpc is None]
                grpc = _compile_grpc(own, owner, schemas.get(owner.name), troubles)
                compiled = OwnerRules(owner.name, http, grpc)
                for host in owner.hosts:
                    by_host.setdefault(normal_authority(host), compiled)
        return cls(by_host, troubles)

    def owner_rules(self, authority: str, destination: str) -> OwnerRules | None:
        """By what the request names, else by where it goes; ``destination`` as ``normal_authority`` writes it."""
        return self._by_host.get(normal_authority(authority)) or self._by_host.get(destination)


class RulesView(Protocol):
    """Where the current matcher is found; it may be another one with every call."""

    @property
    def matcher(self) -> Matcher: ...


def intends(rule: Rule) -> bool:
    """Whether a request of this rule waits for a durable intent. Only a creation can: there is nothing to lose of
    what a use or a deletion names, it exists already."""
    return rule.commit is Commit.BEFORE_REQUEST and rule.on is On.CREATE


def chosen(candidates: Iterable[Candidate], status: int) -> tuple[Candidate, ...]:
    """Of each kind of call the first candidate that lists this status; in gRPC its code."""
    kinds: set[On] = set()
    found = []
    for candidate in candidates:
        rule = candidate.rule
        match = rule.match
        if status in (match.status if match.grpc is None else match.grpc.status) and rule.on not in kinds:
            kinds.add(rule.on)
            found.append(candidate)
    return tuple(found)


def normal_authority(text: str) -> str:
    """``host:port`` in lower case; without a port it is 80, and the dot of an absolute name goes."""
    text = text.lower()
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, ""
    return f"{host.rstrip('.')}:{port or '80'}"


def authority_of(target: str) -> str:
    """Of an absolute target, whom it names; of any other, nothing."""
    if target.startswith("/"):
        return ""
    _, found, rest = target.partition("://")
    return rest.partition("/")[0].partition("?")[0].rpartition("@")[2] if found else ""


def path_of(target: str) -> str:
    """The path of a target, without query; empty for ``*`` and for a CONNECT."""
    path = target.partition("?")[0] if "?" in target else target
    if "#" in path:
        path = path.partition("#")[0]
    if path.startswith("/"):
        return path
    _, found, rest = path.partition("://")
    _, slash, rest = rest.partition("/")
    return slash + rest if found else ""


def _compile_grpc(
    rules: Iterable[Rule], owner: Owner, schema: Schema | None, troubles: list[str]
) -> Iterator[CompiledRule]:
    for rule in rules:
        match = rule.match.grpc
        if match is None:
            continue
        for path in match.paths:
            try:
                yield CompiledRule.compile_grpc(rule, match, path, owner, schema)
            except BadSchema as error:
                troubles.append(f"rule {rule.name}: {error}")
                yield CompiledRule.compile_grpc(rule, match, path, owner, None)


def _fitting(nominees: Iterable[CompiledRule], path: str) -> tuple[Candidate, ...]:
    found = []
    for compiled in nominees:
        try:
            variables = compiled.path.match(path)
        except UnsafeId:
            found.append(Candidate(compiled, None))
        else:
            if variables is not None:
                found.append(Candidate(compiled, variables))
    return tuple(found)
