"""A control plane's decisions, made into the product's own transactions.

``Flight.revs`` begin with the fence and the armed key's revision, as its author read them.
"""

from __future__ import annotations

import msgspec

from leasehold.protocol import transactions as tx
from leasehold.protocol.names import LeaseId, Revision
from leasehold.protocol.records import (
    EpochRecord,
    GraveRecord,
    ResourceRecord,
    SweepRecord,
    SweepState,
    TombstoneRecord,
    decode,
)
from leasehold.protocol.store import Txn
from tests.model.names import EPOCH, GRACE, KEYS
from tests.model.world import Flight

OPEN, DONE = EpochRecord(1, 1), EpochRecord(1, 1, True)


def authority(flight: Flight) -> tx.Authority:
    return tx.Authority(0, Revision(flight.revs[0]), Revision(flight.revs[1]))


def facts(flight: Flight, others: int) -> tx.Unheld:
    """What a decision rests on. ``others``: how many revisions stand before those of the holds."""
    assert flight.about is not None
    holders, sources = flight.rest[:2]
    pairs = zip(flight.revs[others::2], flight.revs[others + 1 :: 2], strict=True)
    holds = [
        tx.HoldFound(holder, Revision(mod), released, Revision(roster))
        for (holder, released), (mod, roster) in zip(holders, pairs, strict=True)
    ]
    return tx.Unheld(flight.about, Revision(flight.revs[3]), Revision(flight.revs[2]), holds, sources)


def _condemn(flight: Flight) -> Txn:
    return tx.condemn(KEYS, authority(flight), facts(flight, 4), TombstoneRecord(flight.rest[2], "unheld", 0))


def _prepare(flight: Flight) -> Txn:
    found = facts(flight, 7)
    tombstone, create, mod = (Revision(rev) for rev in flight.revs[4:7])
    epoch = tx.EpochFound(GRACE, 1, EPOCH, create, mod, DONE)
    sweep = SweepRecord(SweepState.PREPARED, flight.rest[2], 0, 0, tombstone, "1s/1", found.holders)
    if flight.name == "prepare":
        return tx.prepare(KEYS, authority(flight), found, tombstone, epoch, sweep)
    sent = msgspec.structs.replace(sweep, state=SweepState.SENT, attempt=1)
    return tx.prepare_and_send(KEYS, authority(flight), found, tombstone, epoch, sent)


def _with_sweep(flight: Flight) -> Txn:
    assert flight.about is not None
    sweep = msgspec.structs.replace(decode(SweepRecord, flight.rest[0]), tombstone_revision=flight.revs[3])
    write = tx.send if flight.name == "send" else tx.note
    looked = {"looked": Revision(flight.revs[4])} if flight.name == "send" else {}
    return write(KEYS, authority(flight), flight.about, Revision(flight.revs[2]), sweep, **looked)


def _finish(flight: Flight) -> Txn:
    assert flight.about is not None
    known = decode(ResourceRecord, flight.rest[0])
    grave = GraveRecord(known.incarnation, "gone")
    return tx.finish(KEYS, authority(flight), flight.about, Revision(flight.revs[2]), known, grave, LeaseId(0))


def _of_one_key(flight: Flight) -> Txn:
    assert flight.about is not None
    write = tx.abort if flight.name == "abort" else tx.revive
    return write(KEYS, authority(flight), flight.about, Revision(flight.revs[2]))


def _close(flight: Flight) -> Txn:
    epoch = tx.EpochFound(GRACE, 1, EPOCH, Revision(flight.revs[2]), Revision(flight.revs[3]), OPEN)
    return tx.close_epoch(KEYS, authority(flight), epoch, DONE)


BUILDERS = {
    "condemn": _condemn, "prepare": _prepare, "prepare and send": _prepare, "send": _with_sweep,
    "note": _with_sweep, "finish": _finish,
    "abort": _of_one_key, "revive": _of_one_key, "close epoch": _close,
    "open epoch": lambda flight: tx.open_epoch(KEYS, authority(flight), GRACE, 1, OPEN),
}  # fmt: skip
