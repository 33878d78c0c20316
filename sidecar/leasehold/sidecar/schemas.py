"""Reads the descriptor sets that owners name, from this host's disk.

One that cannot be used costs the rules that name fields by it, and nothing else: their calls are counted as unusable
(``no-descriptor``), and the log says why. Where no rule does, it need not be here: the collector has its own use for
it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import structlog

from leasehold.protocol.protobuf import BadSchema, Schema
from leasehold.protocol.rules import Owner, RuleSet
from leasehold.sidecar.observe.matching import Matcher

log = structlog.get_logger()


def read_schemas(rules: RuleSet, trouble: Callable[[Owner, Exception], None]) -> dict[str, Schema]:
    """By owner, all that can be read; ``trouble`` is told of each that cannot."""
    schemas: dict[str, Schema] = {}
    for owner in rules.owners:
        if owner.descriptor_set is None:
            continue
        try:
            schemas[owner.name] = Schema(Path(owner.descriptor_set).read_bytes())
        except (OSError, BadSchema) as error:
            trouble(owner, error)
    return schemas


def compile_rules(rules: RuleSet) -> Matcher:
    """The matcher of these rules, with all descriptor sets that can be read."""

    def trouble(owner: Owner, error: Exception) -> None:
        say = log.error if _names_fields(rules, owner.name) else log.info
        say("descriptor_set_unusable", owner=owner.name, file=owner.descriptor_set, error=str(error))

    matcher = Matcher.compile(rules, read_schemas(rules, trouble))
    for fault in matcher.troubles:
        log.error("descriptor_set_does_not_fit", error=fault)
    return matcher


def _names_fields(rules: RuleSet, owner: str) -> bool:
    sources = (source for rule in rules.rules if rule.owner == owner for source in (rule.id, rule.incarnation))
    return any(source is not None and source.grpc is not None and source.grpc.numbers is None for source in sources)
