"""One resource in full, and how resources hang together: what it says in etcd, not what we remember."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leasehold import v1
from leasehold.control_plane.operator import views
from leasehold.control_plane.operator.ports import EtcdPort
from leasehold.operating.deeds import Unknown
from leasehold.operating.explain import Explanation, examine
from leasehold.operating.states import HolderStatus, HoldView, ResourceView, State
from leasehold.operating.survey import Survey
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import ClassName, LeaseId, Resource
from leasehold.protocol.records import SweepRecord, SweepState, TombstoneRecord

NOBODY_KNOWS = -1.0


class Detail:
    """Reads, resource by resource."""

    def __init__(self, etcd: EtcdPort, keys: Keyspace, *, deadline: float) -> None:
        self._etcd, self._keys, self._deadline = etcd, keys, deadline

    async def why(self, resource: Resource) -> v1.WhyResponse:
        """Raises ``Unknown``, ``StoreError``. Safe to retry."""
        found = (await self._examine(resource))[1]
        return v1.WhyResponse(
            resource=found.resource,
            revision=found.revision,
            sentences=list(found.sentences),
            next=list(found.next),
            armed=found.armed,
            acting=found.leader or "",
            grave=found.grave or "",
        )

    async def get(self, resource: Resource) -> v1.GetResourceResponse:
        """Raises ``Unknown``, ``StoreError``. Safe to retry."""
        picture, found, remaining = await self._examine(resource)
        view = found.facts
        if view is None:
            return v1.GetResourceResponse(
                revision=found.revision,
                resource=v1.Resource(name=views.name_of(resource), state="", mode="unknown"),
                grave=found.grave or "",
                countdown=v1.Countdown(waiting_for="nothing", seconds_left=NOBODY_KNOWS),
            )
        tombstone = picture.tombstones.get(resource)
        hastened = resource in picture.hastes and view.grace_class != _ordinary_class(picture, resource)
        return v1.GetResourceResponse(
            revision=found.revision,
            resource=views.short_of_view(view, tombstone.revision if tombstone else 0, hastened=hastened),
            since=view.since,
            holds=[_hold(hold) for hold in view.holds],
            references=list(view.references),
            referenced_by=list(view.referenced_by),
            labels=dict(view.labels),
            trace=view.trace,
            pin=v1.PinInfo(who=view.pin_who, why=view.pin_why) if view.pinned else None,
            tombstone=_tombstone(view),
            sweep=_sweep(view),
            grave=found.grave or "",
            timeline=sorted(_timeline(picture, resource, view), key=_when),
            countdown=_countdown(found, view, remaining),
        )

    async def _examine(self, resource: Resource) -> tuple[Survey, Explanation, Mapping[LeaseId, int]]:
        picture, found, remaining = await examine(self._etcd, self._keys, resource, deadline=self._deadline)
        if found is None:
            raise Unknown(
                f"{resource}: nothing is recorded in tenant {self._keys.tenant} (no rule saw it created, or it was "
                "deleted and forgotten)"
            )
        return picture, found, remaining


def tombstone_of(record: TombstoneRecord | None, revision: int) -> v1.Tombstone:
    """As stored. ``record`` ``None``: it cannot be read."""
    if record is None:
        return v1.Tombstone(revision=revision)
    return v1.Tombstone(
        reason=record.reason, revision=revision, evidence_revision=record.revision, since=record.since,
        cycle=["/".join(one) for one in record.cycle],
    )  # fmt: skip


def sweep_of(record: SweepRecord | None, revision: int) -> v1.Sweep:
    """As stored. ``record`` ``None``: it cannot be read."""
    if record is None:
        return v1.Sweep(revision=revision)
    return v1.Sweep(
        state=record.state.value, attempt=record.attempt, outcome=record.outcome, holders=list(record.holders),
        fence=record.fence, revision=revision, since=record.since, cycle=["/".join(one) for one in record.cycle],
    )  # fmt: skip


def _ordinary_class(picture: Survey, resource: Resource) -> str:
    record = picture.resources[resource].record
    return record.grace_class if record else ""


def _hold(hold: HoldView) -> v1.Hold:
    return v1.Hold(
        holder=hold.holder, status=hold.status.value, kind=hold.kind, ended=hold.ended or "", why=hold.why,
        since=hold.since, revision=hold.revision,
    )  # fmt: skip


def _tombstone(view: ResourceView) -> v1.Tombstone | None:
    found = view.tombstone
    if found is None:
        return None
    return v1.Tombstone(
        reason=found.reason, revision=found.revision, evidence_revision=found.evidence_revision, since=found.since,
        epoch=found.epoch or 0, epoch_done=found.epoch_done, cycle=list(found.cycle),
    )  # fmt: skip


def _sweep(view: ResourceView) -> v1.Sweep | None:
    found = view.sweep
    if found is None:
        return None
    return v1.Sweep(
        state=found.state, attempt=found.attempt, outcome=found.outcome, holders=list(found.holders),
        fence=found.fence, revision=found.revision, since=found.since, cycle=list(found.cycle),
    )  # fmt: skip


def _when(event: v1.TimelineEvent) -> int:
    return event.revision


def _timeline(picture: Survey, resource: Resource, view: ResourceView) -> Iterator[v1.TimelineEvent]:
    yield _event("created", view.since, view.created_revision, view.creator, f"seen by rule {view.rule}")
    for hold in view.holds:
        what = "let-go" if hold.status is HolderStatus.RELEASED else "held"
        yield _event(what, hold.since, hold.revision, hold.holder, hold.why)
    if (pin := picture.pins.get(resource)) is not None:
        since = pin.record.since if pin.record else ""
        yield _event("pinned", since, pin.revision, view.pin_who, view.pin_why)
    if (found := view.tombstone) is not None:
        yield _event("condemned", found.since, found.revision, "", found.reason)
        if found.epoch is not None:
            yield from _epoch(picture, view, found.epoch)
    if (haste := picture.hastes.get(resource)) is not None and haste.record is not None:
        yield _event("hastened", haste.record.since, haste.revision, haste.record.who, haste.record.why)
    if (sweep := view.sweep) is not None:
        yield _event(sweep.state, sweep.since, sweep.revision, "", sweep.outcome)


def _epoch(picture: Survey, view: ResourceView, number: int) -> Iterator[v1.TimelineEvent]:
    found = picture.epochs.get(ClassName(view.grace_class), {}).get(number)
    if found is None or found.record is None:
        return
    text = f"epoch {number} of class {view.grace_class}"
    yield _event("epoch-opened", found.record.since, found.item.create_revision, "", text)
    if found.record.done:
        yield _event("epoch-done", "", found.revision, "", text)


def _event(what: str, time: str, revision: int, who: str, text: str) -> v1.TimelineEvent:
    return v1.TimelineEvent(what=what, time=time, revision=revision, who=who, text=text)


def _countdown(found: Explanation, view: ResourceView, remaining: Mapping[LeaseId, int]) -> v1.Countdown:
    waiting, seconds = _waiting(found, view, remaining)
    return v1.Countdown(waiting_for=waiting, seconds_left=seconds)


def _waiting(found: Explanation, view: ResourceView, remaining: Mapping[LeaseId, int]) -> tuple[str, float]:
    if view.sweep is not None:
        return ("operator" if view.sweep.state == SweepState.QUARANTINED else "owner"), NOBODY_KNOWS
    if view.state is State.HELD:
        return "holder", NOBODY_KNOWS
    if view.state in {State.OBSERVE_ONLY, State.UNACCOUNTED}:
        return "nothing", NOBODY_KNOWS
    if view.pinned:
        return "pin", NOBODY_KNOWS
    if not found.armed:
        return "brake", NOBODY_KNOWS
    if found.leader is None or view.tombstone is None or view.tombstone.epoch_done:
        return "collector", 0.0
    left = remaining.get(LeaseId(view.tombstone.epoch_lease), -1) if view.tombstone.epoch is not None else -1
    return "grace", float(max(left, -1))
