"""What the sidecar tells about itself: health, metrics, and two views for people and for ``leasehold doctor``.

``GET /v1/status``: host, holders and how long their leases may be believed, the journal, etcd.
``GET /v1/holds``: what is held, page by page (``?limit=``, ``?after=`` a resource as printed).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from leasehold.protocol.names import Holder
from leasehold.shell.health import health_routes
from leasehold.sidecar.holds.committer import Committer
from leasehold.sidecar.holds.entries import Holding
from leasehold.sidecar.holds.holders import Holders
from leasehold.sidecar.holds.journal import Journal
from leasehold.sidecar.holds.tenure import Tenure
from leasehold.sidecar.metrics import SidecarMetrics
from leasehold.sidecar.rules_source import RulesHealth

PAGE = 1000
MAX_PAGE = 10_000
REMEMBERED_SECONDS = 300.0
"""How long a lost observation makes us unready: long enough to be noticed; for ever would only hurt the app."""


@dataclass(frozen=True, slots=True)
class Inside:
    """The parts that are looked at."""

    journal: Journal
    committer: Committer
    holders: Holders
    tenure: Tenure
    rules: RulesHealth
    metrics: SidecarMetrics
    about: Mapping[str, str] = field(default_factory=dict)

    def not_ready(self) -> Mapping[str, str]:
        """Why what is created now may not be registered at once. Traffic flows all the same."""
        reasons: dict[str, str] = {}
        for holder, keeper in self.holders.keepers.items():
            if not keeper.attached or keeper.seconds_of_belief() <= 0:
                reasons[f"holder {holder}"] = keeper.trouble or "the lease was not renewed in time"
        timers = self.holders.timers
        if timers is not None and timers.trouble:
            reasons["timers"] = timers.trouble
        if self.tenure.host_state != "alive":
            reasons["host"] = f"the host is {self.tenure.host_state}"
        if self.committer.trouble:
            reasons["etcd"] = f"the last commit failed: {self.committer.trouble}"
        if self.rules.trouble:
            reasons["rules"] = self.rules.trouble
        if self.journal.full:
            reasons["journal"] = "full, or the disk refuses: what is created now is unprotected"
        if self.metrics.seconds_since_a_loss() < REMEMBERED_SECONDS:
            reasons["unprotected"] = f"{self._losses()}, lately"
        return reasons

    def notes(self) -> Mapping[str, str]:
        """What went wrong and cannot be mended; it does not make what comes unready."""
        return {"unprotected": self._losses()} if self.metrics.lost else {}

    def _losses(self) -> str:
        return f"{self.metrics.lost} observations were lost, and what they created or used is unprotected: see the log"


def admin_app(metrics: SidecarMetrics, inside: Inside) -> web.Application:
    """The application to serve on ``admin.listen``."""

    async def status(_: web.Request) -> web.Response:
        return web.json_response(_status(inside))

    async def holds(request: web.Request) -> web.Response:
        try:
            limit = min(max(int(request.query.get("limit", PAGE)), 1), MAX_PAGE)
        except ValueError as error:
            raise web.HTTPBadRequest(text="limit: expected a whole number") from error
        return web.json_response(_holds(inside, limit, request.query.get("after", "")))

    app = web.Application()
    app.add_routes(_health(metrics, inside))
    app.add_routes([web.get("/v1/status", status), web.get("/v1/holds", holds)])
    return app


def health_app(metrics: SidecarMetrics, inside: Inside) -> web.Application:
    """Health and metrics alone, to serve on ``admin.health_port``."""
    app = web.Application()
    app.add_routes(_health(metrics, inside))
    return app


def _health(metrics: SidecarMetrics, inside: Inside) -> list[web.RouteDef]:
    return health_routes(metrics.registry, inside.not_ready, inside.notes, unready="degraded")


def _status(inside: Inside) -> dict[str, Any]:
    state = inside.journal.state
    keepers = inside.holders.keepers
    return {
        "about": dict(inside.about),
        "host": inside.tenure.host_state,
        "holders": [
            {
                "holder": holder,
                "kind": keeper.life.kind,
                "phase": keeper.session.phase.value,
                "lease": f"{keeper.session.lease:x}",
                "belief_seconds": round(keeper.seconds_of_belief(), 3),
                "pending": inside.committer.pending_of(holder),
                "trouble": keeper.trouble,
            }
            for holder, keeper in keepers.items()
        ],
        "timers": len(inside.holders.timers or ()),
        "ends_to_tell": [str(holder) for holder in state.endings],
        "holds": state.held_count,
        "journal": _journal(inside),
        "etcd": inside.committer.trouble or "fine",
        "rules": inside.rules.trouble or "fine",
    }


def _holds(inside: Inside, limit: int, after: str) -> dict[str, Any]:
    ordered = iter(inside.journal.state.holdings())
    if after:
        ordered = itertools.islice(itertools.dropwhile(lambda held: str(held.resource) != after, ordered), 1, None)
    page = list(itertools.islice(ordered, limit))
    return {
        "holds": [_hold(held) for held in page],
        "count": inside.journal.state.held_count,
        "next": str(page[-1].resource) if len(page) == limit else None,
        "pending": inside.committer.pending,
        "journal": _journal(inside),
    }


def _hold(held: Holding) -> dict[str, Any]:
    holder: Holder = held.holder
    return {
        "resource": str(held.resource), "holder": holder, "since": held.since, "rule": held.rule,
        "idle_release_seconds": held.idle or None,
    }  # fmt: skip


def _journal(inside: Inside) -> dict[str, Any]:
    return {
        "pending": inside.committer.pending,
        "bytes": inside.journal.bytes,
        "oldest_seconds": round(inside.committer.oldest_age(), 3),
        "full": inside.journal.full,
    }
