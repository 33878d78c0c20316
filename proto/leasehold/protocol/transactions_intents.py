"""The transactions of the intents' resolver and of the inventory, as pure functions: facts in, ``Txn`` out.

None of them leads to a delete by itself: they make a record where a leftover had none, so that the ordinary path judges
it, or end the memory of what is not there. What they record for a holder that has ended is a hold in that holder's own
name: it counts only as long as the holder's beacon stays away, and its roster entry is the evidence. Therefore
``resolve``, where it puts a hold, rewrites the roster entry as an attach would: a ``strike`` under way, which knows of
no such hold, fails.

What such a leftover refers to nobody has read. Its record has to say so (``transactions.EVERY``), and that is written
down with it, as *register* would.

All are the collector's, under its fence, and may be sent again after ``Unavailable``; after ``Uncertain`` look again:
the intent (or the record) tells.
"""

from __future__ import annotations

from dataclasses import dataclass

from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import CallId, Holder, Resource, Revision
from leasehold.protocol.records import HoldRecord, IntentRecord, ResourceRecord, encode
from leasehold.protocol.store import Compare, Delete, Get, Operation, Put, Txn, absent, unchanged
from leasehold.protocol.transactions import Authority, _fence, _refer, _seen, forget, references

LISTED = Holder("!inventory")
"""In whose name the inventory's finds are held, as let go of: nobody can be called so, and it is on no roster."""


@dataclass(frozen=True, slots=True)
class IntentFound:
    """An intent as read, and its holder's roster entry. ``outlived``: the holder is not one process (a service, a
    timer), so it may well be alive when the call that was intended in its name is long over."""

    holder: Holder
    call: CallId
    mod_revision: Revision
    roster: Revision
    roster_value: bytes
    outlived: bool = False


def resolve(
    keys: Keyspace,
    by: Authority,
    intent: IntentFound,
    resource: Resource,
    record: ResourceRecord,
    hold: HoldRecord,
    held: Revision = Revision(0),
    seen: Revision = Revision(0),
) -> Txn:
    """The owner knows what the call created: IF fence; intent and roster unchanged; beacon absent (unless outlived);
    record unchanged since ``seen`` (0: absent), no sweep; the holder's hold as seen at ``held`` (0: none) THEN put
    record and refs; delete intent and tombstone, and those of all that it refers to; with no hold there, put the hold,
    and the roster entry as it was.

    A record that is there has to be older than the intent, and of another incarnation than the owner knows: then it is
    of an earlier one. ``record`` names what that one referred to as well. Failure branch: intent, then record.
    """
    record_key, hold_key = keys.record(resource), keys.hold(resource, intent.holder)
    compares = [
        *_over(keys, by, intent),
        unchanged(keys.roster(intent.holder), _seen(intent.roster)),
        unchanged(record_key, seen),
        absent(keys.sweep(resource)),
        unchanged(hold_key, held),
    ]
    then: list[Operation] = [
        Put(record_key, encode(record)),
        Delete(_key(keys, intent)),
        Delete(keys.tombstone(resource)),
        *_refer(keys, resource, references(record)),
    ]
    if not held:
        then += (Put(hold_key, encode(hold)), Put(keys.roster(intent.holder), intent.roster_value))
    return Txn(compares, then, (Get(_key(keys, intent)), Get(record_key)))


def recorded(keys: Keyspace, by: Authority, intent: IntentFound, resource: Resource, seen: Revision) -> Txn:
    """What the call created has a record already: IF fence; intent unchanged; beacon absent (unless outlived); record
    unchanged since ``seen``, when it was of what the call created THEN delete the intent."""
    compares = (*_over(keys, by, intent), unchanged(keys.record(resource), _seen(seen)))
    return Txn(compares, (Delete(_key(keys, intent)),))


def dismiss(
    keys: Keyspace, by: Authority, intent: IntentFound, resource: Resource | None, held: Revision = Revision(0)
) -> Txn:
    """The owner said, twice, that the call created nothing: IF fence; intent unchanged; beacon absent and roster
    unchanged (unless outlived) THEN delete the intent, and its early hold if that is as seen at ``held`` and holds
    nothing that is recorded.

    A holder that was back for a moment may have made the call meanwhile: its roster entry tells.
    """
    then: list[Operation] = [Delete(_key(keys, intent))]
    if resource is not None and held:
        hold = keys.hold(resource, intent.holder)
        early = (unchanged(hold, held), absent(keys.record(resource)))
        then.append(Txn(early, (Delete(hold), Delete(keys.tombstone(resource)))))
    compares = _over(keys, by, intent)
    if not intent.outlived:
        compares.append(unchanged(keys.roster(intent.holder), _seen(intent.roster)))
    return Txn(compares, then)


def suspect(keys: Keyspace, by: Authority, intent: IntentFound, record: IntentRecord) -> Txn:
    """It cannot be told what became of the call: IF fence; intent unchanged; beacon absent (unless outlived) THEN put
    the intent with the reason."""
    return Txn(_over(keys, by, intent), (Put(_key(keys, intent), encode(record)),))


def adopt(keys: Keyspace, by: Authority, resource: Resource, record: ResourceRecord, hold: HoldRecord) -> Txn:
    """An owner lists what is ours and nobody recorded: IF fence; no record, no hold, no sweep, no grave of it
    THEN put record and refs, and a released hold; delete the tombstones of all that it refers to.

    A grave means that we deleted it a short while ago: the owner's list lags.
    """
    if not hold.released:
        raise ValueError(f"{resource}: expected a released hold, nobody is known to hold it")
    record_key = keys.record(resource)
    compares = (
        _fence(keys, by),
        absent(record_key),
        absent(keys.holds_of(resource)),
        absent(keys.sweep(resource)),
        absent(keys.grave(resource)),
    )
    then = (Put(record_key, encode(record)), Put(keys.hold(resource, LISTED), encode(hold)))
    return Txn(compares, (*then, *_refer(keys, resource, references(record))))


def close(keys: Keyspace, by: Authority, resource: Resource, record: ResourceRecord, seen: Revision) -> Txn:
    """The owner does not have it any more, and we did not delete it: IF fence, and everything of *forget* (record
    unchanged since ``seen``; sweep absent) THEN delete all we knew of it."""
    forgotten = forget(keys, resource, record, seen)
    return Txn((_fence(keys, by), *forgotten.compares), forgotten.success, forgotten.failure)


def _key(keys: Keyspace, intent: IntentFound) -> bytes:
    return keys.intent(intent.holder, intent.call)


def _over(keys: Keyspace, by: Authority, intent: IntentFound) -> list[Compare]:
    compares = [_fence(keys, by), unchanged(_key(keys, intent), _seen(intent.mod_revision))]
    if not intent.outlived:
        compares.append(absent(keys.beacon(intent.holder)))
    return compares
