"""What the observer saw, told rule by rule: which matched, what came of it, and if not, the first reason why. Pure.

Whether a rule matched and what was found are the observer's words. Only for a rule that it passed over is the reason
looked up here, in the order in which the observer decides: method, path, status, an earlier rule of the same kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from leasehold.protocol.rules import Owner, Rule, RuleSet, Source, permitted_mode, warnings
from leasehold.protocol.transactions import EVERY, MAX_REFERENCES
from leasehold.protocol.trials import Explanation, Verdict
from leasehold.sidecar.explain.witness import Seen
from leasehold.sidecar.observe.events import Creation, Observation, Unusable
from leasehold.sidecar.observe.matching import path_of

_UNUSABLE: Final = {
    "not-text": "what stands at {place} is neither text nor a whole number",
    "empty": "what stands at {place} is empty",
    "too-long": "what stands at {place} is longer than an id may be",
    "not-utf8": "what stands at {place} is not UTF-8",
    "control-characters": "what stands at {place} has control characters",
    "unsafe-path": "what stands at {place} cannot be part of the owner's delete path",
    "pattern": "what stands at {place} does not match id_pattern {pattern}",
    "body-too-large": "the body is larger than body_limit, {limit} bytes",
    "body-unreadable": "the body is not what {place} is read from, or in an encoding that is not read",
    "no-descriptor": "the owner's descriptor_set cannot be used for {place}",
    "aborted": "the connection ended before the answer did",
    "no-id": "there is nothing at {place}",
}
_TROUBLE: Final = {
    "not-http": "the request does not begin like HTTP/1",
    "tls": "the request is encrypted (TLS)",
    "http2": "this is raw HTTP/2: gRPC calls are described with --grpc, others as HTTP/1.1",
    "bad-request": "the request cannot be read as HTTP/1",
    "bad-response": "the response cannot be read as HTTP/1",
    "framing": "where the body ends cannot be told",
    "server-first": "there is no request before the response",
    "upgrade": "the connection turned into another protocol",
    "connect": "the connection turned into a tunnel",
}


def explanation(rules: RuleSet, seen: Seen, destination: str, remarks: Iterable[str]) -> Explanation:
    """Everything about one call. ``rules`` are those that the observer knew."""
    owner = None if seen.owner is None else rules.owner(seen.owner)
    own = [rule for rule in rules.rules if owner is not None and rule.owner == owner.name]
    return Explanation(
        seen.method,
        seen.target,
        seen.status,
        seen.authority,
        destination,
        seen.owner,
        seen.known_by,
        {each.name: each.hosts for each in rules.owners},
        () if owner is None else tuple(_verdict(rules, rule, owner, own, seen) for rule in own),
        _trouble(rules, seen, destination),
        (*remarks, *seen.remarks),
    )


def _trouble(rules: RuleSet, seen: Seen, destination: str) -> str:
    if seen.gave_up:
        return (
            f"{_TROUBLE.get(seen.gave_up, 'the connection cannot be followed')} ({seen.gave_up}); it is relayed blind"
        )
    if seen.owner is not None:
        return ""
    if not rules.rules:
        return "there are no rules"
    named = f"{seen.authority or 'a request without a host'} names no owner that has rules"
    return f"{named}, and neither does the destination {destination}" if destination else named


def _verdict(rules: RuleSet, rule: Rule, owner: Owner, own: list[Rule], seen: Seen) -> Verdict:
    matched = rule in seen.matched
    finding = next((each for each in seen.findings if each.rule == rule), None)
    reason, why = _reason(rule, own, seen, finding, matched=matched)
    found = None if finding is None or isinstance(finding, Unusable) else finding
    holds = [word for word, some in (("request", seen.intended), ("response", seen.holding)) if rule in some]
    return Verdict(
        rule.name,
        rule.on.value,
        matched,
        reason,
        why,
        None if found is None else str(found.resource),
        found.incarnation if isinstance(found, Creation) else None,
        None if rule.held_by is None else rule.held_by.value,
        None if rule.ttl is None else float(rule.ttl),
        permitted_mode(rule, owner).value,
        rule.mode.value,
        rule.commit.value,
        tuple(holds),
        float(rule.hold_deadline),
        tuple(warnings(rules, of=rule)),
        tuple(map(str, found.references)) if isinstance(found, Creation) else (),
        _doubt(found) if isinstance(found, Creation) else "",
    )


def _doubt(found: Creation) -> str:
    """Why it would need everything of some type."""
    if found.doubt == "references-too-many":
        return f"it needs more than the {MAX_REFERENCES} that a record holds, so everything of their types is kept"
    kept = {(one.owner, one.type) for one in found.references if one.id == EVERY}
    places = [f"{one.ids} of the {one.side}" for one in found.rule.references if (one.owner, one.type) in kept]
    return f"not all at {' and '.join(places)} can be read as ids, so everything of that type is kept" if kept else ""


def _reason(
    rule: Rule, own: list[Rule], seen: Seen, finding: Observation | Unusable | None, *, matched: bool
) -> tuple[str, str]:
    if matched and isinstance(finding, Unusable):
        told = _UNUSABLE.get(finding.reason, finding.reason)
        return finding.reason, told.format(place=_place(rule.id), pattern=rule.id_pattern, limit=rule.body_limit)
    if matched:
        return "", ""
    if rule not in [candidate.rule for candidate in seen.candidates]:
        return _why_no_candidate(rule, seen)
    if finding is not None or not (seen.status or seen.grpc):
        return "unfinished", "there is no whole answer to the call"
    status, expected = _statuses(rule, seen)
    if status not in expected:
        return "status", f"status {status} is not among {_listed(expected)}"
    earlier = next((each.name for each in own if each in seen.matched and each.on is rule.on), "")
    return "earlier-rule", f"rule {earlier}, which stands before it, is also on: {rule.on} and goes first"


def _statuses(rule: Rule, seen: Seen) -> tuple[int, tuple[int, ...]]:
    """That of the call, and those that the rule lists: of gRPC, or of HTTP."""
    if rule.match.grpc is not None:
        return seen.status, rule.match.grpc.status
    return 200 if seen.grpc else seen.status, rule.match.status


def _why_no_candidate(rule: Rule, seen: Seen) -> tuple[str, str]:
    match = rule.match
    if match.grpc is not None:
        if not seen.grpc:
            return "protocol", "it is about gRPC calls, and this is none"
        return "path", f"{seen.target} is none of {_listed(match.grpc.paths)}"
    if seen.method not in match.methods:
        return "method", f"method {seen.method} is not {' or '.join(match.methods)}"
    if rule in [candidate.rule for candidate in seen.fitting]:
        return "protocol", "rules about gRPC calls go first"
    return "path", f"path {path_of(seen.target)} does not fit {match.path}"


def _place(source: Source) -> str:
    if source.json is not None:
        return f"{source.json} in the response's JSON"
    if source.header is not None:
        return f"header {source.header}" + (f" as {source.pattern}" if source.pattern else "")
    if source.grpc is not None:
        return f"field {source.grpc.field} of the {source.grpc.side}'s message"
    return f"{{{source.path}}} in the path"


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)
