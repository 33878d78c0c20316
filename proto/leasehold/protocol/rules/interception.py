"""Interception rules: which calls are about which resource, and what is done about them."""

from __future__ import annotations

import math
from enum import StrEnum

from leasehold.protocol.configuration import Seconds
from leasehold.protocol.idempotency import IdempotencyKey
from leasehold.protocol.names import ClassName
from leasehold.protocol.records import HolderKind
from leasehold.protocol.rules.sources import Model, Side, Source


class On(StrEnum):
    """What a matching call does to the resource."""

    CREATE = "create"
    USE = "use"
    DELETE = "delete"


class Mode(StrEnum):
    """How far the collector may go: only watch, mark as condemned, or delete."""

    OBSERVE = "observe"
    CONDEMN = "condemn"
    SWEEP = "sweep"


class Commit(StrEnum):
    """What waits for the durable write: the request, the response, or nothing."""

    BEFORE_REQUEST = "before-request"
    BEFORE_RESPONSE = "before-response"
    BACKGROUND = "background"


class OnUnavailable(StrEnum):
    """What happens when the write is not durable by the hold's deadline."""

    FORWARD = "forward"
    REJECT = "reject"


class GrpcMatch(Model, frozen=True):
    """Which gRPC calls. ``service`` with its package; ``method`` is one or several; ``status`` lists gRPC codes.

    ``streaming``: the owner answers with a stream, whose end may be far away. Then its first message decides, and its
    status is not waited for.
    """

    service: str
    method: str | tuple[str, ...]
    status: tuple[int, ...] = (0,)
    streaming: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        return (self.method,) if isinstance(self.method, str) else self.method

    @property
    def paths(self) -> tuple[str, ...]:
        """What HTTP/2 sees of it."""
        return tuple(f"/{self.service}/{method}" for method in self.methods)


class Match(Model, frozen=True):
    """Which calls: either ``grpc``, or the other three.

    ``method`` is one or several; ``status`` lists response codes; ``path`` is a template.
    """

    method: str | tuple[str, ...] = ()
    path: str = ""
    status: tuple[int, ...] = ()
    grpc: GrpcMatch | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        return (self.method,) if isinstance(self.method, str) else self.method


class Reference(Model, frozen=True, rename={"side": "from"}):
    """What a created resource needs, as far as its request or response tells: ids of one owner's type.

    ``ids`` is a JMESPath expression over that body: one id, or a list of them. Where it finds nothing at all (not even
    an empty list) nobody knows what is needed, and everything of the type is kept as long as the resource exists.
    """

    owner: str
    type: str
    ids: str
    side: Side = Side.RESPONSE


class Rule(Model, frozen=True):
    """One interception rule."""

    name: str
    owner: str
    type: str
    on: On
    match: Match
    id: Source
    held_by: HolderKind | None = None
    ttl: Seconds | None = None
    mode: Mode = Mode.OBSERVE
    commit: Commit = Commit.BEFORE_RESPONSE
    on_unavailable: OnUnavailable = OnUnavailable.FORWARD
    hold_deadline: Seconds = Seconds(2.0)
    grace: Seconds = Seconds(300.0)
    idle_release: Seconds | None = None
    id_pattern: str | None = None
    incarnation: Source | None = None
    body_limit: int = 65536
    idempotency_key: IdempotencyKey | None = None
    references: tuple[Reference, ...] = ()

    @property
    def grace_class(self) -> ClassName:
        """Resources with the same grace share epochs. Leases count whole seconds, so a grace is rounded up."""
        return ClassName(f"{math.ceil(self.grace)}s")
