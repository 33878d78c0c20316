"""Owners and interception rules: the model both sides read, from a file or from etcd.

A rule says which call creates, uses or deletes which resource; an owner says how it is reached and how a resource is
deleted there. Nothing that decides over deletion has a default that deletes: ``mode`` starts as ``observe`` and
``held_by`` must be said, because a wrong one deletes customers' data.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from urllib.parse import urlsplit

import jmespath
import jmespath.exceptions
import msgspec

from leasehold.protocol.configuration import BadConfiguration, Mistake, Seconds, convert, read
from leasehold.protocol.idempotency import IdempotencyKey
from leasehold.protocol.idempotency import nonsense as key_nonsense
from leasehold.protocol.names import NAME_EXPECTED, ClassName, is_name
from leasehold.protocol.records import HolderKind
from leasehold.protocol.requests import GrpcCall, call_nonsense, not_metadata
from leasehold.protocol.templates import BadTemplate, PathTemplate

MAX_REFERENCES_OF_A_RULE = 8
_PROTO_NAME = "[A-Za-z_][A-Za-z0-9_]*"


class On(StrEnum):
    """What a matching call does to the resource."""

    CREATE = "create"
    USE = "use"
    DELETE = "delete"


class Mode(StrEnum):
    """How far the collector may go: only watch, mark as condemned, or delete."""

    OBSERVE = "observe"
    CONDEMN = "condemn"
    SWEEP = "sweep"


class Commit(StrEnum):
    """What waits for the durable write: the request, the response, or nothing."""

    BEFORE_REQUEST = "before-request"
    BEFORE_RESPONSE = "before-response"
    BACKGROUND = "background"


class OnUnavailable(StrEnum):
    """What happens when the write is not durable by the hold's deadline."""

    FORWARD = "forward"
    REJECT = "reject"


class Precondition(StrEnum):
    """What keeps a late delete from hitting a re-created namesake."""

    IF_MATCH = "if-match"
    NEVER_REUSED = "never-reused"
    NONE = "none"


class _Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Side(StrEnum):
    """Which half of a call."""

    REQUEST = "request"
    RESPONSE = "response"


class Message(_Model, frozen=True, rename={"side": "from"}):
    """A field of a gRPC message, from the outside in: by numbers (``"1.2"``), or by names (``"blob.id"``), for which
    the owner needs a ``descriptor_set``. Of a stream of messages the first is meant."""

    field: str
    side: Side = Side.RESPONSE

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """The path in numbers; ``None`` where it is given in names."""
        parts = self.field.split(".")
        return tuple(int(part) for part in parts) if all(re.fullmatch("[0-9]{1,9}", part) for part in parts) else None


class Source(_Model, frozen=True):
    """Where a text comes from in a call: exactly one of the first four.

    ``json``: a JMESPath expression over the response body. ``header``: a response header (in gRPC: metadata), its whole
    value or what ``pattern`` (a path template) finds in it. ``path``: a variable of the rule's path. ``grpc``: a field
    of a gRPC message.
    """

    json: str | None = None
    header: str | None = None
    path: str | None = None
    grpc: Message | None = None
    pattern: str | None = None


class Reference(_Model, frozen=True, rename={"side": "from"}):
    """What a created resource needs, as far as its request or response tells: ids of one owner's type.

    ``ids`` is a JMESPath expression over that body: one id, or a list of them. Where it finds nothing at all (not even
    an empty list) nobody knows what is needed, and everything of the type is kept as long as the resource exists.
    """

    owner: str
    type: str
    ids: str
    side: Side = Side.RESPONSE


class GrpcMatch(_Model, frozen=True):
    """Which gRPC calls. ``service`` with its package; ``method`` is one or several; ``status`` lists gRPC codes.

    ``streaming``: the owner answers with a stream, whose end may be far away. Then its first message decides, and its
    status is not waited for.
    """

    service: str
    method: str | tuple[str, ...]
    status: tuple[int, ...] = (0,)
    streaming: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        return (self.method,) if isinstance(self.method, str) else self.method

    @property
    def paths(self) -> tuple[str, ...]:
        """What HTTP/2 sees of it."""
        return tuple(f"/{self.service}/{method}" for method in self.methods)


class Match(_Model, frozen=True):
    """Which calls: either ``grpc``, or the other three.

    ``method`` is one or several; ``status`` lists response codes; ``path`` is a template.
    """

    method: str | tuple[str, ...] = ()
    path: str = ""
    status: tuple[int, ...] = ()
    grpc: GrpcMatch | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        return (self.method,) if isinstance(self.method, str) else self.method


class Rule(_Model, frozen=True):
    """One interception rule."""

    name: str
    owner: str
    type: str
    on: On
    match: Match
    id: Source
    held_by: HolderKind | None = None
    ttl: Seconds | None = None
    mode: Mode = Mode.OBSERVE
    commit: Commit = Commit.BEFORE_RESPONSE
    on_unavailable: OnUnavailable = OnUnavailable.FORWARD
    hold_deadline: Seconds = Seconds(2.0)
    grace: Seconds = Seconds(300.0)
    idle_release: Seconds | None = None
    id_pattern: str | None = None
    incarnation: Source | None = None
    body_limit: int = 65536
    idempotency_key: IdempotencyKey | None = None
    references: tuple[Reference, ...] = ()

    @property
    def grace_class(self) -> ClassName:
        """Resources with the same grace share epochs. Leases count whole seconds, so a grace is rounded up."""
        return ClassName(f"{math.ceil(self.grace)}s")


class Tls(_Model, frozen=True):
    """How to reach an ``https`` endpoint: files in PEM. Without ``ca`` the system's certificates are trusted."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None


class DeleteCall(_Model, frozen=True):
    """How a resource is deleted: by HTTP (``path``) or by a gRPC method. ``unsafe: true`` allows sweeping with
    ``precondition: none``."""

    path: str = ""
    method: str = "DELETE"
    precondition: Precondition = Precondition.NONE
    unsafe: bool = False
    grpc: GrpcCall | None = None


class ReadCall(_Model, frozen=True):
    """How a resource is looked at: by HTTP (``path``) or by a gRPC method.

    ``incarnation``: where the answer tells it; by HTTP the default is the ETag header. ``etag``, by gRPC only: where
    the answer tells what a delete is conditional on; default is the incarnation's field, which then counts as an ETag.
    """

    path: str = ""
    method: str = "GET"
    incarnation: Source | None = None
    grpc: GrpcCall | None = None
    etag: Source | None = None


class Limits(_Model, frozen=True):
    """What one owner is asked to bear, and how long a call to it may take."""

    concurrency: int = 16
    per_second: float = 200.0
    timeout: Seconds = Seconds(10.0)


class Calls(_Model, frozen=True):
    """Delete and read of one type, where it differs from the owner's."""

    delete: DeleteCall | None = None
    read: ReadCall | None = None


class Owner(_Model, frozen=True):
    """A service that stores resources and can delete them.

    ``hosts`` are the authorities or addresses by which callers reach it; ``endpoint`` is where the collector calls
    it. ``headers`` and the bearer token go along with the collector's own calls only. ``descriptor_set`` is a file that
    ``protoc --include_imports --descriptor_set_out`` wrote; it names the fields of gRPC messages.
    """

    name: str
    hosts: tuple[str, ...]
    endpoint: str
    delete: DeleteCall | None = None
    read: ReadCall | None = None
    types: dict[str, Calls] = {}
    limits: Limits = Limits()
    tls: Tls | None = None
    bearer_token_file: str | None = None
    headers: dict[str, str] = {}
    descriptor_set: str | None = None

    def delete_of(self, kind: str) -> DeleteCall | None:
        """How resources of this type are deleted; ``None`` if they cannot be."""
        special = self.types.get(kind)
        return (special.delete if special else None) or self.delete

    def read_of(self, kind: str) -> ReadCall | None:
        """How resources of this type are looked at; ``None`` if they cannot be."""
        special = self.types.get(kind)
        return (special.read if special else None) or self.read


class RuleSet(_Model, frozen=True):
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


def warnings(rules: RuleSet) -> list[str]:
    """What is allowed but probably not meant."""
    found = []
    for rule in rules.rules:
        owner = rules.owner(rule.owner)
        if owner is not None and rule.on is On.CREATE and permitted_mode(rule, owner) is not rule.mode:
            found.append(
                f"rule {rule.name}: mode {rule.mode} has no effect, nothing will be deleted: owner {owner.name} "
                "declares no delete with precondition if-match or never-reused (or unsafe: true)"
            )
        strangers = (one.owner for one in rule.references if rules.owner(one.owner) is None)
        found += (f"rule {rule.name}: it refers to an owner that is not here, {name}" for name in strangers)
    return found


# --- nonsense, in the order of the model ------------------------------------------------------------------------


def _nonsense(rules: RuleSet) -> Iterator[tuple[str, str]]:
    for n, owner in enumerate(rules.owners):
        for where, problem in _owner_nonsense(owner):
            yield f"owners[{n}].{where}", problem
    yield from _repeated("owners", [owner.name for owner in rules.owners])
    owners = {owner.name: owner for owner in reversed(rules.owners)}
    for n, rule in enumerate(rules.rules):
        for where, problem in _rule_nonsense(rule, owners.get(rule.owner)):
            yield f"rules[{n}].{where}", problem
    yield from _repeated("rules", [rule.name for rule in rules.rules])


def _repeated(what: str, names: list[str]) -> Iterator[tuple[str, str]]:
    seen = set()
    for n, name in enumerate(names):
        if name in seen:
            yield f"{what}[{n}].name", f"expected each name once, found {name!r} again"
        seen.add(name)


def _owner_nonsense(owner: Owner) -> Iterator[tuple[str, str]]:
    if not is_name(owner.name):
        yield "name", f"expected {NAME_EXPECTED}, got {owner.name!r}"
    if not owner.hosts:
        yield "hosts", "expected at least one authority or address, e.g. blobs.internal:8080"
    for n, host in enumerate(owner.hosts):
        if not re.fullmatch(r"[^\s/@]+", host):
            yield f"hosts[{n}]", f"expected host or host:port, got {host!r}"
    yield from _endpoint_nonsense(owner)
    yield from _calls_nonsense("", Calls(owner.delete, owner.read), owner)
    for kind, calls in owner.types.items():
        yield from _calls_nonsense(f"types.{kind}.", calls, owner)
    yield from _metadata_nonsense(owner)
    limits = owner.limits
    for field, value in (
        ("concurrency", limits.concurrency),
        ("per_second", limits.per_second),
        ("timeout", limits.timeout),
    ):
        if value <= 0:
            yield f"limits.{field}", f"expected more than 0, got {value:g}"


def _calls_nonsense(where: str, calls: Calls, owner: Owner) -> Iterator[tuple[str, str]]:
    if calls.delete is not None:
        conditional = calls.delete.precondition is Precondition.IF_MATCH
        yield from _call_nonsense(f"{where}delete", calls.delete, owner, etag=conditional)
    if calls.read is not None:
        yield from _call_nonsense(f"{where}read", calls.read, owner, etag=False)
        yield from _signs_nonsense(f"{where}read", calls.read)
    delete, read = calls.delete or owner.delete, calls.read or owner.read
    if delete is not None and calls != Calls():
        yield from _pair_nonsense(where + ("delete" if calls.delete else "read"), delete, read)


def _call_nonsense(where: str, call: DeleteCall | ReadCall, owner: Owner, *, etag: bool) -> Iterator[tuple[str, str]]:
    if (call.grpc is None) == (not call.path):
        yield where, f"expected exactly one of path and grpc; got {'both' if call.path else 'none'}"
    elif call.grpc is None:
        yield from _template_nonsense(f"{where}.path", call.path, "id")
    if call.grpc is None:
        return
    for place, problem in call_nonsense(call.grpc, etag=etag):
        yield f"{where}.grpc.{place}", problem
    if owner.descriptor_set is None:
        yield f"{where}.grpc", f"messages are built with a descriptor_set, and owner {owner.name} has none"


def _metadata_nonsense(owner: Owner) -> Iterator[tuple[str, str]]:
    """What only an owner called by gRPC cannot have."""
    every = (Calls(owner.delete, owner.read), *owner.types.values())
    if not any(call is not None and call.grpc is not None for calls in every for call in (calls.delete, calls.read)):
        return
    for name, value in owner.headers.items():
        if problem := not_metadata(name, value):
            yield f"headers.{name}", f"it goes along as gRPC metadata: {problem}"
    if owner.endpoint.count("/") > 2 and owner.endpoint.split("/", 3)[3]:
        yield "endpoint", f"gRPC knows no path prefix: expected an endpoint without one, got {owner.endpoint!r}"


def _signs_nonsense(where: str, read: ReadCall) -> Iterator[tuple[str, str]]:
    if read.etag is not None and read.grpc is None:
        yield f"{where}.etag", "an HTTP answer has its ETag header: expected only beside grpc"
    for name, source in (("incarnation", read.incarnation), ("etag", read.etag)):
        if source is None:
            continue
        yield from _source_nonsense(f"{where}.{name}", source, None)
        if read.grpc is None and source.grpc is not None:
            yield f"{where}.{name}.grpc", "this read is an HTTP call: expected json or header"
        if read.grpc is not None and source.grpc is None:
            yield f"{where}.{name}", "this read is a gRPC call: expected grpc: {field: ...}"
        if source.grpc is not None and source.grpc.side is Side.REQUEST:
            yield f"{where}.{name}.grpc.from", "the request is our own: expected response"


def _pair_nonsense(where: str, delete: DeleteCall, read: ReadCall | None) -> Iterator[tuple[str, str]]:
    conditional = delete.precondition is Precondition.IF_MATCH
    if read is None:
        if conditional:
            yield f"{where}.precondition", "if-match needs to look first: expected a read beside the delete"
        return
    if (read.grpc is None) != (delete.grpc is None):
        yield where, "expected delete and read both by path or both by grpc"
    elif conditional and read.grpc is not None and read.etag is None and read.incarnation is None:
        yield where, "if-match needs to know the etag: expected etag or incarnation in the read"


def _endpoint_nonsense(owner: Owner) -> Iterator[tuple[str, str]]:
    try:
        url = urlsplit(owner.endpoint)
        usable = url.scheme in {"http", "https"} and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        usable = False
    if not usable or url.query or url.fragment or url.username is not None:
        yield (
            "endpoint",
            f"expected http(s)://host[:port][/prefix] without credentials or query, got {owner.endpoint!r}",
        )
    elif owner.tls is not None and url.scheme == "http":
        yield "tls", "expected an https endpoint beside tls"


def _rule_nonsense(rule: Rule, owner: Owner | None) -> Iterator[tuple[str, str]]:
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
            yield from _source_nonsense(field, source, _variables(rule.match.path))
            yield from _face_nonsense(field, source, rule.match, owner)
    yield from _reference_nonsense(rule)
    yield from _holding_nonsense(rule)
    yield from _key_nonsense(rule)
    if rule.id_pattern is not None:
        try:
            re.compile(rule.id_pattern)
        except (re.error, OverflowError, RecursionError) as error:
            yield "id_pattern", f"expected a regular expression: {error}"


def _reference_nonsense(rule: Rule) -> Iterator[tuple[str, str]]:
    if not rule.references:
        return
    if rule.on is not On.CREATE:
        yield "references", f"only a creation tells what it needs: expected on: create, got {rule.on}"
    if rule.match.grpc is not None:
        yield "references", "gRPC messages are not read for references yet: expected an HTTP match"
    if len(rule.references) > MAX_REFERENCES_OF_A_RULE:
        yield "references", f"expected at most {MAX_REFERENCES_OF_A_RULE}, got {len(rule.references)}"
    for n, reference in enumerate(rule.references):
        for field in ("owner", "type"):
            if not is_name(getattr(reference, field)):
                yield f"references[{n}].{field}", f"expected {NAME_EXPECTED}, got {getattr(reference, field)!r}"
        try:
            jmespath.compile(reference.ids)
        except (jmespath.exceptions.JMESPathError, RecursionError) as error:
            yield f"references[{n}].ids", f"expected a JMESPath expression: {error}"


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
    yield from _template_nonsense("match.path", match.path, None)
    if not match.status:
        yield "match.status", "expected at least one response code"
    for n, status in enumerate(match.status):
        if not 200 <= status <= 599:
            yield f"match.status[{n}]", f"expected a final response code (200 to 599), got {status}"


def _grpc_nonsense(match: GrpcMatch) -> Iterator[tuple[str, str]]:
    if not re.fullmatch(rf"{_PROTO_NAME}(\.{_PROTO_NAME})*", match.service):
        yield "match.grpc.service", f"expected a service with its package, like blobs.v1.Blobs, got {match.service!r}"
    if not match.methods:
        yield "match.grpc.method", "expected at least one method"
    for method in match.methods:
        if not re.fullmatch(_PROTO_NAME, method):
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


def _source_nonsense(where: str, source: Source, variables: tuple[str, ...] | None) -> Iterator[tuple[str, str]]:
    given = [name for name in ("json", "header", "path", "grpc") if getattr(source, name) is not None]
    if len(given) != 1:
        yield where, f"expected exactly one of json, header, path, grpc; got {' and '.join(given) or 'none'}"
    if source.json is not None:
        try:
            jmespath.compile(source.json)
        except (jmespath.exceptions.JMESPathError, RecursionError) as error:
            yield f"{where}.json", f"expected a JMESPath expression: {error}"
    if source.path is not None and source.path not in (variables or ()):
        known = ", ".join(variables or ()) or "none here"
        yield f"{where}.path", f"expected a variable of match.path ({known}), got {source.path!r}"
    if source.grpc is not None:
        yield from _message_nonsense(f"{where}.grpc.field", source.grpc)
    if source.pattern is not None:
        if source.header is None:
            yield f"{where}.pattern", "expected only beside header"
        yield from _template_nonsense(f"{where}.pattern", source.pattern, "id")


def _message_nonsense(where: str, message: Message) -> Iterator[tuple[str, str]]:
    if message.numbers is None:
        if not re.fullmatch(rf"{_PROTO_NAME}(\.{_PROTO_NAME})*", message.field):
            yield where, f'expected field numbers ("1.2") or names ("blob.id"), got {message.field!r}'
    elif not all(0 < number < 1 << 29 for number in message.numbers):
        yield where, f"expected field numbers from 1 to {(1 << 29) - 1}, got {message.field!r}"


def _template_nonsense(where: str, text: str, needs: str | None) -> Iterator[tuple[str, str]]:
    try:
        template = PathTemplate.compile(text)
    except BadTemplate as error:
        yield where, str(error)
        return
    if needs is not None and template.names != (needs,):
        yield where, f"expected {{{needs}}} (or {{+{needs}}}) and no other variable, got {text!r}"


def _variables(path: str) -> tuple[str, ...]:
    try:
        return PathTemplate.compile(path).names
    except BadTemplate:
        return ()
