"""Why a resource is still there, or no more, and what happens next: plain sentences. Pure.

``remaining`` tells how many seconds a lease has left, as etcd answered a moment ago; without an answer the sentence
does without the number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from leasehold.operating.states import HolderStatus, HoldView, ResourceView, State, TombstoneView, resource_view
from leasehold.operating.survey import Survey, take_one
from leasehold.protocol.errors import Compacted
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import LeaseId, OwnerName, Resource, ResourceId, TypeName
from leasehold.protocol.ports import Leases, Store
from leasehold.protocol.records import HASTENED, HolderKind
from leasehold.protocol.rules import Mode
from leasehold.protocol.transactions import EVERY, PINNED, every

_PINNED = "But it is pinned: nothing happens until `leasehold unpin`."


class Explanation(msgspec.Struct, frozen=True):
    """What ``why`` answers. ``revision`` is that of the one read it rests on."""

    resource: str
    revision: int
    facts: ResourceView | None
    grave: str | None
    armed: bool
    leader: str | None
    sentences: tuple[str, ...]
    next: tuple[str, ...]


class Timing(Store, Leases, Protocol):
    """Reads, and how long a lease has left."""


def leases_of_interest(view: ResourceView) -> list[LeaseId]:
    """The leases whose remaining time belongs into the explanation."""
    leases = [hold.beacon_lease for hold in view.alive]
    if view.tombstone is not None and not view.tombstone.epoch_done:
        leases.append(view.tombstone.epoch_lease)
    return [LeaseId(lease) for lease in leases if lease]


async def look_into(etcd: Timing, keys: Keyspace, resource: Resource, *, deadline: float) -> Explanation | None:
    """Read what bears on a resource, and explain it. Safe to retry. Raises ``StoreError``."""
    return (await examine(etcd, keys, resource, deadline=deadline))[1]


async def examine(
    etcd: Timing, keys: Keyspace, resource: Resource, *, deadline: float
) -> tuple[Survey, Explanation | None, dict[LeaseId, int]]:
    """The same with the picture, and how many seconds the leases have left that matter."""
    try:
        picture = await take_one(etcd, keys, resource, deadline=deadline)
    except Compacted:
        # Between two reads of one picture: take it again, once.
        picture = await take_one(etcd, keys, resource, deadline=deadline)
    view = resource_view(picture, resource, picture.rules_or_none()) if resource in picture.resources else None
    remaining: dict[LeaseId, int] = {}
    for lease in leases_of_interest(view) if view else ():
        remaining[lease] = (await etcd.time_to_live(lease, deadline=deadline)).remaining_seconds
    return picture, explain(picture, resource, view, remaining), remaining


def explain(
    picture: Survey, resource: Resource, view: ResourceView | None, remaining: Mapping[LeaseId, int]
) -> Explanation | None:
    """``None`` when nothing at all is recorded about the resource."""
    grave = picture.graves.get(resource)
    leader = picture.acting_for(resource)
    outcome = (grave.record.outcome if grave.record else "unreadable") if grave else None
    if view is None and outcome is None:
        return None
    if view is None:
        story = [f"{resource} was swept: {outcome}."]
        what_next = ["Nothing happens next: its grave is forgotten after a while."]
    else:
        story = [
            *_record(view),
            *_holds(view, remaining),
            *_references(picture, view),
            *_marks(view),
            *_haste(picture, resource),
        ]
        what_next = list(_next(picture, view, remaining))
        if outcome is not None:
            story.append(f"An earlier incarnation was swept: {outcome}.")
    return Explanation(
        str(resource),
        picture.revision,
        view,
        outcome,
        picture.armed is not None,
        leader,
        tuple(story),
        tuple(what_next),
    )


def _record(view: ResourceView) -> Iterator[str]:
    name = f"{view.owner}/{view.type}/{view.id}"
    since = f" at {view.since}" if view.since else ""
    yield f"{name} is {view.state.value}."
    yield (
        f"Rule {view.rule} saw {view.creator} create it{since} (incarnation {view.incarnation}, "
        f"revision {view.created_revision}); by that rule the collector may go as far as: {view.mode}."
    )


def _holds(view: ResourceView, remaining: Mapping[LeaseId, int]) -> Iterator[str]:
    if not view.holds:
        yield "There is no hold key at all: whoever held it, the evidence is missing."
    for hold in view.holds:
        yield f"{_who(hold)} {_standing(hold, remaining)} (hold written at revision {hold.revision})."


def _who(hold: HoldView) -> str:
    return {
        HolderKind.PROCESS.value: "Process",
        HolderKind.SERVICE.value: "Service",
        HolderKind.TIMER.value: "Timer",
    }.get(hold.kind, "Holder") + f" {hold.holder}"


def _standing(hold: HoldView, remaining: Mapping[LeaseId, int]) -> str:
    left = remaining.get(LeaseId(hold.beacon_lease), -1)
    match hold.status:
        case HolderStatus.ALIVE if hold.kind == HolderKind.TIMER:
            return f"holds it until it runs out{f' in {left} s' if left >= 0 else ''}"
        case HolderStatus.ALIVE:
            return f"holds it and is alive{f', its lease renewed for another {left} s' if left >= 0 else ''}"
        case HolderStatus.ENDED if hold.kind == HolderKind.TIMER:
            return "held it until it ran out"
        case HolderStatus.ENDED:
            return f"held it and has ended ({hold.ended})"
        case HolderStatus.VANISHED if hold.kind == HolderKind.SERVICE:
            return "held it, and no instance of it has renewed the lease in time"
        case HolderStatus.VANISHED:
            return "held it and has vanished: its lease ran out and nobody reported why"
        case HolderStatus.RELEASED:
            return "let go of it"
        case _ if hold.holder == PINNED:
            return "stands for an operator's pin that is not there any more: pin it again, or unpin it"
        case _:
            return "holds it, but is not on the roster: nothing may be concluded from its silence"


def _references(picture: Survey, view: ResourceView) -> Iterator[str]:
    resource = Resource(OwnerName(view.owner), TypeName(view.type), ResourceId(view.id))
    general = set(map(str, picture.refs.get(every(resource), ()))) - set(map(str, picture.refs.get(resource, ())))
    for source in view.referenced_by:
        what = f"everything of type {view.type} (what exactly could not be read)" if source in general else "it"
        yield f"{source} refers to {what}, and exists."
    for target in view.references:
        if target.endswith(f"/{EVERY}"):
            yield f"What it refers to could not be read, so it keeps everything: {target}."
            continue
        known = Resource.parse(target) in picture.resources
        yield f"It refers to {target}{'' if known else ', of which there is no record'}."


def _cycle(cycle: Sequence[str], name: str) -> Iterator[str]:
    if cycle:
        others = ", ".join(one for one in cycle if one != name)
        yield (
            f"It is in a cycle of references that nothing else leads to, condemned as a whole with {others}: if any of "
            f"them is held again, all live; else they are swept one after another, {cycle[0]} first."
        )


def _marks(view: ResourceView) -> Iterator[str]:
    if view.pinned:
        yield f"{view.pin_who or 'Somebody'} pinned it: {view.pin_why or 'no reason given'}."
    if view.tombstone is not None:
        yield (
            f"It was condemned at revision {view.tombstone.revision} ({view.tombstone.reason}; "
            f"the read at revision {view.tombstone.evidence_revision} found nobody holding it)."
        )
        yield from _cycle(view.tombstone.cycle, f"{view.owner}/{view.type}/{view.id}")
    if view.sweep is not None:
        outcome = f"; last outcome: {view.sweep.outcome}" if view.sweep.outcome else ""
        yield f"Its sweep is {view.sweep.state}, attempt {view.sweep.attempt}{outcome}."


def _haste(picture: Survey, resource: Resource) -> Iterator[str]:
    haste, tombstone = picture.hastes.get(resource), picture.tombstones.get(resource)
    if haste is None or haste.record is None or tombstone is None:
        return
    if haste.record.tombstone_revision == tombstone.revision:
        yield f"{haste.record.who} shortened its grace to {HASTENED}: {haste.record.why}."


def _next(picture: Survey, view: ResourceView, remaining: Mapping[LeaseId, int]) -> Iterator[str]:
    yield from _step(view, remaining)
    if view.state in {State.HELD, State.UNACCOUNTED, State.OBSERVE_ONLY}:
        if view.state is State.HELD and view.pinned:
            yield _PINNED
        return
    resource = Resource(OwnerName(view.owner), TypeName(view.type), ResourceId(view.id))
    if picture.acting_for(resource) is None:
        yield "But no control plane acts for this resource's shard: until one does, nothing happens."
    before_the_point_of_no_return = view.state in {State.UNHELD, State.CONDEMNED, State.IN_GRACE}
    if before_the_point_of_no_return and picture.armed is None:
        yield (
            "But the brake is tripped (control/armed is missing): nothing more is condemned or prepared "
            "until `leasehold brake arm --reason TEXT`."
        )
    if before_the_point_of_no_return and view.pinned:
        yield _PINNED


def _step(view: ResourceView, remaining: Mapping[LeaseId, int]) -> Iterator[str]:
    match view.state:
        case State.HELD:
            yield _while_held(view)
        case State.UNACCOUNTED:
            yield "It is kept: absence permits nothing. A use by any holder, or deleting it by hand, settles it."
        case State.OBSERVE_ONLY:
            yield f"Nothing: rule {view.rule} only observes (its mode, or an owner without a safe delete)."
        case State.UNHELD:
            yield f"Nobody holds it: {_once_unheld(view)}."
        case State.CONDEMNED | State.IN_GRACE if view.tombstone is not None:
            yield from _grace(view, view.tombstone, remaining)
        case State.PREPARED:
            yield "The delete is decided and written down; it is sent as soon as the owner's queue permits."
        case State.SENT:
            yield "The delete was sent; it is repeated with backoff until the owner confirms that the resource is gone."
        case _:
            yield (
                "The owner refused, failed for too long, or calls us misconfigured: it is asked again about once an "
                "hour, for ever, and whenever another control plane takes over. An operator should look."
            )


def _while_held(view: ResourceView) -> str:
    if not view.alive:
        return f"It is kept for as long as what refers to it exists. After that, {_once_unheld(view)}."
    if all(hold.kind == HolderKind.TIMER for hold in view.alive):
        return f"When its timer runs out, {_once_unheld(view)}."
    return f"Nothing happens while anyone holds it. When the last holder has gone, {_once_unheld(view)}."


def _once_unheld(view: ResourceView) -> str:
    """What is before a resource that nobody holds, by its rule as it is now."""
    match view.mode:
        case Mode.SWEEP:
            then = f"swept after a grace of {view.grace_class} to a quarter more"
            return f"the collector condemns it at its next look, and it is {then}"
        case Mode.CONDEMN:
            return f"the collector condemns it at its next look, and no more: rule {view.rule} does not sweep"
        case Mode.OBSERVE:
            return f"it stays: rule {view.rule} only observes (its mode, or an owner without a safe delete)"
        case _:
            return f"it stays: rule {view.rule}, or its owner, is not known any more"


def _grace(view: ResourceView, tombstone: TombstoneView, remaining: Mapping[LeaseId, int]) -> Iterator[str]:
    if view.mode == Mode.CONDEMN:
        yield f"Nothing more: rule {view.rule} condemns but does not sweep."
        return
    if view.mode != Mode.SWEEP:
        yield f"Nothing more: by rule {view.rule} the collector may go no further than: {view.mode}."
        return
    epoch = f"an epoch of class {view.grace_class} that opens after revision {tombstone.revision} is done"
    if tombstone.epoch is None:
        yield f"Grace runs until {epoch}; none has opened yet, so it takes at least the whole {view.grace_class}."
    elif tombstone.epoch_done:
        yield (
            f"Grace is over: epoch {tombstone.epoch} of class {view.grace_class} is done. What may still take time is "
            "the collector's warm-up, if it began to lead or lost touch with etcd lately (`warm_up` in its /v1/status)."
        )
    else:
        left = remaining.get(LeaseId(tombstone.epoch_lease), -1)
        when = f": at the earliest in {left} s" if left >= 0 else ": any moment now, its lease is gone"
        yield (
            f"Grace runs until {epoch}; epoch {tombstone.epoch} opened at revision "
            f"{tombstone.epoch_opened_revision}{when}."
        )
    yield (
        "Then the collector proves again that nobody holds it, and deletes it through its owner. "
        "`leasehold restore`, or any use, starts all over."
    )
