"""What every kind of credential offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from leasehold.control_plane.owners.outcome import Verdict
from leasehold.protocol.errors import LeaseholdError


class NoCredential(LeaseholdError):
    """There is no proof of who we are: nothing may be sent. ``verdict`` says what follows for the call."""

    def __init__(self, verdict: Verdict, problem: str, retry_after: float | None = None) -> None:
        super().__init__(problem)
        self.verdict, self.retry_after = verdict, retry_after


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request without a body, as it will be on the wire. ``url`` is encoded already. ``repr`` hides the headers."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)

    def with_headers(self, more: Mapping[str, str]) -> Outgoing:
        """The same with these headers, which replace others of their name."""
        names = {name.lower() for name in more}
        kept = {name: value for name, value in self.headers.items() if name.lower() not in names}
        return replace(self, headers={**kept, **more})


class Credential(Protocol):
    """One owner's."""

    async def prove(self, request: Outgoing) -> Outgoing:
        """The request with the proof. The caller bounds the time. Raises ``NoCredential``."""
        ...

    def turned_away(self, request: Outgoing) -> bool:
        """The owner did not believe ``request``, which ``prove`` returned: whether another proof may be had."""
        ...

    async def close(self) -> None: ...
