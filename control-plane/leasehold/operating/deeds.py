"""An operator's deeds on single resources: a picture and a wish in, one of the protocol's transactions out. Pure.

None of them can override a sweep: once the delete is prepared, the collector alone may abort it. The transaction
decides; what is checked here before only tells better why not.
"""

from __future__ import annotations

from typing import Final

import msgspec

from leasehold.operating.states import HolderStatus, holder_status, mode_of
from leasehold.operating.survey import Survey
from leasehold.protocol import transactions
from leasehold.protocol.errors import LeaseholdError
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Holder, LeaseId, Resource
from leasehold.protocol.records import HasteRecord
from leasehold.protocol.rules import Mode
from leasehold.protocol.store import Txn


class NotDone(LeaseholdError):
    """It cannot be done as things are. Nothing was written."""


class Unknown(NotDone):
    """There is no such thing."""


class Unfit(NotDone):
    """It is there, but in no state for that."""


class Changed(NotDone):
    """It changed while we looked: look again, then repeat."""


HASTE_SECONDS: Final = 86400
"""Of the lease of a haste: it outlives its tombstone by no more than this."""
UNDER_WAY: Final = "too late, its sweep is under way"


def expect_recorded(picture: Survey, resource: Resource) -> None:
    """Raises ``Unknown``."""
    if resource not in picture.resources:
        raise Unknown(f"{resource}: not found; there is no record of it")


def unpin(keys: Keyspace, picture: Survey, resource: Resource) -> Txn:
    """Raises ``NotDone``."""
    if resource not in picture.pins and transactions.PINNED not in picture.holds.get(resource, {}):
        raise Unfit(f"{resource}: not pinned; nothing to do")
    return transactions.unpin(keys, resource)


def restore(keys: Keyspace, picture: Survey, resource: Resource) -> Txn:
    """Raises ``NotDone``."""
    if resource not in picture.tombstones and resource not in picture.sweeps:
        raise Unfit(f"{resource}: not condemned; nothing to restore")
    return transactions.restore(keys, resource)


def release(keys: Keyspace, picture: Survey, resource: Resource, holder: Holder, who: str, *, force: bool) -> Txn:
    """In the name of one holder. Raises ``NotDone``. Refused by the store: the hold changed meanwhile."""
    found = picture.holds.get(resource, {}).get(holder)
    if found is None:
        known = ", ".join(picture.holds.get(resource, {})) or "nobody"
        raise Unknown(f"{resource}: {holder} has no hold on it; expected one of: {known}")
    if found.record is None:
        raise Unfit(f"{resource}: the hold of {holder} cannot be read; it is kept")
    if found.record.released:
        raise Unfit(f"{resource}: {holder} has let go of it already")
    if holder_status(picture, holder) is HolderStatus.ALIVE and not force:
        raise Unfit(
            f"{resource}: {holder} is alive and may be using it. Releasing means: with no other hold left it is "
            "deleted after its grace, and the holder is not told. Repeat with --force if that is what you want"
        )
    released = msgspec.structs.replace(found.record, released=True, why=f"released by {who}")
    return transactions.release(keys, resource, holder, found.record, released)


def hasten(keys: Keyspace, picture: Survey, resource: Resource, who: str, why: str, since: str, lease: LeaseId) -> Txn:
    """Shorten the grace of what is condemned. Raises ``NotDone``."""
    tombstone, found = picture.tombstones.get(resource), picture.resources[resource]
    if resource in picture.sweeps:
        raise Unfit(f"{resource}: its sweep is under way already")
    if tombstone is None or tombstone.record is None:
        raise Unfit(f"{resource}: not condemned; only the grace of what is condemned can be shortened")
    if tombstone.record.cycle:
        raise Unfit(f"{resource}: it was condemned with others of a cycle of references; their grace stays whole")
    if resource in picture.pins:
        raise Unfit(f"{resource}: pinned; unpin it first")
    mode = mode_of(picture.rules_or_none(), found.record.rule if found.record else "")
    if mode is not Mode.SWEEP:
        raise Unfit(f"{resource}: its rule lets the collector go no further than {mode or 'nothing'}")
    return transactions.hasten(keys, resource, found.revision, HasteRecord(who, why, tombstone.revision, since), lease)
