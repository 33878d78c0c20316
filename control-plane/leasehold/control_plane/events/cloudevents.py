"""A transition as a CloudEvent 1.0, and its bytes in structured mode. Pure.

- The same transition has the same id, and the same bytes, however often and by whomever it is told: ``source`` and
  ``id`` together are what a consumer drops duplicates by.
- Nothing but names, words of ours and revisions goes out: no header, no body, no credential was ever in a record.
"""

from __future__ import annotations

import msgspec

from leasehold.control_plane.events.transitions import Transition
from leasehold.protocol.correlation import correlation_id, parse_traceparent
from leasehold.protocol.names import Revision, Tenant
from leasehold.protocol.records import ResourceRecord

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
PREFIX = "leasehold."
GAP = "leasehold.gap"


class CloudEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """The attributes by their names in the specification; those after ``data`` are extensions.

    ``partitionkey`` is what must stay in order: everything about one resource.
    """

    id: str
    source: str
    type: str
    specversion: str = msgspec.field(default_factory=lambda: "1.0")
    datacontenttype: str = msgspec.field(default_factory=lambda: "application/json")
    subject: str | None = None
    time: str | None = None
    data: dict[str, object] = {}
    correlationid: str | None = None
    traceparent: str | None = None
    partitionkey: str | None = None

    @property
    def body(self) -> bytes:
        """JSON in structured mode."""
        return msgspec.json.encode(self)


def told(tenant: Tenant, transition: Transition, record: ResourceRecord | None) -> CloudEvent:
    """``record``: the resource's, as it was; ``None`` if nobody knows any more."""
    resource, revision = transition.resource, transition.revision
    incarnation = transition.incarnation or (record.incarnation if record is not None else "")
    subject = str(resource)
    data: dict[str, object] = {
        "owner": resource.owner, "type": resource.type, "id": resource.id, "incarnation": incarnation,
        "revision": revision,
    }  # fmt: skip
    if transition.detail:
        data["detail"] = transition.detail
    if record is not None:
        data |= {"rule": record.rule, "creator": record.creator}
    trace = record.trace if record is not None else ""
    return CloudEvent(
        # Only with what the change itself tells: what is looked up may be gone when this is told again.
        id=f"{subject}:{transition.incarnation}:{transition.what}:{revision}",
        source=f"/leasehold/{tenant}",
        type=PREFIX + transition.what,
        subject=subject,
        time=transition.since or None,
        data=data,
        correlationid=correlation_id(trace) or None,
        traceparent=trace if parse_traceparent(trace) is not None else None,
        partitionkey=subject,
    )


def gap(tenant: Tenant, after: Revision, until: Revision, why: str) -> CloudEvent:
    """Of what happened after one revision and before another nobody can tell any more."""
    return CloudEvent(
        id=f"gap:{after}:{until}",
        source=f"/leasehold/{tenant}",
        type=GAP,
        data={"after": after, "until": until, "why": why},
    )
