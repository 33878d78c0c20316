"""What is stored under the keys: JSON, so that an incident can be read with ``etcdctl get``.

Decoding never guesses: a record that does not parse raises ``Unreadable``, and whoever decides about deletions treats
that as "keep". Wall-clock fields (``since``) are for people and are never compared (S7). Unknown fields are ignored,
so that an older binary can read what a newer one wrote.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, TypeVar

import msgspec

from leasehold.protocol.errors import LeaseholdError


class Unreadable(LeaseholdError):
    """A stored record does not parse. It is kept, reported, and blocks what depends on it."""


class Ending(StrEnum):
    """How a holder ended, as its sidecar saw it. Absent from the roster while it lives, or if nobody saw."""

    EXITED = "exited"
    CRASHED = "crashed"
    COMPLETED = "completed"
    UNKNOWN = "unknown"


class HolderKind(StrEnum):
    """Who keeps resources alive."""

    PROCESS = "process"
    SERVICE = "service"
    TIMER = "timer"


class SweepState(StrEnum):
    """Where the irreversible part stands."""

    PREPARED = "prepared"
    SENT = "sent"
    QUARANTINED = "quarantined"


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    pass


class RosterRecord(_Record, frozen=True):
    """A holder, for as long as anything remembers it. ``ttl_seconds`` is its lease's."""

    service: str
    instance: str
    kind: HolderKind
    boot: str
    ttl_seconds: int
    since: str = ""
    ended: Ending | None = None


class ResourceRecord(_Record, frozen=True):
    """A resource that a rule saw created. ``grace_class`` names the epochs its grace is measured by."""

    incarnation: str
    rule: str
    grace_class: str
    creator: str
    references: tuple[tuple[str, str, str], ...] = ()
    labels: dict[str, str] = {}
    trace: str = ""
    since: str = ""


class HoldRecord(_Record, frozen=True):
    """A holder's need of a resource. A released hold stays as evidence that someone *let go* of it.

    ``boot`` and ``sequence`` make each writing of a hold unique, so that a late or repeated release cannot hit a
    newer acquire.
    """

    boot: str
    sequence: int
    why: str = ""
    since: str = ""
    released: bool = False


class IntentRecord(_Record, frozen=True):
    """A creating call that was let through before its outcome was known.

    ``sent_as`` is the header under which the owner was told ``idempotency_key``; empty: it was not told, and the key
    is our call id. With a header, the key is either the call id of the record's own key, which nobody can guess, or
    one of the app's own choice. What an owner knows under a key of the app's choice may be another call's.

    ``suspect`` is written by the collector: why it cannot tell what became of the call.
    """

    rule: str
    method: str
    target: str
    idempotency_key: str
    resource: tuple[str, str, str] | None = None
    since: str = ""
    sent_as: str = ""
    suspect: str = ""


class TombstoneRecord(_Record, frozen=True):
    """A condemned resource, reversible. ``revision`` is that of the read which found nobody holding it."""

    incarnation: str
    reason: str
    revision: int
    since: str = ""


class EpochRecord(_Record, frozen=True):
    """A grace period being measured (``done`` false) or over."""

    seconds: float
    lease: int
    done: bool = False
    since: str = ""


class SweepRecord(_Record, frozen=True):
    """The irreversible part, one per resource. Written before any byte leaves (S9).

    ``holders`` are those found dead at ``revision``; ``attempt`` counts the sends, from 1.
    """

    state: SweepState
    incarnation: str
    fence: int
    revision: int
    tombstone_revision: int
    epoch: str
    holders: tuple[str, ...] = ()
    attempt: int = 0
    outcome: str = ""
    since: str = ""


class NoticeRecord(_Record, frozen=True):
    """The owner was asked to treat this as condemned: from then on it is owed a restore, should the tombstone go.

    Written before any byte leaves (S9). ``told``: it said that it did. ``attempt`` counts the calls since the last that
    was answered well, from 1.
    """

    incarnation: str
    tombstone_revision: int
    told: bool = False
    attempt: int = 0
    outcome: str = ""
    since: str = ""


class GraveRecord(_Record, frozen=True):
    """Memory of a finished sweep."""

    incarnation: str
    outcome: str
    since: str = ""


class PinRecord(_Record, frozen=True):
    """An operator's "keep"."""

    who: str
    why: str
    since: str = ""


class ShardRecord(_Record, frozen=True):
    """Which control plane may act on a shard; the key's create_revision is its fence."""

    replica: str
    address: str = ""
    since: str = ""


class ReplicaRecord(_Record, frozen=True):
    """A control plane that is alive. ``boot`` tells this run of it from any other of the same name."""

    boot: str
    since: str = ""


class ArmedRecord(_Record, frozen=True):
    """Present: collecting is allowed. Its absence stops every condemn and prepare."""

    who: str
    why: str
    since: str = ""


FOUNDED_SHARDS = 64
"""Of a new tenant. Enough that a dozen replicas share them about evenly; so few that all are claimed in one go."""
MAX_SHARDS = 4096


class ClusterRecord(_Record, frozen=True):
    """Written once, when a control plane first served this tenant.

    ``shards`` is how many parts the tenant's resources fall into. It stands here and in no configuration: two replicas
    that disagreed about it would act on one resource under two fences. Tenants founded before it existed have one.
    """

    cluster_id: str
    since: str = ""
    shards: Annotated[int, msgspec.Meta(ge=1, le=MAX_SHARDS)] = 1


class ObjectsRecord(_Record, frozen=True):
    """The names of the owners and rules here that came from Kubernetes objects, and go with them."""

    owners: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


_R = TypeVar("_R", bound=msgspec.Struct)
_encoder = msgspec.json.Encoder()
_decoders: dict[type, Any] = {}


def encode(record: msgspec.Struct) -> bytes:
    """JSON, always the same bytes for the same record (transactions compare values)."""
    return _encoder.encode(record)


def decode(kind: type[_R], value: bytes) -> _R:
    """Raises ``Unreadable``, naming what was expected and where."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        record: _R = decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(f"not a {kind.__name__}: {error}") from error
    return record
