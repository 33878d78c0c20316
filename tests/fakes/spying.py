"""Rules that match every call, and what an observer says about each: method, target, status, and the id in its body."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from leasehold.sidecar.observe.events import Unusable
from leasehold.sidecar.observe.exchanges import Concluded, Exchange, Matched, Piece
from leasehold.sidecar.observe.matching import Matcher
from tests.fakes.relay import Rules, rules

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
STATUSES = (200, 201, 202, 204, 206, 301, 304, 400, 404, 409, 500, 503)
LIMIT = 8192
_RULE = """
  - name: s{status}
    owner: blobs
    type: blob
    on: create
    match: {{method: [{methods}], path: "/{{+rest}}", status: [{status}]}}
    id: {{json: id}}
    held_by: process
    commit: background
    body_limit: {limit}
"""
EVERYTHING = "owners: [{name: blobs, hosts: [blobs.test], endpoint: 'http://blobs.test'}]\nrules:\n" + "".join(
    _RULE.format(status=status, methods=", ".join(METHODS), limit=LIMIT) for status in STATUSES
)


def spying() -> Rules:
    return Rules(Matcher.compile(rules(EVERYTHING)))


@dataclass(frozen=True)
class Said:
    """What an observer says about one call: ``found`` is an id, or why there is none."""

    method: str
    target: str
    status: int
    found: str


class Spy:
    """Takes pieces and writes down what is said about calls, in the order in which they are concluded."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self._status: dict[Exchange, int] = {}

    def take(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            if isinstance(piece, Matched):
                self._status[piece.exchange] = int(piece.rules[0].name[1:])
            elif isinstance(piece, Concluded):
                self._conclude(piece)

    def _conclude(self, mark: Concluded) -> None:
        exchange = mark.exchange
        found = "nothing"
        for finding in mark.findings:
            found = finding.reason if isinstance(finding, Unusable) else str(finding.resource.id)
        self.said.append(Said(exchange.method, exchange.target, self._status.get(exchange, 0), found))
