"""The three routes every part serves: ``/livez``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, disable_created_metrics, generate_latest

Readiness = Callable[[], Mapping[str, str]]
"""What is not ready, and why; empty when all is."""


def nothing_to_note() -> Mapping[str, str]:
    return {}


def health_routes(
    registry: CollectorRegistry,
    not_ready: Readiness,
    notes: Readiness = nothing_to_note,
    unready: str = "not ready",
) -> list[web.RouteDef]:
    """Routes for an aiohttp application. ``/livez`` answers as long as the event loop turns.

    ``notes`` are worth knowing but do not make the process unready; ``unready`` is what it is called when it is.
    """
    # A second series beside every counter, ``registrations_created`` beside ``registrations_total``, that holds a
    # timestamp: nobody reads it as one.
    disable_created_metrics()  # type: ignore[no-untyped-call]

    async def livez(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(_: web.Request) -> web.Response:
        reasons = dict(not_ready())
        body = {"status": unready if reasons else "ready", "reasons": reasons, "notes": dict(notes())}
        return web.json_response(body, status=503 if reasons else 200)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)]
