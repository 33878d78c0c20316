"""What was just prepared, from who prepared it to who sweeps it: saves reading back what we wrote a moment ago.

A hint, as everything that is remembered: the transaction that sends compares the sweep as it was handed over, and the
record cannot change while there is a sweep. What is missing here is read.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from leasehold.protocol.names import Resource, Revision
from leasehold.protocol.records import ResourceRecord, SweepRecord

CAPACITY = 10_000
"""The oldest are forgotten first: they are read when their turn comes."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sweep as it was written at ``revision``, and the record it is about."""

    revision: Revision
    sweep: SweepRecord
    record: ResourceRecord


class Handover:
    """Each is taken once, or forgotten."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._prepared: OrderedDict[Resource, Prepared] = OrderedDict()

    def give(self, resource: Resource, prepared: Prepared) -> None:
        self._prepared[resource] = prepared
        if len(self._prepared) > self._capacity:
            self._prepared.popitem(last=False)

    def take(self, resource: Resource, revision: Revision) -> Prepared | None:
        """If its sweep is known to be of ``revision``, and was handed over as of that."""
        found = self._prepared.pop(resource, None)
        return found if found is not None and found.revision == revision else None
