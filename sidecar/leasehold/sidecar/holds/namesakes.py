"""Whose record stands where a registration finds one of another incarnation: an earlier one's, or a later one's? Pure.

Nothing that both have in common tells: ids are used again, and a registration may come hours after its creation, out of
the journal. So:

    one that we recorded ourselves   --> earlier: ours are registered in the order in which they were observed
    another, found at once           --> earlier, very likely; but what it refers to stays kept beside what ours does
    another, found late              --> nobody knows: it stands as it is, and comes to be held and to refer to more

A record that stays although it is the earlier one costs a refused delete, which is seen. One that is written over
although it is the later one would free what that needs.
"""

from __future__ import annotations

from collections.abc import Iterable

from leasehold.protocol.records import ResourceRecord
from leasehold.sidecar.holds.entries import Holding, Register


def is_our_earlier(record: ResourceRecord, operation: Register, held: Iterable[Holding]) -> bool:
    """Whether the record is of what we observed before this operation. ``held``: our holds on it, by what put them."""
    if record.creator == operation.holder and "@" in operation.holder:
        return True  # a process has one sidecar; a service may have many
    return any(isinstance(one, Register) and one.incarnation == record.incarnation for one in held)
