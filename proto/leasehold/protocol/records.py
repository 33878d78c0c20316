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
from leasehold.protocol.names import ClassName


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


class Cause(StrEnum):
    """Why the brake is on. Only ``vanished`` may be mended by returning beacons; all others need an operator."""

    OPERATOR = "operator"
    VANISHED = "vanished"
    LOST = "lost"
    REWOUND = "rewound"
    CANARY = "canary"


class SweepState(StrEnum):
    """Where the irreversible part stands."""

    PREPARED = "prepared"
    SENT = "sent"
    QUARANTINED = "quarantined"


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    pass


PROTOCOL = 1
"""The version of keys, records and transactions that this code speaks."""
OLDEST_PROTOCOL = 1
"""The oldest that it can act in."""


class RosterRecord(_Record, frozen=True):
    """A holder, for as long as anything remembers it. ``ttl_seconds`` is its lease's; ``protocol`` the newest version
    its sidecar understands."""

    service: str
    instance: str
    kind: HolderKind
    boot: str
    ttl_seconds: int
    since: str = ""
    ended: Ending | None = None
    protocol: int = 1


class ResourceRecord(_Record, frozen=True):
    """A resource that a rule saw created. ``grace_class`` names the epochs its grace is measured by; ``trace`` is the
    creating call's trace context, or else its request id, or else our call id: see ``correlation``."""

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
    """A condemned resource, reversible. ``revision`` is that of the read which found nobody holding it.

    ``cycle`` are the members of a cycle condemned together, itself included, in the order of their sweeps. Such a
    tombstone counts only together with all the others of that one transaction.
    """

    incarnation: str
    reason: str
    revision: int
    since: str = ""
    cycle: tuple[tuple[str, str, str], ...] = ()


class EpochRecord(_Record, frozen=True):
    """A grace period being measured (``done`` false) or over."""

    seconds: float
    lease: int
    done: bool = False
    since: str = ""


class SweepRecord(_Record, frozen=True):
    """The irreversible part, one per resource. Written before any byte leaves (S9).

    ``holders`` are those found dead at ``revision`` (of a cycle: of all its members); ``attempt`` counts the sends,
    from 1. ``cycle`` are the members prepared together, in the order in which they are sent.
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
    cycle: tuple[tuple[str, str, str], ...] = ()


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


class HasteRecord(_Record, frozen=True):
    """An operator's "do not wait": the tombstone of ``tombstone_revision``, and no other, has its grace measured by
    ``HASTENED``. Everything else is proved as ever. The key is leased, so one that is overtaken goes by itself."""

    who: str
    why: str
    tombstone_revision: int
    since: str = ""


HASTENED = ClassName("1s")
"""The grace class of what was hastened."""


class AuditRecord(_Record, frozen=True):
    """A write of an operator, put in the same transaction. ``about`` are the first of ``count`` things."""

    who: str
    role: str
    known_by: str
    method: str
    why: str
    about: tuple[str, ...] = ()
    count: int = 0
    peer: str = ""
    replica: str = ""
    since: str = ""
    details: dict[str, str] = {}


class ShardRecord(_Record, frozen=True):
    """Which control plane may act on a shard; the key's create_revision is its fence."""

    replica: str
    address: str = ""
    since: str = ""


class ReplicaRecord(_Record, frozen=True):
    """A control plane that is alive. ``boot`` tells this run of it from any other of the same name; ``address`` is
    where it may be asked, ``protocol`` the newest version it understands."""

    boot: str
    since: str = ""
    address: str = ""
    version: str = ""
    protocol: int = 1


class ArmedRecord(_Record, frozen=True):
    """Present: collecting is allowed. Its absence stops every condemn and prepare."""

    who: str
    why: str
    since: str = ""
    returned: bool = False
    """Armed because those who had vanished were back: what is still missing goes on counting."""


class TrippedRecord(_Record, frozen=True):
    """Why ``control/armed`` is not there, beside nobody's having armed yet. ``holders`` vanished, ``resources`` are
    what they carry (or what was lost), ``live`` how many there were."""

    who: str
    why: str
    cause: Cause = Cause.OPERATOR
    since: str = ""
    holders: int = 0
    resources: int = 0
    live: int = 0


class WindowRecord(_Record, frozen=True):
    """What vanished without a word within the brake's window, as of ``revision`` and under the armed key of ``armed``:
    for whoever has not seen it. ``lost``: resources whose keys went without a transaction of ours."""

    revision: int
    armed: int
    holders: int = 0
    carried: int = 0
    lost: int = 0
    live: int = 0
    since: str = ""


class CanaryRecord(_Record, frozen=True):
    """How the last self-test ended. ``failed`` is empty when all was as it should be."""

    who: str
    failed: str = ""
    since: str = ""


class CursorRecord(_Record, frozen=True):
    """How far a receiver of events was told: of everything up to and including ``revision``."""

    revision: int
    since: str = ""


class ShadowExample(_Record, frozen=True):
    """A resource that would have been deleted, and was needed afterwards. ``seconds``: after how long."""

    resource: str
    who: str
    seconds: float


class ShadowRecord(_Record, frozen=True):
    """What a rule that may not sweep would have swept, had it been allowed to: all that was, is one of the three.

    ``wrong``: somebody needed it afterwards; ``by_app``: whoever made it deleted it itself; ``unheld``: nobody has
    missed it yet, the first of them in ``still``.
    """

    mode: str = ""
    wrong: int = 0
    by_app: int = 0
    unheld: int = 0
    examples: tuple[ShadowExample, ...] = ()
    still: tuple[str, ...] = ()
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
    protocol: int = 1
    """Which version this tenant's keys are written in. Who does not understand it acts for nothing."""


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
