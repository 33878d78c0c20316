"""What is done to many at once: shown first, and done only if exactly as many fit as the caller was shown.

One after another, each with its own transaction and entry in the audit: what changed meanwhile is refused and named,
the others are done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from grpclib.const import Status

from leasehold import v1
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.lifecycle import State
from leasehold.control_plane.operator.deeds import Deeds
from leasehold.control_plane.operator.lists import Lists
from leasehold.control_plane.operator.problem import Problem, invalid
from leasehold.operating.deeds import NotDone
from leasehold.protocol.names import Resource

MOST = 1000
T = TypeVar("T")


class Bulk:
    """Chooses from the index; each deed looks for itself."""

    def __init__(self, index: Index, lists: Lists, deeds: Deeds) -> None:
        self._index, self._lists, self._deeds = index, lists, deeds

    async def release(self, asked: v1.ReleaseManyRequest) -> v1.BulkResponse:
        """Raises ``Problem``; ``StoreError`` when some may be done and some not."""
        found = []
        async for entry in self._lists.entries(_expected(asked.filter, asked.holder)):
            for hold in entry.holds:
                known = self._index.holder(hold.holder)
                alive = known is not None and known.status == "alive"
                mine = asked.holder in {"", hold.holder}
                if mine and hold.released is False and (asked.force or (known is not None and not alive)):
                    found.append((entry.resource, str(hold.holder)))
        return await self._each(
            sorted(found), lambda one: f"{one[0]} by {one[1]}", asked.confirm_count, asked.why,
            lambda one: self._deeds.release(one[0], one[1], asked.why, force=asked.force),
        )  # fmt: skip

    async def sweep_now(self, asked: v1.SweepNowManyRequest) -> v1.BulkResponse:
        """As ``release``."""

        async def hasten(resource: Resource) -> None:
            await self._deeds.sweep_now(resource, asked.why)

        found = [
            entry.resource
            async for entry in self._lists.entries(_expected(asked.filter))
            if entry.tombstone and not entry.sweep and not entry.pin and self._may_sweep(entry.resource, entry.rule)
        ]
        return await self._each(sorted(found), str, asked.confirm_count, asked.why, hasten)

    async def purge(self, asked: v1.PurgeQuarantineRequest) -> v1.BulkResponse:
        """As ``release``."""

        async def purge(resource: Resource) -> None:
            await self._deeds.purge(resource, asked.why)

        wanted = _expected(asked.filter)
        found = [
            entry.resource
            async for entry in self._lists.entries(wanted)
            if entry.sweep and entry.sweep_state.value == State.QUARANTINED.value
        ]
        return await self._each(sorted(found), str, asked.confirm_count, asked.why, purge)

    def _may_sweep(self, resource: Resource, rule: str) -> bool:
        return self._index.policy.of(resource, rule).may_sweep

    async def _each(
        self,
        found: Sequence[T],
        name: Callable[[T], str],
        confirmed: int | None,
        why: str,
        do: Callable[[T], Awaitable[None]],
    ) -> v1.BulkResponse:
        matched, count = [name(one) for one in found[:MOST]], len(found)
        if confirmed is None:
            return v1.BulkResponse(dry_run=True, matched=matched, count=count)
        if not why.strip():
            raise invalid("why: expected a reason, for whoever asks later")
        if confirmed != count:
            raise Problem(
                Status.FAILED_PRECONDITION,
                f"confirm_count: {count} fit now, not {confirmed}; nothing was done",
                matched,
            )
        if count > MOST:
            raise Problem(Status.FAILED_PRECONDITION, f"{count} fit, at most {MOST} at once; narrow the filter")
        answer = v1.BulkResponse(matched=matched, count=count)
        for one in found:
            try:
                await do(one)
                answer.done += 1
            except NotDone as error:
                answer.refused.append(v1.Refusal(what=name(one), why=str(error)))
        return answer


def _expected(wanted: v1.ResourceFilter | None, *more: str) -> v1.ResourceFilter:
    """A filter that says something: nobody means everything by having said nothing."""
    if (wanted is None or wanted == v1.ResourceFilter()) and not any(more):
        raise invalid("filter: expected at least one field to be set")
    return wanted or v1.ResourceFilter()
