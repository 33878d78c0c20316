"""One operation: its member of a batch, and what the answer to it means. Pure.

    register --ok--> done        register --record there, same incarnation--> acquire (it is ours or a twin's)
    register --the same, but it refers to more now--> register over what was seen, with the references of both
    register --record there, an earlier incarnation--> register over what was seen, dropping its references
    register --record there, another incarnation--> see ``namesakes``
    register, intend --being swept--> later, until the sweep is over: a new incarnation needs its record
    register of what needs everything of a type --some of it being swept--> later, but not for long: until the
                     reference is there nothing of that type is protected by it
    acquire  --being swept--> too late        acquire --no record--> not ours (as a register's second try: register)
    acquire, intend --my hold is newer than what I had heard--> again, having heard of it
    forget   --look--> forget what was seen --changed meanwhile--> look again
    forget, observed long ago, of we do not know which incarnation --record there--> not ours
    release, retract --> done either way

Every one may be sent again after ``Uncertain``: holds and records carry values nobody else writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from leasehold.protocol import transactions as tx
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Boot, Resource, Revision
from leasehold.protocol.records import HoldRecord, IntentRecord, ResourceRecord, Unreadable, decode
from leasehold.protocol.store import Get, GetResult, KeyValue, Txn, TxnResult
from leasehold.sidecar.holds.entries import (
    Acquire,
    Forget,
    Holding,
    Intend,
    Register,
    Release,
    Retract,
)
from leasehold.sidecar.holds.lanes import Item
from leasehold.sidecar.holds.namesakes import is_our_earlier
from leasehold.sidecar.ports import Outcome


@dataclass(frozen=True, slots=True)
class Finished:
    """It ended. ``effect``: whether what it wanted is so; ``late``: it came back too late (a late return)."""

    outcome: Outcome
    effect: bool
    late: bool = False


@dataclass(frozen=True, slots=True)
class Again:
    """Try at once: the answer told what is needed."""


@dataclass(frozen=True, slots=True)
class Later:
    """Try after a while: somebody else has to finish first."""


Verdict = Finished | Again | Later
REGISTERED = Finished(Outcome.REGISTERED, True)
FORGOTTEN = Finished(Outcome.FORGOTTEN, True)
AGAIN = Again()
LATER = Later()


def member(keys: Keyspace, item: Item, boot: Boot) -> Txn:
    """This operation's member of a batch, with what is known by now. ``boot``: of the operation's holder."""
    operation = item.operation
    if isinstance(operation, Register):
        return _register(keys, item, operation, boot)
    if isinstance(operation, Acquire):
        return tx.acquire(
            keys, operation.resource, operation.holder, _hold(operation, boot), replacing=operation.replacing,
            heard=item.heard,
        )  # fmt: skip
    return _rare(keys, item, operation, boot)


def judge(item: Item, result: TxnResult, held: Sequence[Holding] = ()) -> Verdict:
    """What the member's result means. Notes in ``item`` what the next try needs. ``held``: our holds on it."""
    operation = item.operation
    if isinstance(operation, Forget):
        return _judge_forget(item, operation, result)
    if result.succeeded:
        return REGISTERED
    if isinstance(operation, Register):
        return _judge_register(item, operation, result, held)
    if isinstance(operation, Acquire):
        record, sweep = _found(result)
        if record is not None and sweep is None:
            return AGAIN
        return Finished(Outcome.NOT_OURS if sweep is None else Outcome.BEING_SWEPT, False, late=sweep is not None)
    if isinstance(operation, Intend):
        (swept,) = result.results
        return LATER if isinstance(swept, GetResult) and swept.items else AGAIN
    return Finished(Outcome.FORGOTTEN, False)


# --- members ----------------------------------------------------------------------------------------------------


def _register(keys: Keyspace, item: Item, operation: Register, boot: Boot) -> Txn:
    hold = _hold(operation, boot)
    if item.as_acquire:
        return tx.acquire(keys, operation.resource, operation.holder, hold, heard=item.heard)
    refers = tuple((one.owner, one.type, one.id) for one in item.references or operation.references)
    if item.record is not None:
        record = msgspec.structs.replace(item.record, references=refers)
    else:
        record = ResourceRecord(
            incarnation=operation.incarnation,
            rule=operation.rule,
            grace_class=operation.grace_class,
            creator=operation.holder,
            references=refers,
            trace=operation.trace,
            since=operation.since,
        )
    return tx.register(
        keys,
        operation.resource,
        record,
        operation.holder,
        hold,
        seen=item.seen,
        call=operation.call,
        intender=operation.intender,
        dropped=item.dropped,
        past_others=item.late,
    )


def _rare(keys: Keyspace, item: Item, operation: Forget | Release | Intend | Retract, boot: Boot) -> Txn:
    match operation:
        case Forget():
            if item.record is None:
                return Txn((), (Get(keys.record(operation.resource)), Get(keys.sweep(operation.resource))))
            return tx.forget(keys, operation.resource, item.record, item.seen)
        case Release():
            released = HoldRecord(boot, operation.n, operation.rule, operation.since, released=True)
            held = HoldRecord(boot, operation.hold, operation.rule, operation.since)
            return tx.release(keys, operation.resource, operation.holder, held, released)
        case Intend():
            intent = IntentRecord(
                operation.rule,
                operation.method,
                operation.target,
                operation.key or operation.call,
                _triple(operation.resource),
                operation.since,
                operation.sent_as,
            )
            hold = HoldRecord(boot, operation.n, operation.rule, operation.since)
            return tx.intend(keys, operation.holder, operation.call, intent, operation.resource, hold, heard=item.heard)
        case Retract():
            hold = HoldRecord(boot, operation.hold, operation.rule, operation.since)
            return tx.retract(keys, operation.holder, operation.call, operation.resource, hold)


def _hold(operation: Holding, boot: Boot) -> HoldRecord:
    return HoldRecord(boot, operation.n, operation.rule, operation.since)


def _triple(resource: Resource | None) -> tuple[str, str, str] | None:
    return None if resource is None else (resource.owner, resource.type, resource.id)


# --- answers ----------------------------------------------------------------------------------------------------


def _judge_register(item: Item, operation: Register, result: TxnResult, held: Sequence[Holding]) -> Verdict:
    record, sweep = _found(result)
    if sweep is not None:
        item.as_acquire = False
        return LATER
    if record is None:
        # Forgotten since we looked: begin anew. Or nothing is in its own way: one of its references is being swept.
        looked = item.as_acquire or item.seen
        item.as_acquire, item.seen, item.record, item.dropped, item.references = False, Revision(0), None, (), ()
        return AGAIN if looked else LATER
    if record.mod_revision == item.seen:
        return LATER
    earlier = _decoded(record)
    known = () if earlier is None else tx.references(earlier)
    same = earlier is not None and earlier.incarnation == operation.incarnation
    if same and operation.call is None and set(operation.references) <= set(known):
        item.as_acquire = True
        return AGAIN
    item.as_acquire, item.seen, item.record = False, record.mod_revision, None
    item.references = ()
    if earlier is not None and (same or not is_our_earlier(earlier, operation, held)):
        # Nobody knows which of two answers was the last: it needs what either says.
        item.references = tx.bounded((*known, *operation.references))
        item.record = earlier if item.late and not same else None
    item.dropped = tuple(one for one in known if one not in (item.references or operation.references))
    return AGAIN


def _judge_forget(item: Item, operation: Forget, result: TxnResult) -> Verdict:
    if item.record is not None and result.succeeded:
        return FORGOTTEN
    record, sweep = _found(result)
    if sweep is not None:
        # The collector will find it gone.
        return Finished(Outcome.BEING_SWEPT, True)
    if record is None:
        return Finished(Outcome.FORGOTTEN if item.record is not None else Outcome.NOT_OURS, True)
    found = _decoded(record)
    changed = item.record is not None and (found is None or found.incarnation != item.record.incarnation)
    unknown = bool(operation.incarnation) and found is not None and found.incarnation != operation.incarnation
    if item.late and not operation.incarnation:
        # Long ago, and which one it was we do not know: this may be a namesake that somebody made and holds by now.
        # Should it be gone after all, the collector will find that out when nobody holds it any more.
        unknown = True
    if found is None or changed or unknown:
        # Somebody made a namesake meanwhile: that one is not ours to forget.
        return Finished(Outcome.NOT_OURS, True)
    item.record, item.seen = found, record.mod_revision
    return AGAIN


def _found(result: TxnResult) -> tuple[KeyValue | None, KeyValue | None]:
    """Record and sweep, as the branch that ran read them."""
    first, second = result.results
    if not isinstance(first, GetResult) or not isinstance(second, GetResult):
        raise TypeError("expected a record and a sweep")
    return (first.items[0] if first.items else None), (second.items[0] if second.items else None)


def _decoded(found: KeyValue) -> ResourceRecord | None:
    try:
        return decode(ResourceRecord, found.value)
    except Unreadable:
        return None
