"""Lists and figures, from the index alone. A long look-through gives way to others again and again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping

from leasehold import v1
from leasehold.control_plane.core.facts import Entry
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.lifecycle import State
from leasehold.control_plane.core.pages import Page, SortKey
from leasehold.control_plane.operator import views
from leasehold.control_plane.operator.ports import PlanePort
from leasehold.control_plane.operator.problem import invalid
from leasehold.control_plane.ticking import written_now
from leasehold.protocol.rules import Owner, Rule

AT_A_TIME = 1000
HISTORY_SECONDS = 5.0
HISTORY_POINTS = 720
"""An hour of them."""
STATES = tuple(state.value for state in State)
STATUSES = ("alive", "ended", "vanished", "unknown")
SWEEPING = (State.PREPARED.value, State.SENT.value, State.QUARANTINED.value)
_BY: Mapping[str, Callable[[Index, Entry], SortKey]] = {
    "name": lambda _, entry: tuple(entry.resource),
    "state": lambda index, entry: (views.shown_state(index, entry).value, *entry.resource),
    "created": lambda _, entry: (entry.created, *entry.resource),
    "condemned": lambda _, entry: (entry.tombstone, *entry.resource),
}


class Lists:
    """What one replica's memory can tell."""

    def __init__(self, index: Index, plane: PlanePort) -> None:
        self._index, self._plane = index, plane
        self._history: deque[v1.HistoryPoint] = deque(maxlen=HISTORY_POINTS)

    def note_history(self) -> None:
        """To be called every ``HISTORY_SECONDS``."""
        if self._plane.current:
            self._history.append(v1.HistoryPoint(time=written_now(), total=views.counts(self._index)[0]))

    def overview(self, *, history: bool = False) -> v1.Overview:
        total, each = views.counts(self._index)
        statuses = [found.status for _, found in self._index.holders()]
        brake = self._plane.brake()
        return v1.Overview(
            revision=self._plane.revision,
            time=written_now(),
            total=total,
            types=[v1.TypeCounts(owner=o, type=t, counts=found) for (o, t), found in sorted(each.items(), key=_name)],
            holders_alive=statuses.count("alive"),
            holders_vanished=statuses.count("vanished"),
            armed=brake.armed,
            braked=brake.braked,
            synced=self._plane.current,
            unreadable=len(self._index.unreadable),
            suspects=self._plane.suspects(),
            history=list(self._history) if history else [],
        )

    async def entries(self, wanted: v1.ResourceFilter) -> AsyncIterator[Entry]:
        """Those that fit, in no order. Raises ``Problem``."""
        expect_states(wanted.states, STATES)
        for number, entry in enumerate(self._index.entries(), 1):
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)
            if views.fits(self._index, entry, wanted):
                yield entry

    async def resources(self, asked: v1.ListResourcesRequest) -> v1.ListResourcesResponse:
        found, total, following = await self.page(
            asked.filter or v1.ResourceFilter(), asked.page_size, asked.page_token, asked.order_by
        )
        shown = [views.in_short(self._index, entry) for entry in found]
        return v1.ListResourcesResponse(
            resources=shown, next_page_token=following, total=total, revision=self._plane.revision
        )

    async def page(
        self,
        wanted: v1.ResourceFilter,
        size: int,
        token: str,
        order_by: str = "",
        only: Callable[[Entry], bool] | None = None,
    ) -> tuple[list[Entry], int, str]:
        """One page of entries, how many fit in all, and the next page's token. Raises ``BadPage``, ``Problem``."""
        page: Page[Entry] = Page(size, token, order_by, tuple(_BY), wanted)
        key = _BY[page.order]
        async for entry in self.entries(wanted):
            if only is None or only(entry):
                page.offer(key(self._index, entry), entry)
        found, following = page.close()
        return found, page.total, following

    def holders(self, asked: v1.ListHoldersRequest) -> v1.ListHoldersResponse:
        expect_states([asked.status] if asked.status else [], STATUSES, "status")
        question = (asked.status, asked.kind, asked.service, asked.text)
        page: Page[v1.HolderInfo] = Page(
            asked.page_size, asked.page_token, asked.order_by, ("name", "resources"), question
        )
        for holder, found in self._index.holders():
            if asked.status in {"", found.status} and asked.service in {"", found.service}:
                one = views.holder_view(holder, found)
                if asked.kind in {"", one.kind} and (not asked.text or views.has_text(asked.text, holder)):
                    page.offer((holder,) if page.order == "name" else (one.resources, holder), one)
        shown, following = page.close()
        return v1.ListHoldersResponse(
            holders=shown, next_page_token=following, total=page.total, revision=self._plane.revision
        )

    def owners(self) -> v1.ListOwnersResponse:
        policy, each = self._index.policy, views.counts(self._index)[1]
        calling = self._plane.calling()
        rules = [(name, policy.rule(name)) for name in sorted(policy.documents(Rule))]
        shown = []
        for name in sorted({*policy.documents(Owner), *(owner for owner, _ in each)}):
            known = policy.owner(name)
            shown.append(
                v1.OwnerInfo(
                    name=name,
                    calling=calling.get(name, ""),
                    precondition=known.delete.precondition.value if known and known.delete else "",
                    origin=(known.endpoint or "") if known else "",
                    rules=[rule for rule, model in rules if model is not None and model.owner == name],
                    counts=views.summed([found for (owner, _), found in each.items() if owner == name]),
                    problem=policy.problem(Owner, name),
                )
            )
        return v1.ListOwnersResponse(owners=shown, revision=self._plane.revision)


def expect_states(states: list[str], known: tuple[str, ...], field: str = "states") -> None:
    """Raises ``Problem`` for a word that is none of them: a filter that fits nothing would look like an answer."""
    for state in states:
        if state not in known:
            raise invalid(f"{field}: expected one of {', '.join(known)}; got {state!r}")


def _name(counted: tuple[tuple[str, str], v1.Counts]) -> tuple[str, str]:
    return counted[0]
