"""What to ask an owner about an intent, and what its answer means. Pure.

    by key, an id is shown --> found            by id, 2xx and the answer shows our key --> found
    404, 410, or with ``missing`` a 2xx of which it is true --> not there
    everything else --> unclear: nothing is concluded

A key is trusted only if the owner was told it and it is the call id of the intent's own etcd key, which nobody can
guess. What an owner knows under a key of the app's own choice may be another call's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import jmespath
import jmespath.exceptions

from leasehold.control_plane.owners.http import extract
from leasehold.control_plane.owners.outcome import Answer, Fetched
from leasehold.protocol.lookups import Lookup, Shown
from leasehold.protocol.names import MAX_ID_BYTES, CallId, OwnerName, Resource, ResourceId, TypeName
from leasehold.protocol.records import IntentRecord
from leasehold.protocol.rules import Owner, Rule, Source
from leasehold.protocol.templates import BadTemplate, PathTemplate, UnsafeId

UNSEARCHABLE = (
    jmespath.exceptions.JMESPathError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip
"""What a search lets through when the data is not what the expression was written for."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask, of whom, and all that is needed to understand the answer."""

    owner: Owner
    rule: Rule
    lookup: Lookup
    target: str
    call: CallId
    expected: Resource | None
    key_told: bool


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nothing can be concluded. ``reason`` is one of a few words, ``detail`` is for people."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The call created this."""

    resource: Resource
    incarnation: str


@dataclass(frozen=True, slots=True)
class NotThere:
    """The owner says that the call created nothing (so far)."""


def question(call: CallId, intent: IntentRecord, rule: Rule, owner: Owner) -> Question | Unclear:
    """How to ask about an intent; or why one cannot."""
    lookup = owner.lookup_of(rule.type)
    if lookup is None:
        return Unclear("no-lookup", f"owner {owner.name} offers no lookup for type {rule.type}")
    told = bool(intent.sent_as) and intent.idempotency_key == call
    expected = Resource(*intent.resource) if intent.resource else None  # type: ignore[arg-type]
    if lookup.by_key and not told:
        why = "its key is the app's own" if intent.sent_as else "the owner was not told a key"
        return Unclear("key-not-ours" if intent.sent_as else "key-not-told", why)
    if not lookup.by_key and expected is None:
        return Unclear("id-unknown", "the call did not name what it creates")
    try:
        target = lookup.target(call if expected is None or lookup.by_key else expected.id)
    except ValueError as error:
        return Unclear("unsafe-id", str(error))
    return Question(owner, rule, lookup, target, call, expected, told)


def understood(asked: Question, answer: Fetched | Answer) -> Found | NotThere | Unclear:
    """What the owner's answer means."""
    if isinstance(answer, Answer):
        return Unclear("unclear-answer", answer.detail)
    lookup = asked.lookup
    if answer.status in {404, 410}:
        # Where "nothing" is said by an expression, such a status is about the path, or comes from a gateway.
        return NotThere() if lookup.missing is None else Unclear("unclear-answer", f"status {answer.status}")
    if not 200 <= answer.status < 300 or not answer.whole:
        return Unclear("unclear-answer", f"status {answer.status}" if answer.whole else "the answer is too long")
    if lookup.missing is not None and _is_true(lookup.missing, answer.body):
        return NotThere()
    return _found(asked, answer)


def _found(asked: Question, answer: Fetched) -> Found | Unclear:
    lookup = asked.lookup
    if lookup.key is not None and (not asked.key_told or _shown(lookup.key, answer) != asked.call):
        return Unclear("other-key", "something is there, and nothing proves that this call created it")
    resource = asked.expected
    if lookup.by_key:
        named = None if lookup.id is None else _shown(lookup.id, answer)
        if named is None:
            return Unclear("no-id", "the answer shows no id")
        resource = Resource(OwnerName(asked.owner.name), TypeName(asked.rule.type), ResourceId(named))
    if resource is None or asked.expected not in {None, resource}:
        return Unclear("other-id", f"expected {asked.expected}")
    if problem := unusable(resource, asked.owner, asked.rule):
        return Unclear("unusable-id", problem)
    incarnation = _incarnation(asked, answer)
    return Found(resource, incarnation) if incarnation else Unclear("no-incarnation", "the answer shows none")


def _incarnation(asked: Question, answer: Fetched) -> str:
    shown = asked.lookup.incarnation
    if shown is not None:
        uid = _shown(shown, answer)
        return f"uid:{uid}" if uid else ""
    etag = None if asked.lookup.by_key else answer.headers.get("ETag")
    return f"etag:{etag}" if etag else f"call:{asked.call}"


def unusable(resource: Resource, owner: Owner, rule: Rule) -> str:
    """Why this id cannot be recorded, as a sidecar would have judged; empty if it can."""
    text = resource.id
    if not text or len(text.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES or _CONTROL.search(text):
        return f"expected 1 to {MAX_ID_BYTES} bytes without control characters"
    if rule.id_pattern is not None and re.fullmatch(rule.id_pattern, text) is None:
        return f"{text!r} does not fit the id_pattern of rule {rule.name}"
    delete = owner.delete_of(resource.type)
    if delete is None or not delete.path:
        return ""
    try:
        template = PathTemplate.compile(delete.path)
        template.expand(dict.fromkeys(template.names, text))
    except (BadTemplate, UnsafeId) as error:
        return str(error)
    return ""


def _shown(shown: Shown, answer: Fetched) -> str | None:
    try:
        return extract(Source(json=shown.json, header=shown.header), answer.headers, answer.body)
    except UNSEARCHABLE:
        return None


def _is_true(expression: str, body: bytes) -> bool:
    try:
        return jmespath.search(expression, json.loads(body)) is True
    except UNSEARCHABLE:
        return False
