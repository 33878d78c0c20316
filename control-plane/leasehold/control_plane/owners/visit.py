"""One visit to an owner, whatever it speaks: look, compare, delete conditionally, confirm.

Laws:

- With ``if-match`` nothing is deleted that was not just read and recognised: the delete carries the ETag of that very
  read. Another ``uid`` is a namesake: left alone. Another ``etag`` may be the same thing changed by somebody: refused.
- "Deleted" counts once a read says so, where there is a read.
- One visit sends at most one delete, not counting one that was turned away unlooked at (401).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from leasehold.control_plane.owners.outcome import Answer, Verdict
from leasehold.protocol.names import Resource
from leasehold.protocol.rules import DeleteCall, Owner, Precondition, ReadCall

POLLS_SECONDS = (0.05, 0.2, 0.5)
"""After a promise to delete: how long to wait before each look. Still there afterwards is "pending", tried again
later."""


@dataclass(frozen=True, slots=True)
class Sign:
    """What an answer shows of an incarnation, and what follows if it is not what was recorded."""

    value: str | None
    otherwise: Verdict


@dataclass(frozen=True, slots=True)
class Reply:
    """An owner's answer to one call. ``verdict`` None: what was read is there; then ``signs`` are by kind of
    incarnation, and ``etag`` is what a delete of exactly this is conditional on."""

    verdict: Verdict | None
    said: str
    retry_after: float | None = None
    etag: str | None = None
    signs: Mapping[str, Sign] = field(default_factory=dict)


class Face(Protocol):
    """How one owner is spoken to. Each call is sent once; ``etag`` None: unconditionally."""

    async def read(self, resource: Resource, read: ReadCall) -> Reply: ...

    async def delete(self, resource: Resource, delete: DeleteCall, etag: str | None) -> Reply: ...


def safe_delete(owner: Owner, kind: str) -> DeleteCall | None:
    """How resources of this type are deleted, where that is allowed at all."""
    delete = owner.delete_of(kind)
    if delete is None or (delete.precondition is Precondition.NONE and not delete.unsafe):
        return None
    return delete


async def recognised(face: Face, owner: Owner, resource: Resource, incarnation: str) -> Answer | str | None:
    """Where deletes are conditional: the ETag of what is there, if it is what was recorded; else what follows."""
    delete, read = owner.delete_of(resource.type), owner.read_of(resource.type)
    if delete is None or read is None or read.grpc is not None or delete.precondition is not Precondition.IF_MATCH:
        return None
    seen = await face.read(resource, read)
    return _ended(seen, incarnation, conditional=True) or seen.etag


async def visit(face: Face, owner: Owner, resource: Resource, incarnation: str, *, first: bool) -> Answer:
    """Delete one incarnation of a resource. ``first``: no earlier attempt was sent. Raises what the face raises."""
    delete, read = safe_delete(owner, resource.type), owner.read_of(resource.type)
    if delete is None:
        return Answer(Verdict.MISCONFIGURED, "the owner declares no safe delete")
    conditional = delete.precondition is Precondition.IF_MATCH
    if conditional and read is None:
        return Answer(Verdict.MISCONFIGURED, "if-match needs a read, and the owner declares none")
    etag = None
    if read is not None and (conditional or not first):
        seen = await face.read(resource, read)
        ended = _ended(seen, incarnation, conditional=conditional)
        if ended is not None:
            return ended
        etag = seen.etag if conditional else None
    reply = await face.delete(resource, delete, etag)
    if reply.verdict in {Verdict.GONE, Verdict.PENDING} and read is not None:
        return await _confirmed(face, resource, read, reply.said)
    return Answer(reply.verdict or Verdict.UNKNOWN, reply.said, reply.retry_after)


def _ended(seen: Reply, incarnation: str, *, conditional: bool) -> Answer | None:
    """What ends this attempt before anything is deleted, if something does."""
    if seen.verdict is not None:
        return Answer(seen.verdict, seen.said, seen.retry_after)
    if not conditional:
        return None
    if not seen.etag:
        return Answer(Verdict.UNVERIFIABLE, f"{seen.said}: no ETag to delete by")
    return compared(incarnation, seen)


def compared(incarnation: str, seen: Reply) -> Answer | None:
    """``None`` when what was read is what was recorded."""
    kind, _, recorded = incarnation.partition(":")
    sign = seen.signs.get(kind)
    if sign is None:
        return Answer(Verdict.UNVERIFIABLE, f"nothing that the owner shows can be compared with {incarnation!r}")
    if sign.value is None:
        return Answer(Verdict.UNVERIFIABLE, f"{seen.said}: it does not tell its incarnation")
    if sign.value == recorded:
        return None
    changed = "" if sign.otherwise is Verdict.REPLACED else "changed since, "
    return Answer(sign.otherwise, f"{seen.said}: {changed}now {kind}:{sign.value}")


async def _confirmed(face: Face, resource: Resource, read: ReadCall, said: str) -> Answer:
    for pause in (*POLLS_SECONDS, None):
        seen = await face.read(resource, read)
        if seen.verdict is Verdict.ABSENT:
            return Answer(Verdict.GONE, f"{said}, {seen.said}")
        if seen.verdict is not None or pause is None:
            break
        await asyncio.sleep(pause)
    return Answer(Verdict.PENDING, f"{said}, but {seen.said}")
