"""Whether a record that is there is of what an intended call created, or of a namesake. Pure.

An id may be used again, so a record under the id proves nothing by itself. What is known of its age is its revision:

    the incarnation that the owner knows                          --> recorded
    another one, written before the call was intended             --> earlier: to be recorded over
    another one, written since, and the owner tells no identity   --> recorded: whoever wrote it saw the owner's answer
    another one, written since                                    --> doubtful: nobody knows which of the two came last

Recording over keeps what the earlier one referred to: whoever is wrong about which is which must free nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from leasehold.control_plane.core.intents import Over
from leasehold.protocol.records import ResourceRecord, Unreadable, decode
from leasehold.protocol.store import KeyValue
from leasehold.protocol.transactions import bounded, references, resources


class Known(Enum):
    """What is in etcd already, of what a call is known to have created."""

    NOTHING = "nothing"
    EARLIER = "earlier"
    RECORDED = "recorded"
    DOUBTFUL = "doubtful"


def compared(record: KeyValue | None, case: Over, incarnation: str) -> Known:
    """Judge what stands under the id of what was found there, of this incarnation. What cannot be read is doubtful."""
    if record is None:
        return Known.NOTHING
    known = _decoded(record)
    if known is None:
        return Known.DOUBTFUL
    if known.incarnation == incarnation:
        return Known.RECORDED
    intent = case.intent.record
    # An intent with a suspicion was written anew when that was noted: its revision tells no age any more.
    if record.mod_revision < case.intent.revision and intent is not None and not intent.suspect:
        return Known.EARLIER
    told = incarnation != f"call:{case.call}"
    return Known.DOUBTFUL if told or record.mod_revision < case.intent.revision else Known.RECORDED


def needed(record: KeyValue | None, unread: Iterable[tuple[str, str, str]]) -> tuple[tuple[str, str, str], ...]:
    """What a record has to refer to that takes the place of this one: all it did, and what nobody has read."""
    known = _decoded(record) if record is not None else None
    targets = (*(references(known) if known is not None else ()), *resources(unread))
    return tuple((one.owner, one.type, one.id) for one in bounded(targets))


def _decoded(record: KeyValue) -> ResourceRecord | None:
    try:
        return decode(ResourceRecord, record.value)
    except Unreadable:
        return None
