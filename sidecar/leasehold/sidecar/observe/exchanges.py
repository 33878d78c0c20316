"""One HTTP or gRPC call, what may be said about it, and what it came to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from leasehold.protocol.names import CallId, Resource
from leasehold.protocol.rules import Commit, Rule, Side
from leasehold.sidecar.observe.body import BodyCollector, BodyUnreadable, can_decode
from leasehold.sidecar.observe.events import Observation, Unusable
from leasehold.sidecar.observe.extraction import Answer, decode_json
from leasehold.sidecar.observe.frames import Frame
from leasehold.sidecar.observe.idempotency import Key, key_of
from leasehold.sidecar.observe.matching import NO_CANDIDATES, Candidate, chosen, intends, path_of


class Exchange:
    """One request and its response."""

    __slots__ = (
        "asked", "asking", "call", "candidates", "chosen", "collector", "h2c", "headers", "method", "sent", "stream",
        "target", "trace",
    )  # fmt: skip

    def __init__(self, method: str, target: str, candidates: tuple[Candidate, ...] = NO_CANDIDATES) -> None:
        self.method = method
        self.target = target
        self.candidates = candidates
        """The rules that it may still match; none once it is concluded."""
        self.call = CallId("")
        self.stream = 0
        """On HTTP/2."""
        self.asked = False
        """On HTTP/2: whether the whole request has come."""
        self.h2c: bytes | None = None
        """The settings that came with it, if it asked for HTTP/2."""
        self.trace = ""
        self.sent = True
        """Whether the owner may have seen it. The relay says no while it holds the request."""
        self.chosen: tuple[Candidate, ...] = ()
        self.headers: dict[str, bytes] = {}
        self.collector: BodyCollector | None = None
        """Of the response's body."""
        self.asking: BodyCollector | None = None
        """Of the request's body, where a rule wants to know what it refers to."""


class Head(msgspec.Struct, frozen=True):
    """A request head begins; the next piece is all of it. Only for a forward proxy, which routes by it."""

    exchange: Exchange


class Intent(msgspec.Struct, frozen=True):
    """This request may create something under a rule that wants an intent first. ``key``: only if it wants one."""

    exchange: Exchange
    rule: Rule
    resource: Resource | None
    key: Key | None = None


class Insert(msgspec.Struct, frozen=True):
    """The next piece is a whole request head as it came: to the owner it goes with this header at its end."""

    header: str
    value: str


class Matched(msgspec.Struct, frozen=True):
    """The response fits these rules. ``holding`` are the ones for which it has to wait."""

    exchange: Exchange
    rules: tuple[Rule, ...]
    holding: tuple[Rule, ...]


class Concluded(msgspec.Struct, frozen=True):
    """All that will ever be known of a call that had candidates. Without findings: its status fitted no rule."""

    exchange: Exchange
    findings: tuple[Observation | Unusable, ...]


class GaveUp(msgspec.Struct, frozen=True):
    """The connection can be followed no further; ``reason`` as in ``reasons``."""

    reason: str


class Http2(msgspec.Struct, frozen=True):
    """From here on this is HTTP/2. ``requests`` and ``responses`` are its first bytes, not forwarded yet.

    ``upgraded``: the HTTP/1 call that turned into stream 1, and the client's settings that came with it.
    """

    requests: bytes
    responses: bytes
    upgraded: tuple[Exchange, bytes] | None = None


Mark = Head | Intent | Insert | Matched | Concluded | GaveUp | Http2
Piece = bytes | Frame | Mark

# Calls without candidates are all alike, and most calls are without: they share these two. Never written to.
UNINTERESTING: Final = Exchange("", "")
UNINTERESTING_HEAD: Final = Exchange("HEAD", "")


def watch_request(exchange: Exchange, encoding: str) -> None:
    """The request's head has come. Sets ``exchange.asking`` when its body has to be seen."""
    wanting = [one.rule for one in exchange.candidates if one.compiled.extractor.needs_request]
    if wanting and can_decode(encoding):
        exchange.asking = BodyCollector(max(rule.body_limit for rule in wanting), encoding)


def intent_of(
    exchange: Exchange, said: Callable[[bytes], Sequence[bytes]], obstacle: Callable[[int], str]
) -> Sequence[Mark]:
    """Of the first rule that wants one; a call has one intent, whatever it turns out to create. The other two are
    ``idempotency.key_of``'s, and asked only when that rule wants a key."""
    for candidate in exchange.candidates:
        rule = candidate.rule
        if intends(rule):
            resource = candidate.compiled.extractor.known_before(candidate.variables)
            wanted = rule.idempotency_key
            if wanted is None:
                return [Intent(exchange, rule, resource)]
            key = key_of(wanted, exchange.call, said, obstacle)
            intent = Intent(exchange, rule, resource, key)
            return [intent, Insert(wanted.header, key.value)] if key.outcome == "inserted" else [intent]
    return ()


def answer(
    exchange: Exchange, status: int, read_headers: Callable[[], dict[str, bytes]], *, has_body: bool
) -> Sequence[Mark]:
    """The final response head has come. Sets ``exchange.collector`` when the body has to be seen, too."""
    exchange.chosen = chosen(exchange.candidates, status)
    if not exchange.chosen:
        return [nothing_in(exchange)]
    exchange.headers = headers = read_headers()
    rules = tuple(candidate.rule for candidate in exchange.chosen)
    wanting = [candidate.rule for candidate in exchange.chosen if candidate.compiled.extractor.needs_body]
    reason = ""
    if wanting:
        limit = max(rule.body_limit for rule in wanting)
        reason = _why_unreadable(headers, limit) if has_body else "no-id"
        if not reason:
            exchange.collector = BodyCollector(limit, _word(headers, "content-encoding"))
            holding = tuple(rule for rule in rules if rule.commit is not Commit.BACKGROUND)
            return [Matched(exchange, rules, holding)]
    concluded = _conclude(exchange, _findings(exchange, None, reason))
    useless = {finding.rule.name for finding in concluded.findings if isinstance(finding, Unusable)}
    holding = tuple(rule for rule in rules if rule.commit is not Commit.BACKGROUND and rule.name not in useless)
    return [Matched(exchange, rules, holding), concluded]


def conclude_collected(exchange: Exchange, collector: BodyCollector) -> Concluded:
    """The body is complete, or has outgrown its cap."""
    exchange.collector = None
    document: object = None
    reason = "no-id"
    try:
        document = decode_json(collector.finish())
    except BodyUnreadable as unreadable:
        reason = unreadable.reason
    except ValueError:
        reason = "body-unreadable"
    return _conclude(exchange, _findings(exchange, document, reason))


def nothing_in(exchange: Exchange) -> Concluded:
    """The call is understood, and did nothing that a rule is about."""
    return _conclude(exchange, ())


def conclude_messages(
    exchange: Exchange, status: int, messages: Mapping[Side, bytes], missing: Mapping[Side, str]
) -> Sequence[Mark]:
    """A gRPC call has its status. ``missing``: why a message that is not there is not."""
    exchange.chosen = chosen(exchange.candidates, status)
    rules = tuple(candidate.rule for candidate in exchange.chosen)
    findings = tuple(_found(exchange, candidate, messages, missing) for candidate in exchange.chosen)
    concluded = _conclude(exchange, findings)
    return [Matched(exchange, rules, ()), concluded] if rules else [concluded]


def aborted(exchange: Exchange) -> Concluded:
    """The connection ended, or can be followed no further, before this call was understood."""
    unfinished = exchange.chosen or exchange.candidates[:1]
    exchange.collector = None
    return _conclude(exchange, tuple(Unusable(candidate.rule, "aborted") for candidate in unfinished))


def parse_headers(head: bytes) -> dict[str, bytes]:
    """By lower-case name; of a repeated header the first."""
    headers: dict[str, bytes] = {}
    for line in head.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            headers.setdefault(name.decode("latin-1").lower(), value.strip(b" \t"))
    return headers


def _conclude(exchange: Exchange, findings: tuple[Observation | Unusable, ...]) -> Concluded:
    exchange.candidates = NO_CANDIDATES
    exchange.asking = None
    return Concluded(exchange, findings)


def _findings(exchange: Exchange, document: object, missing: str) -> tuple[Observation | Unusable, ...]:
    return tuple(_finding(exchange, candidate, document, missing) for candidate in exchange.chosen)


def _finding(exchange: Exchange, candidate: Candidate, document: object, missing: str) -> Observation | Unusable:
    extractor = candidate.compiled.extractor
    if document is None and extractor.id_in_body:
        return Unusable(candidate.rule, missing)
    path = path_of(exchange.target)
    return extractor.read(
        Answer(
            path, candidate.variables, exchange.headers, document, exchange.call, exchange.trace,
            asked=_asked(exchange) if extractor.needs_request else None,
        )
    )  # fmt: skip


def _asked(exchange: Exchange) -> object:
    """The request's body. ``None`` where it cannot be read, or has not come whole: half of one is not JSON."""
    if exchange.asking is None:
        return None
    try:
        return decode_json(exchange.asking.finish())
    except (BodyUnreadable, ValueError):
        return None


def _found(
    exchange: Exchange, candidate: Candidate, messages: Mapping[Side, bytes], missing: Mapping[Side, str]
) -> Observation | Unusable:
    extractor = candidate.compiled.extractor
    if extractor.id_in_message is not None and extractor.id_in_message not in messages:
        return Unusable(candidate.rule, missing.get(extractor.id_in_message, "no-id"))
    path = path_of(exchange.target)
    return extractor.read(
        Answer(path, candidate.variables, exchange.headers, None, exchange.call, exchange.trace, messages)
    )


def _why_unreadable(headers: dict[str, bytes], limit: int) -> str:
    kind = _word(headers, "content-type")
    # Absent and text/plain are what careless servers say of JSON; anything else that does not say so is not.
    if kind and "json" not in kind and kind != "text/plain":
        return "body-unreadable"
    if not can_decode(_word(headers, "content-encoding")):
        return "body-unreadable"
    length = headers.get("content-length", b"")
    return "body-too-large" if length.isdigit() and int(length[:20]) > limit else ""


def _word(headers: dict[str, bytes], name: str) -> str:
    return headers.get(name, b"").partition(b";")[0].strip().lower().decode("latin-1")


def unfinished(exchanges: Iterable[Exchange], *, reached: bool) -> list[Concluded]:
    """Conclude all that had candidates left."""
    concluded = []
    for exchange in exchanges:
        if exchange.candidates:  # the others may be the shared ones: never to be written to
            exchange.sent = exchange.sent and reached
            concluded.append(aborted(exchange))
    return concluded
