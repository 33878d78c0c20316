"""From the collector's memory to messages: resources in short, whether they fit a filter, how many are where. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from leasehold import v1
from leasehold.control_plane.core.facts import Entry, HolderEntry
from leasehold.control_plane.core.index import Index, hold_of
from leasehold.control_plane.core.lifecycle import State, as_permitted, state_of
from leasehold.operating.states import ResourceView
from leasehold.protocol.names import Holder, OwnerName, Resource, ResourceId, TypeName
from leasehold.protocol.transactions import MAX_COMPARED_HOLDERS

SHOWN_HOLDERS = MAX_COMPARED_HOLDERS


def is_shown(entry: Entry) -> bool:
    """Whether there is anything to tell."""
    return bool(entry.record or entry.tombstone or entry.sweep)


def shown_state(index: Index, entry: Entry) -> State:
    """As people should see it: with what the rules permit taken into account."""
    return as_permitted(state_of(entry.facts), index.policy.of(entry.resource, entry.rule).mode)


def name_of(resource: Resource) -> v1.ResourceName:
    return v1.ResourceName(owner=resource.owner, type=resource.type, id=resource.id)


def named(name: v1.ResourceName) -> Resource:
    """Unchecked."""
    return Resource(OwnerName(name.owner), TypeName(name.type), ResourceId(name.id))


def in_short(index: Index, entry: Entry) -> v1.Resource:
    mode = index.policy.of(entry.resource, entry.rule).mode
    return v1.Resource(
        name=name_of(entry.resource),
        state=shown_state(index, entry).value,
        mode=mode.value if mode else "unknown",
        rule=entry.rule,
        grace_class=entry.grace_class,
        creator=entry.creator,
        incarnation=entry.incarnation,
        pinned=bool(entry.pin),
        held_by=list(islice(_held_by(index, entry), SHOWN_HOLDERS)),
        holds=len(entry.holds),
        referenced_by=len(entry.sources),
        created_revision=entry.created,
        revision=entry.record,
        tombstone_revision=entry.tombstone,
        next_step=entry.step.value if entry.step else "",
        hastened=index.hastes.hastened(entry),
    )


def _held_by(index: Index, entry: Entry) -> Iterable[str]:
    for hold in entry.holds:
        found = index.holder(hold.holder)
        if not hold.released and (found is None or found.status in {"alive", "unknown"}):
            yield hold.holder


def short_of_view(view: ResourceView, tombstone: int, *, hastened: bool) -> v1.Resource:
    """The same of what was read from etcd."""
    return v1.Resource(
        name=v1.ResourceName(owner=view.owner, type=view.type, id=view.id),
        state=view.state.value,
        mode=view.mode,
        rule=view.rule,
        grace_class=view.grace_class,
        creator=view.creator,
        incarnation=view.incarnation,
        pinned=view.pinned,
        held_by=[hold.holder for hold in view.holds if hold.status in {"alive", "unknown"}][:SHOWN_HOLDERS],
        holds=len(view.holds),
        referenced_by=len(view.referenced_by),
        created_revision=view.created_revision,
        revision=view.revision,
        tombstone_revision=tombstone,
        hastened=hastened,
    )


def fits(index: Index, entry: Entry, wanted: v1.ResourceFilter) -> bool:
    """Whether a resource fits all that is set."""
    resource = entry.resource
    if not is_shown(entry) or (wanted.owner and resource.owner != wanted.owner):
        return False
    if (wanted.type and resource.type != wanted.type) or (wanted.rule and entry.rule != wanted.rule):
        return False
    if (wanted.pinned and not entry.pin) or (wanted.holder and hold_of(entry, Holder(wanted.holder)) is None):
        return False
    if wanted.states and shown_state(index, entry) not in wanted.states:
        return False
    return not wanted.text or has_text(wanted.text, str(resource), entry.rule, entry.creator)


def has_text(text: str, *places: str) -> bool:
    wanted = text.casefold()
    return any(wanted in place.casefold() for place in places)


def holder_view(holder: Holder, found: HolderEntry) -> v1.HolderInfo:
    return v1.HolderInfo(
        holder=holder,
        status=found.status,
        kind=found.kind.value if found.roster and found.readable else "unknown",
        service=found.service,
        instance=found.instance,
        ended=found.ended.value if found.ended else "",
        ttl_seconds=found.ttl_seconds,
        resources=len(found.resources),
        lease=found.lease,
        roster_revision=found.roster,
    )


def counts(index: Index) -> tuple[v1.Counts, dict[tuple[str, str], v1.Counts]]:
    """Over all, and by owner and type."""
    total, each = v1.Counts(), dict[tuple[str, str], v1.Counts]()
    for (owner, kind, rule, state), count in index.counts.items():
        shown = as_permitted(state, index.policy.of_rule(rule).mode)
        for place in (total, each.setdefault((owner, kind), v1.Counts())):
            add(place, shown.value, count)
    return total, each


def add(place: v1.Counts, state: str, count: int) -> None:
    field = state.replace("-", "_")
    setattr(place, field, getattr(place, field) + count)
    place.resources += count


def summed(all_of_them: Sequence[v1.Counts]) -> v1.Counts:
    total = v1.Counts()
    for one in all_of_them:
        for state in State:
            add(total, state.value, getattr(one, state.value.replace("-", "_")))
    return total
