"""First calls that are made by whoever prepared, in the same breath: one transaction says both, and one task does both.

Only where the owner has room that very moment and nobody has to be asked before; everything else is prepared, and sent
by the sweeper when its turn comes. Laws:

- The place at the owner is taken before anything is written, so what is written as sent is called at once.
- Meanwhile nobody else takes the sweep for one that a predecessor left behind: ``is_sending`` says so. However the work
  ends, unless the sweep is over, it is handed to the sweeper by ``on_left``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from leasehold.control_plane.attempt import Sweep
from leasehold.control_plane.calling import Calls
from leasehold.control_plane.concluding import Conclusions
from leasehold.control_plane.crew import At, Done, Outcome
from leasehold.control_plane.owners.register import Office, Owners
from leasehold.protocol.names import Instant, Resource, Revision
from leasehold.protocol.ports import Clock
from leasehold.protocol.records import ResourceRecord, SweepRecord

log = structlog.get_logger()


class Place:
    """A call that is about to be made. ``over``: nothing is left to be done for the sweep, or there is none."""

    __slots__ = ("again", "called", "office", "over")

    def __init__(self, office: Office) -> None:
        self.office = office
        self.called = self.over = False
        self.again: Instant | None = None
        """When to go on, where that was agreed."""


class AtOnce:
    """Those under way."""

    def __init__(self, calls: Calls, conclusions: Conclusions, owners: Owners, clock: Clock) -> None:
        self._calls, self._conclusions, self._owners, self._clock = calls, conclusions, owners, clock
        self._sending: set[Resource] = set()
        self.on_left: Callable[[Resource, Instant | None], None] = lambda _, __: None

    def is_sending(self, resource: Resource) -> bool:
        return resource in self._sending

    @contextmanager
    def place(self, resource: Resource) -> Iterator[Place | None]:
        """Room for one call, for as long as this lasts; ``None``: there is none now."""
        office = self._calls.place(resource)
        if office is None:
            yield None
            return
        place = Place(office)
        self._sending.add(resource)
        try:
            yield place
        finally:
            self._sending.discard(resource)
            if not place.called:
                office.end(Instant(self._clock.now()), None, first=True)
            if not place.over:
                self.on_left(resource, place.again)

    async def send(
        self, place: Place, resource: Resource, revision: Revision, sent: SweepRecord, record: ResourceRecord
    ) -> Outcome:
        """Call the owner about what was written as sent at ``revision``, and conclude."""
        sweep = Sweep(resource, revision, sent, resource.owner, self._owners.retries(resource.owner), record.trace)
        log.info("sweep_sent", **sweep.evidence)
        place.called = True
        began = Instant(self._clock.now())
        answer = await self._calls.sweep(sweep, place.office)
        outcome = await self._conclusions.conclude(sweep, record, answer, began)
        place.over = isinstance(outcome, Done)
        place.again = outcome.instant if isinstance(outcome, At) else None
        return Done()  # as far as preparing goes
