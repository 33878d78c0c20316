"""The transactions of the brake, the canary and the shadow report, as pure functions: facts in, ``Txn`` out.

Stopping is allowed to everybody, so it compares no fence, only that the armed key is the one under which the evidence
was seen: an operator who armed since then knew of it. Arming again asks for everything: the fence of the tenant's
shard, the very trip it answers to, and that nobody armed meanwhile. What is only told (window, canary, shadow) is
written under the fence, so that one replica tells it at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Holder, Resource, Revision, RuleName
from leasehold.protocol.records import (
    ArmedRecord,
    CanaryRecord,
    ClusterRecord,
    ShadowRecord,
    TrippedRecord,
    WindowRecord,
    encode,
)
from leasehold.protocol.store import Delete, Get, Put, Txn, absent, unchanged
from leasehold.protocol.transactions import Authority, _fence, _seen


def trip_armed(keys: Keyspace, armed: Revision, tripped: TrippedRecord) -> Txn:
    """IF armed unchanged since ``armed`` THEN delete it, and put why.

    After ``Uncertain`` repeat it: a second one is refused. Failure branch: the armed key, if another is there.
    """
    return Txn(
        (unchanged(keys.armed, _seen(armed)),),
        (Delete(keys.armed), Put(keys.tripped, encode(tripped))),
        (Get(keys.armed),),
    )


def rearm(keys: Keyspace, by: Authority, tripped: Revision, armed: ArmedRecord) -> Txn:
    """IF fence; the trip unchanged since ``tripped``; armed absent THEN arm, and delete why it was not."""
    return Txn(
        (_fence(keys, by), unchanged(keys.tripped, _seen(tripped)), absent(keys.armed)),
        (Put(keys.armed, encode(armed)), Delete(keys.tripped)),
    )


def accept_cluster(keys: Keyspace, pinned: Revision, cluster: ClusterRecord, tripped: TrippedRecord) -> Txn:
    """IF armed absent; the pinned cluster unchanged since ``pinned`` THEN pin this one, and put why it is braked.

    The trip becomes the operator's, which no returning beacon arms again. After ``Uncertain`` look, then repeat.
    """
    return Txn(
        (absent(keys.armed), unchanged(keys.cluster, _seen(pinned))),
        (Put(keys.cluster, encode(cluster)), Put(keys.tripped, encode(tripped))),
    )


def note_window(keys: Keyspace, by: Authority, window: WindowRecord) -> Txn:
    """IF fence THEN put what vanished lately, for whoever has not seen it. Repeating is harmless."""
    return Txn((_fence(keys, by),), (Put(keys.window, encode(window)),))


def clear_canary(keys: Keyspace, by: Authority, resources: Sequence[Resource], holders: Sequence[Holder]) -> Txn:
    """IF fence THEN delete all there is of a self-test's resources and holders, of names nobody else can have, but not
    who was on the roster: that goes only when it holds nothing, see ``strike_canary``. Repeating is harmless."""
    of_resources = (
        Delete(where)
        for one in resources
        for where in (keys.record(one), keys.holds_of(one), keys.refs_to(one), keys.tombstone(one), keys.sweep(one))
    )
    return Txn((_fence(keys, by),), (*of_resources, *(Delete(keys.beacon(one)) for one in holders)))


def strike_canary(keys: Keyspace, by: Authority, holders: Sequence[Holder]) -> Txn:
    """IF fence; no beacon of theirs THEN take a self-test's holders off the roster. Repeating is harmless."""
    gone = (absent(keys.beacon(one)) for one in holders)
    return Txn((_fence(keys, by), *gone), [Delete(keys.roster(one)) for one in holders])


def note_canary(keys: Keyspace, by: Authority, canary: CanaryRecord) -> Txn:
    """IF fence THEN put how the self-test ended. Repeating is harmless."""
    return Txn((_fence(keys, by),), (Put(keys.canary, encode(canary)),))


def note_shadow(keys: Keyspace, by: Authority, rule: RuleName, shadow: ShadowRecord) -> Txn:
    """IF fence THEN put what a rule would have done. Repeating is harmless."""
    return Txn((_fence(keys, by),), (Put(keys.shadow(rule), encode(shadow)),))
