"""What is wrong with an interception rule, as place and problem, in the order of its model."""

from __future__ import annotations

import re
from collections.abc import Iterator

from leasehold.protocol.idempotency import nonsense as key_nonsense
from leasehold.protocol.names import NAME_EXPECTED, is_name
from leasehold.protocol.records import HolderKind
from leasehold.protocol.rules.interception import Commit, GrpcMatch, Match, Mode, On, OnUnavailable, Rule
from leasehold.protocol.rules.owners import Owner
from leasehold.protocol.rules.patterns import why_unbounded
from leasehold.protocol.rules.reference_nonsense import reference_nonsense
from leasehold.protocol.rules.source_nonsense import PROTO_NAME, source_nonsense, template_nonsense
from leasehold.protocol.rules.sources import Source
from leasehold.protocol.templates import BadTemplate, PathTemplate


def rule_nonsense(rule: Rule, owner: Owner | None) -> Iterator[tuple[str, str]]:
    for field in ("name", "type"):
        if not is_name(getattr(rule, field)):
            yield field, f"expected {NAME_EXPECTED}, got {getattr(rule, field)!r}"
    if owner is None:
        yield "owner", f"expected the name of an owner of this file, got {rule.owner!r}"
    elif rule.mode is Mode.SWEEP and rule.on is On.CREATE and owner.delete_of(rule.type) is None:
        yield "mode", f"sweep needs a delete, and owner {owner.name} has none for type {rule.type}"
    yield from _match_nonsense(rule.match)
    for field, source in (("id", rule.id), ("incarnation", rule.incarnation)):
        if source is not None:
            yield from source_nonsense(field, source, _variables(rule.match.path))
            yield from _face_nonsense(field, source, rule.match, owner)
    yield from reference_nonsense(rule)
    yield from _holding_nonsense(rule)
    yield from _key_nonsense(rule)
    if rule.id_pattern is not None:
        yield from _pattern_nonsense(rule.id_pattern)


def _pattern_nonsense(pattern: str) -> Iterator[tuple[str, str]]:
    try:
        unbounded = why_unbounded(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        yield "id_pattern", f"expected a regular expression: {error}"
        return
    if unbounded is not None:
        yield "id_pattern", unbounded


def _match_nonsense(match: Match) -> Iterator[tuple[str, str]]:
    if match.grpc is not None:
        yield from _grpc_nonsense(match.grpc)
        for field in ("method", "path", "status"):
            if getattr(match, field):
                yield f"match.{field}", "expected either grpc, or method, path and status; got both"
        return
    if not match.methods:
        yield "match.method", "expected at least one method"
    for method in match.methods:
        if not re.fullmatch(r"[A-Z]+", method):
            yield "match.method", f"expected an upper-case HTTP method, got {method!r}"
    yield from template_nonsense("match.path", match.path, None)
    if not match.status:
        yield "match.status", "expected at least one response code"
    for n, status in enumerate(match.status):
        if not 200 <= status <= 599:
            yield f"match.status[{n}]", f"expected a final response code (200 to 599), got {status}"


def _grpc_nonsense(match: GrpcMatch) -> Iterator[tuple[str, str]]:
    if not re.fullmatch(rf"{PROTO_NAME}(\.{PROTO_NAME})*", match.service):
        yield "match.grpc.service", f"expected a service with its package, like blobs.v1.Blobs, got {match.service!r}"
    if not match.methods:
        yield "match.grpc.method", "expected at least one method"
    for method in match.methods:
        if not re.fullmatch(PROTO_NAME, method):
            yield "match.grpc.method", f"expected the name of a gRPC method, like CreateBlob, got {method!r}"
    if not match.status:
        yield "match.grpc.status", "expected at least one gRPC status code"
    for n, status in enumerate(match.status):
        if not 0 <= status <= 16:
            yield f"match.grpc.status[{n}]", f"expected a gRPC status code (0 to 16), got {status}"
    if match.streaming and 0 not in match.status:
        yield "match.grpc.streaming", "a stream whose first message decides counts as status 0: expected 0 in status"


def _face_nonsense(where: str, source: Source, match: Match, owner: Owner | None) -> Iterator[tuple[str, str]]:
    """A source that the matched calls cannot have."""
    if match.grpc is not None and source.json is not None:
        yield f"{where}.json", "a gRPC message is not JSON: expected grpc: {field: ...} or header"
    if source.grpc is None:
        return
    if match.grpc is None:
        yield f"{where}.grpc", "expected only beside match.grpc"
    if source.grpc.numbers is None and owner is not None and owner.descriptor_set is None:
        yield (
            f"{where}.grpc.field",
            f"names are read with a descriptor_set, and owner {owner.name} has none: expected one, or numbers",
        )


def _holding_nonsense(rule: Rule) -> Iterator[tuple[str, str]]:
    if rule.on is On.DELETE:
        if rule.held_by is not None:
            yield "held_by", "a deletion holds nothing: expected no held_by"
    elif rule.held_by is None:
        yield "held_by", "missing; expected one of: process, service, timer (there is no default)"
    if rule.held_by is HolderKind.TIMER and rule.ttl is None:
        yield "ttl", "missing; held_by: timer expects how long, e.g. ttl: 24h"
    if rule.held_by is not HolderKind.TIMER and rule.ttl is not None:
        yield "ttl", "expected only beside held_by: timer"
    if rule.on_unavailable is OnUnavailable.REJECT and rule.commit is not Commit.BEFORE_REQUEST:
        yield "on_unavailable", "reject is only possible before the request left: expected commit: before-request"
    for field, least in (("grace", 1.0), ("ttl", 1.0), ("hold_deadline", 0.001), ("idle_release", 0.001)):
        value = getattr(rule, field)
        if value is not None and value < least:
            yield field, f"expected at least {least:g}s, got {value:g}s"
    if not 0 < rule.body_limit <= 16 * 1024 * 1024:
        yield "body_limit", f"expected 1 to {16 * 1024 * 1024} bytes, got {rule.body_limit}"


def _key_nonsense(rule: Rule) -> Iterator[tuple[str, str]]:
    if rule.idempotency_key is not None:
        if rule.on is not On.CREATE or rule.commit is not Commit.BEFORE_REQUEST:
            yield "idempotency_key", "only an intent has one: expected on: create and commit: before-request beside it"
        for problem in key_nonsense(rule.idempotency_key, grpc=rule.match.grpc is not None):
            yield "idempotency_key.header", problem


def _variables(path: str) -> tuple[str, ...]:
    try:
        return PathTemplate.compile(path).names
    except BadTemplate:
        return ()
