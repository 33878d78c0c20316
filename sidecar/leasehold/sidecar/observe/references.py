"""What a created resource refers to, out of its request or response. Pure.

A creation is registered whatever becomes of this: unregistered, nobody would ever collect it. But a reference that is
left out could cost what it refers to its life. So where one cannot be read, or where there are more than one record
holds, the creation is registered as referring to *everything* of that owner's type (``transactions.EVERY``): nothing
of it is condemned until the creation is gone. That is far too much, and counted; too little would be worse.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

import jmespath
import jmespath.parser

from leasehold.protocol.names import OwnerName, Resource, ResourceId, TypeName
from leasehold.protocol.rules import On, Reference, Rule, Side
from leasehold.protocol.transactions import EVERY, bounded
from leasehold.sidecar.observe.checks import NoId, as_text, check, search

IdPatterns = Mapping[tuple[str, str], tuple[re.Pattern[str], ...]]
"""By owner and type: an id that fits none of these is never recorded. Types of which any id may be are not there."""


def id_patterns(rules: Iterable[Rule]) -> IdPatterns:
    """What ids may look like, as far as the rules that create say so."""
    found: dict[tuple[str, str], list[str | None]] = {}
    for rule in rules:
        if rule.on is On.CREATE:
            found.setdefault((rule.owner, rule.type), []).append(rule.id_pattern)
    return {
        place: tuple(re.compile(pattern) for pattern in patterns if pattern is not None)
        for place, patterns in found.items()
        if None not in patterns
    }


@dataclass(frozen=True, slots=True)
class Referring:
    """A compiled ``Reference``."""

    owner: OwnerName
    type: TypeName
    side: Side
    ids: jmespath.parser.ParsedResult
    patterns: tuple[re.Pattern[str], ...] = ()
    """A link instead of an id, say, names nothing that is recorded: it would keep nothing. Empty: any id may be."""

    @classmethod
    def compile(cls, reference: Reference, patterns: IdPatterns = MappingProxyType({})) -> Self:
        owner, kind = OwnerName(reference.owner), TypeName(reference.type)
        ids = jmespath.compile(reference.ids)
        return cls(owner, kind, reference.side, ids, patterns.get((owner, kind), ()))

    def to(self, text: str) -> Resource:
        return Resource(self.owner, self.type, ResourceId(text))

    def read(self, document: object) -> list[Resource]:
        """Raises ``NoId`` if there is anything that is no id, or nothing at all."""
        found = search(self.ids, document)
        texts = [as_text(value) for value in (found if isinstance(found, list) else [found])]
        for text in texts:
            check(text)
            if self.patterns and not any(pattern.fullmatch(text) for pattern in self.patterns):
                raise NoId("pattern")
        return [self.to(text) for text in texts]


def read_references(
    referring: Iterable[Referring], answered: object, asked: object
) -> tuple[tuple[Resource, ...], str]:
    """All that was found, and the reason for doubt, if any. ``answered`` and ``asked`` are the bodies; ``None``: there
    is none, or it could not be read. Never raises."""
    found: list[Resource] = []
    doubt = ""
    for one in referring:
        try:
            found += one.read(answered if one.side is Side.RESPONSE else asked)
        except NoId:
            found.append(one.to(EVERY))
            doubt = "references-unreadable"
    each = tuple(dict.fromkeys(found))
    targets = bounded(each)
    return targets, doubt if targets == each else "references-too-many"
