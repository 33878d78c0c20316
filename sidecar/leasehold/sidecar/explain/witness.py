"""Shows one call to the production observer, and notes what it asks and what it says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from leasehold.protocol.names import CallId
from leasehold.protocol.rules import Rule
from leasehold.sidecar.observe.events import Observation, Unusable
from leasehold.sidecar.observe.exchanges import Concluded, GaveUp, Http2, Intent, Matched, Piece
from leasehold.sidecar.observe.http1 import RequestReader, ResponseReader
from leasehold.sidecar.observe.http2 import Http2Observer
from leasehold.sidecar.observe.matching import Candidate, Matcher, OwnerRules
from leasehold.sidecar.observe.observer import Observer
from leasehold.sidecar.observe.reasons import Unfollowable

THIS_CALL: Final = CallId("this-call")
"""Stands for the id that the sidecar makes up for a call."""


class Witness(Matcher):
    """A matcher that notes whom the observer asked for."""

    __slots__ = ("asked",)

    def __init__(self, by_host: Mapping[str, OwnerRules], troubles: Iterable[str] = ()) -> None:
        super().__init__(by_host, troubles)
        self.asked: list[tuple[str, OwnerRules | None]] = []

    def owner_rules(self, authority: str, destination: str) -> OwnerRules | None:
        found = super().owner_rules(authority, destination)
        self.asked.append((authority, found))
        return found

    @property
    def matcher(self) -> Matcher:
        return self


@dataclass(slots=True)
class Seen:
    """What the observer made of one call. ``fitting``: whose method and path fit; ``candidates``: those of them that
    were in question, for rules about gRPC go first; ``known_by``: how the owner was recognised."""

    method: str
    target: str
    status: int
    grpc: bool
    authority: str = ""
    owner: str | None = None
    known_by: str = ""
    fitting: tuple[Candidate, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    intended: list[Rule] = field(default_factory=list)
    matched: list[Rule] = field(default_factory=list)
    holding: list[Rule] = field(default_factory=list)
    findings: list[Observation | Unusable] = field(default_factory=list)
    gave_up: str = ""
    remarks: list[str] = field(default_factory=list)


def see_http(witness: Witness, request: bytes, response: bytes, destination: str) -> Seen:
    """``destination`` as ``normal_authority`` writes it. Of several calls the first one is looked at."""
    asking, answering = RequestReader(), ResponseReader()
    asked = _end_of_first(asking, request)
    answering.bodiless = asking.method == b"HEAD"
    answered = _end_of_first(answering, response)
    status = answering.status if answering.status >= 200 else 0
    seen = Seen(asking.method.decode("latin-1"), asking.target.decode("latin-1"), status, grpc=False)
    for what, data, end in (("request", request, asked), ("response", response, answered)):
        if data[end:].strip():
            seen.remarks.append(f"what follows the first {what} is left out ({len(data) - end} bytes)")
    observer = Observer(witness, lambda: THIS_CALL, destination)
    _note(seen, observer.request(request[:asked]) or ())
    if not seen.gave_up:
        _note(seen, observer.response(response[:answered]) or ())
    if not seen.gave_up:
        _note(seen, observer.response_end())
    _note_owner(seen, witness)
    return seen


class _Open:
    """A passage on which nothing waits."""

    open = True


def see_grpc(witness: Witness, path: str, status: int, request: bytes, response: bytes, destination: str) -> Seen:
    """``request`` and ``response`` are the two directions of an HTTP/2 connection with one call."""
    seen = Seen("POST", path, status, grpc=True)
    observer = Http2Observer(witness, lambda: THIS_CALL, destination, _Open(), _Open())
    _note(seen, observer.request(request) or ())
    if not seen.gave_up:
        _note(seen, observer.response(response) or ())
    if not seen.gave_up:
        _note(seen, observer.response_end())
    _note_owner(seen, witness)
    return seen


def _note(seen: Seen, pieces: Iterable[Piece]) -> None:
    for piece in pieces:
        if isinstance(piece, Intent):
            seen.intended.append(piece.rule)
        elif isinstance(piece, Matched):
            seen.matched += piece.rules
            seen.holding += piece.holding
        elif isinstance(piece, Concluded):
            seen.findings += piece.findings
        elif isinstance(piece, GaveUp):
            seen.gave_up = piece.reason
        elif isinstance(piece, Http2):
            seen.gave_up = "http2"


def _note_owner(seen: Seen, witness: Witness) -> None:
    if not witness.asked:
        return
    seen.authority, rules = witness.asked[0]
    if rules is None:
        return
    seen.owner = rules.owner
    seen.known_by = "authority" if witness.owner_rules(seen.authority, "") is rules else "destination"
    first = rules.grpc_candidates(seen.target) if seen.grpc else ()
    other = rules.candidates(seen.method, seen.target)
    seen.fitting = first + other
    seen.candidates = first or other


def _end_of_first(reader: RequestReader | ResponseReader, data: bytes) -> int:
    """Behind the first message (of responses: the first final one); the end of all where it does not end, or cannot be
    read, for then the observer will say why."""
    at = 0
    try:
        while at < len(data):
            at = reader.feed(data, at)
            if reader.ended and not (isinstance(reader, ResponseReader) and reader.status < 200):
                return at
    except Unfollowable:
        pass
    return len(data)
