"""A sweep as we last wrote or read it, and what follows from the count of its attempts."""

from __future__ import annotations

from dataclasses import dataclass

from leasehold.control_plane.core.backlog import attempts_within, backoff_ceiling
from leasehold.protocol.correlation import correlation_id
from leasehold.protocol.names import Resource, Revision
from leasehold.protocol.records import ResourceRecord, SweepRecord, Unreadable, decode
from leasehold.protocol.rules import Retries
from leasehold.protocol.store import KeyValue


@dataclass(frozen=True, slots=True)
class Sweep:
    """One resource's, as of ``revision``."""

    resource: Resource
    revision: Revision
    record: SweepRecord
    owner: str
    retries: Retries
    trace: str = ""
    """What the resource's record says of where it came from."""

    @property
    def retry(self) -> float:
        """The ceiling of the next wait, in seconds."""
        return backoff_ceiling(self.record.attempt, self.retries.first, self.retries.longest)

    @property
    def spent(self) -> bool:
        """Whether its owner's budget of attempts is used up. The count stands in etcd and survives us."""
        return self.record.attempt >= attempts_within(self.retries.budget, self.retries.first, self.retries.longest)

    @property
    def about(self) -> dict[str, object]:
        """What every line of the log about it tells."""
        record = self.record
        return {
            "resource": str(self.resource), "incarnation": record.incarnation, "attempt": record.attempt,
            "correlation_id": correlation_id(self.trace),
        }  # fmt: skip

    @property
    def evidence(self) -> dict[str, object]:
        """What is told besides, when it is sent: why it may be (S9)."""
        record = self.record
        return {
            **self.about, "holders": list(record.holders), "read_at": record.revision,
            "tombstone": record.tombstone_revision, "epoch": record.epoch, "fence": record.fence,
        }  # fmt: skip


def recorded(item: KeyValue | None) -> ResourceRecord | None:
    """A resource's record; ``None``: it is not there, or nobody can read it."""
    try:
        return decode(ResourceRecord, item.value) if item is not None else None
    except Unreadable:
        return None
